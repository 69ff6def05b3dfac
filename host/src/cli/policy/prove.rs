//! What a version must stand before it decides anything.

use anyhow::{Result, bail};

use crate::attachment::networks::Served;
use crate::node::config::Settings;
use crate::policy::Policy;
use crate::trial::battery;

/// Asks the version whatever is hard, with the configuration of every network that it will serve. It may refuse, but
/// must neither fail nor break a rule.
pub(super) fn prove(settings: &Settings, policy: &Policy, networks: &[Served]) -> Result<()> {
    let mut situations: Vec<_> = networks.iter().map(|served| served.setting(settings)).collect();
    situations.dedup();
    let report = battery(policy, &situations);
    let faults: Vec<_> =
        report.faults().map(|(situation, example)| format!("{situation}: {example}")).collect();
    if !faults.is_empty() {
        bail!("{}; `podwire policy test` has the details", faults.join("; "));
    }
    Ok(())
}
