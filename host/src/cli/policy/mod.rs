//! `podwire policy`.

mod activate;
mod bench;
mod component;
mod inspect;
mod install;
pub(super) mod list;
mod new;
mod prove;
mod push;
mod remove;
mod replay;
mod rollback;
mod test;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Subcommand;

use crate::names::Digest;
use crate::policy::limits;
use crate::registry::{Installed, Registry};
use crate::state::State;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Write a small project to begin a policy with: it builds, and has tests.
    New(new::Arguments),
    /// Ask a policy your own cases, or those that every policy is asked before it becomes active.
    Test(test::Arguments),
    /// Measure what a policy's decisions cost.
    Bench(bench::Arguments),
    /// Show what a component imports and exports, and whether podwire would take it.
    Inspect(inspect::Arguments),
    /// Check a component, compile it, and keep it under a name. It decides nothing yet.
    Install(install::Arguments),
    /// Make an installed version decide, once it is seen that it can; or try it out.
    Activate(activate::Arguments),
    /// Withdraw the version that is tried out; if there is none, go back to the one that decided before.
    Rollback(rollback::Arguments),
    /// Decide again what is in the journal, and show whom a candidate would treat differently.
    Replay(replay::Arguments),
    /// Show which policies there are: what decides, since when, by whom, and what failed.
    List,
    /// Forget a policy, or one version of it. Pods that it decided keep what they have.
    Remove(remove::Arguments),
    /// Put a component into an OCI registry.
    Push(push::Arguments),
}

pub(super) fn run(state: &State, command: Command) -> Result<ExitCode> {
    let registry = Registry::open(state);
    match command {
        Command::New(arguments) => new::run(&arguments),
        Command::Test(arguments) => test::run(&registry, &arguments),
        Command::Bench(arguments) => bench::run(&registry, &arguments),
        Command::Inspect(arguments) => inspect::run(&registry, &arguments),
        Command::Install(arguments) => install::run(state, &registry, arguments),
        Command::Activate(arguments) => activate::run(state, &registry, &arguments),
        Command::Rollback(arguments) => rollback::run(&registry, &arguments),
        Command::Replay(arguments) => replay::run(state, &registry, &arguments),
        Command::List => list::run(&registry),
        Command::Remove(arguments) => remove::run(state, &registry, &arguments),
        Command::Push(arguments) => push::run(&arguments),
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

/// Whom a change is recorded as being by: the user who typed it, whoever he has become since.
fn who() -> String {
    let login = std::fs::read_to_string("/proc/self/loginuid").ok();
    // The kernel's number for nobody: the process came from no login.
    let login = login.map(|login| login.trim().to_owned()).filter(|login| login != "4294967295");
    let user = || login.unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    let by_number = || match user().as_str() {
        "0" => "root".to_owned(),
        number => format!("user {number}"),
    };
    std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty()).unwrap_or_else(by_number)
}

/// A version as people name it: enough of its digest to be the only one.
fn short(version: &Installed) -> String {
    format!("{}@{}", version.name, hex12(&version.digest))
}

fn hex12(digest: &Digest) -> String {
    digest.to_string().chars().skip("sha256:".len()).take(12).collect()
}
