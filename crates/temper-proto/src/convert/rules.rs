//! Rules of a sweep.

use temper_core::{
    Violations,
    rules::{CellMatch, Override, Patch},
    schedule::Schedule,
    spec::Precision,
};

use super::{Parse, parse_enum, spec::parse_epsilons};
use crate::v1;

impl Parse for CellMatch {
    type Message = v1::CellMatch;

    fn parse(message: &v1::CellMatch, field: &str, violations: &mut Violations) -> Option<Self> {
        let before = violations.count();
        let schedules = message.schedules.iter().enumerate();
        let schedules = schedules
            .filter_map(|(i, text)| {
                violations.take(&format!("{field}.schedules[{i}]"), text.parse::<Schedule>())
            })
            .collect();
        let epsilons = format!("{field}.target_epsilons");
        let cells = Self {
            models: message.models.clone(),
            datasets: message.datasets.clone(),
            schedules,
            target_epsilons: parse_epsilons(&message.target_epsilons, &epsilons, violations),
            seeds: message.seeds.clone(),
            hyperparameters: message.hyperparameters.clone(),
        };
        // A rule of which a part is missing would be about other cells.
        (violations.count() == before).then_some(cells)
    }
}

impl From<&CellMatch> for v1::CellMatch {
    fn from(cells: &CellMatch) -> Self {
        Self {
            models: cells.models.clone(),
            datasets: cells.datasets.clone(),
            schedules: cells.schedules.iter().map(ToString::to_string).collect(),
            target_epsilons: cells
                .target_epsilons
                .iter()
                .map(ToString::to_string)
                .collect(),
            seeds: cells.seeds.clone(),
            hyperparameters: cells.hyperparameters.clone(),
        }
    }
}

impl Parse for Override {
    type Message = v1::Override;

    fn parse(message: &v1::Override, field: &str, violations: &mut Violations) -> Option<Self> {
        let cells = format!("{field}.cells");
        let cells = CellMatch::parse_or_default(message.cells.as_ref(), &cells, violations);
        let precision = format!("{field}.precision");
        let precision = match parse_enum(message.precision, &precision, violations)? {
            v1::Precision::Unspecified => None,
            v1::Precision::Fp32 => Some(Precision::Fp32),
            v1::Precision::Bf16 => Some(Precision::Bf16),
        };
        Some(Self {
            cells: cells?,
            settings: Patch {
                learning_rate: message.learning_rate,
                head_learning_rate: message.head_learning_rate,
                weight_decay: message.weight_decay,
                batch_size: message.batch_size,
                micro_batch_size: message.micro_batch_size,
                epochs: message.epochs,
                precision,
                drop_path: message.drop_path,
                image_size: message.image_size,
                train_samples: message.train_samples,
                validation_samples: message.validation_samples,
            },
        })
    }
}

impl From<&Override> for v1::Override {
    fn from(rule: &Override) -> Self {
        let Patch {
            learning_rate,
            head_learning_rate,
            weight_decay,
            batch_size,
            micro_batch_size,
            epochs,
            precision,
            drop_path,
            image_size,
            train_samples,
            validation_samples,
        } = rule.settings;
        Self {
            cells: Some((&rule.cells).into()),
            learning_rate,
            head_learning_rate,
            weight_decay,
            batch_size,
            micro_batch_size,
            epochs,
            precision: precision
                .map_or(v1::Precision::Unspecified, Into::into)
                .into(),
            drop_path,
            image_size,
            train_samples,
            validation_samples,
        }
    }
}
