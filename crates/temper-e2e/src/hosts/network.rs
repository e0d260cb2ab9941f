//! Hosts that are network namespaces, each on a port of one switch. The switch is in a namespace of its own,
//! too: nothing is seen of them from the machine itself, and runs do not meet.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, ensure};
use tokio::process::Command;
use uuid::Uuid;

/// What namespaces of ours are called, before the process that made them.
const NAME: &str = "temper";
/// The first three numbers of all addresses.
const NET: [u8; 3] = [10, 77, 0];
/// Programs that root's path may lack.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];
/// The slow link where the kernel can delay and lose: a far site behind a poor line.
const FAR: &[&str] = &[
    "netem", "delay", "150ms", "50ms", "loss", "2%", "rate", "256kbit",
];
/// Where it can only hold back: so slow that what a worker says to lease a job takes a tenth of a second,
/// and to speak TLS at all half a second.
const NARROW: &[&str] = &["tbf", "rate", "64kbit", "burst", "4kb", "latency", "2s"];

/// The switch, and what hangs on it. Dropping it removes all of it, with whatever still runs there.
#[derive(Debug)]
pub struct Network {
    ip: PathBuf,
    /// Of this run alone.
    prefix: String,
    hosts: Vec<Host>,
}

/// A host.
#[derive(Debug, Clone)]
pub struct Host {
    /// What the switch calls its port.
    name: String,
    namespace: String,
    ip: PathBuf,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Why there can be no hosts on this machine; none where there can, and what fails then has failed.
#[must_use]
pub fn impossible() -> Option<String> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    if !is_root {
        return Some("namespaces are root's to make".to_owned());
    }
    let Some(ip) = find("ip") else {
        return Some("there is no `ip` (iproute2)".to_owned());
    };
    // In a container root may not either, unless it was given the right to.
    let name = format!("{}probe", prefix());
    let tried = execute(&ip, &["netns", "add", &name])
        .and_then(|()| execute(&ip, &["netns", "delete", &name]));
    tried.err().map(|error| format!("{error:#}"))
}

/// What the names of a run's namespaces begin with.
fn prefix() -> String {
    let run = Uuid::new_v4().simple().to_string();
    format!("{NAME}-{}-{}-", process::id(), &run[..8])
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    let mut paths = folders.map(|folder| folder.join(program));
    paths.find(|path| path.is_file())
}

impl Network {
    /// A switch that nothing hangs on, after those of runs that were killed are removed.
    ///
    /// # Errors
    /// When the machine lets us make no namespaces.
    pub fn new() -> anyhow::Result<Self> {
        let ip = find("ip").context("there is no `ip`")?;
        remove_left_behind(&ip);
        let network = Self {
            prefix: prefix(),
            ip,
            hosts: Vec::new(),
        };
        network.make(&network.switch())?;
        network.on_switch(&["link", "add", "switch", "type", "bridge"])?;
        network.on_switch(&["link", "set", "switch", "up"])?;
        Ok(network)
    }

    /// What the names of its namespaces begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Another host, with an address of its own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn host(&mut self, name: &str) -> anyhow::Result<Host> {
        let [a, b, c] = NET;
        let host = Host {
            name: name.to_owned(),
            namespace: format!("{}{name}", self.prefix),
            ip: self.ip.clone(),
            address: Ipv4Addr::new(a, b, c, u8::try_from(self.hosts.len() + 1)?),
        };
        self.make(&host.namespace)?;
        self.hosts.push(host.clone());
        let inside = &host.namespace[..];
        self.on_switch(&[
            "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", inside,
        ])?;
        self.connect(&host)?;
        self.on_switch(&["link", "set", name, "up"])?;
        let address = format!("{}/24", host.address);
        self.run(&["-n", inside, "address", "add", &address, "dev", "eth0"])?;
        self.run(&["-n", inside, "link", "set", "eth0", "up"])?;
        self.run(&["-n", inside, "link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// Takes the host's port off the switch: no packet comes or goes, and nobody is told.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn cut(&self, host: &Host) -> anyhow::Result<()> {
        self.on_switch(&["link", "set", &host.name, "nomaster"])
    }

    /// Puts it on again.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn connect(&self, host: &Host) -> anyhow::Result<()> {
        self.on_switch(&["link", "set", &host.name, "master", "switch"])
    }

    /// Makes the host's link slow in both directions, and says how.
    ///
    /// # Errors
    /// When the kernel has no way to.
    pub fn slow_down(&self, host: &Host) -> anyhow::Result<&'static str> {
        let tc = find("tc").context("there is no `tc` (iproute2)")?;
        let ends = [(&host.namespace, "eth0"), (&self.switch(), &host.name[..])];
        let through = |way: &[&str]| {
            ends.iter().try_for_each(|(namespace, device)| {
                let to = ["-n", namespace, "qdisc", "replace", "dev", device, "root"];
                execute(&tc, &[&to[..], way].concat())
            })
        };
        // Kernels have netem as a module, or lack it.
        if through(FAR).is_ok() {
            return Ok("netem");
        }
        through(NARROW)?;
        Ok("tbf")
    }

    fn switch(&self) -> String {
        format!("{}switch", self.prefix)
    }

    fn make(&self, namespace: &str) -> anyhow::Result<()> {
        self.run(&["netns", "add", namespace])
    }

    fn on_switch(&self, arguments: &[&str]) -> anyhow::Result<()> {
        self.run(&[&["-n", &self.switch()], arguments].concat())
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        execute(&self.ip, arguments)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            remove(&self.ip, &host.namespace);
        }
        remove(&self.ip, &self.switch());
    }
}

impl Host {
    /// A command that runs a program there.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.ip);
        command
            .args(["netns", "exec", &self.namespace])
            .arg(program);
        command
    }
}

/// The namespaces that there are, whose names begin so.
///
/// # Errors
/// When the machine does not say.
pub fn namespaces(prefix: &str) -> anyhow::Result<Vec<String>> {
    let ip = find("ip").context("there is no `ip`")?;
    let listed = output(&ip, &["netns", "list"])?;
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    let ours = names.filter(|name| name.starts_with(prefix));
    Ok(ours.map(str::to_owned).collect())
}

/// Namespaces of processes that are no more: they were killed.
fn remove_left_behind(ip: &Path) {
    for name in namespaces(&format!("{NAME}-")).unwrap_or_default() {
        let maker = name.split('-').nth(1).unwrap_or_default();
        let is_ours = maker.parse::<u32>().is_ok();
        if is_ours && !Path::new("/proc").join(maker).exists() {
            remove(ip, &name);
        }
    }
}

/// Ends what runs in a namespace, and removes it. What fails is left to the next run.
fn remove(ip: &Path, namespace: &str) {
    let inside = output(ip, &["netns", "pids", namespace]).unwrap_or_default();
    let inside: Vec<_> = inside.split_whitespace().collect();
    if !inside.is_empty() {
        let _gone = execute(Path::new("kill"), &[&["-KILL"], &inside[..]].concat());
    }
    if let Err(error) = execute(ip, &["netns", "delete", namespace]) {
        tracing::warn!(%error, "a namespace stays");
    }
}

fn execute(program: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    output(program, arguments).map(drop)
}

fn output(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = process::Command::new(program).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} {}: {}",
        program.display(),
        arguments.join(" "),
        said.trim_end()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether one host reaches another.
    async fn reaches(from: &Host, to: &Host) -> bool {
        let script = format!("exec 3<>/dev/tcp/{}/9", to.address);
        let mut command = from.command(Path::new("timeout"));
        let said = command.args(["1", "bash", "-c", &script]).output().await;
        // Nobody listens: a refusal has come all the way back.
        said.is_ok_and(|said| String::from_utf8_lossy(&said.stderr).contains("refused"))
    }

    /// The same at the best of five times: a poor line loses packets, and a busy machine is slow.
    async fn reaches_at_last(from: &Host, to: &Host) -> bool {
        for _ in 0..5 {
            if reaches(from, to).await {
                return true;
            }
        }
        false
    }

    #[tokio::test]
    async fn hosts_reach_each_other_unless_cut_off_and_are_gone_at_the_end() {
        if let Some(reason) = impossible() {
            println!("skipped: {reason}");
            return;
        }
        let mut network = Network::new().unwrap();
        let (one, other) = (network.host("one").unwrap(), network.host("other").unwrap());
        assert!(reaches_at_last(&one, &other).await);
        network.cut(&other).unwrap();
        assert!(!reaches(&one, &other).await);
        network.connect(&other).unwrap();
        assert!(reaches_at_last(&one, &other).await);
        assert!(["netem", "tbf"].contains(&network.slow_down(&one).unwrap()));
        assert!(reaches_at_last(&one, &other).await);
        let mut stays = other
            .command(Path::new("sleep"))
            .arg("600")
            .spawn()
            .unwrap();
        let prefix = network.prefix().to_owned();
        assert_eq!(namespaces(&prefix).unwrap().len(), 3);
        drop(network);
        assert!(namespaces(&prefix).unwrap().is_empty());
        assert!(!stays.wait().await.unwrap().success());
    }
}
