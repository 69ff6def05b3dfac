//! The script of what holds on the node as a whole.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Script, name};
use crate::plan::derived::tunnel_mac;
use crate::plan::marks::{ALIAS, GROUP, PROTOCOL};
use crate::plan::{Bridge, NextHop, NodePlan, NodeRoute, Vxlan};

/// Beside the cluster's blocks, what is never masqueraded: it leaves by no router, or is for more than one receiver.
const NEAR: [&str; 5] = ["224.0.0.0/4", "ff00::/8", "255.255.255.255/32", "169.254.0.0/16", "fe80::/10"];

/// The chain. podwire's own is called by a digest, and takes its place.
const CHAIN: &str = "inet podwire node_masquerade_script";

/// The script of `podwire node up`, for a node of a cluster of these blocks.
pub fn node(plan: &NodePlan, cluster: &[IpNet]) -> String {
    let mut script = Script::new();
    script.forwarding(cluster.iter());
    for bridge in &plan.bridges {
        script.bridge(bridge);
    }
    let mut tunnels = plan.vxlan.as_ref().map(|vxlan| Tunnels::new(vxlan, &plan.bridges));
    if let Some(vxlan) = &plan.vxlan {
        let ipv6 = |route: &NodeRoute| is_tunnelled(route) && route.destination.addr().is_ipv6();
        script.vxlan(vxlan, plan.routes.iter().any(ipv6));
    }
    for route in &plan.routes {
        script.node_route(route, tunnels.as_mut());
    }
    if !plan.masquerade.is_empty() {
        script.node_masquerade(&plan.masquerade, cluster);
    }
    script.text
}

fn is_tunnelled(route: &NodeRoute) -> bool {
    matches!(route.next_hop, NextHop::Tunnel(_))
}

/// What the script has said of the peers behind the device.
struct Tunnels<'a> {
    vxlan: &'a Vxlan,
    bridges: &'a [Bridge],
    /// Addresses of nobody that stand for peers in routes.
    next_hops: HashMap<IpAddr, IpAddr>,
    peers: HashSet<IpAddr>,
}

impl<'a> Tunnels<'a> {
    fn new(vxlan: &'a Vxlan, bridges: &'a [Bridge]) -> Self {
        Self { vxlan, bridges, next_hops: HashMap::new(), peers: HashSet::new() }
    }

    /// The block's first address that does not stand for another peer, as it may if one block begins another; and
    /// whether it is new.
    fn next_hop(&mut self, block: &IpNet, peer: IpAddr) -> Option<(IpAddr, bool)> {
        for address in std::iter::once(block.network()).chain(block.hosts()) {
            match self.next_hops.entry(address) {
                Entry::Vacant(free) => {
                    free.insert(peer);
                    return Some((address, true));
                }
                Entry::Occupied(taken) if *taken.get() == peer => return Some((address, false)),
                Entry::Occupied(_) => (),
            }
        }
        None
    }

    /// What the node itself sends comes from the bridge, so that answers have the same way.
    fn source(&self, block: &IpNet) -> String {
        let mut carried = self.bridges.iter().flat_map(|bridge| &bridge.addresses);
        let own = carried.find(|own| own.addr().is_ipv4() == block.addr().is_ipv4());
        own.map(|own| format!(" src {}", own.addr())).unwrap_or_default()
    }
}

impl Script {
    /// Its peers are told below, route by route: it learns nothing, and floods nothing.
    fn vxlan(&mut self, vxlan: &Vxlan, ipv6: bool) {
        let Vxlan { id, port, local, mtu, .. } = vxlan;
        let (device, mac) = (name(&vxlan.name), tunnel_mac(*local));
        self.line(format_args!("ip link show dev {device} >/dev/null 2>&1 || {{"));
        self.line(format_args!(
            "    ip link add name {device} address {mac} mtu {mtu} group {GROUP} type vxlan \\"
        ));
        self.line(format_args!("        id {id} local {local} dstport {port} nolearning"));
        self.line(format_args!("    ip link set dev {device} alias {ALIAS} addrgenmode none"));
        self.line(format_args!("}}"));
        if ipv6 {
            self.enable_ipv6("", &vxlan.name);
        }
        self.line(format_args!("ip link set dev {device} mtu {mtu} up"));
    }

    fn node_route(&mut self, route: &NodeRoute, tunnels: Option<&mut Tunnels<'_>>) {
        let to = match (&route.next_hop, tunnels) {
            (NextHop::Via(via), _) => format!("{} via {via}", route.destination),
            (NextHop::Blackhole, _) => format!("blackhole {}", route.destination),
            (NextHop::Tunnel(peer), Some(tunnels)) => match self.tunnel(route, *peer, tunnels) {
                Some(to) => to,
                None => return,
            },
            // The checks let no such plan pass.
            (NextHop::Tunnel(_), None) => return,
        };
        let metric = route.metric.map(|metric| format!(" metric {metric}")).unwrap_or_default();
        self.line(format_args!("ip route add {to}{metric} proto {PROTOCOL}"));
    }

    fn tunnel(&mut self, route: &NodeRoute, peer: IpAddr, tunnels: &mut Tunnels<'_>) -> Option<String> {
        let (block, device, mac) = (&route.destination, name(&tunnels.vxlan.name), tunnel_mac(peer));
        let (next_hop, is_new) = tunnels.next_hop(block, peer)?;
        if tunnels.peers.insert(peer) {
            self.line(format_args!("bridge fdb replace {mac} dev {device} dst {peer} self permanent"));
        }
        if is_new {
            let entry = format!("{next_hop} lladdr {mac} dev {device} nud permanent");
            self.line(format_args!("ip neighbour replace {entry}"));
        }
        Some(format!("{block} via {next_hop} dev {device} onlink{}", tunnels.source(block)))
    }

    fn node_masquerade(&mut self, blocks: &[IpNet], cluster: &[IpNet]) {
        self.line(format_args!("nft add table inet podwire"));
        self.line(format_args!("nft 'add chain {CHAIN} {{ type nat hook postrouting priority srcnat; }}'"));
        self.line(format_args!("nft flush chain {CHAIN}"));
        let near = NEAR.map(|block| block.parse::<IpNet>().expect("a block"));
        for kept in cluster.iter().chain(&near) {
            self.line(format_args!("nft add rule {CHAIN} {} daddr {kept} return", version(kept)));
        }
        for block in blocks {
            let rule = format!("{} saddr {block} masquerade fully-random", version(block));
            self.line(format_args!("nft add rule {CHAIN} {rule}"));
        }
    }
}

/// What nftables calls the block's family.
fn version(block: &IpNet) -> &'static str {
    if block.addr().is_ipv4() { "ip" } else { "ip6" }
}
