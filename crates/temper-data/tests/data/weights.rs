//! Weights: found, verified, and how it is said when they are not.

use std::fs;

use temper_core::{
    Digest,
    catalog::{Catalog, Normalisation, PinnedModel},
};
use temper_data::{DataError, Sources};

use crate::support::{assert_matches, bad_input, mirrored, mirrors, write};

fn model(bytes: &[u8]) -> PinnedModel {
    PinnedModel {
        name: "made".to_owned(),
        architecture: "none".to_owned(),
        repository: "owner/made".to_owned(),
        commit: None,
        file: "model.safetensors".to_owned(),
        sha256: Some(Digest::of(bytes)),
        prefix: String::new(),
        normalisation: Normalisation {
            mean: [0.5; 3],
            std: [0.5; 3],
        },
        scripted: None,
    }
}

const FILE: &str = "models/owner/made/model.safetensors";

#[test]
fn bundled_weights_are_found_and_as_pinned() -> anyhow::Result<()> {
    let (sources, catalog) = (Sources::new(mirrors(), vec![]), Catalog::built_in()?);
    for name in ["mobilenetv2", "efficientnet-lite0"] {
        let model = catalog.model(name)?;
        let path = mirrored(&format!("models/{}/{}", model.repository, model.file))?;
        assert_eq!(sources.weights(&model)?, path);
    }
    Ok(())
}

#[test]
fn missing_weights_are_named_with_all_roots_searched() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let roots = [folder.path().join("first"), folder.path().join("second")];
    fs::create_dir(&roots[1])?;
    let error = bad_input(
        Sources::new(roots.to_vec(), vec![]).weights(&model(b"")),
        FILE,
    );
    assert_matches!(&error, DataError::NotFound { .. });
    let message = error.to_string();
    for part in ["first`, which is no folder", "second`", "TEMPER_MIRROR"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let message = bad_input(Sources::new(vec![], vec![]).weights(&model(b"")), FILE).to_string();
    assert!(message.contains("none is configured"), "{message}");
    Ok(())
}

#[test]
fn truncated_weights_are_refused_with_both_digests() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write(&folder.path().join(FILE), b"whole fi")?;
    let sources = Sources::new(vec![folder.path().to_owned()], vec![]);
    let error = bad_input(sources.weights(&model(b"whole file")), FILE);
    assert_matches!(&error, DataError::DigestMismatch { .. });
    for digest in [Digest::of(b"whole fi"), Digest::of(b"whole file")] {
        assert!(error.to_string().contains(&digest.to_string()), "{error}");
    }
    Ok(())
}

#[test]
fn whole_copy_in_a_later_mirror_is_used() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let roots = ["a", "b"].map(|name| folder.path().join(name));
    write(&roots[0].join(FILE), b"torn")?;
    write(&roots[1].join(FILE), b"whole file")?;
    let sources = Sources::new(roots.to_vec(), vec![]);
    assert_eq!(sources.weights(&model(b"whole file"))?, roots[1].join(FILE));
    Ok(())
}

#[test]
fn paths_that_leave_the_mirror_are_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write(&folder.path().join("secret"), b"secret")?;
    let mirror = folder.path().join("mirror");
    write(&mirror.join(FILE), b"weights")?;
    let absolute = folder.path().join("secret").display().to_string();
    let sources = Sources::new(vec![mirror], vec![]);
    for file in ["../../../../secret", absolute.as_str(), ""] {
        let model = PinnedModel {
            file: file.to_owned(),
            ..model(b"secret")
        };
        let error = bad_input(sources.weights(&model), file);
        assert_matches!(error, DataError::UnsafePath(_));
    }
    let model = PinnedModel {
        repository: "../..".to_owned(),
        ..model(b"secret")
    };
    assert_matches!(sources.weights(&model), Err(DataError::UnsafePath(_)));
    Ok(())
}

#[cfg(unix)]
#[test]
fn folder_or_pipe_in_place_of_weights_is_refused_without_waiting() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let sources = Sources::new(vec![root.path().to_owned()], vec![]);
    let path = root.path().join(FILE);
    fs::create_dir_all(&path)?;
    assert_matches!(
        bad_input(sources.weights(&model(b"")), FILE),
        DataError::Layout { .. }
    );
    fs::remove_dir(&path)?;
    let made = std::process::Command::new("mkfifo").arg(&path).status()?;
    assert!(made.success());
    assert_matches!(
        bad_input(sources.weights(&model(b"")), FILE),
        DataError::Layout { .. }
    );
    Ok(())
}
