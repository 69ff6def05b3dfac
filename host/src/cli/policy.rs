//! `podwire policy`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Subcommand;

use crate::names::PolicyName;
use crate::policy;
use crate::registry::Registry;
use crate::state::State;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Check a component, compile it, and make it the policy of that name, in one step.
    Install {
        /// The component, such as my-policy.wasm.
        component: PathBuf,
        /// The name that network configurations use; the file's if it is left out.
        #[arg(long)]
        name: Option<PolicyName>,
    },
    /// Show which policies there are.
    List,
    /// Show what a component imports and exports, and whether podwire would take it.
    Inspect {
        /// The component.
        component: PathBuf,
    },
    /// Forget a policy. Pods that it decided keep what they have.
    Remove {
        /// Its name.
        name: PolicyName,
    },
}

pub(super) fn run(state: &State, command: Command) -> Result<ExitCode> {
    let registry = Registry::open(state);
    match command {
        Command::Install { component, name } => install(&registry, &component, name)?,
        Command::List => list(&registry)?,
        Command::Inspect { component } => return inspect(&component),
        Command::Remove { name } => registry.remove(&name)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// No more than a byte too many: what is larger than it may be is refused for that, not read.
fn read(component: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = policy::limits::COMPONENT_BYTES as u64 + 1;
    File::open(component)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .with_context(|| format!("{} cannot be read", component.display()))?;
    Ok(bytes)
}

fn install(registry: &Registry, component: &Path, name: Option<PolicyName>) -> Result<()> {
    let stem = || component.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = match name {
        Some(name) => name,
        None => stem().parse().context("the file's name is no policy's: choose one with --name")?,
    };
    let installed = registry
        .install(&name, &read(component)?)
        .with_context(|| format!("{} cannot be policy {name}", component.display()))?;
    println!("{} is now {}", installed.name, installed.digest);
    Ok(())
}

fn list(registry: &Registry) -> Result<()> {
    for installed in registry.list()? {
        let origin = if installed.is_builtin() { "built in" } else { "installed" };
        println!("{:<20} {} {origin}", installed.name.as_str(), installed.digest);
    }
    Ok(())
}

fn inspect(component: &Path) -> Result<ExitCode> {
    let found = policy::inspect(&read(component)?)
        .with_context(|| format!("{} cannot be a policy", component.display()))?;
    for import in &found.imports {
        let what = if import.has_functions { "functions" } else { "types only" };
        println!("imports {} ({what})", import.name);
    }
    for export in &found.exports {
        println!("exports {export}");
    }
    match found.check() {
        Ok(()) => println!("podwire takes it"),
        Err(unfit) => {
            println!("podwire does not take it: {unfit}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
