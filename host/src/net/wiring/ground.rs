//! What is there before a pod is wired, and what that makes necessary. Only a bridge that is missing is made here.

use ipnet::IpNet;

use super::super::bridge::{self, Vlans};
use super::super::link::{self, Link};
use super::super::namespace::Namespace;
use super::super::socket::{Request, Socket};
use super::super::{DEFAULT_MTU, Error, neighbour, route};
use super::{Wired, WiredBridge, taken};
use crate::plan::derived::divided;
use crate::plan::{Checked, Wiring};

/// What is there before anything is done.
pub(super) struct Found {
    bridge: Option<Link>,
    /// Addresses of the node on whose links the pod's addresses are, with their interfaces.
    links: Vec<(u32, IpNet)>,
}

impl Found {
    /// What a bridge is known to carry.
    fn carried_by(&self, bridge: u32) -> Vec<IpNet> {
        self.links.iter().filter(|(index, _)| *index == bridge).map(|(_, prefix)| *prefix).collect()
    }
}

/// The bridge, if it is there. An error if the node itself has one of the addresses: no lease knows of one that
/// an operator gave to an interface, or that a bridge still carries from a plan whose pods are gone.
pub(super) fn look_around(host: &mut Socket, plan: &Checked) -> Result<Found, Error> {
    let addresses = || plan.addresses.iter().map(|address| address.prefix.addr());
    let bridge = match &plan.wiring {
        Wiring::Bridge { bridge, .. } => Some(bridge),
        Wiring::Routed => None,
    };
    let by_name = bridge.map(|bridge| link::by_name(&bridge.name));
    let questions: Vec<_> = addresses().map(route::to).chain(by_name).collect();
    let mut asked = host.ask(&questions)?..;
    let mut links = Vec::with_capacity(plan.addresses.len());
    for (address, asked) in addresses().zip(&mut asked) {
        let way = route::way(host, asked)?;
        if way.is_local {
            return Err(Error::AddressOfNode(address));
        }
        links.extend(way.link);
    }
    let Some((planned, asked)) = bridge.zip(asked.next()) else { return Ok(Found { bridge: None, links }) };
    let bridge = link::found(host, asked)?.map(|found| bridge::check(found, planned)).transpose()?;
    Ok(Found { bridge, links })
}

/// What is known before the veth is made.
pub(super) struct Prepared {
    pub(super) wired: Wired,
    /// As it was found, or made.
    pub(super) bridge: Option<Link>,
    /// What gives the bridge what it lacks.
    pub(super) before: Vec<Request>,
    /// The same, where others would miss what the bridge had.
    pub(super) after: Vec<Request>,
}

impl Prepared {
    fn without_bridge(mtu: u32) -> Self {
        let wired = Wired { mtu, bridge: None };
        Self { wired, bridge: None, before: Vec::new(), after: Vec::new() }
    }
}

pub(super) fn prepare(
    host: &mut Socket,
    pod: &Namespace,
    plan: &Checked,
    before: Found,
) -> Result<Prepared, Error> {
    let Wiring::Bridge { bridge: planned, vlans, .. } = &plan.wiring else {
        return Ok(Prepared::without_bridge(plan.mtu.unwrap_or(DEFAULT_MTU)));
    };
    let (planned, gateway) = &divided(planned, vlans.as_ref());
    let carried = before.bridge.as_ref().map(|bridge| before.carried_by(bridge.index)).unwrap_or_default();
    let is_new = before.bridge.is_none();
    let found = match before.bridge {
        Some(found) => found,
        None => {
            // What the kernel would say of the veth: no bridge is made for one that cannot be.
            taken(host, pod, plan).map_or(Ok(()), Err)?;
            bridge::create(host, planned, Vlans::needed(vlans.as_ref()))?
        }
    };
    let mac = found.hardware_address();
    let cleared = bridge::clear(host, &found, planned)?;
    let alters = !is_new && (!cleared.is_empty() || bridge::Lacks::of(&found, planned).alters());
    let mut requests = bridge::settle(&found, planned)?;
    requests.extend(cleared);
    requests.extend(bridge::ensure_addresses(found.interface(), mac, planned, &carried));
    // Else the node meets the pod elsewhere.
    if gateway.is_none() {
        requests.extend(neighbour::correct(found.interface(), plan));
    }
    let (before, after) = if alters {
        (bridge::ensure_link_local(found.interface(), mac, planned).into_iter().collect(), requests)
    } else {
        (requests, Vec::new())
    };
    let mtu = planned.mtu.unwrap_or(found.mtu);
    let bridge = WiredBridge { name: planned.name.clone(), mac, mtu, index: found.index };
    let wired = Wired { mtu: plan.mtu.unwrap_or(mtu), bridge: Some(bridge) };
    Ok(Prepared { wired, bridge: Some(found), before, after })
}
