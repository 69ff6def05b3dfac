//! `podwire uninstall`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::install::Node;
use crate::install::Removal;
use crate::state::State;

#[derive(Args)]
pub(super) struct Arguments {
    /// Even if pods are wired: their runtime's DEL fails until podwire is installed again.
    #[arg(long)]
    force: bool,
    /// Take leases, installed policies, journal and installed settings away too.
    #[arg(long)]
    purge: bool,
    #[command(flatten)]
    node: Node,
}

pub(super) fn run(state: &State, arguments: Arguments) -> Result<ExitCode> {
    let Arguments { force, purge, node } = arguments;
    node.follow(&Removal::make(node.places(state)?, force, purge)?)
}
