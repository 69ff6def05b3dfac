//! STATUS: whether an ADD would be served now.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::choice::Choice;
use super::deciding::Deciding;
use super::delegate::Delegate;
use super::tell;
use crate::cni::{self, Code, Configuration, Error, Input, Ipam};
use crate::leases::{Attachment, Origin, Snapshot, Steps, Store, View};
use crate::net;
use crate::node::config::Settings;
use crate::plan::{AddressRange, Checked, Node};
use crate::registry::Registry;
use crate::state::State;

/// Runtimes ask every few seconds.
const PODS_LOOKED_AT: usize = 8;

pub(super) fn status(state: &State, input: &Input, request: &cni::Status) -> Result<(), Error> {
    let ready = ready(state, input, request);
    // What cannot be found out is not known to be wrong; a database that is, readiness tells.
    let impaired = impairment(state, &request.configuration).unwrap_or_else(|why| {
        tell(format_args!("whether pods are cut off cannot be told: {why}"));
        None
    });
    match (impaired, ready) {
        (None, Ok(())) => Ok(()),
        // Another plugin may have said so of its own.
        (None, Err(error)) if error.code() == Code::NOT_AVAILABLE_LIMITED => Err(error),
        (None, Err(error)) => Err(Error::new(Code::NOT_AVAILABLE, error.msg()).with_details(error.details())),
        (Some(impaired), ready) => {
            let other = ready.err().map(|error| error.to_string()).unwrap_or_default();
            Err(Error::new(Code::NOT_AVAILABLE_LIMITED, impaired).with_details(other))
        }
    }
}

/// What cuts the network's pods off. They need the same of the node: some of them stand for all.
fn impairment(state: &State, network: &Configuration) -> Result<Option<String>, Error> {
    let Some(store) = Store::open_existing(&state.leases_dir())? else { return Ok(None) };
    for plan in some_plans(&store, network)? {
        if let Some(impaired) = net::impairment(&plan)? {
            return Ok(Some(impaired));
        }
    }
    Ok(None)
}

/// Nobody writes while they are gathered. Some may be under way yet, and have nothing that could be missing.
fn some_plans(store: &Store, network: &Configuration) -> Result<Vec<Checked>, Error> {
    let leases = store.snapshot()?;
    let wired = leases.attachments()?.filter_map(|attachment| match attachment {
        Ok(Attachment { intent, .. }) => {
            let ours = intent.network == network.network && intent.origin == Origin::Wired;
            ours.then_some(Ok(intent.plan))
        }
        Err(error) => Some(Err(error)),
    });
    Ok(wired.take(PODS_LOOKED_AT).collect::<Result<_, _>>()?)
}

fn ready(state: &State, input: &Input, request: &cni::Status) -> Result<(), Error> {
    let network = &request.configuration;
    let settings = Settings::read(&state.node_config())?;
    let choice = Choice::make(state, &settings, network, None)?;
    Deciding::prepare(&choice, Registry::load)?.check_config()?;
    warn(&choice, &settings);
    // Unusable leases are told whoever gives the addresses.
    let leases = Store::open(&state.leases_dir())?.snapshot()?;
    match &network.ipam {
        Ipam::Delegate(plugin) => {
            // Nobody could write while another plugin takes its time.
            drop(leases);
            Delegate::new(plugin, input)?.pass_on("STATUS")
        }
        Ipam::Ranges(ranges) => ranges.sets.iter().try_for_each(|set| room_in(&leases, set)),
        Ipam::Pools(_) => {
            let node = settings.node(network.pools.as_deref(), network.cluster.as_deref())?;
            [true, false].into_iter().try_for_each(|ipv4| room(&leases, &node, ipv4))
        }
    }
}

/// A policy that fails again and again, and to which there is no alternative, may serve most pods all the same: no
/// reason to take the node out of service.
fn warn(choice: &Choice, settings: &Settings) {
    let (policy, most) = (&choice.chosen.decides, settings.policy_faults());
    let faults = policy.faults().unwrap_or_default();
    if most > 0 && faults >= most {
        tell(format_args!(
            "policy {policy} failed {faults} times since it was activated, and has no earlier version to go back to: \
             `podwire policy activate` another one"
        ));
    }
}

/// Some range of the set has a free address.
fn room_in(leases: &Snapshot, set: &[AddressRange]) -> Result<(), Error> {
    for range in set {
        if is_free(leases, range)? {
            return Ok(());
        }
    }
    let names = set.iter().map(|range| format!("{}-{}", range.first, range.last)).collect::<Vec<_>>();
    Err(full(&names))
}

fn is_free(leases: &Snapshot, range: &AddressRange) -> Result<bool, Error> {
    let mut steps = Steps(u64::MAX);
    let mut next = leases.first_free(range.subnet, Some(range.first), &mut steps)?;
    // The gateway may be on nobody's record yet.
    if next.is_some() && next == range.gateway {
        let after = range.gateway.and_then(successor);
        next = leases.first_free(range.subnet, after, &mut steps)?;
    }
    Ok(next.is_some_and(|address| range.contains(address) && Some(address) != range.gateway))
}

fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn full(blocks: &[String]) -> Error {
    let msg = format!("no address is free in {}: delete pods, or add a pool", blocks.join(", "));
    Error::new(Code::NOT_AVAILABLE, msg)
}

/// Some pool of the family has a free address, if there are any of it.
fn room(leases: &Snapshot, node: &Node, ipv4: bool) -> Result<(), Error> {
    let pools: Vec<IpNet> = node.pools.iter().filter(|pool| pool.addr().is_ipv4() == ipv4).copied().collect();
    let mut steps = Steps(u64::MAX);
    for pool in &pools {
        if leases.first_free(*pool, None, &mut steps)?.is_some() {
            return Ok(());
        }
    }
    match pools.as_slice() {
        [] => Ok(()),
        full_pools => Err(full(&full_pools.iter().map(IpNet::to_string).collect::<Vec<_>>())),
    }
}
