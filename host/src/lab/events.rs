//! What happens to a cluster: nodes join, die, come back, are cut off, and move.

use anyhow::{Result, bail};
use ipnet::IpNet;

use super::layout::{Lab, MOST_NODES};
use super::settings::{self, Machine};
use super::{agents, build, say, underlay};

/// One of them.
#[derive(Debug, Clone)]
pub enum Event {
    /// A new node, with so many pods.
    Join {
        /// How many.
        pods: u8,
    },
    /// A node loses its power: its agent is killed and its cable is cut.
    Kill(String),
    /// A node gets its power back.
    Start(String),
    /// A node's cable is cut; everything on it goes on.
    Partition(String),
    /// The cable is mended.
    Heal(String),
    /// A node goes to the network of another site.
    MoveTo(String, u8),
    /// A node's pods get their addresses from another block from now on.
    Renumber(String, IpNet),
}

/// Has it happen, and waits until the agents have taken note of it, where they can.
pub(super) fn happen(lab: &mut Lab, event: Event) -> Result<()> {
    if lab.shape.agents.is_none() {
        bail!("nobody takes note of it: begin the lab with `podwire lab up --agents`");
    }
    match event {
        Event::Join { pods } => join(lab, pods)?,
        Event::Kill(name) => kill(lab, &name)?,
        Event::Start(name) => start(lab, &name)?,
        Event::Partition(name) => connect(lab, &name, false)?,
        Event::Heal(name) => connect(lab, &name, true)?,
        Event::MoveTo(name, site) => carry(lab, &name, site)?,
        Event::Renumber(name, block) => renumber(lab, &name, block)?,
    }
    build::keep(lab)
}

fn join(lab: &mut Lab, pods: u8) -> Result<()> {
    let number = lab.nodes.len() as u8 + 1;
    if number > MOST_NODES {
        bail!("a lab has at most {MOST_NODES} nodes");
    }
    lab.nodes.push(lab.shape.node(number, pods));
    settings::publish(lab)?;
    build::switch_on(lab, usize::from(number) - 1)?;
    build::settle(lab)
}

fn kill(lab: &mut Lab, name: &str) -> Result<()> {
    let node = lab.node_mut(name)?;
    underlay::connect(name, false)?;
    node.dead = true;
    agents::kill(name)?;
    settings::publish(lab)?;
    agents::wait(&Machine::all(lab))
}

fn start(lab: &mut Lab, name: &str) -> Result<()> {
    let node = lab.node_mut(name)?;
    if !node.dead {
        bail!("{name} is switched on");
    }
    node.dead = false;
    underlay::connect(name, true)?;
    settings::publish(lab)?;
    agents::start(name)?;
    build::settle(lab)
}

fn connect(lab: &mut Lab, name: &str, is_connected: bool) -> Result<()> {
    lab.node_mut(name)?;
    say(name, if is_connected { "cable mended" } else { "cable cut" });
    underlay::connect(name, is_connected)
}

fn carry(lab: &mut Lab, name: &str, site: u8) -> Result<()> {
    let shape = lab.shape.clone();
    if site == 0 || site > shape.sites {
        bail!("the lab has sites 1 to {}: begin it with `--sites`", shape.sites);
    }
    let node = lab.node_mut(name)?;
    let before = node.addresses.clone();
    let number = name.trim_start_matches("node").parse::<u8>()?;
    (node.site, node.addresses) = (site, shape.families.machine(site, 10 + number));
    underlay::carry(name, &before, site, &node.addresses)?;
    underlay::default_routes(name, site, &shape)?;
    say(name, &format!("now at site {site}"));
    tell(lab, name)
}

fn renumber(lab: &mut Lab, name: &str, block: IpNet) -> Result<()> {
    if !lab.shape.names_pools() {
        bail!("the agents choose the pods' blocks here: begin the lab with `--agents static`");
    }
    let same_family = |pool: &&mut IpNet| pool.addr().is_ipv4() == block.addr().is_ipv4();
    match lab.node_mut(name)?.pools.iter_mut().find(same_family) {
        Some(pool) => *pool = block,
        None => bail!("{name} has no block of the family of {block}"),
    }
    say(name, &format!("new pods from {block}"));
    tell(lab, name)
}

/// The node's own settings, and everybody else's list of peers. Where there is no such list, the agent says of itself
/// what it was started with.
fn tell(lab: &Lab, name: &str) -> Result<()> {
    for node in lab.nodes.iter().filter(|node| node.name == name) {
        settings::configure(&Machine::node(node), &lab.shape)?;
    }
    if !lab.shape.names_pools() {
        agents::kill(name)?;
        agents::start(name)?;
    }
    settings::publish(lab)?;
    agents::wait(&Machine::all(lab))
}
