//! `podwire node`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use super::count;
use crate::agent::{self, record::Kept};
use crate::net;
use crate::net::node::Report;
use crate::node::{self, Decided};
use crate::plan::{Node, NodePlan, script};
use crate::state::State;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Keep the node as the policy decides, while members come and go and others change the kernel, until somebody
    /// ends it: then everything stays as it is. What it reads stands in agent.json.
    Run,
    /// Make what the policy decides for this node, and take away what it no longer wants. What is as it
    /// should be is not touched.
    Up,
    /// Show what `up` stands for, as the commands of a script, and do nothing.
    Plan,
    /// Take podwire's routes and its bridges without ports away. Forwarding stays as it is.
    Down,
    /// Say what differs from what should be, and what would keep pods from reaching each other.
    Status,
}

pub(super) fn run(state: &State, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Run => Ok(agent::run(state).map(|()| ExitCode::SUCCESS)?),
        Command::Up => {
            nobody_else_keeps(state)?;
            let (node, plan) = decided(state)?;
            Ok(print_outcome(&net::node::apply_undisputed(&plan, &node.cluster)?))
        }
        Command::Plan => {
            let (node, plan) = decided(state)?;
            print!("{}", script::node(&plan, &node.cluster));
            Ok(ExitCode::SUCCESS)
        }
        Command::Down => {
            nobody_else_keeps(state)?;
            Ok(print_outcome(&net::node::remove()?))
        }
        Command::Status => status(state),
    }
}

/// What an agent would put right again at once is not worth doing.
fn nobody_else_keeps(state: &State) -> Result<()> {
    if let Some(process) = agent::running(state)? {
        anyhow::bail!(
            "process {process}, `podwire node run`, keeps this node: change what it reads, or end it first; \
             `podwire status` says what it does"
        );
    }
    Ok(())
}

/// What shall be true on the node: what its agent keeps true, or kept, if that alone knows the members.
fn decided(state: &State) -> Result<(Node, NodePlan)> {
    let asks_files = agent::settings::Settings::read(&state.agent_config())?.source.is_files();
    if agent::running(state)?.is_none() && asks_files {
        return from_files(state);
    }
    match Kept::read(state) {
        Some(kept) => Ok((kept.node, kept.plan)),
        None if asks_files => from_files(state),
        None => anyhow::bail!(
            "members are not known here: `podwire node run` asks the source that agent.json names"
        ),
    }
}

fn from_files(state: &State) -> Result<(Node, NodePlan)> {
    let Decided { node, plan, .. } = node::decide(state)?;
    Ok((node, plan))
}

fn print_outcome(outcome: &net::node::Outcome) -> ExitCode {
    for change in &outcome.changes {
        println!("{change}");
    }
    for kept in &outcome.kept {
        println!("in use, and kept: {}, {}", kept.what, kept.found);
    }
    if outcome.changes.is_empty() && outcome.failed.is_empty() {
        println!("nothing to change");
    }
    for failed in &outcome.failed {
        eprintln!("podwire: {failed}");
    }
    if outcome.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn status(state: &State) -> Result<ExitCode> {
    let (node, plan) = decided(state)?;
    let Report { differences, conflicts } = net::node::inspect(&plan, &node.cluster)?;
    let findings = net::firewall::blocked_forwarding(&node.cluster);
    for difference in &differences {
        println!("differs: {difference}");
    }
    for obstacle in conflicts.iter().map(ToString::to_string).chain(findings.iter().map(ToString::to_string))
    {
        println!("in the way: {obstacle}");
    }
    if !differences.is_empty() && conflicts.is_empty() {
        println!("`podwire node up` makes it as it should be");
    }
    if differences.is_empty() && conflicts.is_empty() && findings.is_empty() {
        let (bridges, routes) = (count(plan.bridges.len(), "bridge"), count(plan.routes.len(), "route"));
        println!("as it should be: {bridges}, {routes}");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
