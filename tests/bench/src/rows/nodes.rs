//! The agent of a node in a large cluster: how long it takes until the first plan is true, and what one peer's joining
//! and leaving cost.
//!
//! Every other peer is on the node's link, the rest behind tunnels; each has an address and a block of both families.
//! Of the agent it knows what everybody sees: its files, its routes, its process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use podwire::state::{ROOT_VARIABLE, State};
use podwire_tests::kernel;
use serde_json::{Value, json};

use super::Scale;
use crate::lab::Lab;
use crate::statistics::median;
use crate::sys;
use crate::table::{Figures, Line, Mark};

const ROOT: &str = "/run/podwire-bench/agent";
/// Of IPv4 and of IPv6.
const ROUTES_PER_PEER: usize = 2;
/// How long the agent is left alone after a change, so that what it does later because of it is counted too: a
/// comparison comes a tenth of a second after the notifications that ask for it.
const REST: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);

/// What the agent took.
struct Taken {
    start: Duration,
    joins: Vec<f64>,
    leaves: Vec<f64>,
    peak_mib: f64,
    /// Of the plan and in the kernel, at the end.
    routes: (usize, usize),
}

pub(super) fn measure(lab: &mut Lab, scale: &Scale) -> Result<Vec<Line>> {
    let command = lab.command().to_owned();
    let taken = lab.pod_apart("agent").namespace.run(|| keep(&command, scale))?;
    let (planned, found) = taken.routes;
    if planned != found {
        lab.fail(format!("the agent planned {planned} routes, and the node has {found}"));
    }
    let peers = scale.peers;
    let line = |what: String, figure| Line::new(what, Figures { podwire: figure, ..Figures::default() });
    Ok(vec![
        line(format!("agent, {peers} peers: first plan true, wall s"), Some(taken.start.as_secs_f64()))
            .mark(Mark::AtMost(2.0)),
        line("  a peer joins, CPU ms".to_owned(), median(&taken.joins)).mark(Mark::AtMost(20.0)),
        line("  a peer leaves, CPU ms".to_owned(), median(&taken.leaves)).mark(Mark::AtMost(20.0)),
        line("  peak memory MiB".to_owned(), Some(taken.peak_mib)),
    ])
}

/// On a thread that lives as long as the agent, which ends with it.
fn keep(command: &Path, scale: &Scale) -> Result<Taken> {
    let cluster = Cluster::new(scale.peers)?;
    let begin = Instant::now();
    let agent = Agent::start(command, &cluster.state)?;
    agent.settle(cluster.write(false)?)?;
    let start = begin.elapsed();
    let mut taken = Taken { start, joins: Vec::new(), leaves: Vec::new(), peak_mib: 0.0, routes: (0, 0) };
    sleep(REST);
    for _ in 0..scale.joins {
        taken.joins.push(agent.cost(|| cluster.write(true))?);
        taken.leaves.push(agent.cost(|| cluster.write(false))?);
    }
    taken.peak_mib = agent.peak_mib()?;
    let found = kernel::routes().into_iter().filter(|route| route.contains("protocol \"112\"")).count();
    taken.routes = (scale.peers * ROUTES_PER_PEER, found);
    Ok(taken)
}

/// The files of a node, and its link to the others.
struct Cluster {
    state: State,
    peers: usize,
}

impl Cluster {
    fn new(peers: usize) -> Result<Self> {
        kernel::ip("link set lo up");
        kernel::uplink("192.168.255.1/16");
        kernel::ip("address add fd00:192::ffff/64 dev eth0 nodad");
        let state = State::new(Some(Path::new(ROOT)));
        fs::create_dir_all(&state.etc)?;
        let node = json!({
            "name": "node", "addresses": ["192.168.255.1", "fd00:192::ffff"], "pools": pools(0),
            "cluster": ["10.0.0.0/8", "fd00:244::/32"],
        });
        serde_json::to_writer(File::create(state.node_config())?, &node)?;
        let cluster = Self { state, peers };
        cluster.write(false)?;
        Ok(cluster)
    }

    /// With the peer that joins and leaves, or without; returns how many routes lead to all. It is behind a tunnel,
    /// which is the longer way, and in the midst of the others.
    fn write(&self, joined: bool) -> Result<usize> {
        let middle = (self.peers / 2) | 1;
        let numbers = (1..=self.peers + 1).filter(|number| joined || *number != middle);
        let peers: Vec<Value> = numbers.map(peer).collect();
        let count = peers.len();
        // Written elsewhere: the agent hears of one change.
        let apart = Path::new(ROOT).join("peers.json");
        serde_json::to_writer(File::create(&apart)?, &json!({ "peers": peers }))?;
        fs::rename(&apart, self.state.peers())?;
        Ok(count * ROUTES_PER_PEER)
    }
}

fn peer(number: usize) -> Value {
    let (high, low) = (number >> 8, number & 0xff);
    let addresses = match number % 2 {
        0 => [format!("192.168.{high}.{low}"), format!("fd00:192::{number:x}")],
        _ => [format!("172.16.{high}.{low}"), format!("fd00:172::{number:x}")],
    };
    json!({ "name": format!("node-{number:05}"), "addresses": addresses, "pools": pools(number) })
}

fn pools(number: usize) -> [String; 2] {
    [format!("10.{}.{}.0/24", 1 + (number >> 8), number & 0xff), format!("fd00:244:{number:x}::/64")]
}

/// A running `podwire node run`.
struct Agent {
    process: Child,
    record: PathBuf,
    said: PathBuf,
}

impl Agent {
    fn start(command: &Path, state: &State) -> Result<Self> {
        let said = Path::new(ROOT).join("said");
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(command)
            .args(["node", "run"])
            .env(ROOT_VARIABLE, ROOT)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?)
            .spawn()
            .context("setpriv: it is part of util-linux")?;
        Ok(Self { process, record: state.agent_record(), said })
    }

    /// Waits until the agent says that so many routes are true.
    fn settle(&self, routes: usize) -> Result<()> {
        let begin = Instant::now();
        while !self.has(routes) {
            ensure!(
                begin.elapsed() < PATIENCE,
                "the agent has not made {routes} routes true: {}",
                fs::read_to_string(&self.said)?
            );
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn has(&self, routes: usize) -> bool {
        let text = fs::read(&self.record).unwrap_or_default();
        let record: Value = serde_json::from_slice(&text).unwrap_or_default();
        record["plan"]["routes"] == routes
            && !record["compared"].is_null()
            && record["failures"].as_array().is_some_and(Vec::is_empty)
    }

    /// Processor time in milliseconds for all that follows from a change, which returns how many routes there are then.
    fn cost(&self, change: impl FnOnce() -> Result<usize>) -> Result<f64> {
        let before = sys::cpu_of(self.process.id())?;
        self.settle(change()?)?;
        sleep(REST);
        Ok((sys::cpu_of(self.process.id())? - before).as_secs_f64() * 1e3)
    }

    fn peak_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.split_ascii_whitespace().next()).context("no peak is told")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended by itself has said why.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
