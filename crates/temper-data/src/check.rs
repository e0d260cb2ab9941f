//! The check of a whole dataset: every image is read and decoded once.

mod survey;

use serde::Serialize;
use temper_core::catalog::PinnedDataset;

use crate::{
    DataError, Place, Sources, pool,
    split::{Part, Split},
};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// Catalog name of the dataset.
    pub dataset: String,
    /// Number of classes.
    pub classes: u32,
    /// The official splits there are, in the order train, validation, test; of a dataset without
    /// them one, `all`.
    pub splits: Vec<SplitReport>,
}

/// What a check found in one split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitReport {
    /// `train`, `validation`, `test` or `all`.
    pub split: &'static str,
    /// Images that the catalog says it has, if it says so.
    pub expected: Option<u32>,
    /// Images that it has.
    pub images: usize,
    /// How they are spread over the classes.
    pub balance: Balance,
    /// All images that cannot be used, in their order.
    pub unreadable: Vec<Unreadable>,
    /// Widths in pixels, of the readable images; none without any.
    pub width: Option<Spread>,
    /// Heights in pixels.
    pub height: Option<Spread>,
    /// Mean of red, green and blue in `[0, 1]`, at the images' own sizes, every image weighing the
    /// same; 0 without any.
    pub mean: [f64; 3],
    /// Standard deviation about [`Self::mean`], of the same.
    pub std: [f64; 3],
}

/// Images a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Of all classes, empty ones included.
    pub images: Spread,
    /// Classes without images, ascending.
    pub empty: Vec<u32>,
}

/// Of some numbers the least, the middle one (of an even count the upper of the two) and the
/// largest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: u32,
    /// The middle one.
    pub median: u32,
    /// The largest.
    pub max: u32,
}

/// An image that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Which one.
    pub place: Place,
    /// Why.
    pub reason: String,
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The split at work.
    pub split: &'static str,
    /// Images of it that were read.
    pub done: usize,
    /// Images that it has.
    pub images: usize,
}

impl Sources {
    /// Verifies the files' digests, counts the images, and reads and decodes every one of them, on
    /// all cores. What is wrong with single images or counts is in the report. `progress` is
    /// called on the calling thread, after each image.
    ///
    /// # Errors
    /// When files are missing, not as pinned, or damaged beyond single images.
    pub fn check(
        &self,
        dataset: &PinnedDataset,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<CheckReport, DataError> {
        let counts = dataset.counts;
        let parts = self.open_parts(dataset, &Part::ALL)?;
        let splits: Vec<(&'static str, Option<u32>, Box<dyn Split>)> = if counts.all.is_some() {
            vec![("all", counts.all, pool::concatenated(parts))]
        } else {
            let named = parts.into_iter().map(|(part, split)| {
                let expected = match part {
                    Part::Train => counts.train,
                    Part::Validation => counts.validation,
                    Part::Test => counts.test,
                };
                (part.name(), expected, split)
            });
            named.collect()
        };
        let mut reports = Vec::new();
        for (name, expected, split) in splits {
            let images = split.labels().len();
            let mut advance = |done| {
                progress(Progress {
                    split: name,
                    done,
                    images,
                });
            };
            let survey = survey::run(split.as_ref(), &mut advance)?;
            let balance = Balance::of(split.labels(), dataset.classes);
            reports.push(survey.into_report(name, expected, balance));
        }
        Ok(CheckReport {
            dataset: dataset.name.clone(),
            classes: dataset.classes,
            splits: reports,
        })
    }
}

impl CheckReport {
    /// Whether every image can be used and every split has the images that the catalog says.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.splits.iter().all(SplitReport::is_sound)
    }
}

impl SplitReport {
    /// Whether every image can be used and there are as many as the catalog says.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let expected = self.expected.map(usize::try_from);
        self.unreadable.is_empty() && expected.is_none_or(|count| count == Ok(self.images))
    }
}

impl Balance {
    fn of(labels: &[i64], classes: u32) -> Self {
        let mut counts = vec![0_u32; classes as usize];
        for label in labels {
            let count = usize::try_from(*label)
                .ok()
                .and_then(|label| counts.get_mut(label));
            if let Some(count) = count {
                *count += 1;
            }
        }
        let numbered = (0..).zip(&counts).filter(|(_, count)| **count == 0);
        Self {
            empty: numbered.map(|(class, _)| class).collect(),
            images: Spread::of(counts).unwrap_or_default(),
        }
    }
}

impl Spread {
    /// None without any numbers.
    fn of(mut numbers: Vec<u32>) -> Option<Self> {
        numbers.sort_unstable();
        Some(Self {
            min: *numbers.first()?,
            median: numbers[numbers.len() / 2],
            max: *numbers.last()?,
        })
    }
}
