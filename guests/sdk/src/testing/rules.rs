//! The host's rules that a policy breaks most easily. All of them are in `wit/policy.wit`.

use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

use ipnet::IpNet;

use super::FakeLeases;
use crate::{AddPlan, AddRequest, Address, Family, Leases as _, Node, Route, Wiring, config};

/// The first rule that a plan breaks, as field, value and rule. The host has more: those for values that no policy
/// comes by in the course of its business.
pub fn broken_rule(request: &AddRequest, plan: &AddPlan, leases: &FakeLeases) -> Option<String> {
    let addresses = || plan.addresses.iter().enumerate();
    let in_turn = [
        addresses().find_map(|(i, address)| {
            of_address(request, plan, address, leases).map(|rule| format!("addresses[{i}]: {rule}"))
        }),
        addresses().find_map(|(i, address)| {
            let again = plan.addresses[..i].iter().any(|one| one.prefix.addr() == address.prefix.addr());
            again.then(|| format!("addresses[{i}].prefix is {}, but the plan has it twice", address.prefix))
        }),
        plan.routes.iter().enumerate().find_map(|(i, route)| {
            of_route(plan, route, &plan.routes[..i]).map(|rule| format!("routes[{i}]: {rule}"))
        }),
        of_bridge(&request.node, plan),
        of_names(plan),
        of_mtu(plan),
    ];
    in_turn.into_iter().flatten().next()
}

/// The block's first address and, in IPv4, its last are nobody's, unless it has no others.
fn is_usable(block: IpNet, address: IpAddr) -> bool {
    let broadcast = block.addr().is_ipv4() && address == block.broadcast();
    block.prefix_len() + 1 >= block.max_prefix_len() || (address != block.network() && !broadcast)
}

/// What holds for pods and bridges alike.
fn of_link(node: &Node, prefix: IpNet) -> Option<String> {
    let Some(pool) = node.pool_with(prefix.addr()) else {
        return Some(format!("{prefix} must lie in one of the node's pools {:?}", node.pools));
    };
    if ![pool, prefix].into_iter().all(|block| is_usable(block, prefix.addr())) {
        return Some(format!("{prefix} is a network or broadcast address"));
    }
    let link = prefix.trunc();
    if !node.cluster.iter().chain([&pool]).any(|block| block.contains(&link)) {
        return Some(format!("the link of {prefix} would reach beyond the cluster's blocks"));
    }
    let own = node.addresses.iter().find(|own| link.contains(*own))?;
    Some(format!("the link of {prefix} would cover {own}, the node's own address"))
}

fn of_address(
    request: &AddRequest,
    plan: &AddPlan,
    Address { prefix, gateway }: &Address,
    leases: &FakeLeases,
) -> Option<String> {
    if let Some(holder) = leases.holder_of(prefix.addr()) {
        return Some(format!("{prefix} is held by {holder}"));
    }
    let mut allowed = request.range_sets.iter().flatten().flatten();
    if request.range_sets.is_some() && !allowed.any(|range| range.contains(prefix.addr())) {
        return Some(format!("{prefix} lies in none of the ranges of `ipam`"));
    }
    if plan.addresses.iter().any(|address| address.gateway == Some(prefix.addr())) {
        return Some(format!("{prefix} is a gateway"));
    }
    let of_gateway = || of_gateway(&request.node, &plan.wiring, *prefix, (*gateway)?);
    of_link(&request.node, *prefix).or_else(of_gateway)
}

fn of_gateway(node: &Node, wiring: &Wiring, prefix: IpNet, gateway: IpAddr) -> Option<String> {
    let answered: [IpNet; 2] = ["169.254.1.0/24", "fe80::/10"].map(|block| block.parse().expect("a block"));
    let is_good = match wiring {
        Wiring::Bridge(_) => prefix.contains(&gateway) && is_usable(prefix, gateway),
        Wiring::Routed if Family::of(gateway) != Family::of(prefix.addr()) => false,
        Wiring::Routed => match node.pool_with(gateway) {
            Some(pool) => is_usable(pool, gateway),
            None => answered.iter().any(|block| block.contains(&gateway)),
        },
    };
    let rule = match wiring {
        Wiring::Bridge(_) => "it must be a machine on the address's link",
        Wiring::Routed => {
            "it must be of the address's family, and lie in 169.254.1.0/24, fe80::/10 or a pool of the node"
        }
    };
    (!is_good).then(|| format!("the gateway of {prefix} is {gateway}, but {rule}"))
}

fn of_route(plan: &AddPlan, route: &Route, before: &[Route]) -> Option<String> {
    let Route { destination, via, metric, table, .. } = route;
    if *destination != destination.trunc() {
        return Some(format!("{destination} has host bits: {}", destination.trunc()));
    }
    let family = Family::of(destination.addr());
    if !plan.addresses.iter().any(|address| Family::of(address.prefix.addr()) == family) {
        return Some(format!("the plan has no address of the family of {destination}"));
    }
    let twice =
        |other: &Route| (other.destination, other.metric, other.table) == (*destination, *metric, *table);
    if before.iter().any(twice) {
        return Some(format!("the plan has a route to {destination} with the same metric"));
    }
    let on_bridge = matches!(plan.wiring, Wiring::Bridge(_));
    let is_near = |via: &IpAddr| {
        let reaches = |one: &Address| one.gateway == Some(*via) || (on_bridge && one.prefix.contains(via));
        Family::of(*via) == family && plan.addresses.iter().any(reaches)
    };
    let far =
        via.filter(|via| !is_near(via) || plan.addresses.iter().any(|one| one.prefix.addr() == *via))?;
    Some(format!("{far} must be the gateway of one of the plan's addresses, or on a bridge's link"))
}

fn of_bridge(node: &Node, plan: &AddPlan) -> Option<String> {
    let Wiring::Bridge(port) = &plan.wiring else { return None };
    if port.hairpin && port.bridge.promiscuous {
        return Some(format!("bridge {} is promiscuous, and its port has hairpin", port.bridge.name));
    }
    let broken = port.bridge.addresses.iter().find_map(|prefix| of_link(node, *prefix))?;
    Some(format!("bridge {}: {broken}", port.bridge.name))
}

fn of_names(plan: &AddPlan) -> Option<String> {
    let bridge = match &plan.wiring {
        Wiring::Bridge(port) => Some(&port.bridge.name),
        Wiring::Routed => None,
    };
    if bridge.is_some() && bridge == plan.host_interface.as_ref() {
        return bridge.map(|name| format!("host-interface is {name}, but that is the name of the bridge"));
    }
    let mut names = bridge.into_iter().chain(&plan.host_interface);
    names.find_map(|name| config::check_interface_name("plan", name).err().map(|refusal| refusal.message))
}

fn of_mtu(plan: &AddPlan) -> Option<String> {
    let mtu = plan.mtu?;
    let least = if plan.addresses.iter().any(|one| one.prefix.addr().is_ipv6()) { 1_280 } else { 68 };
    (!(least..=65_535).contains(&mtu)).then(|| format!("mtu is {mtu}, but it must be {least} to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{add_request, prefixes};
    use crate::{Bridge, BridgePort};

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn at(prefix: &str, gateway: &str) -> AddPlan {
        AddPlan::routed().address(prefixes(&[prefix])[0], Some(ip(gateway)))
    }

    fn on_bridge(link: &str) -> AddPlan {
        AddPlan::port_of(BridgePort::of(Bridge::named("cni0").address(prefixes(&[link])[0])))
    }

    fn to(destination: &str, via: &str) -> Route {
        Route::to(prefixes(&[destination])[0], Some(ip(via)))
    }

    #[test]
    fn each_rule_has_a_plan_that_breaks_it() {
        let routed = || at("10.244.1.2/32", "169.254.1.1");
        let bridged =
            || on_bridge("10.244.1.1/24").address(prefixes(&["10.244.1.2/24"])[0], Some(ip("10.244.1.1")));
        let mut leases = FakeLeases::new();
        let request = add_request("0abc", &["10.244.1.0/24", "fd00:10:244:1::/64"]);
        leases.record(&request, &at("10.244.1.9/32", "169.254.1.1"));
        for good in [routed().default_route(ip("169.254.1.1")), bridged().default_route(ip("10.244.1.1"))] {
            assert_eq!(broken_rule(&request, &good, &leases), None);
        }
        for (plan, rule) in [
            (at("10.244.1.9/32", "169.254.1.1"), "is held by eth0 of container 0abc"),
            (at("10.244.2.2/32", "169.254.1.1"), "must lie in one of the node's pools"),
            (at("10.244.1.255/32", "169.254.1.1"), "is a network or broadcast address"),
            (at("10.244.1.2/8", "169.254.1.1"), "beyond the cluster's blocks"),
            (at("10.244.1.2/32", "192.168.1.1"), "the gateway of 10.244.1.2/32 is 192.168.1.1"),
            (at("10.244.1.2/32", "fe80::1"), "it must be of the address's family"),
            (at("10.244.1.2/32", "10.244.1.2"), "is a gateway"),
            (routed().address(prefixes(&["10.244.1.2"])[0], None), "the plan has it twice"),
            (routed().route(to("10.0.0.1/8", "169.254.1.1")), "has host bits: 10.0.0.0/8"),
            (routed().default_route(ip("fe80::1")), "no address of the family of ::/0"),
            (routed().default_route(ip("10.244.1.7")), "10.244.1.7 must be the gateway"),
            (bridged().default_route(ip("10.244.1.2")), "10.244.1.2 must be the gateway"),
            (
                routed().default_route(ip("169.254.1.1")).default_route(ip("169.254.1.1")),
                "a route to 0.0.0.0/0 with the same metric",
            ),
            (on_bridge("10.244.2.1/24"), "bridge cni0: 10.244.2.1/24 must lie in"),
            (bridged().host_interface("cni0"), "the name of the bridge"),
            (routed().host_interface("sixteen-bytes-xx"), "cannot name an interface"),
            (routed().mtu(67), "it must be 68 to 65535"),
            (at("fd00:10:244:1::2/128", "fe80::1").mtu(1279), "it must be 1280 to 65535"),
        ] {
            let broken = broken_rule(&request, &plan, &leases).unwrap_or_default();
            assert!(broken.contains(rule), "{rule:?} is not in {broken:?}\n{plan}");
        }
    }
}
