//! Requests that nobody means, and what may be answered to them: for tests of whatever serves
//! `temper.v1`. All of it is a function of a seed; nothing here knows a service. Beside them who takes what
//! a process tells of itself: a collector of spans, and a reader of metrics.

mod collector;
mod message;
mod mutation;
mod panics;
mod plan;
mod scrape;
mod wire;

use std::{cell::Cell, fmt};

use proptest::{
    collection::vec,
    prelude::*,
    strategy::{BoxedStrategy, Union},
    test_runner::{TestCaseError, TestRunner},
};
use prost::Message as _;
use prost_reflect::MessageDescriptor;

pub use self::{
    collector::{Collector, Span},
    message::{Wildness, Words, message},
    panics::Panics,
    plan::Plan,
    scrape::{scrape, value},
    wire::{Answer, Method, call, methods, objection},
};
/// What every server tells of its calls, to be held against what is written of it.
pub use crate::metrics::calls::METRICS as CALLS;

/// Bytes of a request as a failure shows them.
const SHOWN: usize = 400;

/// The bytes of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded(pub Vec<u8>);

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN)];
        let more = if shown.len() < self.0.len() {
            "…"
        } else {
            ""
        };
        write!(f, "{} bytes {}{more}", self.0.len(), hex::encode(shown))
    }
}

/// Requests for any of the methods, each with the method's index.
pub fn requests(methods: &[Method], words: &Words) -> BoxedStrategy<(usize, Encoded)> {
    let of = |(index, method): (usize, &Method)| {
        request(&method.input, words).prop_map(move |request| (index, request))
    };
    Union::new(methods.iter().enumerate().map(of)).boxed()
}

/// Makes one request, and says to which method it was and whether `judge` says that it was done.
///
/// # Errors
/// What `judge` has against the answer, with the smallest request that it has something against.
pub fn one(
    runner: &mut TestRunner,
    requests: &BoxedStrategy<(usize, Encoded)>,
    judge: impl Fn(usize, Encoded) -> Result<bool, String>,
) -> Result<(usize, bool), String> {
    let tree = requests.new_tree(runner);
    let tree = tree.map_err(|reason| format!("no request: {reason}"))?;
    let answered = Cell::new((0, false));
    let outcome = runner.run_one(tree, |(method, request)| {
        let done = judge(method, request).map_err(TestCaseError::fail)?;
        answered.set((method, done));
        Ok(())
    });
    outcome.map_err(|error| error.to_string())?;
    Ok(answered.get())
}

/// Requests of a kind: noise, messages more or less as they are meant, and such with bytes changed.
fn request(of: &MessageDescriptor, words: &Words) -> BoxedStrategy<Encoded> {
    let encoded = |wildness| {
        let messages = message(of, words, wildness);
        messages.prop_map(|message| message.encode_to_vec())
    };
    let meant = prop_oneof![
        2 => encoded(Wildness::Tame),
        2 => encoded(Wildness::Slight),
        1 => encoded(Wildness::Wild),
    ];
    let meant = meant.boxed();
    let changed = (meant.clone(), vec(mutation::mutation(), 1..4)).prop_map(|(bytes, changes)| {
        let mut bytes = bytes;
        for change in &changes {
            change.apply(&mut bytes);
        }
        bytes
    });
    let all = prop_oneof![
        1 => vec(any::<u8>(), 0..200),
        5 => meant,
        4 => changed,
    ];
    all.prop_map(Encoded).boxed()
}
