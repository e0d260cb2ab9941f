//! Datasets without official splits: all images are one pool, of which a draw that is the same for
//! every sweep makes the test split, and the rest is the training split.

use temper_core::{
    catalog::PinnedDataset,
    random::{Keyed, Purpose},
};

use crate::{
    DataError, Place,
    draw::Strata,
    open::Parts,
    split::{Part, Sink, Split},
};

/// Several splits as one.
struct Concatenated {
    parts: Vec<(usize, Box<dyn Split>)>,
    labels: Vec<i64>,
}

/// Some samples of a split, in its order.
struct Subset {
    whole: Box<dyn Split>,
    chosen: Vec<usize>,
    labels: Vec<i64>,
}

/// The splits one after the other.
pub(crate) fn concatenated(splits: Parts) -> Box<dyn Split> {
    let (mut parts, mut labels) = (Vec::new(), Vec::new());
    for (_, split) in splits {
        let start = labels.len();
        labels.extend_from_slice(split.labels());
        parts.push((start, split));
    }
    Box::new(Concatenated { parts, labels })
}

/// The part of a pool: `draw.test` samples, stratified, are its test split.
pub(crate) fn drawn(
    dataset: &PinnedDataset,
    pool: Box<dyn Split>,
    part: Part,
) -> Result<Box<dyn Split>, DataError> {
    let count = dataset.draw.test.ok_or_else(|| {
        let dataset = &dataset.name;
        DataError::Settings(format!(
            "dataset `{dataset}` has `counts.all` without `draw.test`: how many of its images are \
             its test split?"
        ))
    })?;
    let count = count as usize;
    // A round of its own: sweeps draw from the splits in others, and by their own seeds.
    let mut strata = Strata::new(pool.labels(), &Keyed::new(0, Purpose::Split, 2, 0));
    let test = strata.draw(count).ok_or_else(|| DataError::TooFewSamples {
        dataset: dataset.name.clone(),
        split: "all",
        purpose: "test",
        wanted: count,
        available: pool.labels().len(),
        classes: strata.describe(),
    })?;
    let is_test = |index: &usize| test.binary_search(index).is_ok();
    let chosen = match part {
        Part::Train => (0..pool.labels().len()).filter(|i| !is_test(i)).collect(),
        Part::Validation => Vec::new(),
        Part::Test => test,
    };
    let labels = chosen.iter().map(|&index| pool.labels()[index]).collect();
    Ok(Box::new(Subset {
        whole: pool,
        chosen,
        labels,
    }))
}

impl Split for Concatenated {
    fn labels(&self) -> &[i64] {
        &self.labels
    }

    fn read(&self, chosen: &[usize], sink: &mut Sink<'_>) -> Result<(), DataError> {
        for (start, part) in &self.parts {
            let end = start + part.labels().len();
            let first = chosen.partition_point(|index| index < start);
            let last = chosen.partition_point(|&index| index < end);
            let within: Vec<usize> = chosen[first..last].iter().map(|i| i - start).collect();
            if !within.is_empty() {
                part.read(&within, &mut |position, image| {
                    sink(first + position, image)
                })?;
            }
        }
        Ok(())
    }

    fn place(&self, index: usize) -> Place {
        let next = self.parts.partition_point(|(start, _)| *start <= index);
        // Of empty parts that start where another does, the last is the one with the samples.
        let (start, part) = &self.parts[next - 1];
        part.place(index - start)
    }
}

impl Split for Subset {
    fn labels(&self) -> &[i64] {
        &self.labels
    }

    fn read(&self, chosen: &[usize], sink: &mut Sink<'_>) -> Result<(), DataError> {
        let within: Vec<usize> = chosen.iter().map(|&index| self.chosen[index]).collect();
        self.whole.read(&within, sink)
    }

    fn place(&self, index: usize) -> Place {
        self.whole.place(self.chosen[index])
    }
}
