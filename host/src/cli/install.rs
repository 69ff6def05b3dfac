//! `podwire install`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::install::{Named, Places, Plan, Steps, Wish};
use crate::state::State;

#[derive(Args)]
pub(super) struct Arguments {
    /// The plugin, with podwire-compile beside it; without this, the podwire-cni beside this command.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// A network configuration to install in the place of podwire's own.
    #[arg(long, value_name = "FILE")]
    conflist: Option<PathBuf>,
    /// Install the node.json, peers.json and agent.json that are in DIR.
    #[arg(long, value_name = "DIR")]
    settings: Option<PathBuf>,
    /// Replace configurations and settings that somebody has changed.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    node: Node,
}

/// Which node, and how far to go.
#[derive(Args)]
pub(super) struct Node {
    /// The runtime's directory of plugins; without this, as the configuration of containerd, CRI-O or podman says.
    #[arg(long, value_name = "DIR")]
    cni_bin_dir: Option<PathBuf>,
    /// The runtime's directory of network configurations; without this, likewise.
    #[arg(long, value_name = "DIR")]
    cni_conf_dir: Option<PathBuf>,
    /// Where the node's file system is mounted, if not at /.
    #[arg(long, value_name = "DIR")]
    host_root: Option<PathBuf>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Node {
    pub(super) fn places(&self, state: &State) -> Result<Places> {
        let Self { cni_bin_dir, cni_conf_dir, host_root, .. } = self;
        let named =
            Named { host_root: host_root.clone(), bin: cni_bin_dir.clone(), conf: cni_conf_dir.clone() };
        Ok(Places::find(named, state)?)
    }

    /// A line for each step: once it is done, or instead of doing it.
    pub(super) fn follow(&self, steps: &impl Steps) -> Result<ExitCode> {
        for note in steps.notes() {
            println!("note: {note}");
        }
        let lines = steps.lines();
        match self.dry_run {
            true => lines.iter().for_each(|line| println!("would be done: {line}")),
            false => steps.carry_out(&mut |line| println!("{line}"))?,
        }
        if lines.is_empty() {
            println!("nothing to change");
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn run(state: &State, arguments: Arguments) -> Result<ExitCode> {
    let Arguments { plugin, conflist, settings, force, node } = arguments;
    let wish = Wish { plugin, conflist, settings, force };
    node.follow(&Plan::make(node.places(state)?, &wish)?)
}
