//! `podwire policy push`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use super::read;
use crate::oci::{self, PrivateKey, Reference};
use crate::policy;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The component, such as my-policy.wasm.
    component: PathBuf,
    /// Where to: oci://HOST[:PORT]/REPOSITORY[:TAG].
    reference: Reference,
    /// Sign it with this key: PKCS#8 in PEM, as `openssl genpkey` makes it.
    #[arg(long, value_name = "KEYFILE")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    registry: Registry,
}

/// How a registry is asked.
#[derive(Args)]
pub(super) struct Registry {
    /// Ask the registry without TLS. One on a loopback address is always asked so.
    #[arg(long)]
    plain_http: bool,
    /// Give the registry that many seconds for all of it.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

impl From<&Registry> for oci::Options {
    fn from(&Registry { plain_http, timeout }: &Registry) -> Self {
        Self { plain_http, timeout: Duration::from_secs(timeout) }
    }
}

pub(super) fn run(Arguments { component, reference, sign, registry }: &Arguments) -> Result<ExitCode> {
    let bytes = read(component)?;
    let found = policy::inspect(&bytes).and_then(|found| found.check().map(|()| found));
    let found = found.with_context(|| format!("{} cannot be a policy", component.display()))?;
    let key = sign.as_deref().map(PrivateKey::read).transpose()?;
    let manifest = oci::push(reference, &bytes, &found, key.as_ref(), &registry.into())?;
    println!("{reference} is now {manifest}");
    Ok(ExitCode::SUCCESS)
}
