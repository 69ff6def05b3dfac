//! `podwire policy`.

use std::path::PathBuf;
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
