//! The commands for people.
//!
//! Owns what is typed and what is printed; decides nothing about networks. The only room, beside the
//! lab's, that prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod conform;
mod explain;
mod journal;
mod lab;
mod node;
mod plan;
mod policy;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::state::State;

/// A CNI plugin whose decisions are made by sandboxed WebAssembly policies.
///
/// Called by a container runtime (with CNI_COMMAND in the environment), it wires pods. Called by people,
/// it does what is listed below.
#[derive(Parser)]
#[command(name = "podwire", version, max_term_width = 100)]
struct Arguments {
    /// Keep state below DIR instead of in /run/podwire, /var/lib/podwire and /etc/podwire.
    #[arg(long, global = true, env = "PODWIRE_ROOT", value_name = "DIR", display_order = 900)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show what would be done for a pod, and do nothing.
    Plan(plan::Arguments),
    /// Show why a pod has its address and routes.
    Explain(explain::Arguments),
    /// Make this node's bridges and its routes to other nodes' pods.
    #[command(subcommand)]
    Node(node::Command),
    /// Say what the node's agent keeps true and what differs, which policies decide, and which failed; exit code 1
    /// if somebody should look.
    Status,
    /// Install policies, swap them, and look at them.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Three nodes with pods on this machine, in namespaces of their own: to see, and to try policies on.
    #[command(subcommand)]
    Lab(lab::Command),
    /// Check any CNI plugin against the specification, in namespaces of its own.
    Conform(conform::Arguments),
}

/// Runs what was asked for. Exit codes: 0 done, 1 not done, 2 not understood.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("podwire: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, without those that an outer one has told already.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        outer if outer.contains(&cause) => told,
        outer => format!("{outer}: {cause}"),
    })
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let root = arguments.root.as_deref();
    let state = State::new(root);
    match arguments.command {
        Command::Plan(arguments) => plan::run(&state, &arguments),
        Command::Explain(arguments) => explain::run(&state, &arguments),
        Command::Node(command) => node::run(&state, &command),
        Command::Status => status::run(&state),
        Command::Policy(command) => policy::run(&state, command),
        Command::Lab(command) => lab::run(command),
        Command::Conform(arguments) => conform::run(root, arguments),
    }
}

/// Such as `1 route` and `2 routes`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let inner = || anyhow!("permission denied");
        assert_eq!(
            sentence(&inner().context("a.json cannot be read")),
            "a.json cannot be read: permission denied"
        );
        assert_eq!(sentence(&inner().context("a.json: permission denied")), "a.json: permission denied");
    }
}
