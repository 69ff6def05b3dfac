//! `podwire policy inspect`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::component::Component;
use crate::policy;
use crate::registry::Registry;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// A file, or an installed policy: NAME, for the version installed last, or NAME@DIGEST.
    component: String,
}

pub(super) fn run(registry: &Registry, Arguments { component }: &Arguments) -> Result<ExitCode> {
    let found = policy::inspect(&Component::find(registry, component)?.bytes)
        .with_context(|| format!("{component} cannot be a policy"))?;
    for import in &found.imports {
        println!("imports {} ({})", import.name, import.gets().unwrap_or("which no policy may have"));
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
