//! `podwire node`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::net;
use crate::node;
use crate::state::State;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make what the policy decides for this node, and take away what it no longer wants. What is as it
    /// should be is not touched.
    Up,
    /// Take podwire's routes and its bridges without ports away. Forwarding stays as it is.
    Down,
    /// Say what differs from what should be, and what would keep pods from reaching each other.
    Status,
}

pub(super) fn run(state: &State, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Up => {
            print_changes(&net::node::apply(&node::plan(state)?)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Down => {
            print_changes(&net::node::remove()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Status => status(state),
    }
}

fn print_changes(changes: &[net::node::Change]) {
    for change in changes {
        println!("{change}");
    }
    if changes.is_empty() {
        println!("nothing to change");
    }
}

fn status(state: &State) -> Result<ExitCode> {
    let plan = node::plan(state)?;
    let differences = net::node::differences(&plan)?;
    let findings = net::node::blocked_forwarding()?;
    for difference in &differences {
        println!("differs: {difference}");
    }
    for finding in &findings {
        println!("blocked: {finding}");
    }
    if !differences.is_empty() {
        println!("`podwire node up` makes it as it should be");
    }
    if differences.is_empty() && findings.is_empty() {
        println!("as it should be: {} bridges, {} routes", plan.bridges.len(), plan.routes.len());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
