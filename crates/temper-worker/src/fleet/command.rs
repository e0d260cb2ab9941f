//! How a child is called: as its parent was, with a device, a name and a share of its own.

use std::{
    ffi::{OsStr, OsString},
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

/// What a child has of its own, with and without a value.
const OWN: [&str; 6] = [
    "--devices",
    "--device",
    "--name",
    "--share",
    "--wall-time",
    "--metrics",
];
const OWN_FLAGS: [&str; 3] = [
    "--walltime-from-slurm",
    "--requeue-on-signal",
    "--stop-on-stdin-eof",
];
/// The same, where the environment says it.
const OWN_VARIABLES: [&str; 7] = [
    "TEMPER_DEVICES",
    "TEMPER_DEVICE",
    "TEMPER_WORKER_NAME",
    "TEMPER_SHARE",
    "TEMPER_WALL_TIME",
    "TEMPER_WALLTIME_FROM_SLURM",
    "TEMPER_REQUEUE_ON_SIGNAL",
];

/// How this program was called, to be called again.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub path: PathBuf,
    /// What was said to it, less its own name.
    pub arguments: Vec<OsString>,
}

/// A child's own.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub device: String,
    pub name: String,
    /// Workers that share the cores.
    pub share: usize,
    /// Where it tells metrics.
    pub metrics: Option<SocketAddr>,
}

impl Program {
    /// A child's command; `time_left`: how long it may stay.
    pub(crate) fn child(&self, own: &Own, time_left: Option<Duration>) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(inherited(&self.arguments))
            .args(["--device", &own.device, "--name", &own.name])
            .args(["--share", &own.share.to_string()])
            .args(["--in-fleet", "--stop-on-stdin-eof"])
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            // In a group of its own: Ctrl-C in the terminal is for the parent, which passes it on.
            .process_group(0);
        if let Some(time) = time_left {
            command.arg(format!("--wall-time={}s", time.as_secs().max(1)));
        }
        if let Some(address) = own.metrics {
            command.arg(format!("--metrics={address}"));
        }
        for name in OWN_VARIABLES {
            command.env_remove(name);
        }
        // The driver's numbers are CUDA's then; and libgomp's threads, which spin while they wait, do
        // not starve the other workers.
        for (name, value) in [
            ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
            ("OMP_WAIT_POLICY", "passive"),
        ] {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        command
    }
}

/// What a child is told as its parent was. An option's value never begins with `--`: the parent would
/// not have been started with such a one.
fn inherited(arguments: &[OsString]) -> Vec<&OsStr> {
    let (mut kept, mut is_value) = (Vec::new(), false);
    for argument in arguments {
        let text = argument.to_string_lossy();
        if std::mem::take(&mut is_value) || OWN_FLAGS.contains(&&*text) {
            continue;
        }
        let (name, has_value) = match text.split_once('=') {
            Some((name, _)) => (name, true),
            None => (&*text, false),
        };
        if OWN.contains(&name) {
            is_value = !has_value;
        } else {
            kept.push(argument.as_os_str());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn child_is_called_as_its_parent_less_what_is_its_own() {
        let said = "--log info run --devices cpu,cpu --coordinator http://lab:7070 --name=lab \
            --share 2 --label devices=2 --walltime-from-slurm --requeue-on-signal --wall-time=4h \
            --stop-on-stdin-eof --grace 20s --metrics 127.0.0.1:9100";
        let program = Program {
            path: "temper-worker".into(),
            arguments: said.split_whitespace().map(OsString::from).collect(),
        };
        let own = Own {
            device: "cuda:1".to_owned(),
            name: "lab-1".to_owned(),
            share: 4,
            metrics: Some(([127, 0, 0, 1], 9101).into()),
        };
        let command = program.child(&own, Some(Duration::from_secs(90)));
        let arguments: Vec<_> = command.as_std().get_args().collect();
        let expected = "--log info run --coordinator http://lab:7070 --label devices=2 --grace 20s \
            --device cuda:1 --name lab-1 --share 4 --in-fleet --stop-on-stdin-eof --wall-time=90s \
            --metrics=127.0.0.1:9101";
        assert_eq!(arguments, expected.split_whitespace().collect::<Vec<_>>());
        let removed = command
            .as_std()
            .get_envs()
            .filter(|(_, value)| value.is_none());
        assert_eq!(removed.count(), OWN_VARIABLES.len());
    }
}
