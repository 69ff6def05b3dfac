extern crate std;

mod keys;
mod ranges;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use core::net::IpAddr;

use podwire_sdk::testing::{FakeLeases, add_request, node_request, notes, peer, prefixes};
use podwire_sdk::{Bridge, BridgePort, NextHop, Peer, RefusalReason, Vxlan, Wiring, config};

use super::*;

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:10:244:1::/64";

const POOLS_2: [&str; 2] = ["10.244.2.0/24", "fd00:10:244:2::/64"];

fn script(config: &str) -> Keys {
    config::read(config).expect("a configuration")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// An ADD on a node with these pools; asked is a requested address or nothing.
fn add(leases: &mut FakeLeases, pools: &[&str], asked: &[&str]) -> Result<AddPlan, Refusal> {
    let mut request = add_request("0abc", pools);
    request.requested_addresses = prefixes(asked);
    let plan = script("{}").add(&request, leases)?;
    leases.record(&request, &plan);
    Ok(plan)
}

fn port_of(plan: &AddPlan) -> &BridgePort {
    match &plan.wiring {
        Wiring::Bridge(port) => port,
        Wiring::Routed => panic!("no port of a bridge"),
    }
}

fn addresses_of(plan: &AddPlan) -> Vec<String> {
    plan.addresses.iter().map(|address| address.prefix.to_string()).collect()
}

#[test]
fn the_lectures_script() {
    let plan = add(&mut FakeLeases::new(), &[V4], &[]).expect("a plan");
    let bridge = Bridge { addresses: prefixes(&["10.244.1.1/24"]), ..Bridge::named("cni0") };
    let expected = AddPlan::port_of(BridgePort { hairpin: true, ..BridgePort::of(bridge) })
        .address(prefixes(&["10.244.1.2/24"])[0], Some(ip("10.244.1.1")))
        .default_route(ip("10.244.1.1"));
    assert_eq!(plan, expected);
}

#[test]
fn dual_stack_has_an_address_a_gateway_and_a_default_route_per_family() {
    let plan = add(&mut FakeLeases::new(), &[V4, V6], &[]).expect("a plan");
    assert_eq!(addresses_of(&plan), ["10.244.1.2/24", "fd00:10:244:1::2/64"]);
    assert_eq!(plan.routes.len(), 2);
    assert!(Family::BOTH.into_iter().all(|family| plan.has_default_route(family)));
    assert!(plan.routes.iter().all(|r| r.via
        == nth(if r.destination.addr().is_ipv4() { prefixes(&[V4])[0] } else { prefixes(&[V6])[0] }, 1)));
}

#[test]
fn ipv6_alone_works() {
    let plan = add(&mut FakeLeases::new(), &[V6], &[]).expect("a plan");
    assert_eq!(addresses_of(&plan), ["fd00:10:244:1::2/64"]);
    assert_eq!(plan.routes[0].destination, prefixes(&["::/0"])[0]);
    assert_eq!(plan.routes[0].via, Some(ip("fd00:10:244:1::1")));
}

#[test]
fn addresses_go_round() {
    let mut leases = FakeLeases::new();
    let mut next = || add(&mut leases, &["10.244.1.0/29"], &[]).map(|plan| addresses_of(&plan).remove(0));
    for last in 2..=6 {
        assert_eq!(next(), Ok(format!("10.244.1.{last}/29")));
    }
    let refusal = next().expect_err("the pool is full");
    assert_eq!(refusal.reason, RefusalReason::Exhausted);
    assert!(
        refusal.message.contains("is left in 10.244.1.0/29 (5 held) on node n1: delete pods"),
        "{refusal}"
    );
    let holders = "10.244.1.2 is held by eth0 of container 0abc in network pods; 10.244.1.3 is held by eth0";
    assert!(refusal.message.contains(holders), "{refusal}");
    leases.release(ip("10.244.1.4"));
    leases.release(ip("10.244.1.3"));
    let mut next = || add(&mut leases, &["10.244.1.0/29"], &[]).map(|plan| addresses_of(&plan).remove(0));
    assert_eq!(next(), Ok("10.244.1.3/29".into()), "beyond the last, by way of the gateway");
    assert_eq!(next(), Ok("10.244.1.4/29".into()));
}

#[test]
fn pools_of_a_family_are_tried_in_order() {
    let mut leases = FakeLeases::new();
    let pools = ["10.244.1.0/30", "10.244.9.0/30"];
    let first = add(&mut leases, &pools, &[]).expect("a plan");
    assert_eq!(addresses_of(&first), ["10.244.1.2/30"]);
    let second = add(&mut leases, &pools, &[]).expect("a plan");
    assert_eq!(addresses_of(&second), ["10.244.9.2/30"]);
    assert_eq!(second.routes[0].via, Some(ip("10.244.9.1")));
    for plan in [&first, &second] {
        let gateways = prefixes(&["10.244.1.1/30", "10.244.9.1/30"]);
        assert_eq!(port_of(plan).bridge.addresses, gateways, "of all pools, as the node's plan has them");
    }
    let refusal = add(&mut leases, &pools, &[]).expect_err("both are full");
    assert!(refusal.message.contains("10.244.1.0/30 (1 held), 10.244.9.0/30 (1 held)"), "{refusal}");
    let by = "is held by eth0 of container 0abc in network pods";
    let each_once = format!("more addresses; 10.244.1.2 {by}; 10.244.9.2 {by}");
    assert!(refusal.message.ends_with(&each_once), "{refusal}");
}

#[test]
fn requested_addresses_are_honoured() {
    let plan = add(&mut FakeLeases::new(), &[V4, V6], &["10.244.1.77", "10.244.1.78/32"]).expect("a plan");
    assert_eq!(addresses_of(&plan), ["10.244.1.77/24", "10.244.1.78/24", "fd00:10:244:1::2/64"]);
    assert_eq!(plan.routes.len(), 2, "one default route per family");
}

#[test]
fn a_requested_address_that_cannot_be_had_is_denied_with_the_reason() {
    let mut leases = FakeLeases::new();
    add(&mut leases, &[V4], &["10.244.1.7"]).expect("a plan");
    for (asked, why) in [
        ("10.244.1.7", "is held by eth0 of container 0abc in network pods"),
        ("10.244.2.7", "is not among the addresses of network pods: 10.244.1.0/24;"),
        ("fd00::7", "is not among the addresses of network pods"),
        ("10.244.1.1", "is the gateway of 10.244.1.0/24"),
    ] {
        let refusal = add(&mut leases, &[V4], &[asked]).expect_err(asked);
        assert_eq!(refusal.reason, RefusalReason::Denied);
        assert!(refusal.message.contains(asked) && refusal.message.contains(why), "{refusal}");
    }
}

#[test]
fn a_requested_hardware_address_is_honoured() {
    let mut request = add_request("0abc", &[V4]);
    request.requested_mac = Some("0a:58:0a:f4:01:02".into());
    let plan = script("{}").add(&request, &FakeLeases::new()).expect("a plan");
    assert_eq!(plan.mac, request.requested_mac);
}

#[test]
fn a_pool_without_room_is_refused() {
    for pool in ["10.244.1.0/31", "10.244.1.1/32", "255.255.255.255/32", "fd00::/127", "fd00::1/128"] {
        let refusal = add(&mut FakeLeases::new(), &[pool], &[]).expect_err(pool);
        assert_eq!(refusal.reason, RefusalReason::InvalidConfig);
        assert!(refusal.message.contains(pool), "{refusal}");
    }
    for pool in ["10.244.1.0/30", "fd00::/126"] {
        assert!(add(&mut FakeLeases::new(), &[pool], &[]).is_ok(), "{pool}");
    }
}

fn on_node(config: &str, peers: Vec<Peer>) -> Result<NodePlan, Refusal> {
    script(config).node(&node_request(&[V4, V6], peers))
}

#[test]
fn a_node_has_the_bridge_and_routes_to_its_peers() {
    let plan = on_node("{}", vec![peer("n2", &["fd00:1::12", "192.168.1.12"], &POOLS_2)]).expect("a plan");
    let addresses = prefixes(&["10.244.1.1/24", "fd00:10:244:1::1/64"]);
    let expected = NodePlan::default()
        .bridge(Bridge { addresses, ..Bridge::named("cni0") })
        .route(prefixes(&["10.244.2.0/24"])[0], NextHop::Via(ip("192.168.1.12")))
        .route(prefixes(&["fd00:10:244:2::/64"])[0], NextHop::Via(ip("fd00:1::12")));
    assert_eq!(plan, expected);
}

#[test]
fn a_nodes_bridge_follows_the_keys() {
    let config =
        r#"{"bridge": "br7", "mtu": 9000, "promiscMode": true, "forceAddress": true, "isGateway": false}"#;
    let plan = on_node(config, vec![]).expect("a plan");
    let expected = Bridge { mtu: Some(9000), promiscuous: true, exclusive: true, ..Bridge::named("br7") };
    assert_eq!(plan.bridges, [expected]);
}

#[test]
fn pods_have_the_mtu_of_their_ways() {
    let near = || vec![peer("n2", &["192.168.1.12"], &POOLS_2[..1])];
    let far = || vec![peer("n3", &["192.168.7.13"], &POOLS_2)];
    for (config, peers, mtu) in [
        ("{}", near(), 9_000),
        ("{}", far(), 8_950),
        (r#"{"ways": "vxlan"}"#, vec![], 8_950),
        (r#"{"ways": "direct"}"#, far(), 9_000),
        (r#"{"mtu": 1400}"#, far(), 1_400),
    ] {
        let request = node_request(&[V4, V6], peers).on_uplink("eth0", &["192.168.1.11/24"], 9_000);
        let plan = script(config).node(&request).expect("a plan");
        assert_eq!(plan.bridges[0].mtu, Some(mtu), "{config}\n{plan}");
    }
}

#[test]
fn the_operator_says_what_tunnels_are_like() {
    let request = node_request(&[V4], vec![]).on_uplink("eth0", &["fd01::11/64"], 1_500);
    let config = r#"{"ways": "vxlan", "vxlan": {"name": "vx7", "id": 7, "port": 8472}}"#;
    let plan = script(config).node(&request).expect("a plan");
    let expected = Vxlan { name: "vx7".into(), id: 7, port: 8_472, local: ip("fd01::11"), mtu: 1_430 };
    assert_eq!(plan.vxlan, Some(expected));
}

#[test]
fn a_router_has_routes_and_nothing_else() {
    let peers = vec![peer("n2", &["192.168.1.12", "fd01::12"], &POOLS_2)];
    let request = node_request(&[], peers).of_router();
    let plan = script(r#"{"ways": "router", "ipMasq": true}"#).node(&request).expect("a plan");
    let lines = "route 10.244.2.0/24 via 192.168.1.12\nroute fd00:10:244:2::/64 via fd01::12\n";
    assert_eq!(plan.to_string(), lines);
}

#[test]
fn the_node_masquerades_its_pools() {
    let plan = on_node(r#"{"ipMasq": true}"#, vec![]).expect("a plan");
    assert_eq!(plan.masquerade, prefixes(&[V4, V6]));
    assert_eq!(on_node("{}", vec![]).expect("a plan").masquerade, []);
}
