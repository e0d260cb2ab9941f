//! Files that are missing or damaged: the job fails and names the file, the sweep goes on.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use temper_e2e::{Options, System, checkout, sweeps};
use temper_proto::v1::{CellMatch, FailureClass, JobKind, JobState, SweepState};

const WEIGHTS: &str = "models/temper/mobilenetv2_100.deep_sort/model.safetensors";

/// A mirror with weights cut short, an operator's root with an unreadable image, and a catalog
/// that names these and a file which is nowhere.
fn prepare(folder: &Path) -> anyhow::Result<Options> {
    let original = checkout().join(".local/mirror");
    let whole = fs::read(original.join(WEIGHTS))?;
    let torn = folder.join("mirror/models/torn/weights/model.safetensors");
    fs::create_dir_all(torn.parent().context("no folder")?)?;
    fs::write(&torn, &whole[..whole.len() / 2])?;
    for split in ["train", "test"] {
        for class in ["bright", "dark"] {
            let images = folder.join("roots/pair").join(split).join(class);
            fs::create_dir_all(&images)?;
            for i in 0..24_u8 {
                let shade = if class == "dark" { 40 } else { 200 } + i;
                image::RgbImage::from_pixel(40, 40, image::Rgb([shade; 3]))
                    .save(images.join(format!("{i}.png")))?;
            }
        }
    }
    let broken = folder.join("roots/broken");
    copy_folder(&folder.join("roots/pair"), &broken)?;
    // A name and a length like an image's, and nothing of one inside.
    for i in 0..24 {
        fs::write(
            broken.join(format!("train/dark/{i}.png")),
            "no image at all",
        )?;
    }
    let catalog = folder.join("catalog.toml");
    fs::write(&catalog, catalog_text(&torn)?)?;
    Ok(Options {
        catalog: Some(catalog),
        mirrors: vec![original, folder.join("mirror")],
        roots: vec![folder.join("roots")],
        ..Options::default()
    })
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The torn weights carry their own digest, so that it is their content that fails.
fn catalog_text(torn: &Path) -> anyhow::Result<String> {
    let digest = std::process::Command::new("sha256sum").arg(torn).output()?;
    let digest = String::from_utf8(digest.stdout)?;
    let digest = digest.split(' ').next().unwrap_or_default();
    let model = |name: &str, repository: &str, digest: &str| {
        format!(
            "[models.{name}]\narchitecture = \"mobilenetv2_100\"\nrepository = \"{repository}\"\n\
             file = \"model.safetensors\"\nsha256 = \"{digest}\"\nlicence = \"MIT\"\n\
             normalisation = {{ mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }}\n"
        )
    };
    let folder = |name: &str| {
        format!(
            "[datasets.{name}]\nclasses = 2\nlicence = \"none\"\n\
             source = {{ format = \"folder\", path = \"{name}\" }}\n"
        )
    };
    Ok([
        model("torn", "torn/weights", digest),
        model("nowhere", "nobody/nothing", &"0".repeat(64)),
        folder("pair"),
        folder("broken"),
    ]
    .join("\n"))
}

#[tokio::test]
async fn damaged_inputs_fail_their_own_jobs_by_name_and_no_others() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut system = System::start(prepare(folder.path())?).await?;
    let mut request = sweeps::tiny([0]);
    let spec = sweeps::spec(&mut request);
    spec.models = ["mobilenetv2", "torn", "nowhere"]
        .map(str::to_owned)
        .to_vec();
    spec.datasets = ["pair", "broken"].map(str::to_owned).to_vec();
    // One failure more, and the sweep would be paused.
    spec.exclude.push(CellMatch {
        models: vec!["nowhere".to_owned()],
        datasets: vec!["broken".to_owned()],
        ..CellMatch::default()
    });
    spec.data.get_or_insert_default().train_samples = 20;
    spec.data.get_or_insert_default().validation_samples = Some(8);
    let sweep = system.submit(request).await?;
    let ended = system.finish(&sweep.name).await?;
    ensure!(
        ended.state() == SweepState::Failed && ended.cells_succeeded == 1,
        "{ended:?}"
    );

    for job in system.jobs_of(&sweep.name).await? {
        let sound = job.title.contains("mobilenetv2") && job.title.contains("pair");
        if sound {
            ensure!(job.state() == JobState::Succeeded, "{job:?}");
        } else if job.kind() == JobKind::Evaluate {
            ensure!(job.state() == JobState::Cancelled, "{job:?}");
        } else {
            ensure!(job.state() == JobState::Failed, "{job:?}");
            let [attempt] = job.attempts.as_slice() else {
                anyhow::bail!("{job:?}")
            };
            ensure!(
                attempt.failure_class() == FailureClass::BadInput,
                "{attempt:?}"
            );
            // Where both inputs are damaged, whichever is read first is blamed.
            let causes = [
                ("torn", "torn/weights/model.safetensors"),
                ("nowhere", "nobody/nothing/model.safetensors"),
                ("broken", "train/dark/"),
            ];
            let named = causes
                .iter()
                .any(|(input, file)| job.title.contains(input) && attempt.message.contains(file));
            ensure!(named, "{}: {}", job.title, attempt.message);
        }
    }
    system.stop().await
}
