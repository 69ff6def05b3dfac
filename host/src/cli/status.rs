//! `podwire status`.

mod agent;

use std::process::ExitCode;

use anyhow::Result;

use super::policy::list::{in_use, names};
use crate::node::config::Settings;
use crate::registry::{Registry, Standing};
use crate::state::State;

/// Says what is true on this node, and what decides. Exit code 1 if somebody should look: if the agent does not run,
/// or not all is as it shall be; if a version of a policy was taken out of use because it failed and nobody has
/// activated anything since, or if one fails that there is no alternative to.
pub(super) fn run(state: &State) -> Result<ExitCode> {
    let is_kept = agent::say(state)?;
    let decides = policies(state)?;
    Ok(if is_kept && decides { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn policies(state: &State) -> Result<bool> {
    let registry = Registry::open(state);
    let most = Settings::read(&state.node_config())?.policy_faults();
    let mut is_well = true;
    for name in names(&registry)? {
        let standing = registry.standing(&name)?;
        for line in in_use(&registry, &name, &standing)? {
            println!("policy {name} {line}");
        }
        let fell_back = standing.rollouts().any(|(_, rollout)| rollout.fell_back.is_some());
        let fails = |standing: &Standing| -> Result<bool> {
            let everywhere = registry.active(&name).ok().map(|active| active.digest);
            let own = standing.networks.values().filter_map(|rollout| rollout.active.as_ref());
            for digest in own.map(|version| version.digest).chain(everywhere) {
                if most > 0 && registry.version(&name, digest).faults()? >= most {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        is_well &= !fell_back && !fails(&standing)?;
    }
    Ok(is_well)
}
