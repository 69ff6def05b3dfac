//! Compares a node with its plan.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::change::{Change, none};
use super::ways::{Ways, is_tunnelled};
use crate::names::MacAddress;
use crate::net::bridge::{self, Lacks};
use crate::net::inspect::Difference;
use crate::net::link::{self, Link};
use crate::net::route::{self, Found, Hop, Route};
use crate::net::socket::Socket;
use crate::net::sysctl::{Families, Sysctl, forwarding};
use crate::net::tunnel::{self, Entry, Neighbour, Peer};
use crate::net::vxlan::Standing;
use crate::net::{Error, address, rules};
use crate::plan::derived::{bridge_addresses, bridge_mac, is_in_the_way};
use crate::plan::marks::GROUP;
use crate::plan::{Bridge, NodePlan, Vxlan};

#[derive(Default)]
pub(super) struct Comparison {
    /// In the order in which they are to be carried out.
    pub(super) changes: Vec<Change>,
    pub(super) kept: Vec<Difference>,
    pub(super) conflicts: Vec<Error>,
    /// Interfaces that go, and with them what leads there.
    gone: Vec<u32>,
}

/// What there is of the planned VXLAN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    /// None, or it has to be made anew.
    None,
    /// One that may be used.
    Usable(u32),
    /// Something else has its name.
    Foreign,
}

pub(super) fn compare(socket: &mut Socket, plan: &NodePlan, cluster: &[IpNet]) -> Result<Comparison, Error> {
    let mut comparison = Comparison::default();
    let off = |switch: &Sysctl| switch.get().as_deref() != Some("1");
    let switches = forwarding(Families::of(cluster)).into_iter().filter(off);
    comparison.changes.extend(switches.map(Change::Forwarding));
    for planned in &plan.bridges {
        comparison.bridge(socket, planned)?;
    }
    let device = comparison.vxlan(socket, plan.vxlan.as_ref())?;
    comparison.ways(socket, Ways::of(plan), device)?;
    comparison.masquerade(plan, cluster)?;
    // Not those that were handed over: who made them takes them away.
    for bridge in link::bridges(socket)?.iter().filter(|bridge| bridge.group == GROUP) {
        if !plan.bridges.iter().any(|planned| planned.name.as_str() == bridge.name) {
            comparison.unplanned(socket, bridge)?;
        }
    }
    Ok(comparison)
}

impl Comparison {
    fn bridge(&mut self, socket: &mut Socket, planned: &Bridge) -> Result<(), Error> {
        let name = &planned.name;
        let added = |prefix| Change::AddressAdded(name.clone(), prefix);
        let Some(found) = link::find(socket, name)? else {
            self.changes.push(Change::BridgeCreated(name.clone()));
            self.changes.extend(bridge_addresses(planned, bridge_mac(planned)).into_iter().map(added));
            return Ok(());
        };
        let found = match bridge::check(found, planned) {
            Ok(found) => found,
            Err(conflict) => {
                self.conflicts.push(conflict);
                return Ok(());
            }
        };
        let lacks = Lacks::of(&found, planned);
        if !lacks.is_nothing() {
            self.changes.push(Change::BridgeSettled(name.clone(), lacks.mtu));
        }
        self.addresses(planned, &found, &address::of(socket, found.index)?);
        Ok(())
    }

    fn addresses(&mut self, planned: &Bridge, bridge: &Link, found: &[address::Found]) {
        let name = &planned.name;
        let wanted = bridge_addresses(planned, bridge.hardware_address());
        let stale = |found: &&address::Found| {
            let ours = found.ours && !wanted.contains(&found.prefix);
            ours || is_in_the_way(planned, &found.prefix)
        };
        let (kept, stale): (Vec<&address::Found>, Vec<&address::Found>) =
            found.iter().filter(stale).partition(|found| planned.kept.contains(&found.prefix.addr()));
        self.conflicts.extend(kept.iter().map(|found| {
            let bridge = name.clone();
            Error::NodeAddressInTheWay { bridge, address: found.prefix }
        }));
        // First, for with an IPv4 address go the later ones of its link.
        let stale = stale.into_iter();
        self.changes.extend(stale.map(|found| Change::AddressRemoved(name.clone(), found.prefix)));
        let missing = wanted.iter().filter(|prefix| !found.iter().any(|found| found.prefix == **prefix));
        self.changes.extend(missing.map(|prefix| Change::AddressAdded(name.clone(), *prefix)));
    }

    /// Other devices first: the kernel has no two with the same identifier and port.
    fn vxlan(&mut self, socket: &mut Socket, planned: Option<&Vxlan>) -> Result<Device, Error> {
        let is_planned = |link: &Link| planned.is_some_and(|planned| planned.name.as_str() == link.name);
        let own = link::vxlans(socket)?.into_iter().filter(|link| link.group == GROUP);
        for stale in own.filter(|link| !is_planned(link)) {
            self.gone.push(stale.index);
            self.changes.extend(stale.name.parse().ok().map(Change::VxlanRemoved));
        }
        let Some(planned) = planned else { return Ok(Device::None) };
        let name = planned.name.clone();
        let Some(found) = link::find(socket, &name)? else {
            self.changes.push(Change::VxlanCreated(name));
            return Ok(Device::None);
        };
        Ok(match Standing::of(&found, planned) {
            Standing::Foreign => {
                let kind = found.kind.unwrap_or_else(|| "hardware interface".to_owned());
                self.conflicts.push(Error::VxlanTaken { name, kind });
                Device::Foreign
            }
            Standing::Different => {
                self.gone.push(found.index);
                self.changes.push(Change::VxlanReplaced(name));
                Device::None
            }
            Standing::Unsettled => {
                self.changes.push(Change::VxlanSettled(name, planned.mtu));
                Device::Usable(found.index)
            }
            Standing::Settled => Device::Usable(found.index),
        })
    }

    /// What is added before what is removed: what changes its way is never without one.
    fn ways(&mut self, socket: &mut Socket, mut ways: Ways, device: Device) -> Result<(), Error> {
        self.conflicts.append(&mut ways.impossible);
        if device == Device::Foreign {
            ways.routes.retain(|route| !is_tunnelled(route.hop));
            (ways.peers, ways.neighbours) = (Vec::new(), Vec::new());
        }
        let index = if let Device::Usable(index) = device { Some(index) } else { None };
        let known = index.map(|index| tunnel::known(socket, index)).transpose()?.unwrap_or_default();
        let stale = self.tunnels(&ways, &known);
        self.routes(&ways.routes, self.staying(route::all(socket)?), index);
        self.changes.extend(stale);
        Ok(())
    }

    /// Returns what has to go once no route needs it.
    fn tunnels(&mut self, ways: &Ways, known: &[Entry]) -> Vec<Change> {
        let there: HashSet<Peer> = known.iter().filter_map(Entry::peer).collect();
        let missing = ways.peers.iter().filter(|peer| !there.contains(peer));
        self.changes.extend(missing.copied().map(Change::PeerSet));
        let settled = known.iter().filter(|entry| entry.permanent).filter_map(Entry::neighbour);
        let there: HashSet<Neighbour> = settled.clone().collect();
        let missing = ways.neighbours.iter().filter(|neighbour| !there.contains(neighbour));
        self.changes.extend(missing.copied().map(Change::NeighbourSet));

        let planned: HashSet<MacAddress> = ways.peers.iter().map(|peer| peer.mac).collect();
        let stale = known.iter().filter_map(Entry::peer).filter(|peer| !planned.contains(&peer.mac));
        let planned: HashSet<IpAddr> = ways.neighbours.iter().map(|neighbour| neighbour.address).collect();
        let unused = settled.filter(|neighbour| !planned.contains(&neighbour.address));
        stale.map(Change::PeerRemoved).chain(unused.map(Change::NeighbourRemoved)).collect()
    }

    /// The routes that are still there when the links are as planned: with a device go its routes, and with an address
    /// those of IPv4 that have it as their source.
    fn staying(&self, mut found: Vec<Found>) -> Vec<Found> {
        let removed: Vec<IpAddr> = self.changes.iter().filter_map(removed_source).collect();
        found.retain(|found| {
            let interface = match found.hop {
                Some(Hop::Via { interface, .. }) => interface,
                _ => None,
            };
            let leads_nowhere = interface.is_some_and(|interface| self.gone.contains(&interface));
            !leads_nowhere && !found.source.is_some_and(|source| removed.contains(&source))
        });
        found
    }

    /// Additions before removals: what changes its metric is never without a route.
    fn routes(&mut self, planned: &[Route], found: Vec<Found>, device: Option<u32>) {
        let mut places: HashMap<Place, Vec<Found>> = HashMap::with_capacity(found.len());
        for found in found {
            places.entry((found.destination, found.metric)).or_default().push(found);
        }
        for route in planned {
            let there = places.remove(&place(route)).unwrap_or_default();
            self.route(route, &there, device);
        }
        let stale = places.into_values().flatten().filter(is_of_the_node);
        let mut stale: Vec<Route> = stale.filter_map(|found| found.as_route()).collect();
        stale.sort_unstable_by_key(|route| (route.destination, route.metric));
        self.changes.extend(stale.into_iter().map(Change::RouteRemoved));
    }

    fn route(&mut self, planned: &Route, there: &[Found], device: Option<u32>) {
        match there.iter().find(|found| !is_of_the_node(found)) {
            Some(foreign) => self
                .conflicts
                .push(Error::RouteTaken { destination: planned.destination, found: foreign.to_string() }),
            None => match there.first() {
                None => self.changes.push(Change::RouteAdded(planned.clone())),
                Some(found) if !leads_alike(planned, found, device) => {
                    self.changes.push(Change::RouteReplaced(planned.clone(), found.to_string()));
                }
                Some(_) => (),
            },
        }
    }

    fn masquerade(&mut self, plan: &NodePlan, cluster: &[IpNet]) -> Result<(), Error> {
        if !rules::is_masquerading(&plan.masquerade, cluster)? {
            self.changes.push(if plan.masquerade.is_empty() {
                Change::MasqueradeRemoved
            } else {
                Change::MasqueradeSet(plan.masquerade.clone())
            });
        }
        Ok(())
    }

    fn unplanned(&mut self, socket: &mut Socket, bridge: &Link) -> Result<(), Error> {
        let ports = link::ports(socket, bridge.index)?.len();
        if ports > 0 {
            self.kept.push(Difference {
                what: format!("bridge {}", bridge.name),
                expected: none(),
                found: format!("one with {ports} port{}", if ports == 1 { "" } else { "s" }),
            });
        } else if let Ok(name) = bridge.name.parse() {
            self.changes.push(Change::BridgeRemoved(name));
        }
        Ok(())
    }
}

/// The kernel tells routes of one table apart by these: destination and metric.
pub(in crate::net) type Place = (IpNet, u32);

pub(in crate::net) fn place(route: &Route) -> Place {
    (route.destination, route.effective_metric())
}

fn removed_source(change: &Change) -> Option<IpAddr> {
    match change {
        Change::AddressRemoved(_, prefix) if prefix.addr().is_ipv4() => Some(prefix.addr()),
        _ => None,
    }
}

/// Routes to single pods bear podwire's protocol number too, but are on a link: they come and go with the
/// pods.
pub(in crate::net) fn is_of_the_node(found: &Found) -> bool {
    found.is_ours() && matches!(found.hop, Some(Hop::Via { .. } | Hop::Blackhole))
}

fn leads_alike(planned: &Route, found: &Found, device: Option<u32>) -> bool {
    match (planned.hop, found.hop) {
        (Hop::Via { gateway, onlink, .. }, Some(Hop::Via { gateway: other, interface, .. })) => {
            let by_tunnel = interface.is_some() && interface == device;
            gateway == other && onlink == by_tunnel && (!onlink || planned.source == found.source)
        }
        (planned, Some(found)) => planned == found,
        (_, None) => false,
    }
}
