//! What the paper published: Tables 1 and 2 of Ngnawé et al., "Robust Fine-Tuning from Non-Robust
//! Pretrained Models: Mitigating Suboptimal Transfer With Epsilon-Scheduling", ICLR 2026. Three
//! scalars a row, no curves; never jobs, and never mixed with what is measured here.

use serde::Deserialize;

use crate::{
    Epsilon, ParseRatioError,
    curve::Figures,
    schedule::{ParseScheduleError, Schedule},
};

const BUILT_IN: &str = include_str!("../../../catalog/published.csv");

/// A row of the tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Model, by the name that the catalog gives it.
    pub model: String,
    /// Dataset, likewise.
    pub dataset: String,
    /// Schedule.
    pub schedule: Schedule,
    /// Target strength.
    pub target: Epsilon,
    /// The three scalars; robust accuracy is at the target, and expected robustness uniform up to it.
    pub figures: Figures,
}

/// A file that holds no published rows.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// It has other columns, or something else where a number should be.
    #[error("the published results cannot be read")]
    Csv(#[from] csv::Error),
    /// A schedule that there is not.
    #[error("a published schedule cannot be read")]
    Schedule(#[from] ParseScheduleError),
    /// A target that is no strength.
    #[error("a published target cannot be read")]
    Target(#[from] ParseRatioError),
    /// A share above 1 or below 0.
    #[error("{0} is published as a percentage")]
    Percentage(f64),
}

#[derive(Deserialize)]
struct Line {
    model: String,
    dataset: String,
    schedule: String,
    target_eps_255: u32,
    clean_acc: f64,
    robust_acc: f64,
    expected_robustness: f64,
}

/// The rows in the order of the paper's tables.
///
/// # Errors
/// When the file that is built in is damaged.
pub fn built_in() -> Result<Vec<Published>, PublishedError> {
    parse(BUILT_IN)
}

/// Rows in CSV: accuracies in percent, targets as numerators of 255.
///
/// # Errors
/// When a line is none.
pub fn parse(text: &str) -> Result<Vec<Published>, PublishedError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(|line| read(line?)).collect()
}

fn read(line: Line) -> Result<Published, PublishedError> {
    Ok(Published {
        model: line.model,
        dataset: line.dataset,
        schedule: line.schedule.parse()?,
        target: Epsilon::new(line.target_eps_255, 255)?,
        figures: Figures {
            clean: share(line.clean_acc)?,
            robust: share(line.robust_acc)?,
            expected: share(line.expected_robustness)?,
        },
    })
}

fn share(percent: f64) -> Result<f64, PublishedError> {
    if (0.0..=100.0).contains(&percent) {
        Ok(percent / 100.0)
    } else {
        Err(PublishedError::Percentage(percent))
    }
}

impl Published {
    /// Whether no falling curve has these scalars: its mean would lie between its ends.
    #[must_use]
    pub fn is_anomalous(&self) -> bool {
        let Figures {
            clean,
            robust,
            expected,
        } = self.figures;
        !(robust..=clean).contains(&expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::{Catalog, LookupError},
        statistics::{compare, summarise},
    };

    /// The three scalars of a row, by name.
    type Scalar = fn(&Figures) -> f64;
    const CLEAN: Scalar = |figures| figures.clean;
    const ROBUST: Scalar = |figures| figures.robust;
    const EXPECTED: Scalar = |figures| figures.expected;

    fn of(schedule: &str, target: u32) -> Vec<Published> {
        let target = Epsilon::new(target, 255).unwrap();
        let rows = built_in().unwrap().into_iter();
        let rows: Vec<_> = rows
            .filter(|row| row.schedule.to_string() == schedule && row.target == target)
            .collect();
        assert_eq!(rows.len(), 30);
        rows
    }

    #[test]
    fn means_are_the_papers_to_two_decimals() {
        for (schedule, target, expected) in [
            ("fixed", 4, ["38.15", "20.61", "29.20"]),
            ("two-hinge", 4, ["76.18", "36.04", "56.59"]),
            ("fixed", 8, ["19.40", "8.17", "13.29"]),
            ("two-hinge", 8, ["69.35", "21.71", "44.47"]),
        ] {
            let rows = of(schedule, target);
            let means = [CLEAN, ROBUST, EXPECTED].map(|scalar| {
                let values: Vec<_> = rows.iter().map(|row| scalar(&row.figures)).collect();
                format!("{:.2}", summarise(&values).unwrap().mean * 100.0)
            });
            assert_eq!(means, expected, "{schedule} {target}");
        }
    }

    /// Computed beside by the paired t-test of `SciPy` 1.17.1 over the same rows; [P] prints the first
    /// two (Table 9).
    #[test]
    fn paired_tests_are_the_papers() {
        for (target, scalar, t, p, wins) in [
            (4, CLEAN, "7.8233", 1.255_469_588_549_534e-8, (30, 0, 0)),
            (4, ROBUST, "4.3488", 1.540_867_332_098_708e-4, (21, 0, 9)),
            (4, EXPECTED, "6.5956", 3.153_154_920_267_52e-7, (30, 0, 0)),
            (8, CLEAN, "12.3875", 4.170_254_299_783_132e-13, (30, 0, 0)),
            (8, ROBUST, "5.4476", 7.317_048_973_657_06e-6, (27, 0, 3)),
            (8, EXPECTED, "9.2708", 3.572_918_936_783_893e-10, (30, 0, 0)),
        ] {
            let candidates = of("two-hinge", target);
            let pair = |row: &Published| {
                let same = |other: &&Published| {
                    (&other.model, &other.dataset) == (&row.model, &row.dataset)
                };
                let candidate = candidates.iter().find(same).unwrap();
                (scalar(&row.figures), scalar(&candidate.figures))
            };
            let pairs: Vec<_> = of("fixed", target).iter().map(pair).collect();
            let paired = compare(&pairs).unwrap();
            let test = paired.test.unwrap();
            assert_eq!(format!("{:.4}", test.t), t);
            assert!((test.p / p - 1.0).abs() < 1e-6, "{} {p}", test.p);
            assert_eq!(paired.degrees_of_freedom(), 29);
            assert_eq!((paired.wins, paired.ties, paired.losses), wins);
        }
    }

    #[test]
    fn interval_of_the_paired_difference_is_scipys() {
        let (fixed, two_hinge) = (of("fixed", 4), of("two-hinge", 4));
        let clean = |rows: &[Published], row: &Published| {
            let same =
                |other: &&Published| (&other.model, &other.dataset) == (&row.model, &row.dataset);
            rows.iter().find(same).unwrap().figures.clean
        };
        let pairs: Vec<_> = fixed
            .iter()
            .map(|row| (row.figures.clean, clean(&two_hinge, row)))
            .collect();
        let interval = compare(&pairs).unwrap().difference.interval.unwrap();
        assert!((interval.lower - 0.280_851_770_712_713_5).abs() < 1e-9);
        assert!((interval.upper - 0.479_674_895_953_953_2).abs() < 1e-9);
    }

    #[test]
    fn two_rows_fit_no_falling_curve() {
        let rows = built_in().unwrap();
        let anomalous = rows.iter().filter(|row| row.is_anomalous());
        let named: Vec<_> = anomalous
            .map(|row| {
                format!(
                    "{} {} {} {}",
                    row.model, row.dataset, row.schedule, row.target
                )
            })
            .collect();
        assert_eq!(
            named,
            [
                "convnext-base fgvc-aircraft fixed 8/255",
                "resnet50 fgvc-aircraft fixed 8/255"
            ]
        );
    }

    #[test]
    fn rows_are_named_as_in_the_catalog_and_none_twice() {
        let catalog = Catalog::built_in().unwrap();
        let rows = built_in().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for row in &rows {
            let lookups = [
                catalog.model(&row.model).err(),
                catalog.dataset(&row.dataset).err(),
            ];
            for error in lookups.into_iter().flatten() {
                assert!(matches!(error, LookupError::Unpinned { .. }), "{error}");
            }
            let key = (
                &row.model,
                &row.dataset,
                row.schedule.to_string(),
                row.target,
            );
            assert!(seen.insert(key), "{row:?}");
        }
        assert_eq!(rows.len(), 120);
    }

    #[test]
    fn what_is_no_row_is_refused() {
        let header =
            "model,dataset,schedule,target_eps_255,clean_acc,robust_acc,expected_robustness";
        for line in [
            "m,d,fixed,4,101,2,3",
            "m,d,fixed,4,NaN,2,3",
            "m,d,sudden,4,10,2,3",
            "m,d,fixed,256,10,2,3",
            "m,d,fixed,4,10,2",
            "m,d,fixed,4,ten,2,3",
        ] {
            assert!(parse(&format!("{header}\n{line}\n")).is_err(), "{line}");
        }
        assert_eq!(parse(&format!("{header}\n")).unwrap(), []);
    }
}
