//! What runs on the lab's machines beside the pods: the node agents, and the etcd that they ask.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;

use super::layout::{Node, Shape, on_underlay};
use super::settings::{Machine, store_url};
use super::{holder, namespace, root, say};
use crate::agent::record::{Kept, Record};
use crate::cni::conflist;
use crate::net::namespace::Namespace;
use crate::plan::{NextHop, NodePlan};
use crate::state::{State, write_atomically};

/// How long agents may take until all is as it should be, with an etcd that begins.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Starts an agent: it stays until the lab ends, and what it says goes into agent.log.
pub(super) fn start(machine: &str) -> Result<()> {
    let mut agent = Command::new("/proc/self/exe");
    agent.args(["node", "run"]).env("PODWIRE_ROOT", root(machine));
    launch(machine, "agent", &mut agent)?;
    say(machine, "agent started: podwire node run");
    Ok(())
}

/// Ends an agent at once, in the middle of whatever it does.
pub(super) fn kill(machine: &str) -> Result<()> {
    let pid = fs::read_to_string(root(machine).join("agent.pid")).context("no agent was started there")?;
    holder::kill_inside(pid.trim().parse().context("its number is damaged")?)?;
    say(machine, "agent killed");
    Ok(())
}

/// Starts the etcd of the lab, on the machine `store`.
pub(super) fn start_store(shape: &Shape) -> Result<()> {
    fs::create_dir_all(root("store"))?;
    let (clients, peers) = (store_url(shape, 2379), store_url(shape, 2380));
    let mut etcd = Command::new("etcd");
    etcd.args(["--name", "lab", "--data-dir"]).arg(root("store").join("data"));
    etcd.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    etcd.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    etcd.args(["--initial-cluster", &format!("lab={peers}")]);
    launch("store", "etcd", &mut etcd)
        .context("etcd cannot be started: install etcd (Debian: etcd-server)")?;
    say("store", &format!("etcd at {clients}"));
    Ok(())
}

fn launch(machine: &str, what: &str, command: &mut Command) -> Result<()> {
    let root = root(machine);
    fs::create_dir_all(&root)?;
    let log = File::options().create(true).append(true).open(root.join(format!("{what}.log")))?;
    command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let child = Namespace::open(&namespace(machine))?.run(|| command.spawn())??;
    Ok(write_atomically(&root.join(format!("{what}.pid")), child.id().to_string().as_bytes())?)
}

/// Waits until all machines know each other, and each is as its policy wants it.
pub(super) fn wait(machines: &[Machine<'_>]) -> Result<()> {
    let since = Instant::now();
    for machine in machines {
        while let Some(lack) = lack(machine, machines) {
            if since.elapsed() > PATIENCE {
                bail!("the agent on {}: {lack}; see {}/agent.log", machine.name, machine.root().display());
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }
    Ok(())
}

/// The blocks of a node's pods, as its agent told the runtime.
pub(super) fn pools(node: &Node) -> Result<Vec<IpNet>> {
    let configuration = conflist::read(&node.conflist())?;
    let pools = configuration.get("pools").context("the agent has named no pools")?;
    Ok(serde_json::from_value(pools.clone())?)
}

/// What is still missing on a machine: word of the others, a way to the pods of each, or something that its agent has
/// left to do.
fn lack(machine: &Machine<'_>, machines: &[Machine<'_>]) -> Option<String> {
    let state = State::new(Some(&machine.root()));
    let Ok(Some(record)) = Record::read(&state) else { return Some("it has said nothing yet".to_owned()) };
    let Some(kept) = Kept::read(&state) else { return Some("the policy has not decided yet".to_owned()) };
    if let Some(trouble) = record.undecided.iter().chain(&record.conflist).chain(&record.failures).next() {
        return Some(trouble.why.clone());
    }
    if record.peers + 1 != machines.len() {
        return Some(format!("it knows of {} other machines", record.peers));
    }
    if !machine.pools.is_empty() && kept.node.pools != machine.pools {
        return Some("it has not taken note of its own blocks".to_owned());
    }
    let others = machines.iter().filter(|other| other.name != machine.name);
    let mut pools = others.flat_map(|other| other.pools.iter().map(move |pool| (pool, other)));
    let (pool, of) = pools.find(|(pool, of)| !has_way(machine, &kept.plan, pool, of, machines))?;
    Some(format!("it has no way to {pool} of {}", of.name))
}

/// By way of the machine itself, or of a router; and from where this machine is now, for it may have moved.
fn has_way(
    from: &Machine<'_>,
    plan: &NodePlan,
    pool: &IpNet,
    of: &Machine<'_>,
    machines: &[Machine<'_>],
) -> bool {
    let is_on_link = |to: &IpAddr| from.addresses.iter().any(|own| on_underlay(*own).contains(to));
    let has_tunnels = plan.vxlan.as_ref().is_some_and(|device| from.addresses.contains(&device.local));
    let is_on_way = |machine: &&Machine<'_>| machine.name == of.name || machine.is_router();
    let on_way: Vec<&IpAddr> = machines.iter().filter(is_on_way).flat_map(|one| &one.addresses).collect();
    plan.routes.iter().filter(|route| route.destination.contains(pool)).any(|route| match route.next_hop {
        NextHop::Via(to) => is_on_link(&to) && on_way.contains(&&to),
        NextHop::Tunnel(to) => has_tunnels && on_way.contains(&&to),
        NextHop::Blackhole => false,
    })
}
