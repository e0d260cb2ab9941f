//! A real Slurm of one node: munge, its controller and its node daemon, all in a folder of its own.

use std::{
    fs::{self, File, Permissions},
    num::NonZeroUsize,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use temper_e2e::{processes::free_address, signal};
use temper_service::access::Secret;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

const PAUSE: Duration = Duration::from_millis(200);
/// Longest that a daemon may take to come up.
const PATIENCE: Duration = Duration::from_mins(1);
const PACKAGES: &str =
    "apt-get install --no-install-recommends munge slurmctld slurmd slurm-client";

/// The daemons, in the order of their start. Dropping them kills them.
pub struct Cluster {
    folder: PathBuf,
    daemons: Vec<Child>,
}

impl Cluster {
    /// Starts it below `folder`, and waits until its node is idle.
    ///
    /// # Errors
    /// When a daemon is missing, or does not come up.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("slurm");
        for name in ["", "state", "spool"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let key = folder.join("munge.key");
        fs::write(&key, Secret::generate()?.reveal())?;
        fs::set_permissions(&key, Permissions::from_mode(0o400))?;
        fs::write(folder.join("slurm.conf"), configuration(&folder)?)?;
        let mut cluster = Self {
            folder,
            daemons: Vec::new(),
        };
        let at = |name: &str| cluster.folder.join(name).display().to_string();
        let munged = [
            "--foreground".to_owned(),
            "--force".to_owned(),
            format!("--key-file={}", at("munge.key")),
            format!("--socket={}", at("munge.socket")),
            format!("--pid-file={}", at("munged.pid")),
            format!("--log-file={}", at("munged.log")),
            format!("--seed-file={}", at("munge.seed")),
        ];
        cluster.daemon("munged", &munged)?;
        cluster
            .wait("munge's socket", async |cluster| {
                cluster.folder.join("munge.socket").exists()
            })
            .await?;
        cluster.daemon("slurmctld", &["-D".to_owned()])?;
        cluster.daemon("slurmd", &["-D".to_owned()])?;
        cluster
            .wait("an idle node", async |cluster| {
                let state = cluster.run("sinfo", &["--noheader", "--format=%T"]).await;
                state.is_ok_and(|state| state.trim() == "idle")
            })
            .await?;
        Ok(cluster)
    }

    fn daemon(&mut self, name: &str, arguments: &[String]) -> anyhow::Result<()> {
        let log = File::create(self.folder.join(format!("{name}.out")))?;
        let child = Command::new(name)
            .args(arguments)
            .env("SLURM_CONF", self.folder.join("slurm.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        let missing = || format!("cannot start {name}: as root, {PACKAGES}");
        self.daemons.push(child.with_context(missing)?);
        Ok(())
    }

    async fn wait(
        &mut self,
        what: &str,
        is_there: impl AsyncFn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !is_there(self).await {
            let mut ended = self.daemons.iter_mut().map(Child::try_wait);
            let one_ended = ended.any(|ended| !matches!(ended, Ok(None)));
            if one_ended || Instant::now() > end {
                bail!(
                    "Slurm does not come up, there is not {what}: {}",
                    self.logs()
                );
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// What a command of Slurm's prints.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command(program);
        command.args(arguments);
        output(command).await
    }

    /// A command of Slurm's, for this cluster.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("SLURM_CONF", self.folder.join("slurm.conf"))
            .current_dir(&self.folder);
        command
    }

    /// What the daemons said.
    #[must_use]
    pub fn logs(&self) -> String {
        let logs = ["munged", "slurmctld", "slurmd"].map(|name| {
            let log = self.folder.join(format!("{name}.out"));
            fs::read_to_string(log).unwrap_or_default()
        });
        logs.join("\n")
    }

    /// Stops the daemons, the last first.
    ///
    /// # Errors
    /// When one has ended before.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for daemon in self.daemons.iter_mut().rev() {
            signal(
                "TERM",
                daemon.id().context("a daemon of Slurm's has ended")?,
            )?;
            daemon.wait().await?;
        }
        Ok(())
    }
}

/// What a command prints.
///
/// # Errors
/// When it fails.
pub async fn output(mut command: Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Without accounting, control groups and what else a node for one test need not have.
fn configuration(folder: &Path) -> anyhow::Result<String> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let host = host.trim().split('.').next().unwrap_or("localhost");
    let (controller, node) = (free_address()?.port(), free_address()?.port());
    let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let folder = folder.display();
    // A job that is queued again starts once the credentials of its first life have expired.
    Ok(format!(
        "ClusterName=temper\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
         AuthType=auth/munge\nCredType=cred/munge\n\
         AuthInfo=socket={folder}/munge.socket,cred_expire=5\n\
         SlurmctldPort={controller}\nSlurmdPort={node}\n\
         SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdPidFile={folder}/slurmd.pid\n\
         StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSwitchType=switch/none\n\
         MpiDefault=none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_Core\n\
         ReturnToService=2\nSchedulerParameters=batch_sched_delay=0,sched_interval=2\n\
         AccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none\n\
         NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN\n\
         PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
    ))
}
