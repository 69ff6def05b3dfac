//! What the routes of a plan need in the kernel: routes, and for those through a tunnel a next hop and the peer's
//! device.
//!
//! Follows from the plan alone, so that two plans can be compared without looking at the kernel.

use std::collections::hash_map::Entry;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::names::MacAddress;
use crate::net::route::{Hop, Route};
use crate::net::tunnel::{Neighbour, Peer};
use crate::net::{Error, QuickMap};
use crate::plan::derived::tunnel_mac;
use crate::plan::{NextHop, NodePlan, NodeRoute};

/// In the order of the plan, each once.
#[derive(Debug, Default)]
pub(in crate::net) struct Ways {
    /// Those through a tunnel are `onlink`, and without interface: the device's index is not the plan's.
    pub(in crate::net) routes: Vec<Route>,
    /// Where the peers' devices are.
    pub(in crate::net) peers: Vec<Peer>,
    /// Next hops through the tunnel.
    pub(in crate::net) neighbours: Vec<Neighbour>,
    /// Why there is no way to some blocks.
    pub(in crate::net) impossible: Vec<Error>,
}

impl Ways {
    pub(in crate::net) fn of(plan: &NodePlan) -> Self {
        let mut ways = Self { routes: Vec::with_capacity(plan.routes.len()), ..Self::default() };
        let mut tunnels = Tunnels::default();
        for planned in &plan.routes {
            match ways.route(&mut tunnels, plan, planned) {
                Ok(route) => ways.routes.push(route),
                Err(error) => ways.impossible.push(error),
            }
        }
        ways
    }

    fn route(&mut self, tunnels: &mut Tunnels, plan: &NodePlan, planned: &NodeRoute) -> Result<Route, Error> {
        let destination = planned.destination.trunc();
        let hop = match planned.next_hop {
            NextHop::Via(gateway) => Hop::Via { gateway, interface: None, onlink: false },
            NextHop::Blackhole => Hop::Blackhole,
            NextHop::Tunnel(_) if plan.vxlan.is_none() => return Err(Error::NoVxlan(destination)),
            NextHop::Tunnel(peer) => {
                let (mac, is_new) = tunnels.peer(peer)?;
                if is_new {
                    self.peers.push(Peer { mac, address: peer });
                }
                let (address, is_new) = tunnels.next_hop(destination, peer)?;
                if is_new {
                    self.neighbours.push(Neighbour { address, mac });
                }
                Hop::Via { gateway: address, interface: None, onlink: true }
            }
        };
        let source = is_tunnelled(hop).then(|| source(plan, destination)).flatten();
        Ok(Route { metric: planned.metric, source, ..Route::to(destination, hop) })
    }
}

/// Whether a planned route leads through the VXLAN device.
pub(in crate::net) fn is_tunnelled(hop: Hop) -> bool {
    matches!(hop, Hop::Via { onlink: true, .. })
}

/// What the node itself sends to pods elsewhere comes from the bridge's address: the answers so come back by the tunnel
/// too.
fn source(plan: &NodePlan, destination: IpNet) -> Option<IpAddr> {
    let mut carried = plan.bridges.iter().flat_map(|bridge| &bridge.addresses).map(IpNet::addr);
    carried.find(|address| address.is_ipv4() == destination.addr().is_ipv4())
}

/// What is given to whom.
#[derive(Default)]
struct Tunnels {
    macs: QuickMap<MacAddress, IpAddr>,
    peers: QuickMap<IpAddr, MacAddress>,
    next_hops: QuickMap<IpAddr, IpAddr>,
}

impl Tunnels {
    /// The hardware address of a peer's device, and whether it was not asked for before.
    fn peer(&mut self, peer: IpAddr) -> Result<(MacAddress, bool), Error> {
        if let Some(mac) = self.peers.get(&peer) {
            return Ok((*mac, false));
        }
        let mac = tunnel_mac(peer);
        let holder = *self.macs.entry(mac).or_insert(peer);
        if holder != peer {
            return Err(Error::TunnelsAlike(holder, peer));
        }
        self.peers.insert(peer, mac);
        Ok((mac, true))
    }

    /// The block's first address that is no other peer's next hop, as it may be if one block begins another; and whether
    /// it was not asked for before.
    fn next_hop(&mut self, block: IpNet, peer: IpAddr) -> Result<(IpAddr, bool), Error> {
        let mut candidate = Some(block.network());
        while let Some(address) = candidate.filter(|address| block.contains(address)) {
            match self.next_hops.entry(address) {
                Entry::Vacant(free) => {
                    free.insert(peer);
                    return Ok((address, true));
                }
                Entry::Occupied(taken) if *taken.get() == peer => return Ok((address, false)),
                Entry::Occupied(_) => candidate = successor(address),
            }
        }
        Err(Error::NoTunnelAddress(block))
    }
}

fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Vxlan;

    fn tunnel(destination: &str, peer: &str) -> NodeRoute {
        let next_hop = NextHop::Tunnel(peer.parse().expect("valid"));
        NodeRoute { destination: destination.parse().expect("valid"), next_hop, metric: None }
    }

    fn ways(routes: &[NodeRoute]) -> Ways {
        let local = "192.0.2.1".parse().expect("valid");
        let name = "pwvx".parse().expect("valid");
        let vxlan = Some(Vxlan { name, id: 1, port: 4789, local, mtu: 1450 });
        Ways::of(&NodePlan { vxlan, routes: routes.to_vec(), ..NodePlan::nothing() })
    }

    #[test]
    fn blocks_that_begin_alike_have_a_next_hop_each() {
        let ways = ways(&[
            tunnel("10.0.0.0/16", "192.0.2.2"),
            tunnel("10.0.0.0/24", "192.0.2.3"),
            tunnel("10.0.0.0/25", "192.0.2.2"),
            tunnel("10.0.0.0/32", "192.0.2.4"),
        ]);
        let hops: Vec<String> = ways.routes.iter().map(ToString::to_string).collect();
        assert_eq!(
            hops,
            ["10.0.0.0/16 via 10.0.0.0", "10.0.0.0/24 via 10.0.0.1", "10.0.0.0/25 via 10.0.0.0"]
        );
        assert_eq!((ways.peers.len(), ways.neighbours.len()), (3, 2));
        assert!(matches!(ways.impossible[..], [Error::NoTunnelAddress(_)]), "{:?}", ways.impossible);
    }

    #[test]
    fn two_peers_never_share_a_hardware_address() {
        let mut tunnels = Tunnels::default();
        let (one, other) = ("fd00::1".parse().expect("valid"), "fd00::2".parse().expect("valid"));
        tunnels.macs.insert(tunnel_mac(other), one);
        assert!(matches!(tunnels.peer(other), Err(Error::TunnelsAlike(..))));
    }

    #[test]
    fn there_is_no_tunnel_without_a_device() {
        let plan = NodePlan { routes: vec![tunnel("10.0.0.0/24", "192.0.2.2")], ..NodePlan::nothing() };
        let ways = Ways::of(&plan);
        assert!(matches!(ways.impossible[..], [Error::NoVxlan(_)]));
        assert!(ways.routes.is_empty());
    }
}
