//! `podwire policy remove`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::who;
use crate::leases::Store;
use crate::names::Digest;
use crate::registry::{Named, Registry};
use crate::state::State;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// NAME, with all its versions, or one version, NAME@DIGEST, that is not in use.
    policy: Named,
    /// Even if pods are wired by it: their addresses will not rest when they go, but can be given again at once.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(
    state: &State,
    registry: &Registry,
    Arguments { policy, force }: &Arguments,
) -> Result<ExitCode> {
    let standing = registry.standing(&policy.name)?;
    let version = policy.prefix.as_ref().map(|_| registry.find(policy)).transpose()?;
    let goes = |digest: &Digest| match &version {
        Some(version) => version.digest == *digest,
        None => standing.has(digest),
    };
    let wired = if *force { 0 } else { wired_by(state, goes)? };
    if wired > 0 {
        bail!(
            "{wired} attachments on record were decided by policy {policy}, which alone knows how long their \
             addresses rest: delete those pods first, or do without the rest with --force"
        );
    }
    let changes = match &version {
        Some(version) => vec![registry.remove_version(version, &who())?],
        None => registry.remove(&policy.name, &who())?,
    };
    changes.iter().for_each(|change| println!("{change}"));
    Ok(ExitCode::SUCCESS)
}

/// How many attachments are on record whose addresses one of these versions will be asked about.
fn wired_by(state: &State, goes: impl Fn(&Digest) -> bool) -> Result<usize> {
    let Some(store) = Store::open_existing(&state.leases_dir())? else { return Ok(0) };
    let mut wired = 0;
    for attachment in store.snapshot()?.attachments()? {
        wired += usize::from(goes(&attachment?.intent.digest));
    }
    Ok(wired)
}
