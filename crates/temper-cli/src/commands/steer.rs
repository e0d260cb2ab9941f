//! `temper pause`, `resume`, `update`, `extend`, `delete`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use temper_core::placement::DeviceKind;
use temper_proto::{
    SweepName,
    v1::{
        self, DeleteSweepRequest, ExtendSweepRequest, PauseSweepRequest, Placement,
        ResumeSweepRequest, Sweep, UpdateSweepRequest,
    },
};
use temper_service::arguments;

use super::submit::counts;
use crate::{
    connection::{self, Coordinator},
    names, output,
};

/// Which sweep, and where it is.
#[derive(clap::Args)]
struct Target {
    /// The sweep
    #[arg(value_parser = names::sweep)]
    sweep: SweepName,
    /// Only if nobody has changed it since: the etag of `temper sweeps --json`
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

impl Target {
    fn name(&self) -> String {
        self.sweep.to_string()
    }

    /// Prints the sweep as it is now.
    fn show(&self, sweep: &Sweep) -> anyhow::Result<()> {
        if self.json {
            return output::print_json(sweep);
        }
        let (state, counts) = (output::sweep_state(sweep.state), counts(sweep));
        output::line(format_args!("{}: {state}, {counts}", sweep.name));
        Ok(())
    }
}

/// `temper pause`.
#[derive(clap::Args)]
pub struct Pause {
    #[command(flatten)]
    target: Target,
    /// Why, for whoever wonders
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Pause {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.target.coordinator.sweeps().await?;
        let request = PauseSweepRequest {
            name: self.target.name(),
            etag: self.target.etag.clone(),
            reason: self.reason,
        };
        let paused = connection::call(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.pause_sweep(request).await }
        });
        self.target.show(&paused.await?)
    }
}

/// `temper resume`.
#[derive(clap::Args)]
pub struct Resume {
    #[command(flatten)]
    target: Target,
}

impl Resume {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.target.coordinator.sweeps().await?;
        let request = ResumeSweepRequest {
            name: self.target.name(),
            etag: self.target.etag.clone(),
        };
        let resumed = connection::call(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.resume_sweep(request).await }
        });
        self.target.show(&resumed.await?)
    }
}

/// `temper update`.
#[derive(clap::Args)]
#[group(id = "change", required = true, multiple = true, args = [
    "display_name", "priority", "labels", "no_labels", "parallel_jobs", "device_kind",
    "worker_labels", "memory_bytes", "anywhere"
])]
pub struct Update {
    #[command(flatten)]
    target: Target,
    /// What people call it
    #[arg(long = "name", value_name = "NAME")]
    display_name: Option<String>,
    /// Sweeps with a higher one go first; from -1000 to 1000
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i32>,
    /// A label; those given replace all there were
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = arguments::label)]
    labels: Vec<(String, String)>,
    /// Take all labels away
    #[arg(long, conflicts_with = "labels")]
    no_labels: bool,
    /// Jobs of it that may run at a time; 0: any number
    #[arg(long, value_name = "N")]
    parallel_jobs: Option<u16>,
    /// The kind of device that its jobs want; what is asked of workers is replaced as a whole
    #[arg(long, value_parser = PossibleValuesParser::new(DeviceKind::ALL.map(DeviceKind::as_str)))]
    device_kind: Option<String>,
    /// A label that its workers must bear; may be given several times
    #[arg(long = "worker-label", value_name = "KEY=VALUE", value_parser = arguments::label)]
    worker_labels: Vec<(String, String)>,
    /// Memory of the device that must be free, in bytes, until it is known what its jobs take
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1..))]
    memory_bytes: Option<i64>,
    /// Ask nothing of workers any more
    #[arg(long, conflicts_with_all = ["device_kind", "worker_labels", "memory_bytes"])]
    anywhere: bool,
}

impl Update {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut paths = Vec::new();
        let mut change = |name: &str, is_said: bool| {
            if is_said {
                paths.push(name.to_owned());
            }
        };
        change("display_name", self.display_name.is_some());
        change("priority", self.priority.is_some());
        change("labels", self.no_labels || !self.labels.is_empty());
        change("parallel_jobs", self.parallel_jobs.is_some());
        let kind = self.device_kind.as_deref().and_then(DeviceKind::from_name);
        let placement = Placement {
            device_kind: kind
                .map_or(v1::DeviceKind::Unspecified, v1::DeviceKind::from)
                .into(),
            worker_labels: self.worker_labels.into_iter().collect(),
            memory_bytes: self.memory_bytes.unwrap_or_default(),
        };
        change(
            "placement",
            self.anywhere || placement != Placement::default(),
        );
        let request = UpdateSweepRequest {
            sweep: Some(Sweep {
                name: self.target.name(),
                etag: self.target.etag.clone(),
                display_name: self.display_name.unwrap_or_default(),
                priority: self.priority.unwrap_or_default(),
                labels: self.labels.into_iter().collect(),
                parallel_jobs: self.parallel_jobs.unwrap_or_default().into(),
                placement: Some(placement),
                ..Sweep::default()
            }),
            update_mask: Some(prost_types::FieldMask { paths }),
        };
        let client = self.target.coordinator.sweeps().await?;
        let updated = connection::call(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.update_sweep(request).await }
        });
        self.target.show(&updated.await?)
    }
}

/// `temper extend`.
#[derive(clap::Args)]
pub struct Extend {
    #[command(flatten)]
    target: Target,
    /// An `ExtendSweepRequest` in protobuf JSON with what is to be added: `{"seeds": [3, 4]}`
    #[arg(value_name = "MORE.json")]
    more: PathBuf,
    /// Check and count, but change nothing
    #[arg(long)]
    validate_only: bool,
}

impl Extend {
    pub async fn run(self) -> anyhow::Result<()> {
        let path = self.more.display();
        let text = std::fs::read_to_string(&self.more);
        let text = text.with_context(|| format!("cannot read {path}"))?;
        let more: ExtendSweepRequest =
            temper_proto::from_json(&text).with_context(|| path.to_string())?;
        let request = ExtendSweepRequest {
            name: self.target.name(),
            etag: self.target.etag.clone(),
            validate_only: self.validate_only || more.validate_only,
            ..more
        };
        let client = self.target.coordinator.sweeps().await?;
        let extended = connection::call(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.extend_sweep(request).await }
        });
        let sweep = extended.await?;
        // As JSON the sweep holds its preview.
        if self.target.json || !request.validate_only {
            return self.target.show(&sweep);
        }
        output::line(format_args!("valid: {} in all", counts(&sweep)));
        sweep.preview.iter().for_each(output::preview);
        Ok(())
    }
}

/// `temper delete`.
#[derive(clap::Args)]
pub struct Delete {
    #[command(flatten)]
    target: Target,
}

impl Delete {
    pub async fn run(self) -> anyhow::Result<()> {
        // Not repeated by itself: a second try would find nothing, and say so.
        let mut client = self.target.coordinator.sweeps().await?;
        let request = DeleteSweepRequest {
            name: self.target.name(),
            etag: self.target.etag.clone(),
        };
        let deleted = client.delete_sweep(request).await;
        deleted.map_err(|status| connection::failure(&status))?;
        let name = self.target.name();
        if self.target.json {
            // The answer is an empty message, which would not tell what is gone.
            output::line(json!({ "name": name, "deleted": true }));
        } else {
            output::line(format_args!("{name}: deleted"));
        }
        Ok(())
    }
}
