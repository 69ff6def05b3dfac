//! `podwire lab`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use ipnet::IpNet;

use super::plan::PodName;
use super::topology;
use crate::cni::conflist;
use crate::lab::{self, Event, holder, layout};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make nodes, a switch between them, and pods on them.
    Up(Up),
    /// Send an echo from every pod to every other, and see whether its source address arrives unchanged.
    Ping,
    /// Have every pod talk to every other until a line is typed, and say what was lost.
    Traffic,
    /// Add a node, while the others go on.
    Join {
        /// How many pods on it.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=i64::from(layout::MOST_PODS)))]
        pods: u8,
    },
    /// Switch a node off: its agent is killed, its cable is dead.
    Kill {
        /// Such as node2.
        node: String,
    },
    /// Switch a node on again.
    Start {
        /// Such as node2.
        node: String,
    },
    /// Cut a node's cable.
    Partition {
        /// Such as node2.
        node: String,
    },
    /// Mend a node's cable.
    Heal {
        /// Such as node2.
        node: String,
    },
    /// Move a node into the network of another site, or give its next pods addresses from another block.
    Move {
        /// Such as node2.
        node: String,
        /// Of `lab up --sites`.
        #[arg(long, required_unless_present = "pool")]
        site: Option<u8>,
        /// A part of the cluster's block, such as 10.244.77.0/24.
        #[arg(long, conflicts_with = "site")]
        pool: Option<IpNet>,
    },
    /// Run a command in a pod, a node, `switch` or `router`.
    Exec {
        /// Such as pod1-1 or node1.
        name: String,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Add pods to a node.
    Add {
        /// Each as NAMESPACE/NAME, or NAME in the namespace "default".
        #[arg(required = true)]
        pods: Vec<PodName>,
        /// The node.
        #[arg(long, default_value = "node1")]
        node: String,
        /// Their network configuration, as in /etc/cni/net.d; without it, the lab's own, which leaves everything to
        /// the node's settings.
        #[arg(long = "conf", value_name = "FILE")]
        configuration: Option<PathBuf>,
    },
    /// Take a pod away.
    Delete {
        /// Its name.
        pod: String,
    },
    /// Show the topology, and whether each node is as it should be.
    Status,
    /// Draw the lab.
    Topology(topology::Arguments),
    /// Take everything away.
    Down,
    /// Hold the lab's namespaces: `up` starts this.
    #[command(hide = true)]
    Hold,
}

#[derive(clap::Args)]
pub(super) struct Up {
    /// How many nodes: node1 is 192.168.1.11, its pods 10.244.1.0/24, and so on.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(layout::MOST_NODES)))]
    nodes: u8,
    /// How many pods on each node.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=i64::from(layout::MOST_PODS)))]
    pods: u8,
    /// Put the routes on a router between the nodes, instead of on each node.
    #[arg(long)]
    router: bool,
    /// Which addresses machines and pods have.
    #[arg(long, value_enum, default_value_t)]
    family: layout::Families,
    /// In how many networks the nodes are, in turn; a router joins them, and knows nothing of pods.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(layout::MOST_SITES)))]
    sites: u8,
    /// Run the node agent on each machine, and let it learn of the others from a file (static) or from an etcd in
    /// the lab.
    #[arg(long, value_name = "SOURCE", value_enum, num_args = 0..=1, default_missing_value = "static")]
    agents: Option<Agents>,
    /// As --agents, with `source` of agent.json from a file: what you run on the machine `store`, 192.168.1.2.
    #[arg(long, value_name = "FILE", conflicts_with = "agents")]
    source: Option<PathBuf>,
    /// How pods reach those of other nodes; without it, the policy chooses.
    #[arg(long, value_enum)]
    way: Option<layout::Way>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Agents {
    Static,
    Etcd,
}

impl Up {
    fn lab(self) -> Result<layout::Lab> {
        let other = |file: PathBuf| -> Result<layout::Membership> {
            let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
            Ok(layout::Membership::Other(
                serde_json::from_slice(&text).with_context(|| file.display().to_string())?,
            ))
        };
        let agents = match self.agents {
            Some(Agents::Static) => Some(layout::Membership::Static),
            Some(Agents::Etcd) => Some(layout::Membership::Etcd),
            None => self.source.map(other).transpose()?,
        };
        let Self { nodes, pods, router, family: families, sites, way, .. } = self;
        Ok(layout::Lab::new(layout::Shape { families, sites, router, way, agents }, nodes, pods))
    }
}

pub(super) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(up) => lab::up(up.lab()?),
        Command::Ping => lab::ping_all(),
        Command::Traffic => lab::traffic(),
        Command::Join { pods } => lab::happen(Event::Join { pods }),
        Command::Kill { node } => lab::happen(Event::Kill(node)),
        Command::Start { node } => lab::happen(Event::Start(node)),
        Command::Partition { node } => lab::happen(Event::Partition(node)),
        Command::Heal { node } => lab::happen(Event::Heal(node)),
        Command::Move { node, site: Some(site), .. } => lab::happen(Event::MoveTo(node, site)),
        Command::Move { node, pool: Some(pool), .. } => lab::happen(Event::Renumber(node, pool)),
        Command::Move { .. } => bail!("name a site or a block to move to"),
        Command::Exec { name, command } => lab::exec(&name, &command),
        Command::Add { pods, node, configuration } => add(pods, &node, configuration.as_deref()),
        Command::Delete { pod } => lab::delete(&pod),
        Command::Status => lab::status(),
        Command::Topology(arguments) => {
            // Relative to where it was typed: the lab is entered by its root.
            let arguments = arguments.absolute()?;
            arguments.draw(&lab::topology()?)
        }
        Command::Down => lab::down(),
        Command::Hold => holder::hold().map(|()| ExitCode::SUCCESS),
    }
}

fn add(pods: Vec<PodName>, node: &str, file: Option<&Path>) -> Result<ExitCode> {
    let network = file.map(conflist::read).transpose()?;
    let pod = |PodName { namespace, name }| layout::Pod::named(namespace, name, network.clone());
    lab::add(node, pods.into_iter().map(pod).collect())
}
