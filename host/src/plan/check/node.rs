//! What a node's plan must keep. It may name thousands of peers' blocks and addresses: nothing here takes a time that
//! grows with their square.

use std::collections::HashSet;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr};

use foldhash::quality::RandomState;
use ipnet::IpNet;

use super::{Outcome, at_most, block, bridge, interface_name, is_ipv6, list, mtu, no_extra, violation};
use crate::names::InterfaceName;
use crate::plan::{Bridge, NextHop, NodePlan, NodeRequest, NodeRoute, Role, Vxlan, limits};

/// Checks what a policy proposes for the node.
pub fn node(request: &NodeRequest, plan: NodePlan<String>) -> Outcome<NodePlan> {
    no_extra(&plan.extra)?;
    at_most("routes", plan.routes.len(), limits::NODE_ROUTES)?;
    let bridges = bridges(request, plan.bridges)?;
    let vxlan = plan.vxlan.map(|planned| vxlan(request, &bridges, &plan.routes, planned)).transpose()?;
    routes(&Facts::of(request, &bridges, vxlan.as_ref(), &plan.routes), &plan.routes)?;
    masquerade(request, &plan.masquerade)?;
    Ok(NodePlan { bridges, vxlan, routes: plan.routes, masquerade: plan.masquerade, extra: Vec::new() })
}

fn bridges(request: &NodeRequest, planned: Vec<Bridge<String>>) -> Outcome<Vec<Bridge>> {
    at_most("bridges", planned.len(), limits::BRIDGES)?;
    let mut names = HashSet::new();
    let mut bridges = Vec::with_capacity(planned.len());
    for (i, planned) in planned.into_iter().enumerate() {
        let field = format!("bridges[{i}]");
        if let (Role::Router, Some(address)) = (request.role, planned.addresses.first()) {
            let rule = "a router has no pods: its bridges carry no addresses";
            return Err(violation(format!("{field}.addresses[0]"), address, rule));
        }
        let checked = bridge(&field, &request.node, planned)?;
        if !names.insert(checked.name.clone()) {
            return Err(violation(format!("{field}.name"), checked.name, "the plan has it twice"));
        }
        bridges.push(checked);
    }
    Ok(bridges)
}

fn vxlan(
    request: &NodeRequest,
    bridges: &[Bridge],
    routes: &[NodeRoute],
    planned: Vxlan<String>,
) -> Outcome<Vxlan> {
    let name = interface_name("vxlan.name", &planned.name)?;
    free_name(request, bridges, &name)?;
    let Vxlan { id, port, local, mtu, .. } = planned;
    let (first, last) = (limits::VXLAN_IDS.start(), limits::VXLAN_IDS.end());
    if !limits::VXLAN_IDS.contains(&id) {
        return Err(violation("vxlan.id", id, format!("an identifier is {first} to {last}")));
    }
    if port == 0 {
        return Err(violation("vxlan.port", port, "a port is 1 to 65535"));
    }
    if !request.node.addresses.contains(&local) {
        return Err(violation("vxlan.local", local, "it must be one of the node's addresses"));
    }
    room_for_tunnels(request, routes, local, mtu)?;
    Ok(Vxlan { name, id, port, local, mtu })
}

fn free_name(request: &NodeRequest, bridges: &[Bridge], name: &InterfaceName) -> Outcome {
    if bridges.iter().any(|bridge| bridge.name == *name) {
        return Err(violation("vxlan.name", name, "a bridge of the plan has it"));
    }
    if request.uplinks.iter().any(|uplink| uplink.name == *name) {
        return Err(violation("vxlan.name", name, "an uplink of the node has it"));
    }
    Ok(())
}

/// What goes into a tunnel must come out of the uplink whole.
fn room_for_tunnels(request: &NodeRequest, routes: &[NodeRoute], local: IpAddr, planned: u32) -> Outcome {
    let is_tunnelled = |route: &&NodeRoute| matches!(route.next_hop, NextHop::Tunnel(_));
    let ipv6 = routes.iter().filter(is_tunnelled).any(|route| is_ipv6(&route.destination));
    mtu("vxlan.mtu", Some(planned), ipv6)?;
    let carries = |address: &IpNet| address.addr() == local;
    let Some(uplink) = request.uplinks.iter().find(|uplink| uplink.addresses.iter().any(carries)) else {
        return Ok(());
    };
    let overhead = limits::vxlan_overhead(local);
    if planned.saturating_add(overhead) > uplink.mtu {
        let rule = format!(
            "{local} is an address of {}, whose MTU is {}, and tunnels take {overhead} of it",
            uplink.name, uplink.mtu
        );
        return Err(violation("vxlan.mtu", planned, rule));
    }
    Ok(())
}

/// What the routes are held against.
struct Facts<'a> {
    request: &'a NodeRequest,
    /// Every node's own addresses, sorted.
    machines: Vec<IpAddr>,
    /// Those of them that lie in the cluster's blocks, where pods should be: mostly none.
    among_pods: Vec<IpAddr>,
    /// For each of the node's pools, the longest prefix by which the plan itself keeps it here.
    homes: Vec<Option<u8>>,
    /// The node's end of tunnels.
    local: Option<IpAddr>,
}

impl<'a> Facts<'a> {
    fn of(request: &'a NodeRequest, bridges: &[Bridge], vxlan: Option<&Vxlan>, routes: &[NodeRoute]) -> Self {
        let peers = request.peers.iter().flat_map(|peer| &peer.addresses);
        let mut machines: Vec<IpAddr> = request.node.addresses.iter().chain(peers).copied().collect();
        machines.sort_unstable();
        let is_among_pods =
            |machine: &&IpAddr| request.node.cluster.iter().any(|block| block.contains(*machine));
        let among_pods = machines.iter().filter(is_among_pods).copied().collect();
        let links = bridges.iter().flat_map(|bridge| &bridge.addresses);
        let dropped = routes.iter().filter(|route| route.next_hop == NextHop::Blackhole);
        let keepers: Vec<&IpNet> = links.chain(dropped.map(|route| &route.destination)).collect();
        let home = |pool: &IpNet| {
            keepers.iter().filter(|keeper| keeper.contains(pool)).map(|keeper| keeper.prefix_len()).max()
        };
        let homes = request.node.pools.iter().map(home).collect();
        Self { request, machines, among_pods, homes, local: vxlan.map(|vxlan| vxlan.local) }
    }

    /// The first machine that has its address in a block of the cluster's.
    fn machine_in(&self, block: &IpNet) -> Option<IpAddr> {
        let first = self.among_pods.partition_point(|machine| *machine < block.network());
        self.among_pods.get(first).copied().filter(|machine| block.contains(machine))
    }

    /// One of the node's pools from which a route would take packets away. A route to a larger block does not, if
    /// another one with a longer prefix keeps the pool here.
    fn pool_led_away(&self, destination: &IpNet) -> Option<IpNet> {
        let is_kept = |home: &Option<u8>| home.is_some_and(|home| home > destination.prefix_len());
        let mut pools = self.request.node.pools.iter().zip(&self.homes);
        let lost = |(pool, home): &(&IpNet, &Option<u8>)| {
            pool.contains(destination) || (destination.contains(*pool) && !is_kept(home))
        };
        pools.find(lost).map(|(pool, _)| *pool)
    }
}

/// A part of one of the routes. Spelt out only if something is wrong there.
#[derive(Clone, Copy)]
struct Part {
    route: usize,
    name: &'static str,
}

impl Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "routes[{}].{}", self.route, self.name)
    }
}

fn routes(facts: &Facts<'_>, routes: &[NodeRoute]) -> Outcome {
    let mut seen = HashSet::with_capacity_and_hasher(routes.len(), RandomState::default());
    for (i, route) in routes.iter().enumerate() {
        let field = Part { route: i, name: "destination" };
        destination(field, facts, route)?;
        next_hop(Part { route: i, name: "next-hop" }, facts, route)?;
        if !seen.insert((route.destination, route.metric)) {
            let rule = "the plan has a route to it with the same metric already";
            return Err(violation(field, route.destination, rule));
        }
    }
    Ok(())
}

fn destination(field: Part, facts: &Facts<'_>, route: &NodeRoute) -> Outcome {
    let destination = route.destination;
    let cluster = &facts.request.node.cluster;
    let refuse = |rule: String| Err(violation(field, destination, rule));
    block(field, &destination)?;
    if destination.prefix_len() == 0 {
        return refuse("a policy must not set the node's default route".to_owned());
    }
    if !cluster.iter().any(|block| block.contains(&destination)) {
        return refuse(format!("it must lie in the cluster's blocks ({})", list(cluster)));
    }
    if let Some(covered) = facts.machine_in(&destination) {
        return refuse(format!("it covers {covered}, the address of a node"));
    }
    if route.next_hop == NextHop::Blackhole {
        return Ok(());
    }
    match facts.pool_led_away(&destination) {
        Some(pool) => refuse(format!("it would lead this node's own pool {pool} away")),
        None => Ok(()),
    }
}

fn next_hop(field: Part, facts: &Facts<'_>, route: &NodeRoute) -> Outcome {
    match route.next_hop {
        NextHop::Via(via) => neighbour(field, facts, route.destination, via),
        NextHop::Tunnel(end) => far_end(field, facts, end),
        NextHop::Blackhole => Ok(()),
    }
}

fn neighbour(field: Part, facts: &Facts<'_>, destination: IpNet, via: IpAddr) -> Outcome {
    if via.is_ipv4() != destination.addr().is_ipv4() {
        return Err(violation(field, via, format!("{destination} is of another family")));
    }
    if facts.request.node.addresses.contains(&via) {
        return Err(violation(field, via, "that is this node's own address"));
    }
    if via.is_unspecified() || via.is_multicast() || via.is_loopback() || via == Ipv4Addr::BROADCAST {
        return Err(violation(field, via, "no machine can have it"));
    }
    Ok(())
}

fn far_end(field: Part, facts: &Facts<'_>, end: IpAddr) -> Outcome {
    let Some(local) = facts.local else {
        return Err(violation(field, end, "the plan has no vxlan device for tunnels"));
    };
    if end.is_ipv4() != local.is_ipv4() {
        return Err(violation(field, end, format!("tunnels begin at {local}, which is of another family")));
    }
    if facts.request.node.addresses.contains(&end) {
        return Err(violation(field, end, "that is this node's own address"));
    }
    if facts.machines.binary_search(&end).is_err() {
        return Err(violation(field, end, "a tunnel leads to an address of a peer, and no peer has it"));
    }
    Ok(())
}

fn masquerade(request: &NodeRequest, blocks: &[IpNet]) -> Outcome {
    at_most("masquerade", blocks.len(), limits::MASQUERADED)?;
    let pools = &request.node.pools;
    for (i, planned) in blocks.iter().enumerate() {
        let field = format!("masquerade[{i}]");
        block(&field, planned)?;
        if !pools.iter().any(|pool| pool.contains(planned)) {
            let rule = format!("it must lie in one of the node's pools ({})", list(pools));
            return Err(violation(field, planned, rule));
        }
        let overlaps = |other: &&IpNet| other.contains(planned) || planned.contains(*other);
        if let Some(other) = blocks[..i].iter().find(overlaps) {
            return Err(violation(
                field,
                planned,
                format!("it overlaps {other}, which the plan has already"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
