//! Made-up answers of a sweep, for tests of the page and for its picture in the docs.

use temper_core::{
    published,
    statistics::{compare, summarise},
};
use temper_proto::v1::{
    CompareWithPublishedResponse, CurveCell, CurveGroup, DiagnoseTransferResponse, EpochMetrics,
    Estimate, EstimatePoint, GroupKey, Job, JobCounts, JobKind, JobSpec, Model, PairedComparison,
    PublishedComparison, PublishedRow, PublishedSummary, ScheduleComparison, SensitivityGrid,
    SensitivityPoint, Sweep, SweepInput, SweepInputKind, SweepSpec, SweepState, TrainSpec,
    TransferCorrelation, TransferDiagnosis, job_spec::Kind,
};

use super::Answers;

const MODELS: [&str; 3] = ["vit-base", "convnext-base", "resnet50"];
const DATASETS: [&str; 3] = ["cub200", "stanford-cars", "fgvc-aircraft"];
const SCHEDULES: [&str; 5] = [
    "standard",
    "fixed",
    "two-hinge",
    "linear",
    "two-hinge(1/2,1)",
];
const TARGETS: [u32; 2] = [4, 8];
const SEEDS: u32 = 3;
const EPOCHS: u32 = 50;
/// Hinges of the schedules, as shares of the run.
const HINGES: [Option<(f64, f64)>; 5] = [
    None,
    Some((0.0, 0.0)),
    Some((0.25, 0.75)),
    Some((0.0, 1.0)),
    Some((0.5, 1.0)),
];

/// One training: its places on the axes.
#[derive(Clone, Copy)]
struct Run {
    model: usize,
    dataset: usize,
    schedule: usize,
    target: u32,
    seed: u32,
}

/// A sweep of three models, three datasets, five schedules, two targets and three seeds, of which some
/// cells of one model are missing.
pub fn answers() -> Answers {
    let by_axis = |model: bool| {
        let names = if model { MODELS } else { DATASETS };
        let of = |run: &Run, i| {
            if model {
                run.model == i
            } else {
                run.dataset == i
            }
        };
        let groups = each_setting().flat_map(|(target, schedule)| {
            names.into_iter().enumerate().map(move |(i, name)| {
                let runs = runs()
                    .filter(|run| of(run, i) && (run.target, run.schedule) == (target, schedule));
                let group = group(&runs.collect::<Vec<_>>());
                let own = |is: bool| if is { name.to_owned() } else { String::new() };
                CurveGroup {
                    model: own(model),
                    dataset: own(!model),
                    points: Vec::new(),
                    ..group
                }
            })
        });
        groups.collect()
    };
    Answers {
        sweep: sweep(),
        groups: groups(),
        by_model: by_axis(true),
        by_dataset: by_axis(false),
        comparisons: TARGETS.map(comparison).into(),
        transfer: transfer(),
        grids: grids(),
        published: beside_published(),
        jobs: runs().map(job).collect(),
        provenance: r#"{"result_versions": [4], "exported_by": "temper 0.1.0",
            "ran": [{"worker": "made-up", "device": "cuda:0"}]}"#
            .to_owned(),
    }
}

/// The same sweep before anything has finished.
pub fn unfinished() -> Answers {
    let nothing = |group: CurveGroup| CurveGroup {
        count: 0,
        clean_accuracy: None,
        robust_accuracy: None,
        expected_robustness: None,
        points: Vec::new(),
        ..group
    };
    Answers {
        sweep: sweep(),
        groups: groups().into_iter().map(nothing).collect(),
        ..Default::default()
    }
}

fn sweep() -> Sweep {
    Sweep {
        name: "sweeps/00000000-0000-4000-8000-000000000000".into(),
        display_name: "Schedules on three models (made up)".into(),
        state: SweepState::Running.into(),
        owner: "lab".into(),
        cells: 270,
        cells_succeeded: 266,
        jobs: Some(JobCounts {
            succeeded: 492,
            queued: 4,
            ..Default::default()
        }),
        spec: Some(SweepSpec {
            models: MODELS.map(Into::into).into(),
            datasets: DATASETS.map(Into::into).into(),
            target_epsilons: TARGETS.map(|target| format!("{target}/255")).into(),
            seeds: (0..u64::from(SEEDS)).collect(),
            ..Default::default()
        }),
        inputs: vec![SweepInput {
            kind: SweepInputKind::Model.into(),
            name: "vit-base".into(),
            place: "timm/vit_base_patch16_224.augreg_in1k".into(),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            digest: String::new(),
        }],
        ..Default::default()
    }
}

fn each_setting() -> impl Iterator<Item = (u32, usize)> {
    let targets = TARGETS.into_iter();
    targets.flat_map(|target| (0..SCHEDULES.len()).map(move |schedule| (target, schedule)))
}

fn runs() -> impl Iterator<Item = Run> {
    let places = (0..MODELS.len()).flat_map(|m| (0..DATASETS.len()).map(move |d| (m, d)));
    places.flat_map(|(model, dataset)| {
        each_setting().flat_map(move |(target, schedule)| {
            (0..SEEDS).map(move |seed| Run {
                model,
                dataset,
                schedule,
                target,
                seed,
            })
        })
    })
}

impl Run {
    /// A share of a percent or two that differs from run to run.
    fn jitter(self) -> f64 {
        let place = self.model * 7 + self.dataset * 13 + self.schedule * 29;
        let place = u32::try_from(place).unwrap() + self.seed * 31 + self.target;
        (f64::from(place) * 1.7).sin() * 0.02
    }

    fn is_missing(self) -> bool {
        let last = (self.model, self.dataset, self.target) == (2, 2, 8);
        last && (self.schedule == 4 || (self.schedule == 3 && self.seed == 2))
    }

    fn clean(self) -> f64 {
        let base = [0.88, 0.90, 0.80][self.model] - [0.0, 0.04, 0.12][self.dataset];
        let lost = [0.0, 0.42, 0.08, 0.14, 0.11][self.schedule];
        let strength = f64::from(self.target) / 4.0;
        (base - lost * strength.sqrt() + self.jitter()).max(0.02)
    }

    fn accuracy(self, strength: u32) -> f64 {
        let decay = [0.9, 0.14, 0.17, 0.16, 0.19][self.schedule];
        self.clean() * (-decay * f64::from(strength)).exp()
    }

    fn expected(self) -> f64 {
        let pair = |i| f64::midpoint(self.accuracy(i), self.accuracy(i + 1));
        (0..self.target).map(pair).sum::<f64>() / f64::from(self.target)
    }

    fn delay(self) -> u32 {
        let schedule = [1, 9, 2, 3, 2][self.schedule];
        schedule * self.target / 4 + self.seed + u32::try_from(self.dataset).unwrap()
    }

    fn validation(self, epoch: u32) -> f64 {
        let since = f64::from(epoch) - f64::from(self.delay());
        0.005 + self.clean() / (1.0 + (-(since - 6.0) / 2.5).exp())
    }

    fn cell(self) -> CurveCell {
        CurveCell {
            model: MODELS[self.model].into(),
            dataset: DATASETS[self.dataset].into(),
            schedule: SCHEDULES[self.schedule].into(),
            target_epsilon: format!("{}/255", self.target),
            seed: self.seed.into(),
            ..Default::default()
        }
    }

    fn name(self) -> String {
        let same = |other: &Run| {
            let place = |run: &Run| (run.model, run.dataset, run.schedule, run.target, run.seed);
            place(other) == place(&self)
        };
        format!("jobs/{}", runs().position(|run| same(&run)).unwrap() + 1)
    }
}

/// A mean by the house's own statistics.
fn estimate(values: &[f64]) -> Option<Estimate> {
    let summary = summarise(values)?;
    Some(Estimate {
        mean: summary.mean,
        standard_deviation: summary.standard_deviation,
        lower: summary.interval.map(|interval| interval.lower),
        upper: summary.interval.map(|interval| interval.upper),
        count: u32::try_from(summary.count).unwrap(),
    })
}

fn groups() -> Vec<CurveGroup> {
    let all: Vec<_> = runs().collect();
    all.chunks(SEEDS as usize).map(group).collect()
}

fn group(runs: &[Run]) -> CurveGroup {
    let done: Vec<_> = runs.iter().filter(|run| !run.is_missing()).collect();
    let over = |value: &dyn Fn(&Run) -> f64| {
        let values: Vec<_> = done.iter().map(|run| value(run)).collect();
        estimate(&values)
    };
    let cell = runs[0].cell();
    let points = (0..=runs[0].target).filter_map(|strength| {
        let accuracy = Some(over(&|run| run.accuracy(strength))?);
        let epsilon = format!("{strength}/255");
        Some(EstimatePoint { epsilon, accuracy })
    });
    CurveGroup {
        model: cell.model,
        dataset: cell.dataset,
        schedule: cell.schedule,
        target_epsilon: cell.target_epsilon,
        count: u32::try_from(done.len()).unwrap(),
        expected_count: u32::try_from(runs.len()).unwrap(),
        clean_accuracy: over(&|run| run.clean()),
        robust_accuracy: over(&|run| run.accuracy(run.target)),
        expected_robustness: over(&|run| run.expected()),
        points: points.collect(),
        ..Default::default()
    }
}

fn target_key(target: &str) -> GroupKey {
    GroupKey {
        target_epsilon: target.to_owned(),
        hyperparameters: Some(0),
        evaluation: Some(0),
        ..Default::default()
    }
}

fn comparison(target: u32) -> ScheduleComparison {
    let of = |schedule| runs().filter(move |run| (run.target, run.schedule) == (target, schedule));
    let paired = |value: fn(Run) -> f64| {
        let pairs: Vec<_> = of(1)
            .zip(of(2))
            .map(|(a, b)| (value(a), value(b)))
            .collect();
        let paired = compare(&pairs).unwrap();
        Some(PairedComparison {
            count: 27,
            baseline_mean: paired.baseline,
            candidate_mean: paired.candidate,
            mean_difference: paired.difference.mean,
            lower: paired.difference.interval.map(|interval| interval.lower),
            upper: paired.difference.interval.map(|interval| interval.upper),
            t: paired.test.map(|test| test.t),
            p_value: paired.test.map(|test| test.p),
            wins: u32::try_from(paired.wins).unwrap(),
            ties: u32::try_from(paired.ties).unwrap(),
            losses: u32::try_from(paired.losses).unwrap(),
            ..Default::default()
        })
    };
    ScheduleComparison {
        key: Some(target_key(&format!("{target}/255"))),
        clean_accuracy: paired(Run::clean),
        robust_accuracy: paired(|run| run.accuracy(run.target)),
        expected_robustness: paired(Run::expected),
        count: 27,
        expected_count: 27,
        ..Default::default()
    }
}

fn transfer() -> DiagnoseTransferResponse {
    let diagnoses = runs().map(|run| TransferDiagnosis {
        cell: Some(run.cell()),
        train_job: run.name(),
        epochs_done: EPOCHS,
        epochs: EPOCHS,
        onset_epoch: (0..EPOCHS).find(|epoch| run.validation(*epoch) > 0.05),
        delay_epochs: (0..EPOCHS).find(|epoch| run.validation(*epoch) > 0.05),
        clean_accuracy: (!run.is_missing()).then(|| run.clean()),
        suboptimal: (!run.is_missing() && run.schedule > 0).then_some(true),
        failed: (!run.is_missing()).then_some(run.clean() < 0.05),
        ..Default::default()
    });
    let correlations = TARGETS.map(|target| TransferCorrelation {
        key: Some(target_key(&format!("{target}/255"))),
        count: 108,
        clean_accuracy: Some(-0.93),
        ..Default::default()
    });
    DiagnoseTransferResponse {
        diagnoses: diagnoses.collect(),
        correlations: correlations.into(),
    }
}

fn grids() -> Vec<SensitivityGrid> {
    let groups = groups();
    let of_place = groups.chunks(SCHEDULES.len());
    let grids = of_place.map(|groups| {
        let points = groups.iter().zip(HINGES).filter_map(|(group, hinges)| {
            let (start, end) = hinges?;
            Some(SensitivityPoint {
                start,
                end,
                expected_robustness: group.expected_robustness,
                count: group.count,
                expected_count: group.expected_count,
                ..Default::default()
            })
        });
        SensitivityGrid {
            key: Some(super::looks::place(&groups[0])),
            points: points.collect(),
        }
    });
    grids.collect()
}

/// The published rows of the sweep's models and datasets, and the means over all that was published.
fn beside_published() -> CompareWithPublishedResponse {
    let rows = published::built_in().unwrap();
    let comparisons = groups().into_iter().filter_map(|group| {
        let row = rows.iter().find(|row| {
            let names = (&group.model, &group.dataset, &group.schedule);
            let of = (&row.model, &row.dataset, &row.schedule.to_string());
            names == of && row.target.to_string() == group.target_epsilon
        })?;
        Some(PublishedComparison {
            published: Some(PublishedRow {
                model: row.model.clone(),
                dataset: row.dataset.clone(),
                schedule: row.schedule.to_string(),
                target_epsilon: row.target.to_string(),
                clean_accuracy: row.figures.clean,
                robust_accuracy: row.figures.robust,
                expected_robustness: row.figures.expected,
                anomalous: row.is_anomalous(),
            }),
            clean_accuracy: group.clean_accuracy,
            robust_accuracy: group.robust_accuracy,
            expected_robustness: group.expected_robustness,
            count: group.count,
            expected_count: group.expected_count,
            ..Default::default()
        })
    });
    let key = |row: &published::Published| (row.target, row.schedule.to_string());
    let summaries = super::looks::by_key(&rows, |row| key(row));
    let summaries = summaries.into_iter().map(|((target, schedule), rows)| {
        let over = |value: fn(&published::Published) -> f64| {
            let values: Vec<_> = rows.iter().map(|row| value(row)).collect();
            estimate(&values)
        };
        PublishedSummary {
            key: Some(GroupKey {
                schedule,
                target_epsilon: target.to_string(),
                ..Default::default()
            }),
            clean_accuracy: over(|row| row.figures.clean),
            robust_accuracy: over(|row| row.figures.robust),
            expected_robustness: over(|row| row.figures.expected),
            count: u32::try_from(rows.len()).unwrap(),
            anomalous_count: u32::try_from(rows.iter().filter(|row| row.is_anomalous()).count())
                .unwrap(),
        }
    });
    CompareWithPublishedResponse {
        comparisons: comparisons.collect(),
        unpublished_count: 54,
        summaries: summaries.collect(),
    }
}

fn job(run: Run) -> Job {
    let cell = run.cell();
    let epochs = (0..EPOCHS).map(|epoch| EpochMetrics {
        epoch,
        validation_accuracy: Some(run.validation(epoch)),
        ..Default::default()
    });
    let spec = TrainSpec {
        model: Some(Model {
            name: cell.model,
            ..Default::default()
        }),
        dataset: Some(temper_proto::v1::Dataset {
            name: cell.dataset,
            ..Default::default()
        }),
        ..Default::default()
    };
    Job {
        name: run.name(),
        kind: JobKind::Train.into(),
        epoch_metrics: epochs.collect(),
        spec: Some(JobSpec {
            kind: Some(Kind::Train(spec)),
        }),
        device_seconds: 2400.0 + f64::from(run.target) * 60.0,
        wasted_share: if run.seed == 1 { 0.1 } else { 0.0 },
        ..Default::default()
    }
}
