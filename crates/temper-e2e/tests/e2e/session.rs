//! The session in `docs/grpcurl.md`, with the real grpcurl. `UPDATE_DOCS=1` writes what it prints into the
//! document.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::ensure;
use temper_core::Digest;
use temper_e2e::{Options, System, checkout};
use temper_service::client::token_in;
use tokio::process::Command;

const WEIGHTS: &str = "models/temper/mobilenetv2_100.deep_sort/model.safetensors";
/// Between the outputs of two commands.
const MARK: &str = "\u{1e}";

/// A command of the session, and what the document says that it prints.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    output: Vec<String>,
}

/// The document's commands, in order.
fn steps(document: &str) -> Vec<Step> {
    let (mut steps, mut is_session): (Vec<Step>, bool) = (Vec::new(), false);
    for line in document.lines() {
        if line.starts_with("```") {
            is_session = line == "```console";
        } else if is_session && let Some(command) = line.strip_prefix("$ ") {
            let command = command.to_owned();
            let output = Vec::new();
            steps.push(Step { command, output });
        } else if is_session && let Some(step) = steps.last_mut() {
            match line.strip_prefix("> ") {
                Some(more) => write!(step.command, "\n{more}").unwrap_or_default(),
                None => step.output.push(line.to_owned()),
            }
        }
    }
    steps
}

/// The document with these outputs.
fn written(document: &str, outputs: &[String]) -> String {
    let (mut text, mut outputs, mut is_session) = (String::new(), outputs.iter(), false);
    let mut pending: Option<&String> = None;
    for line in document.lines() {
        let ends = line.starts_with("```") || line.starts_with("$ ");
        if is_session
            && ends
            && let Some(output) = pending.take()
        {
            text.push_str(output);
        }
        if line.starts_with("```") {
            is_session = line == "```console";
        } else if is_session && line.starts_with("$ ") {
            pending = outputs.next();
        } else if is_session && !line.starts_with("> ") {
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// A line without what differs from run to run: words that hold a digit.
fn shape(line: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-.:+".contains(c);
    let mut shape = String::new();
    let mut word = String::new();
    for c in line.chars().chain(['\n']) {
        if is_word(c) {
            word.push(c);
            continue;
        }
        let is_number = word.chars().any(|c| c.is_ascii_digit());
        shape.push_str(if is_number { "#" } else { &word });
        word.clear();
        shape.push(c);
    }
    shape.trim().to_owned()
}

/// Whether lines are as the document has them, in which `…` stands for any.
fn fits(documented: &[String], printed: &[String]) -> bool {
    match documented.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, others)| shape(first) == shape(line) && fits(rest, others)),
    }
}

/// A catalog with a model whose weights are nowhere, and the mirror in which they are looked for.
fn prepare(folder: &Path) -> anyhow::Result<Options> {
    let digest = Digest::of(&fs::read(checkout().join(".local/mirror").join(WEIGHTS))?);
    let catalog = folder.join("catalog.toml");
    let entry = format!(
        "[models.lab-net]\narchitecture = \"mobilenetv2_100\"\nrepository = \"lab/net\"\n\
         file = \"model.safetensors\"\nsha256 = \"{digest}\"\nlicence = \"MIT\"\n\
         normalisation = {{ mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }}\n"
    );
    fs::write(&catalog, entry)?;
    let mirror = folder.join("mirror");
    fs::create_dir_all(&mirror)?;
    Ok(Options {
        catalog: Some(catalog),
        mirrors: vec![checkout().join(".local/mirror"), mirror],
        ..Options::default()
    })
}

/// Runs the whole session in one shell, and gives what each command printed.
async fn run(system: &System, folder: &Path, steps: &[Step]) -> anyhow::Result<Vec<String>> {
    // Errors are printed where they happen, as a person sees them.
    let mut script = "exec 2>&1\n".to_owned();
    for Step { command, .. } in steps {
        write!(script, "{command}\nprintf '{MARK}'\n")?;
    }
    let host = |url: &str| url.trim_start_matches("http://").to_owned();
    let tools = checkout().join(".local/tools/bin");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH")?);
    let output = Command::new("sh")
        .args(["-c", &script])
        .env("PATH", path)
        .env("HOST", host(&system.coordinator))
        .env("RESULTS", host(&system.results))
        .env("TOKEN", token_in(&system.token())?.reveal())
        .env("MIRROR", folder.join("mirror"))
        .env("WEIGHTS", checkout().join(".local/mirror").join(WEIGHTS))
        .kill_on_drop(true)
        .output()
        .await?;
    let output = String::from_utf8(output.stdout)?;
    let mut outputs: Vec<String> = output.split(MARK).map(str::to_owned).collect();
    outputs.pop();
    Ok(outputs)
}

#[tokio::test]
async fn session_with_grpcurl_prints_what_the_document_says() -> anyhow::Result<()> {
    let path = checkout().join("docs/grpcurl.md");
    let document = fs::read_to_string(&path)?;
    let steps = steps(&document);
    ensure!(steps.len() > 20, "{steps:?}");
    let folder = tempfile::tempdir()?;
    let mut system = System::start(prepare(folder.path())?).await?;
    let outputs = run(&system, folder.path(), &steps).await?;
    ensure!(outputs.len() == steps.len(), "{outputs:?}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, written(&document, &outputs))?;
    } else {
        for (step, output) in steps.iter().zip(&outputs) {
            let lines: Vec<String> = output.lines().map(str::to_owned).collect();
            ensure!(
                fits(&step.output, &lines),
                "{}\nprinted\n{output}\nand not\n{}",
                step.command,
                step.output.join("\n")
            );
        }
    }
    system.stop().await
}

#[test]
fn numbers_and_names_may_differ_and_nothing_else() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let documented = lines("{\n  \"name\": \"jobs/12\",\n…\n  \"state\": \"QUEUED\"\n}");
    let fits = |text: &str| fits(&documented, &lines(text));
    assert!(fits(
        "{\n  \"name\": \"jobs/3\",\n  \"state\": \"QUEUED\"\n}"
    ));
    assert!(fits(
        "{\n  \"name\": \"jobs/3\",\n  \"more\": 1,\n  \"state\": \"QUEUED\"\n}"
    ));
    assert!(!fits(
        "{\n  \"name\": \"jobs/3\",\n  \"state\": \"LEASED\"\n}"
    ));
    assert!(!fits(
        "{\n  \"title\": \"jobs/3\",\n  \"state\": \"QUEUED\"\n}"
    ));
    assert!(!fits(
        "{\n  \"name\": \"jobs/3\",\n  \"state\": \"QUEUED\"\n}\n{"
    ));
    let document = "a\n```console\n$ one\n> more\nold\n$ two\n```\nb\n```sh\n$ none\n```\n";
    let found: Vec<_> = steps(document)
        .into_iter()
        .map(|step| step.command)
        .collect();
    assert_eq!(found, ["one\nmore", "two"]);
    let new = written(document, &["1\n2\n".to_owned(), String::new()]);
    assert_eq!(
        new,
        "a\n```console\n$ one\n> more\n1\n2\n$ two\n```\nb\n```sh\n$ none\n```\n"
    );
}
