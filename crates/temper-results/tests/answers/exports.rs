use anyhow::{Context as _, Result};
use temper_proto::v1::{
    ExportFormat, ExportInfo, ExportKind, ExportRequest, export_response::Part,
};

use crate::system::{Client, System, fields};

async fn exported(
    client: &mut Client,
    sweep: &str,
    kind: ExportKind,
    format: ExportFormat,
) -> Result<(ExportInfo, Vec<u8>)> {
    let request = ExportRequest {
        sweep: sweep.to_owned(),
        kind: kind.into(),
        format: format.into(),
    };
    let mut stream = client.export(request).await?.into_inner();
    let (mut info, mut bytes) = (None, Vec::new());
    while let Some(message) = stream.message().await? {
        match message.part.context("an empty message")? {
            Part::Info(first) => info = Some(first),
            Part::Chunk(chunk) => bytes.extend(chunk),
        }
    }
    Ok((info.context("nothing was said of the export")?, bytes))
}

#[tokio::test]
async fn every_kind_has_its_rows_in_every_format_and_the_same_provenance() -> Result<()> {
    let mut system = System::start(|spec| spec.seed == 0).await?;
    for (kind, rows) in [
        // 4 trainings of 2 models, of standard one for both targets; and 32 evaluations.
        (ExportKind::Jobs, 2 * 7 * 2 + 32),
        // An epoch of a training that two cells share is there for both.
        (ExportKind::Epochs, 16 * 4),
        (ExportKind::Evaluations, 8 * 5 + 8 * 9),
        (ExportKind::Curves, 32),
    ] {
        let sweep = system.sweep.clone();
        let (info, csv) = exported(&mut system.client, &sweep, kind, ExportFormat::Csv).await?;
        let text = String::from_utf8(csv)?;
        let mut lines = text.lines();
        assert_eq!(
            lines.next().context("empty")?,
            format!("# {}", info.provenance)
        );
        let columns = lines.next().context("no columns")?.split(',').count();
        assert_eq!(lines.count(), rows, "{kind:?}");
        let provenance: serde_json::Value = serde_json::from_str(&info.provenance)?;
        assert_eq!(provenance["sweep"], sweep);
        assert_eq!(provenance["spec"]["models"][0], "vit-base");
        assert_eq!(provenance["seeds"], serde_json::json!([0, 1]));
        assert_eq!(provenance["ran"][0]["device"], "cuda:0");
        let inputs = provenance["inputs"].as_array().context("no inputs")?;
        assert!(
            inputs
                .iter()
                .all(|input| input["digest"].as_str().is_some_and(|d| d.len() == 64))
        );
        assert_eq!(inputs.len(), 3);
        assert_eq!(
            provenance["result_versions"].as_array().map(Vec::len),
            Some(1)
        );

        let (_, json) = exported(&mut system.client, &sweep, kind, ExportFormat::Json).await?;
        let lines: Vec<serde_json::Value> = String::from_utf8(json)?
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        assert_eq!(lines[0]["provenance"]["spec"], provenance["spec"]);
        assert_eq!(lines.len(), rows + 1);
        assert_eq!(
            lines[1].as_object().map(serde_json::Map::len),
            Some(columns)
        );

        let (info, parquet) =
            exported(&mut system.client, &sweep, kind, ExportFormat::Parquet).await?;
        assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
        assert!(info.file_name.ends_with(".parquet"), "{}", info.file_name);
    }
    Ok(())
}

#[tokio::test]
async fn evaluations_are_exported_as_they_were_counted() -> Result<()> {
    let mut system = System::start(|_| true).await?;
    let sweep = system.sweep.clone();
    let (_, json) = exported(
        &mut system.client,
        &sweep,
        ExportKind::Evaluations,
        ExportFormat::Json,
    )
    .await?;
    let text = String::from_utf8(json)?;
    let row: serde_json::Value = serde_json::from_str(text.lines().nth(2).context("no row")?)?;
    assert_eq!(row["model"], "vit-base");
    assert_eq!(row["schedule"], "standard");
    assert_eq!(row["epsilon"], "1/255");
    assert_eq!(
        (row["correct"].as_u64(), row["samples"].as_u64()),
        (Some(88), Some(100))
    );
    assert_eq!(row["accuracy"], 0.88);
    Ok(())
}

#[tokio::test]
async fn export_of_nothing_known_is_refused() -> Result<()> {
    let mut system = System::start(|_| false).await?;
    let request = ExportRequest {
        sweep: "sweeps/x".into(),
        kind: 0,
        format: 77,
    };
    let refused = system.client.export(request).await.unwrap_err();
    assert_eq!(fields(&refused), ["sweep", "kind", "format"]);
    let nowhere = format!("sweeps/{}", uuid::Uuid::nil());
    let refused = exported(
        &mut system.client,
        &nowhere,
        ExportKind::Jobs,
        ExportFormat::Csv,
    )
    .await;
    let status = refused.unwrap_err().downcast::<tonic::Status>()?;
    assert_eq!(status.code(), tonic::Code::NotFound);
    Ok(())
}
