//! From workers' results to what people look at: a sweep over the paper's models, datasets and schedules,
//! through real processes, whose workers yield made-up curves. What was published stands beside it.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use temper_core::{Digest, published};
use temper_e2e::{
    Options, System,
    chaos::truth::{self, State},
    program,
};
use temper_proto::{
    from_json,
    v1::{self, SweepState, job_spec::Kind},
};

const EPOCHS: u32 = 2;
const CELLS: usize = 6 * 5 * 2 * 2;
/// The means of the paper's Tables 1 and 2, in percent: clean, robust, expected.
const MEANS: [(&str, &str, [&str; 3]); 4] = [
    ("fixed", "4/255", ["38.15", "20.61", "29.20"]),
    ("two-hinge", "4/255", ["76.18", "36.04", "56.59"]),
    ("fixed", "8/255", ["19.40", "8.17", "13.29"]),
    ("two-hinge", "8/255", ["69.35", "21.71", "44.47"]),
];

/// Entries that pin the paper's names to content that nobody looks at.
fn catalog(models: &BTreeSet<String>, datasets: &BTreeSet<String>) -> String {
    let mut text = String::new();
    for name in models {
        let digest = Digest::of(name.as_bytes());
        let _ = write!(
            text,
            "[models.{name}]\narchitecture = \"mobilenetv2_100\"\nrepository = \"lab/{name}\"\n\
             file = \"model.safetensors\"\nsha256 = \"{digest}\"\nlicence = \"MIT\"\n\
             normalisation = {{ mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }}\n"
        );
    }
    for name in datasets {
        let file = |split: &str| {
            let digest = Digest::of(format!("{name} {split}").as_bytes());
            format!("{split} = [{{ path = \"{split}.parquet\", sha256 = \"{digest}\" }}]")
        };
        let _ = write!(
            text,
            "[datasets.{name}]\nclasses = 10\nlicence = \"MIT\"\n\
             counts = {{ train = 600, test = 100 }}\ndraw = {{ validation = 60 }}\n\
             [datasets.{name}.source]\nformat = \"parquet\"\nrepository = \"lab/{name}\"\n{}\n{}\n\
             image_column = \"image\"\nlabel_column = \"label\"\n",
            file("train"),
            file("test")
        );
    }
    text
}

/// The paper's comparison, with one seed.
fn sweep(models: &BTreeSet<String>, datasets: &BTreeSet<String>) -> anyhow::Result<v1::SweepSpec> {
    let spec = serde_json::json!({
        "models": models, "datasets": datasets,
        "schedules": [{"fixed": {}}, {"twoHinge": {}}], "targetEpsilons": ["4/255", "8/255"],
        "seeds": [0], "training": {"epochs": EPOCHS}, "evaluations": [{"samples": 100}],
    });
    Ok(from_json(&spec.to_string())?)
}

/// A worker that only waits, under the arguments that `temper up` gives `temper-worker`.
fn worker(folder: &Path) -> anyhow::Result<Options> {
    let path = folder.join("worker");
    let program = program("chaos-worker")?;
    let script = format!(
        "#!/bin/sh\nshift\nexec '{}' --epoch-millis 1 \"$@\"\n",
        program.display()
    );
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(Options {
        worker: Some(path),
        workers: 3,
        ..Options::default()
    })
}

/// What the evaluation's worker counted, by the keys of the jobs.
fn counted(evaluation: &v1::Job, training: &v1::Job) -> anyhow::Result<Vec<v1::CurvePoint>> {
    let spec = evaluation.spec.as_ref().and_then(|spec| spec.kind.as_ref());
    let Some(Kind::Evaluate(spec)) = spec else {
        anyhow::bail!("no evaluation: {evaluation:?}");
    };
    let grid = spec.grid.iter().map(|epsilon| epsilon.parse());
    let grid: Vec<_> = grid.collect::<Result<_, _>>()?;
    let model = State::after(&training.key.parse()?, EPOCHS).model();
    let points = truth::points(&evaluation.key.parse()?, &model, &grid, spec.samples);
    let points = points.into_iter().map(|point| v1::CurvePoint {
        epsilon: point.epsilon.to_string(),
        correct: point.correct,
        samples: point.samples,
    });
    Ok(points.collect())
}

/// Every curve, as the results service tells it, is what its worker handed to Complete.
async fn curves_are_what_workers_counted(system: &System, sweep: &str) -> anyhow::Result<()> {
    let jobs = system.jobs_of(sweep).await?;
    let jobs: HashMap<_, _> = jobs.iter().map(|job| (job.name.as_str(), job)).collect();
    let request = v1::ListCurvesRequest {
        parent: sweep.to_owned(),
        page_size: 1000,
        ..v1::ListCurvesRequest::default()
    };
    let curves = system.curves().await?.list_curves(request).await?;
    let curves = curves.into_inner().curves;
    ensure!(curves.len() == CELLS, "{} curves", curves.len());
    for cell in curves {
        let curve = cell.curve.context("not measured")?;
        let evaluation = jobs.get(curve.job.as_str()).context("no such job")?;
        let training = jobs.get(evaluation.train_job.as_str());
        let counted = counted(evaluation, training.context("no such training")?)?;
        ensure!(
            counted.len() > 4 && curve.points == counted,
            "{curve:?} and not {counted:?}"
        );
        let shares = counted.iter().map(|point| f64::from(point.correct) / 100.0);
        let shares: Vec<_> = shares.collect();
        // [P]'s formula on an even grid: the trapezoidal rule, over its length.
        let areas = shares
            .windows(2)
            .map(|pair| f64::midpoint(pair[0], pair[1]));
        let intervals = u32::try_from(shares.len() - 1)?;
        let area = areas.sum::<f64>() / f64::from(intervals);
        ensure!(
            (curve.expected_robustness - area).abs() < 1e-12,
            "{curve:?} and not {area}"
        );
    }
    Ok(())
}

/// The exported counts, over all cells, are those of the curves.
async fn exports_are_whole(system: &System, sweep: &str) -> anyhow::Result<()> {
    for (kind, rows) in [
        ("jobs", 2 * CELLS),
        ("epochs", CELLS * EPOCHS as usize),
        ("evaluations", CELLS / 2 * (5 + 9)),
        ("curves", CELLS),
    ] {
        let path = system.file(&format!("{kind}.csv"));
        let file = path.display().to_string();
        let arguments = ["results", "export", sweep, "--kind", kind, "-o", &file];
        let (done, said) = system.temper(&arguments).await?;
        ensure!(done, "{said}");
        let text = fs::read_to_string(&path)?;
        // Provenance and heads come before the rows.
        ensure!(text.lines().count() == 2 + rows, "{kind}: {text}");
    }
    Ok(())
}

/// An export that nobody reads ends as if by SIGPIPE, and complains of nothing.
async fn unread_export_is_no_error(system: &System, sweep: &str) -> anyhow::Result<()> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut command = system.command(&["results", "export", sweep])?;
    let running = command.stdout(writer).stderr(Stdio::piped()).spawn()?;
    drop(command);
    let ended = running.wait_with_output().await?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.code() == Some(141), "{ended:?}");
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

/// The page has its figures (none of the training: these workers validate nothing), and the published means
/// beside what was measured.
async fn report_is_whole(system: &System, sweep: &str) -> anyhow::Result<()> {
    let (path, plots) = (system.file("report.html"), system.file("plots"));
    let (file, folder) = (path.display().to_string(), plots.display().to_string());
    let arguments = ["report", sweep, "-o", &file, "--plots", &folder];
    let (done, said) = system.temper(&arguments).await?;
    ensure!(done, "{said}");
    let page = fs::read_to_string(&path)?;
    for figure in ["curves", "targets", "means"] {
        ensure!(page.contains(&format!(" id=\"{figure}\"")), "no {figure}");
        let svgs = fs::read_dir(&plots)?.filter_map(Result::ok);
        let of_figure = svgs.filter(|svg| svg.file_name().to_string_lossy().starts_with(figure));
        ensure!(of_figure.count() > 0, "no plot of {figure}");
    }
    for (schedule, target, means) in MEANS {
        let target = target.replace('/', "&#x2f;");
        let cells = means.map(|mean| format!("<td class=\"number\">{mean}</td>"));
        let row = format!(
            "<td class=\"\">{schedule}</td><td class=\"\">{target}</td>{}",
            cells.concat()
        );
        ensure!(page.contains(&row), "{row}");
    }
    ensure!(page.matches('†').count() > 2, "anomalous rows are marked");
    Ok(())
}

/// What the command prints for programs pairs every model and dataset.
async fn comparison_pairs_every_cell(system: &System, sweep: &str) -> anyhow::Result<()> {
    let (done, said) = system.temper(&["results", sweep, "--json"]).await?;
    ensure!(done, "{said}");
    let answer: serde_json::Value = serde_json::from_str(&said)?;
    let comparisons = answer["comparisons"].as_array().context("no comparisons")?;
    let overall: Vec<_> = comparisons
        .iter()
        .filter(|comparison| comparison["count"] == 30)
        .collect();
    ensure!(overall.len() == 2, "{comparisons:?}");
    Ok(())
}

#[tokio::test]
async fn results_of_workers_come_out_as_curves_exports_and_a_report() -> anyhow::Result<()> {
    let rows = published::built_in()?;
    let models: BTreeSet<_> = rows.iter().map(|row| row.model.clone()).collect();
    let datasets: BTreeSet<_> = rows.iter().map(|row| row.dataset.clone()).collect();
    let folder = tempfile::tempdir()?;
    let overlay = folder.path().join("catalog.toml");
    fs::write(&overlay, catalog(&models, &datasets))?;
    let options = worker(folder.path())?;
    let mut system = System::start(Options {
        catalog: Some(overlay),
        ..options
    })
    .await?;
    let request = v1::CreateSweepRequest {
        sweep: Some(v1::Sweep {
            spec: Some(sweep(&models, &datasets)?),
            ..v1::Sweep::default()
        }),
        ..v1::CreateSweepRequest::default()
    };
    let sweep = system.submit(request).await?.name;
    let finished = system.finish(&sweep).await?;
    ensure!(finished.state() == SweepState::Succeeded, "{finished:?}");
    curves_are_what_workers_counted(&system, &sweep).await?;
    exports_are_whole(&system, &sweep).await?;
    unread_export_is_no_error(&system, &sweep).await?;
    comparison_pairs_every_cell(&system, &sweep).await?;
    report_is_whole(&system, &sweep).await?;
    system.stop().await
}
