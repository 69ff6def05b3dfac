//! `podwire policy activate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::prove::prove;
use super::{short, who};
use crate::attachment::networks::{self, Served};
use crate::names::NetworkName;
use crate::node::config::Settings;
use crate::policy::{Engine, Policy};
use crate::registry::{Installed, Named, Registry, Scope, Trial};
use crate::state::State;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// Which one: NAME, for the version installed last, or NAME@DIGEST, whose digest may be cut short.
    policy: Named,
    /// In this network only. Others keep what they have.
    #[arg(long, value_name = "NAME")]
    network: Option<NetworkName>,
    /// Try it on so many of a hundred pods, chosen by their names; the others are the active version's.
    #[arg(long, value_name = "PERCENT%", value_parser = percent, conflicts_with = "shadow")]
    canary: Option<u8>,
    /// Ask it for every pod beside the active version, do nothing of what it says, and record what differs.
    #[arg(long)]
    shadow: bool,
    /// Where the networks are configured that it must be able to serve.
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    net_dir: PathBuf,
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.trim_end_matches('%').parse::<u8>().ok();
    let number = number.filter(|percent| (1..=99).contains(percent));
    number.ok_or_else(|| {
        "it is a whole number of 1 to 99, such as 10%; without --canary all pods get it".to_owned()
    })
}

pub(super) fn run(state: &State, registry: &Registry, arguments: &Arguments) -> Result<ExitCode> {
    let version = registry.find(&arguments.policy)?;
    let scope = arguments.network.as_ref();
    let engine = Engine::new()?;
    let policy = registry.load(&engine, &version)?;
    let settings = Settings::read(&state.node_config())?;
    let networks = affected(registry, &settings, &arguments.net_dir, &version, scope)?;
    check(&settings, &version, &policy, &networks, scope)
        .and_then(|()| prove(&version, &settings, &policy, &networks))
        .with_context(|| format!("{} is not activated, and nothing has changed", short(&version)))?;
    let trial = arguments.canary.map(Trial::Canary).or(arguments.shadow.then_some(Trial::Shadow));
    let change = match trial {
        None => registry.activate(&version, scope, &who())?,
        Some(trial) => registry.try_out(&version, scope, trial, &who())?,
    };
    println!("{change}");
    if let (Some(network), []) = (scope, &networks[..]) {
        println!(
            "no configuration in {} is of network {network}: none was asked",
            arguments.net_dir.display()
        );
    }
    for Served { file, network, .. } in networks {
        println!("it takes the configuration of network {network} in {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The networks whose pods the version would decide for.
fn affected(
    registry: &Registry,
    settings: &Settings,
    folder: &Path,
    version: &Installed,
    scope: Scope<'_>,
) -> Result<Vec<Served>> {
    let (mut networks, wrong) = networks::served(settings, folder, &version.name)
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    for wrong in wrong {
        eprintln!("podwire: no policy can serve this network: {wrong}");
    }
    let standing = registry.standing(&version.name)?;
    let is_on_its_own =
        |network: &NetworkName| standing.rollout(Some(network)).is_some_and(|own| own.active.is_some());
    networks.retain(|served| match scope {
        Some(network) => served.network == *network,
        None => !is_on_its_own(&served.network),
    });
    Ok(networks)
}

/// Asks the version about every configuration that it will meet.
fn check(
    settings: &Settings,
    version: &Installed,
    policy: &Policy,
    networks: &[Served],
    scope: Scope<'_>,
) -> Result<()> {
    for Served { file, network, config, .. } in networks {
        networks::accepts(version, policy, config)
            .with_context(|| format!("network {network} in {}", file.display()))?;
    }
    let is_the_nodes = settings.policy.clone().unwrap_or_default() == version.name;
    if scope.is_none() && is_the_nodes {
        networks::accepts(version, policy, settings.policy_config())
            .context("the configuration in node.json")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_some_pods_and_not_all() {
        assert_eq!((percent("10%"), percent("99")), (Ok(10), Ok(99)));
        for wrong in ["0", "100%", "-1", "ten", "", "10.5%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
