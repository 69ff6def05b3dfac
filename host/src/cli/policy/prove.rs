//! What a version must stand before it decides anything.

use anyhow::{Result, bail};

use crate::attachment::networks::Served;
use crate::node::config::Settings;
use crate::policy::{Policy, abi_key};
use crate::registry::{Installed, digest};
use crate::trial::battery;

/// Asks the version whatever is hard, with the configuration of every network that it will serve. It may refuse, but
/// must neither fail nor break a rule. What it stood once it stands again: the same questions have the same answers.
pub(super) fn prove(
    version: &Installed,
    settings: &Settings,
    policy: &Policy,
    networks: &[Served],
) -> Result<()> {
    let mut situations: Vec<_> = networks.iter().map(|served| served.setting(settings)).collect();
    situations.dedup();
    let questions = digest(format!("{} {situations:?}", abi_key()).as_bytes());
    if version.has_passed(&questions)? {
        return Ok(());
    }
    let report = battery(policy, &situations);
    let faults: Vec<_> =
        report.faults().map(|(situation, example)| format!("{situation}: {example}")).collect();
    if !faults.is_empty() {
        bail!("{}; `podwire policy test` has the details", faults.join("; "));
    }
    if report.stopped.is_some() {
        eprintln!("podwire: {version} takes so much work that not every hard question was asked");
    }
    Ok(version.pass(&questions)?)
}
