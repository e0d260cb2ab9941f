//! Catalog entries, their content known, as a job carries them.

use temper_core::{
    Digest, Violations,
    catalog::{
        Commit, Counts, Draw, File, Layout, Normalisation, PinnedDataset, PinnedModel, Scripted,
        Source,
    },
};

use super::Parse;
use crate::v1::{self, dataset};

impl Parse for PinnedModel {
    type Message = v1::Model;

    fn parse(message: &v1::Model, field: &str, violations: &mut Violations) -> Option<Self> {
        let name = |part: &str| format!("{field}.{part}");
        let normalisation = normalisation(message, field, violations);
        let sha256 = optional::<Digest>(&message.sha256, &name("sha256"), violations);
        let commit = optional::<Commit>(&message.commit, &name("commit"), violations);
        let known = !(message.sha256.is_empty() && message.commit.is_empty());
        violations.require(known, &name("sha256"), || {
            "must be there, or a commit".to_owned()
        });
        let scripted = message.scripted.map(|scripted| Scripted {
            image_size: scripted.image_size,
            features: scripted.features,
        });
        known.then_some(())?;
        Some(Self {
            name: message.name.clone(),
            architecture: message.architecture.clone(),
            repository: message.repository.clone(),
            commit,
            file: message.file.clone(),
            sha256,
            prefix: message.prefix.clone(),
            normalisation: normalisation?,
            scripted,
        })
    }
}

fn normalisation(
    message: &v1::Model,
    field: &str,
    violations: &mut Violations,
) -> Option<Normalisation> {
    let name = |part: &str| format!("{field}.{part}");
    let mean = three(&message.mean, &name("mean"), violations);
    let std = three(&message.std, &name("std"), violations);
    let normalisation = Normalisation {
        mean: mean?,
        std: std?,
    };
    let objections = normalisation.objections();
    for &(part, description) in &objections {
        violations.add(name(part), description);
    }
    objections.is_empty().then_some(normalisation)
}

fn three(values: &[f64], field: &str, violations: &mut Violations) -> Option<[f64; 3]> {
    violations.take(
        field,
        values.try_into().map_err(|_| "must have three values"),
    )
}

/// Text that may be empty: then there is none of it, as where it cannot be read, which is noted.
fn optional<T: std::str::FromStr<Err: ToString>>(
    text: &str,
    field: &str,
    violations: &mut Violations,
) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let parsed = text.parse::<T>().map_err(|error| error.to_string());
    violations.take(field, parsed)
}

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

impl From<&PinnedModel> for v1::Model {
    fn from(model: &PinnedModel) -> Self {
        Self {
            name: model.name.clone(),
            architecture: model.architecture.clone(),
            repository: model.repository.clone(),
            file: model.file.clone(),
            sha256: text(model.sha256.as_ref()),
            mean: model.normalisation.mean.into(),
            std: model.normalisation.std.into(),
            commit: text(model.commit.as_ref()),
            prefix: model.prefix.clone(),
            scripted: model.scripted.map(|scripted| v1::Scripted {
                image_size: scripted.image_size,
                features: scripted.features,
            }),
        }
    }
}

impl Parse for PinnedDataset {
    type Message = v1::Dataset;

    fn parse(message: &v1::Dataset, field: &str, violations: &mut Violations) -> Option<Self> {
        let source = match &message.source {
            None => {
                violations.add(field, "must be one of idx, parquet, folder");
                None
            }
            Some(dataset::Source::Idx(idx)) => parse_idx(idx, &format!("{field}.idx"), violations),
            Some(dataset::Source::Parquet(parquet)) => Some(parse_parquet(
                parquet,
                &format!("{field}.parquet"),
                violations,
            )),
            Some(dataset::Source::Folder(folder)) => {
                parse_folder(folder, &format!("{field}.folder"), violations)
            }
        };
        let counts = message.counts.unwrap_or_default();
        let draw = message.draw.unwrap_or_default();
        Some(Self {
            name: message.name.clone(),
            classes: message.classes,
            counts: Counts {
                train: counts.train,
                validation: counts.validation,
                test: counts.test,
                all: counts.all,
            },
            draw: Draw {
                train: draw.train,
                validation: draw.validation,
                test: draw.test,
            },
            source: source?,
        })
    }
}

fn parse_idx(idx: &v1::IdxSource, field: &str, violations: &mut Violations) -> Option<Source> {
    let commit = parse_commit(&idx.commit, field, violations);
    let mut file = |message: &Option<v1::DataFile>, name: &str| {
        File::parse_required(message.as_ref(), &format!("{field}.{name}"), violations)
    };
    Some(Source::Idx {
        repository: idx.repository.clone(),
        train_images: file(&idx.train_images, "train_images")?,
        train_labels: file(&idx.train_labels, "train_labels")?,
        test_images: file(&idx.test_images, "test_images")?,
        test_labels: file(&idx.test_labels, "test_labels")?,
        revision: commit,
    })
}

fn parse_parquet(parquet: &v1::ParquetSource, field: &str, violations: &mut Violations) -> Source {
    let commit = parse_commit(&parquet.commit, field, violations);
    let mut files = |messages: &[v1::DataFile], name: &str| {
        File::parse_all(messages, &format!("{field}.{name}"), violations)
    };
    Source::Parquet {
        repository: parquet.repository.clone(),
        train: files(&parquet.train, "train"),
        validation: files(&parquet.validation, "validation"),
        test: files(&parquet.test, "test"),
        image_column: parquet.image_column.clone(),
        label_column: parquet.label_column.clone(),
        revision: commit,
    }
}

fn parse_folder(
    folder: &v1::FolderSource,
    field: &str,
    violations: &mut Violations,
) -> Option<Source> {
    let manifest = violations.take(&format!("{field}.manifest"), folder.manifest.parse());
    let layout = if folder.layout.is_empty() {
        Some(Layout::default())
    } else {
        let known = Layout::ALL
            .into_iter()
            .find(|layout| layout.name() == folder.layout);
        let unknown = || format!("`{}` is no layout that is known here", folder.layout);
        violations.take(&format!("{field}.layout"), known.ok_or_else(unknown))
    };
    Some(Source::Folder {
        path: folder.path.clone(),
        layout: layout?,
        list: (!folder.list.is_empty()).then(|| folder.list.clone()),
        manifest: Some(manifest?),
    })
}

/// The commit as a revision.
fn parse_commit(text: &str, field: &str, violations: &mut Violations) -> Option<String> {
    optional::<Commit>(text, &format!("{field}.commit"), violations).map(String::from)
}

impl Parse for File {
    type Message = v1::DataFile;

    fn parse(message: &v1::DataFile, field: &str, violations: &mut Violations) -> Option<Self> {
        let sha256 = optional(&message.sha256, &format!("{field}.sha256"), violations);
        Some(Self {
            path: message.path.clone(),
            sha256,
        })
    }
}

impl From<&File> for v1::DataFile {
    fn from(file: &File) -> Self {
        Self {
            path: file.path.clone(),
            sha256: text(file.sha256.as_ref()),
        }
    }
}

impl From<&PinnedDataset> for v1::Dataset {
    fn from(value: &PinnedDataset) -> Self {
        let Counts {
            train,
            validation,
            test,
            all,
        } = value.counts;
        let draw = value.draw;
        Self {
            name: value.name.clone(),
            classes: value.classes,
            source: Some((&value.source).into()),
            counts: Some(v1::SplitCounts {
                train,
                validation,
                test,
                all,
            }),
            draw: Some(v1::SplitCounts {
                train: draw.train,
                validation: draw.validation,
                test: draw.test,
                all: None,
            }),
        }
    }
}

impl From<&Source> for dataset::Source {
    fn from(source: &Source) -> Self {
        let files = |files: &[File]| files.iter().map(Into::into).collect();
        let commit = text(source.commit().as_ref());
        match source {
            Source::Idx {
                repository,
                train_images,
                train_labels,
                test_images,
                test_labels,
                ..
            } => Self::Idx(v1::IdxSource {
                repository: repository.clone(),
                train_images: Some(train_images.into()),
                train_labels: Some(train_labels.into()),
                test_images: Some(test_images.into()),
                test_labels: Some(test_labels.into()),
                commit,
            }),
            Source::Parquet {
                repository,
                train,
                validation,
                test,
                image_column,
                label_column,
                ..
            } => Self::Parquet(v1::ParquetSource {
                repository: repository.clone(),
                train: files(train),
                validation: files(validation),
                test: files(test),
                image_column: image_column.clone(),
                label_column: label_column.clone(),
                commit,
            }),
            Source::Folder {
                path,
                layout,
                list,
                manifest,
            } => Self::Folder(v1::FolderSource {
                path: path.clone(),
                manifest: text(manifest.as_ref()),
                layout: layout.name().to_owned(),
                list: list.clone().unwrap_or_default(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use temper_core::catalog::Catalog;

    use super::*;

    #[test]
    fn normalisation_that_makes_no_numbers_is_refused_by_field() {
        let model = Catalog::built_in().unwrap().model("mobilenetv2").unwrap();
        let mut message = v1::Model::from(&model);
        message.mean[0] = f64::NAN;
        message.std[2] = 0.0;
        let mut violations = Violations::default();
        assert_eq!(PinnedModel::parse(&message, "model", &mut violations), None);
        let violations = violations.as_slice().iter();
        let fields: Vec<_> = violations.map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["model.mean", "model.std"]);
    }
}
