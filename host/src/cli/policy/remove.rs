//! `podwire policy remove`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::names::PolicyName;
use crate::registry::Registry;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// Its name.
    name: PolicyName,
}

pub(super) fn run(registry: &Registry, Arguments { name }: &Arguments) -> Result<ExitCode> {
    registry.remove(name)?;
    Ok(ExitCode::SUCCESS)
}
