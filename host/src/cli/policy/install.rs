//! `podwire policy install`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::{read, short, who};
use crate::names::{Digest, PolicyName};
use crate::registry::{Registry, digest};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The component, such as my-policy.wasm.
    component: PathBuf,
    /// The name that network configurations use; the file's if it is left out.
    #[arg(long)]
    name: Option<PolicyName>,
    /// What the component must be, to the byte.
    #[arg(long, value_name = "sha256:HEX")]
    digest: Option<Digest>,
}

pub(super) fn run(registry: &Registry, arguments: Arguments) -> Result<ExitCode> {
    let Arguments { component, name, digest } = arguments;
    let stem = || component.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = match name {
        Some(name) => name,
        None => stem().parse().context("the file's name is no policy's: choose one with --name")?,
    };
    install(registry, &name, &component, &read(&component)?, digest)
}

/// Installs a component that came from somewhere.
fn install(
    registry: &Registry,
    name: &PolicyName,
    from: &Path,
    component: &[u8],
    expected: Option<Digest>,
) -> Result<ExitCode> {
    let (from, found) = (from.display(), digest(component));
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        bail!("{from} is {found}, not {expected}: it is not installed");
    }
    let installed = registry
        .install(name, component, &who())
        .with_context(|| format!("{from} cannot be policy {name}"))?;
    println!("{} is installed under the name {name}, and decides nothing yet; next:", installed.digest);
    println!("    podwire policy activate {}", short(&installed));
    Ok(ExitCode::SUCCESS)
}
