//! `podwire lab`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use super::plan::{PodName, configuration};
use crate::lab::{self, holder, layout};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make nodes, a switch between them, and pods on them.
    Up {
        /// How many nodes: node1 is 192.168.1.11, its pods 10.244.1.0/24, and so on.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(layout::MOST_NODES)))]
        nodes: u8,
        /// How many pods on each node.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=i64::from(layout::MOST_PODS)))]
        pods: u8,
        /// Put the routes on a router between the nodes, instead of on each node.
        #[arg(long)]
        router: bool,
    },
    /// Send an echo from every pod to every other, and see whether its source address arrives unchanged.
    Ping,
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
    /// Take everything away.
    Down,
    /// Hold the lab's namespaces: `up` starts this.
    #[command(hide = true)]
    Hold,
}

pub(super) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up { nodes, pods, router } => lab::up(layout::Lab::new(nodes, pods, router)),
        Command::Ping => lab::ping_all(),
        Command::Exec { name, command } => lab::exec(&name, &command),
        Command::Add { pods, node, configuration } => add(pods, &node, configuration.as_deref()),
        Command::Delete { pod } => lab::delete(&pod),
        Command::Status => lab::status(),
        Command::Down => lab::down(),
        Command::Hold => holder::hold().map(|()| ExitCode::SUCCESS),
    }
}

fn add(pods: Vec<PodName>, node: &str, file: Option<&Path>) -> Result<ExitCode> {
    let network = file.map(configuration).transpose()?;
    let pod = |PodName { namespace, name }| layout::Pod::named(namespace, name, network.clone());
    lab::add(node, pods.into_iter().map(pod).collect())
}
