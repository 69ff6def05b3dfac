//! The ways between nodes: by which next hop packets reach the pods of each peer.
//!
//! ```
//! # use podwire_sdk::{NodePlan, NodeRequest, Policy, Refusal, AddPlan, AddRequest, Leases};
//! # use podwire_sdk::{Bridge, ways::Ways};
//! # #[derive(serde::Deserialize)]
//! # struct Script {}
//! # impl Policy for Script {
//! # fn add(&self, _: &AddRequest, _: &dyn Leases) -> Result<AddPlan, Refusal> { Ok(AddPlan::routed()) }
//! fn node(&self, request: &NodeRequest) -> Result<NodePlan, Refusal> {
//!     let plan = Ways::default().plan(request)?;
//!     let mtu = plan.pod_mtu(request);
//!     Ok(plan.bridge(Bridge { mtu, ..Bridge::named("cni0") }))
//! }
//! # }
//! ```

mod destinations;
mod naming;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::Deserialize;

use crate::{Family, IpNet, NextHop, NodePlan, NodeRequest, NodeRoute, Peer, Refusal, Role, Vxlan, config};

use destinations::{Destination, Span, destinations, machines_in_cluster};
use naming::Naming;

/// The least MTU with which IPv6 works, in bytes (RFC 8200, section 5).
const MTU_IPV6: u32 = 1_280;

/// An interface's MTU if nothing else is known, in bytes.
const MTU_ETHERNET: u32 = 1_500;

/// The greatest MTU of a bridge or a veth, in bytes. That of a loopback interface is greater.
const MTU_MAX: u32 = 65_535;

/// Which way packets take to a peer's pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// By way of the peer if it is on-link, else of a router that is, else through a tunnel. As long as the node's
    /// uplinks are not known, every peer is taken to be on-link.
    #[default]
    Auto,
    /// By way of the peer, which must be on-link.
    Direct,
    /// By way of a router; where none is known, by the node's default route.
    Router,
    /// Through a tunnel.
    Vxlan,
}

/// The node's end of tunnels, as it is configured: the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tunnels {
    /// The device's interface name.
    pub name: String,
    /// The VXLAN network identifier, 1 to 16,777,215.
    pub id: u32,
    /// The UDP port, 1 to 65,535.
    pub port: u16,
}

impl Default for Tunnels {
    /// The identifier is "pw" in ASCII, the port IANA's.
    fn default() -> Self {
        Self { name: "podwire.vxlan".to_string(), id: 0x7077, port: 4_789 }
    }
}

/// How the ways to peers are chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    /// For each peer.
    pub way: Way,
    /// The router's addresses; those on-link are used. Empty: those of the peers that are routers.
    pub router: Vec<IpAddr>,
    /// What tunnels are like.
    pub tunnels: Tunnels,
}

impl Ways {
    /// Whether they can be meant.
    ///
    /// # Errors
    /// An `invalid-config` refusal that names the key: `vxlan`.
    pub fn check(&self) -> Result<(), Refusal> {
        let Tunnels { name, id, port } = &self.tunnels;
        config::check_interface_name("vxlan.name", name)?;
        if !(1..=0xff_ffff).contains(id) {
            return Err(Refusal::invalid_config(format!("config: vxlan.id is {id}: use 1 to 16777215")));
        }
        if *port == 0 {
            return Err(Refusal::invalid_config("config: vxlan.port is 0: use 1 to 65535; 4789 is IANA's"));
        }
        Ok(())
    }

    /// The routes to the peers' pods, and the node's end of tunnels if one leads through it. A peer that cannot be
    /// reached, or that has a block which cannot be its own, is [named](crate::log::warn), and keeps no other routes
    /// away.
    ///
    /// With [`Way::Router`] a route for each block of the cluster stands for those to all peers. The node's own pools
    /// are black holes then, behind the routes to its pods: what is meant for a pod that is no more would go to and fro
    /// between node and router.
    ///
    /// # Errors
    /// An `invalid-config` refusal if the node cannot have the tunnels that its peers need.
    pub fn plan(&self, request: &NodeRequest) -> Result<NodePlan, Refusal> {
        self.check()?;
        let chooser = Chooser::new(self, request)?;
        let mut naming = Naming::default();
        let mut plan = chooser.wide_routes();
        let wide = plan.routes.len();
        for Destination { peer, block, .. } in destinations(request, &mut naming) {
            if plan.routes[..wide].iter().any(|route| route.destination.contains(&block)) {
                continue;
            }
            match chooser.next_hop(peer, block) {
                Ok(Some(next_hop)) => {
                    plan.routes.push(NodeRoute { destination: block, next_hop, metric: None })
                }
                Ok(None) => (),
                Err(why) => naming.warn(|| format!("peer {} is not reached at {block}: {why}", peer.name)),
            }
        }
        naming.end();
        let is_tunnelled = |route: &NodeRoute| matches!(route.next_hop, NextHop::Tunnel(_));
        if self.way == Way::Vxlan || plan.routes.iter().any(is_tunnelled) {
            plan.vxlan = chooser.vxlan(&plan)?;
        }
        Ok(plan)
    }
}

fn routers(ways: &Ways, request: &NodeRequest) -> Vec<IpAddr> {
    if request.role == Role::Router {
        // Two routers would send to each other what neither can reach.
        return Vec::new();
    }
    let is_near = |address: &IpAddr| request.is_next_hop(*address);
    if !ways.router.is_empty() {
        return ways.router.iter().copied().filter(is_near).collect();
    }
    let peers = request.peers.iter().filter(|peer| peer.role == Role::Router);
    peers.flat_map(|peer| peer.addresses.iter().copied()).filter(is_near).collect()
}

struct Chooser<'a> {
    ways: &'a Ways,
    request: &'a NodeRequest,
    /// One of each family at most counts.
    routers: Vec<IpAddr>,
    /// Of the uplinks; none if these are not known.
    links: Vec<Span>,
    /// The node's end of tunnels, if there may be any.
    local: Option<IpAddr>,
}

impl<'a> Chooser<'a> {
    fn new(ways: &'a Ways, request: &'a NodeRequest) -> Result<Self, Refusal> {
        let local = match ways.way {
            Way::Vxlan => Some(local(request).ok_or_else(|| {
                Refusal::invalid_config(format!(
                    "config: ways is vxlan, but node {} has no address for its end of the tunnels: set its addresses",
                    request.node.name
                ))
            })?),
            Way::Auto if !request.uplinks.is_empty() => local(request),
            _ => None,
        };
        let prefixes = request.uplinks.iter().flat_map(|uplink| &uplink.addresses);
        let links = prefixes.copied().map(Span::of).collect();
        Ok(Self { ways, request, routers: routers(ways, request), links, local })
    }

    /// To the cluster's blocks as a whole, as far as the host lets them be routed.
    fn wide_routes(&self) -> NodePlan {
        let mut plan = NodePlan::default();
        if self.ways.way != Way::Router {
            return plan;
        }
        let node = &self.request.node;
        let machines = machines_in_cluster(self.request);
        for block in &node.cluster {
            let Some(next_hop) = self.through_router(Family::of(block.addr())) else { continue };
            let is_own = node.pools.iter().any(|pool| pool.contains(block));
            let is_there = plan.routes.iter().any(|route| route.destination == *block);
            if !is_own && !is_there && !machines.iter().any(|machine| block.contains(machine)) {
                plan = plan.route(*block, next_hop);
            }
        }
        let routed = |pool: &&IpNet| plan.routes.iter().any(|route| route.destination.contains(*pool));
        let own: Vec<_> = node.pools.iter().filter(routed).copied().collect();
        own.into_iter().fold(plan, NodePlan::blackhole)
    }

    /// None: the node's default route leads there.
    fn next_hop(&self, peer: &Peer, block: IpNet) -> Result<Option<NextHop>, String> {
        let family = Family::of(block.addr());
        let is_router = self.request.role == Role::Router;
        match self.ways.way {
            Way::Router if !is_router => Ok(self.through_router(family)),
            Way::Direct | Way::Router => self.direct(peer, family).map(Some).ok_or_else(|| self.far(family)),
            Way::Vxlan => self.tunnel(peer).map(Some).ok_or_else(|| self.no_tunnel()),
            Way::Auto => {
                let near = self.direct(peer, family).or_else(|| self.through_router(family));
                near.or_else(|| self.tunnel(peer)).map(Some).ok_or_else(|| self.far(family))
            }
        }
    }

    fn direct(&self, peer: &Peer, family: Family) -> Option<NextHop> {
        let mut alike = peer.addresses.iter().copied().filter(|address| Family::of(*address) == family);
        let is_near = |address| {
            let on_link = self.links.is_empty() || self.links.iter().any(|link| link.holds(address));
            on_link && self.request.is_foreign(address)
        };
        alike.find(|address| is_near(*address)).map(NextHop::Via)
    }

    fn through_router(&self, family: Family) -> Option<NextHop> {
        self.routers.iter().copied().find(|router| Family::of(*router) == family).map(NextHop::Via)
    }

    fn tunnel(&self, peer: &Peer) -> Option<NextHop> {
        let local = self.local?;
        let mut alike = peer.addresses.iter().copied().filter(|end| end.is_ipv4() == local.is_ipv4());
        alike.find(|end| self.request.is_foreign(*end)).map(NextHop::Tunnel)
    }

    fn far(&self, family: Family) -> String {
        match (self.request.uplinks.is_empty(), self.local) {
            (true, _) => format!("it has no {family} address that could be a next hop; give it one"),
            (false, None) => {
                format!("it has no {family} address on a link of this node; choose another way for it")
            }
            (false, Some(local)) => {
                format!(
                    "it has no {family} address on a link of this node, nor one for a tunnel from {local}"
                )
            }
        }
    }

    fn no_tunnel(&self) -> String {
        let family = self.local.map_or(Family::V4, Family::of);
        format!("it has no {family} address for its end of a tunnel; give it one")
    }

    fn vxlan(&self, plan: &NodePlan) -> Result<Option<Vxlan>, Refusal> {
        let Some(local) = self.local else { return Ok(None) };
        let uplink = self.request.uplink_of(local);
        let mtu = uplink.map_or(MTU_ETHERNET, |uplink| uplink.mtu).saturating_sub(Vxlan::overhead(local));
        let has_ipv6 = plan.routes.iter().any(|route| route.destination.addr().is_ipv6());
        if has_ipv6 && mtu < MTU_IPV6 {
            return Err(Refusal::invalid_config(format!(
                "the tunnels from {local} have an MTU of {mtu} bytes, and IPv6 needs {MTU_IPV6}: raise the MTU of {}",
                uplink.map_or("its interface", |uplink| &uplink.name)
            )));
        }
        let Tunnels { name, id, port } = self.ways.tunnels.clone();
        Ok(Some(Vxlan { name, id, port, local, mtu }))
    }
}

/// The node's end of tunnels must be of the same family everywhere: IPv4 where there is a choice.
fn local(request: &NodeRequest) -> Option<IpAddr> {
    let of_family = |family| {
        let own = || request.node.addresses.iter().copied().filter(move |own| Family::of(*own) == family);
        own().find(|own| request.uplink_of(*own).is_some()).or_else(|| own().next())
    };
    Family::BOTH.into_iter().find_map(of_family)
}

impl NodePlan {
    /// The MTU that pods of the node should have, in bytes: what every uplink can carry, and the tunnels if the plan
    /// has any. None if the uplinks are not known.
    pub fn pod_mtu(&self, request: &NodeRequest) -> Option<u32> {
        let uplinks = request.uplinks.iter().map(|uplink| uplink.mtu);
        let mtu = uplinks.chain(self.vxlan.as_ref().map(|vxlan| vxlan.mtu)).min()?;
        let has_ipv6 = request.node.pools.iter().any(|pool| pool.addr().is_ipv6());
        Some(mtu.clamp(if has_ipv6 { MTU_IPV6 } else { 68 }, MTU_MAX))
    }
}

#[cfg(test)]
mod tests;
