//! One address of each set of ranges: what somebody asked for, or the next that is free.
//!
//! Knows neither how a pod is wired nor where the sets come from.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use ipnet::IpNet;

use crate::{AddRequest, Address, AddressRange, Family, Leases, Node, Refusal};

/// A refusal for want of addresses names so many who hold one, and looks at so many addresses for them.
const NAMED_HOLDERS: usize = 3;
const ASKED_FOR_HOLDERS: usize = 16;

/// One address of each set, with the prefix and the gateway of its range: what was asked for in the request, else
/// the next that is free. Where the network configuration has no sets of its own, all that was asked for of a set
/// is given.
///
/// # Errors
/// A refusal if an address that was asked for lies in no set or cannot be had, and if a set is exhausted: it names
/// some who hold the addresses.
pub fn choose(
    sets: &[Vec<AddressRange>],
    request: &AddRequest,
    leases: &dyn Leases,
) -> Result<Vec<Address>, Refusal> {
    all_are_in(sets, request)?;
    let mut chosen = vec![];
    for set in sets {
        let of_set = requested(set, request, leases)?;
        match of_set.is_empty() {
            true => chosen.push(next_free(set, request, leases)?),
            false => chosen.extend(of_set),
        }
    }
    Ok(chosen)
}

/// Sets from which a pod gets an address of each family that there is, IPv4 first: the ranges of a family are tried
/// in turn.
pub fn sets_of(ranges: &[AddressRange]) -> Vec<Vec<AddressRange>> {
    let mut sets = vec![];
    for family in Family::BOTH {
        let mut set = vec![];
        for range in ranges {
            if Family::of(range.first) == family {
                set.push(*range);
            }
        }
        if !set.is_empty() {
            sets.push(set);
        }
    }
    sets
}

/// What is asked for and cannot be had is refused, not left out.
fn all_are_in(sets: &[Vec<AddressRange>], request: &AddRequest) -> Result<(), Refusal> {
    let all = || sets.iter().flatten();
    let outside = |asked: &&IpNet| !all().any(|range| range.contains(asked.addr()));
    let Some(asked) = request.requested_addresses.iter().find(outside) else { return Ok(()) };
    let all: Vec<_> = all().map(AddressRange::to_string).collect();
    let all = if all.is_empty() { "none".to_string() } else { all.join(", ") };
    Err(denied(asked, &format!("is not among the addresses of network {}: {all}", request.network)))
}

fn denied(asked: &IpNet, why: &str) -> Refusal {
    Refusal::denied(format!("requested address {} {why}; ask for another, or none", asked.addr()))
}

/// What of a set somebody asked for.
fn requested(
    set: &[AddressRange],
    request: &AddRequest,
    leases: &dyn Leases,
) -> Result<Vec<Address>, Refusal> {
    let mut granted = vec![];
    for asked in &request.requested_addresses {
        let Some(range) = set.iter().find(|range| range.contains(asked.addr())) else { continue };
        if !granted.is_empty() && request.range_sets.is_some() {
            return Err(denied(
                asked,
                "is the second of its set of ranges, which gives one address to a pod",
            ));
        }
        if range.gateway == Some(asked.addr()) {
            return Err(denied(asked, &format!("is the gateway of {}", range.subnet)));
        }
        if let Some(holder) = leases.holder_of(asked.addr()) {
            return Err(denied(asked, &format!("is held by {holder}")));
        }
        granted.push(range.address(asked.addr()));
    }
    Ok(granted)
}

fn next_free(set: &[AddressRange], request: &AddRequest, leases: &dyn Leases) -> Result<Address, Refusal> {
    let free = |range: &AddressRange| Some(range.address(leases.next_free_in(range)?));
    set.iter().find_map(free).ok_or_else(|| exhausted(set, &request.node, leases))
}

/// Names some who hold what is wanted.
fn exhausted(set: &[AddressRange], node: &Node, leases: &dyn Leases) -> Refusal {
    let full = |range: &AddressRange| format!("{range} ({} held)", leases.taken(range.subnet));
    let full: Vec<String> = set.iter().map(full).collect();
    let mut holders = vec![];
    for range in set {
        name_holders(range, leases, &mut holders);
    }
    Refusal::exhausted(format!(
        "no address is left in {} on node {}: delete pods, or give the network more addresses{}",
        full.join(", "),
        node.name,
        holders.concat()
    ))
}

/// First those who, going round, have had theirs for the longest time.
fn name_holders(range: &AddressRange, leases: &dyn Leases, holders: &mut Vec<String>) {
    let turn = leases.turn_in(range);
    let mut address = turn;
    for _ in 0..ASKED_FOR_HOLDERS {
        if holders.len() == NAMED_HOLDERS {
            break;
        }
        if let Some(holder) = leases.holder_of(address) {
            holders.push(format!("; {address} is held by {holder}"));
        }
        address = range.after(address);
        if address == turn {
            break;
        }
    }
}
