//! Catalog entries with their digests, as a job carries them.

use temper_core::{
    Digest, Violations,
    catalog::{File, Normalisation, PinnedDataset, PinnedModel, Source},
};

use super::Parse;
use crate::v1::{self, dataset};

impl Parse for PinnedModel {
    type Message = v1::Model;

    fn parse(message: &v1::Model, field: &str, violations: &mut Violations) -> Option<Self> {
        let mean = three(&message.mean, &format!("{field}.mean"), violations);
        let std = three(&message.std, &format!("{field}.std"), violations);
        let sha256 = violations.take(&format!("{field}.sha256"), message.sha256.parse());
        Some(Self {
            name: message.name.clone(),
            architecture: message.architecture.clone(),
            repository: message.repository.clone(),
            file: message.file.clone(),
            sha256: sha256?,
            normalisation: Normalisation {
                mean: mean?,
                std: std?,
            },
        })
    }
}

fn three(values: &[f64], field: &str, violations: &mut Violations) -> Option<[f64; 3]> {
    violations.take(
        field,
        values.try_into().map_err(|_| "must have three values"),
    )
}

impl From<&PinnedModel> for v1::Model {
    fn from(model: &PinnedModel) -> Self {
        Self {
            name: model.name.clone(),
            architecture: model.architecture.clone(),
            repository: model.repository.clone(),
            file: model.file.clone(),
            sha256: model.sha256.to_string(),
            mean: model.normalisation.mean.into(),
            std: model.normalisation.std.into(),
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
            Some(dataset::Source::Parquet(parquet)) => {
                let field = format!("{field}.parquet");
                Some(Source::Parquet {
                    repository: parquet.repository.clone(),
                    train: File::parse_all(&parquet.train, &format!("{field}.train"), violations),
                    test: File::parse_all(&parquet.test, &format!("{field}.test"), violations),
                    image_column: parquet.image_column.clone(),
                    label_column: parquet.label_column.clone(),
                })
            }
            Some(dataset::Source::Folder(folder)) => {
                let manifest = parse_digest(&folder.manifest, field, violations)?;
                Some(Source::Folder {
                    path: folder.path.clone(),
                    manifest: Some(manifest),
                })
            }
        };
        Some(Self {
            name: message.name.clone(),
            classes: message.classes,
            source: source?,
        })
    }
}

fn parse_idx(idx: &v1::IdxSource, field: &str, violations: &mut Violations) -> Option<Source> {
    let mut file = |message: &Option<v1::DataFile>, name: &str| {
        File::parse_required(message.as_ref(), &format!("{field}.{name}"), violations)
    };
    Some(Source::Idx {
        repository: idx.repository.clone(),
        train_images: file(&idx.train_images, "train_images")?,
        train_labels: file(&idx.train_labels, "train_labels")?,
        test_images: file(&idx.test_images, "test_images")?,
        test_labels: file(&idx.test_labels, "test_labels")?,
    })
}

fn parse_digest(text: &str, field: &str, violations: &mut Violations) -> Option<Digest> {
    violations.take(field, text.parse())
}

impl Parse for File {
    type Message = v1::DataFile;

    fn parse(message: &v1::DataFile, field: &str, violations: &mut Violations) -> Option<Self> {
        let sha256 = parse_digest(&message.sha256, &format!("{field}.sha256"), violations)?;
        Some(Self {
            path: message.path.clone(),
            sha256: Some(sha256),
        })
    }
}

impl From<&File> for v1::DataFile {
    fn from(file: &File) -> Self {
        let sha256 = file
            .sha256
            .map(|digest| digest.to_string())
            .unwrap_or_default();
        Self {
            path: file.path.clone(),
            sha256,
        }
    }
}

impl From<&PinnedDataset> for v1::Dataset {
    fn from(value: &PinnedDataset) -> Self {
        let files = |files: &[File]| files.iter().map(Into::into).collect();
        let source = match &value.source {
            Source::Idx {
                repository,
                train_images,
                train_labels,
                test_images,
                test_labels,
            } => dataset::Source::Idx(v1::IdxSource {
                repository: repository.clone(),
                train_images: Some(train_images.into()),
                train_labels: Some(train_labels.into()),
                test_images: Some(test_images.into()),
                test_labels: Some(test_labels.into()),
            }),
            Source::Parquet {
                repository,
                train,
                test,
                image_column,
                label_column,
            } => dataset::Source::Parquet(v1::ParquetSource {
                repository: repository.clone(),
                train: files(train),
                test: files(test),
                image_column: image_column.clone(),
                label_column: label_column.clone(),
            }),
            Source::Folder { path, manifest } => dataset::Source::Folder(v1::FolderSource {
                path: path.clone(),
                manifest: manifest
                    .map(|digest| digest.to_string())
                    .unwrap_or_default(),
            }),
        };
        Self {
            name: value.name.clone(),
            classes: value.classes,
            source: Some(source),
        }
    }
}
