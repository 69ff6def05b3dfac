//! What keeps pods that are wired from reaching anybody: something of the node's that they all need.

use super::sysctl::{Sysctl, forwarding_for};
use super::{Error, link, socket::Socket};
use crate::names::InterfaceName;
use crate::plan::{Checked, Wiring};

/// A sentence with the remedy, about the node as this wired pod needs it; none if nothing is wrong, or if the pod is not
/// wired: its ADD may be under way, and has the node put right at its end, when both ends of the veth are up.
pub fn impairment(plan: &Checked) -> Result<Option<String>, Error> {
    let mut socket = Socket::route()?;
    let Some(end) = link::find(&mut socket, &plan.host_interface)? else { return Ok(None) };
    let of_bridge = match &plan.wiring {
        Wiring::Bridge { bridge, .. } => of_bridge(&mut socket, &bridge.name)?,
        Wiring::Routed => None,
    };
    Ok(of_bridge.or_else(|| end.running.then(|| of_switches(plan)).flatten()))
}

fn of_bridge(socket: &mut Socket, name: &InterfaceName) -> Result<Option<String>, Error> {
    Ok(match link::find(socket, name)? {
        None => Some(format!("bridge {name} is gone, and its pods are cut off: have them made anew")),
        Some(found) if !found.up => Some(format!("bridge {name} is down: `ip link set dev {name} up`")),
        Some(_) => None,
    })
}

fn of_switches(plan: &Checked) -> Option<String> {
    let off = |switch: &Sysctl| switch.get().as_deref() != Some("1");
    let name = forwarding_for(plan).into_iter().find(off)?.name();
    Some(format!("{name} is off, and pods reach nobody beyond the node: `sysctl -w {name}=1`"))
}
