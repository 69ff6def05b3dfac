//! `podwire policy`.

mod bench;
mod component;
mod inspect;
mod install;
mod list;
mod remove;
mod test;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Subcommand;

use crate::policy::limits;
use crate::registry::Registry;
use crate::state::State;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Ask a policy your own cases, or those that every policy is asked before it becomes active.
    Test(test::Arguments),
    /// Measure what a policy's decisions cost.
    Bench(bench::Arguments),
    /// Check a component, compile it, and make it the policy of that name, in one step.
    Install(install::Arguments),
    /// Show which policies there are.
    List,
    /// Show what a component imports and exports, and whether podwire would take it.
    Inspect(inspect::Arguments),
    /// Forget a policy. Pods that it decided keep what they have.
    Remove(remove::Arguments),
}

pub(super) fn run(state: &State, command: Command) -> Result<ExitCode> {
    let registry = Registry::open(state);
    match command {
        Command::Test(arguments) => test::run(&registry, &arguments),
        Command::Bench(arguments) => bench::run(&registry, &arguments),
        Command::Install(arguments) => install::run(&registry, arguments),
        Command::List => list::run(&registry),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Remove(arguments) => remove::run(&registry, &arguments),
    }
}

/// No more than a byte too many: what is larger than it may be is refused for that, not read.
fn read(component: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = limits::COMPONENT_BYTES as u64 + 1;
    File::open(component)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .with_context(|| format!("{} cannot be read", component.display()))?;
    Ok(bytes)
}
