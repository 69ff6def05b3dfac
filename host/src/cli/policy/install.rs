//! `podwire policy install`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::{push, read, short, who};
use crate::names::{Digest, PolicyName};
use crate::oci::{self, Demands, Keys, Reference};
use crate::registry::Registry;
use crate::state::State;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The component: a file such as my-policy.wasm, or oci://HOST[:PORT]/REPOSITORY[:TAG][@DIGEST].
    component: Source,
    /// The name that network configurations use; the file's or the repository's if it is left out.
    #[arg(long)]
    name: Option<PolicyName>,
    /// Refuse any component but the one with this digest: sha256:….
    #[arg(long)]
    digest: Option<Digest>,
    #[command(flatten)]
    registry: push::Registry,
}

/// Where a component comes from.
#[derive(Debug, Clone)]
enum Source {
    File(PathBuf),
    Registry(Reference),
}

impl std::str::FromStr for Source {
    type Err = oci::InvalidReference;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.starts_with(oci::SCHEME) {
            true => text.parse().map(Self::Registry),
            false => Ok(Self::File(text.into())),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Registry(reference) => reference.fmt(f),
        }
    }
}

impl Source {
    /// What the policy is called if nobody says.
    fn stem(&self) -> &str {
        match self {
            Self::File(path) => path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default(),
            Self::Registry(reference) => reference.name(),
        }
    }

    /// The component, and whose key signed it if this node demands that.
    fn fetch(&self, demands: &Demands<'_>, options: &oci::Options) -> Result<(Vec<u8>, Option<String>)> {
        match self {
            Self::File(path) => {
                let component = read(path)?;
                let signed_by = oci::check_file(path, &component, demands)?;
                Ok((component, signed_by))
            }
            Self::Registry(reference) => {
                let pulled = oci::pull(reference, demands, options)?;
                Ok((pulled.component, pulled.signed_by))
            }
        }
    }
}

pub(super) fn run(state: &State, registry: &Registry, arguments: Arguments) -> Result<ExitCode> {
    let Arguments { component: source, name, digest, registry: asked } = arguments;
    let name = match name {
        Some(name) => name,
        None => source.stem().parse().context("the file's name is no policy's: choose one with --name")?,
    };
    let keys = Keys::of(state)?;
    let (component, signed_by) = source.fetch(&Demands { digest, keys: keys.as_ref() }, &(&asked).into())?;
    let installed = registry
        .install(&name, &component, &who())
        .with_context(|| format!("{source} cannot be policy {name}"))?;
    let signed_by = signed_by.map(|signer| format!(", signed by {signer},")).unwrap_or_default();
    println!(
        "{}{signed_by} is installed under the name {name}, and decides nothing yet; next:",
        installed.digest
    );
    println!("    podwire policy activate {}", short(&installed));
    Ok(ExitCode::SUCCESS)
}
