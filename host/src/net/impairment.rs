//! What keeps pods that are wired from reaching anybody: something of the node's that they all need.

use super::sysctl::{Families, forwarding};
use super::{Error, link, socket::Socket};
use crate::names::InterfaceName;
use crate::plan::{Checked, Wiring};

/// A sentence with the remedy, about the node as this wired pod needs it; none if nothing is wrong.
pub fn impairment(plan: &Checked) -> Result<Option<String>, Error> {
    let of_bridge = match &plan.wiring {
        Wiring::Bridge { bridge, .. } => of_bridge(&bridge.name)?,
        Wiring::Routed => None,
    };
    Ok(of_bridge.or_else(|| of_switches(Families::of(plan.addresses.iter().map(|address| &address.prefix)))))
}

fn of_bridge(name: &InterfaceName) -> Result<Option<String>, Error> {
    Ok(match link::find(&mut Socket::route()?, name)? {
        None => Some(format!("bridge {name} is gone, and its pods are cut off: have them made anew")),
        Some(found) if !found.up => Some(format!("bridge {name} is down: `ip link set dev {name} up`")),
        Some(_) => None,
    })
}

fn of_switches(families: Families) -> Option<String> {
    let off = |switch: &super::sysctl::Sysctl| switch.get().as_deref() != Some("1");
    let name = forwarding(families).into_iter().find(off)?.name();
    Some(format!("{name} is off, and pods reach nobody beyond the node: `sysctl -w {name}=1`"))
}
