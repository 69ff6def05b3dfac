//! What a plan has, for questions that are asked often.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::names::{InterfaceName, MacAddress};
use crate::net::QuickMap;
use crate::net::node::{Change, Place, Step, Target, is_of_the_node, place};
use crate::net::route::{Found, Hop, MAIN};
use crate::net::rules::{Marks, marks};
use crate::net::sysctl::Families;
use crate::net::tunnel::Entry;
use crate::plan::derived::{bridge_addresses, bridge_mac};

/// Something that a plan has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Planned {
    Link(String),
    Address((String, IpNet)),
    Route(Place),
    Peer(MacAddress),
    Neighbour(IpAddr),
}

/// What a message means for the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    /// It was there, and is no longer.
    Lost(Planned),
    /// It is there.
    There(Planned),
    /// Something is there that must not be.
    Contradicts,
}

impl Verdict {
    fn planned(planned: Planned, gone: bool) -> Self {
        if gone { Self::Lost(planned) } else { Self::There(planned) }
    }
}

/// What a plan has, for questions that are asked often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Bridges and the VXLAN device, with the MTU that the plan gives them.
    links: HashMap<String, Option<u32>>,
    vxlan: Option<InterfaceName>,
    /// Of each bridge.
    addresses: HashSet<(String, IpNet)>,
    routes: QuickMap<Place, Hop>,
    peers: QuickMap<MacAddress, IpAddr>,
    neighbours: QuickMap<IpAddr, MacAddress>,
    families: Families,
    masquerade: Option<Marks>,
}

impl Expected {
    /// To be made, and read with, before the plan is
    /// applied: what that does is then as expected.
    pub fn of(target: &Target) -> Self {
        let Target { plan, cluster, ways } = target;
        let bridges = plan.bridges.iter().map(|bridge| (bridge.name.to_string(), bridge.mtu));
        let device = plan.vxlan.iter().map(|device| (device.name.to_string(), Some(device.mtu)));
        let carried = plan.bridges.iter().flat_map(|bridge| {
            let addresses = bridge_addresses(bridge, bridge_mac(bridge));
            addresses.into_iter().map(|prefix| (bridge.name.to_string(), prefix))
        });
        Self {
            links: bridges.chain(device).collect(),
            vxlan: plan.vxlan.as_ref().map(|device| device.name.clone()),
            addresses: carried.collect(),
            routes: ways.routes.iter().map(|route| (place(route), route.hop)).collect(),
            peers: ways.peers.iter().map(|peer| (peer.mac, peer.address)).collect(),
            neighbours: ways.neighbours.iter().map(|hop| (hop.address, hop.mac)).collect(),
            families: Families::of(cluster),
            masquerade: marks(&plan.masquerade, cluster),
        }
    }

    /// The same for the plan after that step.
    pub fn advance(&mut self, step: &Step) {
        for change in step.changes() {
            match change {
                Change::PeerSet(peer) => _ = self.peers.insert(peer.mac, peer.address),
                Change::PeerRemoved(peer) => _ = self.peers.remove(&peer.mac),
                Change::NeighbourSet(hop) => _ = self.neighbours.insert(hop.address, hop.mac),
                Change::NeighbourRemoved(hop) => _ = self.neighbours.remove(&hop.address),
                Change::RouteAdded(route) | Change::RouteReplaced(route, _) => {
                    self.routes.insert(place(route), route.hop);
                }
                Change::RouteRemoved(route) => _ = self.routes.remove(&place(route)),
                // A step holds no others.
                _ => (),
            }
        }
    }

    /// The MTU of a planned link, if the plan says one; none if it is no planned one.
    pub(super) fn link(&self, name: &str) -> Option<Option<u32>> {
        self.links.get(name).copied()
    }

    pub(super) fn is_vxlan(&self, name: &str) -> bool {
        self.vxlan.as_ref().is_some_and(|device| device.as_str() == name)
    }

    /// Of an address of an interface.
    pub(super) fn address(&self, interface: &str, prefix: IpNet, gone: bool) -> Verdict {
        let address = (interface.to_owned(), prefix);
        if self.addresses.contains(&address) {
            Verdict::planned(Planned::Address(address), gone)
        } else {
            Verdict::Nothing
        }
    }

    /// Of a route. Another in a planned one's place contradicts the plan, and so does one of podwire's that is not
    /// planned.
    pub(super) fn route(&self, found: &Found, gone: bool) -> Verdict {
        let place = (found.destination, found.metric);
        let ours = is_of_the_node(found);
        match self.routes.get(&place).filter(|_| found.table == MAIN) {
            Some(_) if ours && gone => Verdict::Lost(Planned::Route(place)),
            Some(hop) if ours && gateway(*hop) == found.hop.and_then(gateway) => {
                Verdict::There(Planned::Route(place))
            }
            Some(_) if !gone => Verdict::Contradicts,
            None if ours && !gone && found.table == MAIN => Verdict::Contradicts,
            _ => Verdict::Nothing,
        }
    }

    /// Of an entry of the VXLAN device.
    pub(super) fn entry(&self, entry: &Entry, gone: bool) -> Verdict {
        if let Some(peer) = entry.peer() {
            return match self.peers.get(&peer.mac) {
                Some(address) if *address == peer.address => Verdict::planned(Planned::Peer(peer.mac), gone),
                _ if gone => Verdict::Nothing,
                _ => Verdict::Contradicts,
            };
        }
        let Some(neighbour) = entry.neighbour() else { return Verdict::Nothing };
        match self.neighbours.get(&neighbour.address) {
            Some(mac) if gone || (*mac == neighbour.mac && entry.permanent) => {
                Verdict::planned(Planned::Neighbour(neighbour.address), gone)
            }
            Some(_) => Verdict::Contradicts,
            // The kernel's own come and go.
            None if !gone && entry.permanent => Verdict::Contradicts,
            None => Verdict::Nothing,
        }
    }

    pub(super) fn forwards(&self, ipv4: bool) -> bool {
        if ipv4 { self.families.ipv4 } else { self.families.ipv6 }
    }

    pub(super) fn masquerade(&self) -> Option<&Marks> {
        self.masquerade.as_ref()
    }
}

fn gateway(hop: Hop) -> Option<IpAddr> {
    match hop {
        Hop::Via { gateway, .. } => Some(gateway),
        _ => None,
    }
}
