//! A sweep's report: one page that needs nothing beside it, made of what the services answered.

mod answers;
mod figures;
mod looks;
mod page;
#[cfg(test)]
mod sample;
mod tables;
#[cfg(test)]
mod tests;

pub use answers::{Answers, Services, compare};
pub use figures::{Figure, curves};
pub use looks::{best, by_key, is_reference, place, ranked};
pub use page::{Page, render};

use temper_proto::v1::Estimate;

/// A share in percent.
fn percent(share: f64) -> f64 {
    share * 100.0
}

/// A mean in percent with one decimal; a dash where there is none.
fn mean(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(
        || "–".to_owned(),
        |estimate| format!("{:.1}", percent(estimate.mean)),
    )
}
