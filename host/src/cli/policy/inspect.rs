//! `podwire policy inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::read;
use crate::policy;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The component.
    component: PathBuf,
}

pub(super) fn run(Arguments { component }: &Arguments) -> Result<ExitCode> {
    let found = policy::inspect(&read(component)?)
        .with_context(|| format!("{} cannot be a policy", component.display()))?;
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
