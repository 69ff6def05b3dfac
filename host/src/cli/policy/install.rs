//! `podwire policy install`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::read;
use crate::names::PolicyName;
use crate::registry::Registry;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The component, such as my-policy.wasm.
    component: PathBuf,
    /// The name that network configurations use; the file's if it is left out.
    #[arg(long)]
    name: Option<PolicyName>,
}

pub(super) fn run(registry: &Registry, Arguments { component, name }: Arguments) -> Result<ExitCode> {
    let stem = || component.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = match name {
        Some(name) => name,
        None => stem().parse().context("the file's name is no policy's: choose one with --name")?,
    };
    let installed = registry
        .install(&name, &read(&component)?)
        .with_context(|| format!("{} cannot be policy {name}", component.display()))?;
    println!("{} is now {}", installed.name, installed.digest);
    Ok(ExitCode::SUCCESS)
}
