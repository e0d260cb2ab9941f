use serde_json::{Value, json};
use temper_proto::{JsonError, SweepName, to_json, v1};
use temper_store::Provenance;
use uuid::Uuid;

use super::table::written;

/// Where an export comes from, as one line of JSON. The spec is in the form that `temper submit` takes.
pub fn provenance(sweep: Uuid, of: &Provenance) -> Result<String, JsonError> {
    let spec = to_json(&v1::SweepSpec::from(&of.spec))?;
    let spec: Value = serde_json::from_str(&spec).unwrap_or(Value::String(spec));
    let ran = of.ran.iter().map(
        |ran| json!({ "worker": ran.worker, "device": ran.device, "jobs_succeeded": ran.jobs }),
    );
    let value = json!({
        "sweep": SweepName(sweep).to_string(),
        "display_name": of.display_name,
        "owner": of.owner,
        "labels": of.labels,
        "created_at": written(&of.created_at),
        "spec": spec,
        "seeds": of.spec.seeds,
        "inputs": of.inputs,
        "result_versions": of.result_versions,
        "ran": ran.collect::<Vec<_>>(),
        "exported_at": written(&of.read_at),
        "exported_by": concat!("temper ", env!("CARGO_PKG_VERSION")),
    });
    Ok(value.to_string())
}
