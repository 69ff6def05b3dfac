use alloc::string::ToString as _;
use alloc::vec;

use super::*;
use crate::testing::{node_request, notes, peer, prefixes};

const OWN: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];
const OTHER: [&str; 2] = ["10.244.2.0/24", "fd00:10:244:2::/64"];
const THIRD: [&str; 2] = ["10.244.3.0/24", "fd00:10:244:3::/64"];

/// A node with two families on its uplink.
fn request(peers: Vec<Peer>) -> NodeRequest {
    node_request(&OWN, peers).on_uplink("eth0", &["192.168.1.11/24", "fd01::11/64"], 1_500)
}

fn near() -> Peer {
    peer("n2", &["192.168.1.12", "fd01::12"], &OTHER)
}

fn far() -> Peer {
    peer("n3", &["192.168.7.13", "fd07::13"], &THIRD)
}

fn router() -> Peer {
    Peer { role: Role::Router, ..peer("r1", &["192.168.7.1", "192.168.1.1", "fd01::1"], &[]) }
}

fn plan(way: Way, request: &NodeRequest) -> String {
    let ways = Ways { way, ..Ways::default() };
    ways.plan(request).expect("a plan").to_string()
}

const TUNNELLED: &str = "route 10.244.3.0/24 through the tunnel to 192.168.7.13\n\
                         route fd00:10:244:3::/64 through the tunnel to 192.168.7.13\n";
const DEVICE: &str = "vxlan podwire.vxlan id 28791 port 4789 local 192.168.1.11 mtu 1450\n";
const NEAR: &str = "route 10.244.2.0/24 via 192.168.1.12\nroute fd00:10:244:2::/64 via fd01::12\n";

#[test]
fn each_peer_has_its_way() {
    let mixed = request(vec![near(), far()]);
    assert_eq!(plan(Way::Auto, &mixed), [DEVICE, NEAR, TUNNELLED].concat());
    assert_eq!(plan(Way::Auto, &request(vec![near()])), NEAR, "no device that nothing passes");
    assert_eq!(plan(Way::Auto, &request(vec![far(), router()])), routed_to_third());
    assert_eq!(plan(Way::Vxlan, &request(vec![far()])), [DEVICE, TUNNELLED].concat());
    assert_eq!(plan(Way::Vxlan, &request(vec![])), DEVICE, "the first peer is not waited for");
    assert_eq!(notes(), [""; 0]);
    assert_eq!(plan(Way::Direct, &mixed), NEAR);
    let notes = notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].starts_with("peer n3 is not reached at 10.244.3.0/24: it has no IPv4 address on a link"),
        "{notes:?}"
    );
}

fn routed_to_third() -> &'static str {
    "route 10.244.3.0/24 via 192.168.1.1\nroute fd00:10:244:3::/64 via fd01::1\n"
}

#[test]
fn without_uplinks_every_peer_is_on_link() {
    let peers =
        vec![far(), router(), peer("n4", &["192.168.1.14"], &["10.244.4.0/24", "fd00:10:244:4::/64"])];
    let lines = "route 10.244.3.0/24 via 192.168.7.13\nroute fd00:10:244:3::/64 via fd07::13\n\
                 route 10.244.4.0/24 via 192.168.1.14\nroute fd00:10:244:4::/64 via fd01::1\n";
    assert_eq!(plan(Way::Auto, &node_request(&OWN, peers)), lines);
    let half = peer("n4", &["192.168.1.14"], &["fd00:10:244:4::/64"]);
    assert_eq!(plan(Way::Auto, &node_request(&OWN, vec![half])), "");
    let notes = notes();
    assert!(
        notes[0].contains("n4 is not reached at fd00:10:244:4::/64: it has no IPv6 address"),
        "{notes:?}"
    );
}

#[test]
fn hosts_need_a_route_for_the_cluster_or_none() {
    let wide = "route 10.244.0.0/16 via 192.168.1.1\nroute fd00:10:244::/48 via fd01::1\n\
                blackhole 10.244.1.0/24 metric 4294967295\nblackhole fd00:10:244:1::/64 metric 4294967295\n";
    assert_eq!(plan(Way::Router, &request(vec![near(), far(), router()])), wide);
    assert_eq!(plan(Way::Router, &request(vec![near(), far()])), "", "their default route leads to it");
    let named = Ways {
        way: Way::Router,
        router: vec!["192.168.1.254".parse().expect("an address")],
        ..Ways::default()
    };
    let lines = "route 10.244.0.0/16 via 192.168.1.254\nblackhole 10.244.1.0/24 metric 4294967295\n";
    assert_eq!(named.plan(&request(vec![near(), router()])).expect("a plan").to_string(), lines);
    let mut alone = request(vec![far(), router()]);
    alone.node.cluster = prefixes(&["10.244.0.0/16", "fd00:10:244::/48", "10.244.0.0/16", "192.168.0.0/16"]);
    assert_eq!(plan(Way::Router, &alone), wide, "nodes live in 192.168.0.0/16");
}

#[test]
fn what_no_wide_route_holds_has_its_own() {
    let mut mixed = request(vec![router(), peer("n5", &["192.168.1.15"], &["192.168.200.0/24"])]);
    mixed.node.cluster = prefixes(&["192.168.0.0/16"]);
    assert_eq!(plan(Way::Router, &mixed), "route 192.168.200.0/24 via 192.168.1.1\n");
}

#[test]
fn a_router_leads_to_the_nodes_themselves() {
    let of_router = |peers| {
        node_request(&[], peers).on_uplink("eth0", &["192.168.1.1/24", "fd01::1/64"], 1_500).of_router()
    };
    assert_eq!(plan(Way::Router, &of_router(vec![near(), router()])), NEAR);
    let device = DEVICE.replace("192.168.1.11", "192.168.1.1");
    assert_eq!(
        plan(Way::Auto, &of_router(vec![near(), far(), router()])),
        [&device, NEAR, TUNNELLED].concat()
    );
}

#[test]
fn a_pool_that_cannot_be_the_peers_keeps_no_other_routes_away() {
    let mut bad = request(vec![
        near(),
        peer("n4", &["192.168.1.14"], &["10.9.1.0/24", "10.244.1.128/25", "10.244.0.0/16", "10.244.2.0/24"]),
        peer("n5", &["192.168.1.11", "0.0.0.0", "224.0.0.1"], &["10.244.5.0/24"]),
        peer("n6", &["10.244.6.6", "192.168.1.16"], &["10.244.6.0/24", "10.244.2.64/26"]),
    ]);
    bad.uplinks[0].addresses.push(prefixes(&["10.244.6.7/30"])[0]);
    let lines = [NEAR, "route 10.244.2.64/26 via 10.244.6.6\n"].concat();
    assert_eq!(plan(Way::Auto, &bad), lines);
    let notes = notes();
    for (note, expected) in notes.iter().zip([
        "pool 10.9.1.0/24 of peer n4 gets no route: it lies outside of the cluster's blocks",
        "pool 10.244.1.128/25 of peer n4 gets no route: it overlaps this node's own pool 10.244.1.0/24",
        "pool 10.244.0.0/16 of peer n4 gets no route: it overlaps this node's own pool 10.244.1.0/24",
        "pool 10.244.2.0/24 of peer n4 gets no route: peer n2 has it too",
        "pool 10.244.6.0/24 of peer n6 gets no route: it covers 10.244.6.6, the address of a node",
        "pool 10.244.2.64/26 of peer n6 lies in 10.244.2.0/24 of peer n2",
        "peer n5 is not reached at 10.244.5.0/24: it has no IPv4 address on a link of this node, nor one for a tunnel",
    ]) {
        assert!(note.starts_with(expected), "{expected}\n{note}");
    }
    assert_eq!(notes.len(), 7, "{notes:?}");
}

#[test]
fn not_all_of_thousands_are_named() {
    let peers = (0..5_000).map(|_| peer("n2", &["192.168.1.12"], &["10.9.2.0/24"])).collect();
    assert_eq!(plan(Way::Auto, &request(peers)), "");
    let notes = notes();
    assert_eq!((notes.len(), notes[32].as_str()), (33, "and 4968 more like these"));
}

#[test]
fn what_no_tunnel_can_be_made_of_is_said() {
    let vxlan = |tunnels| Ways { way: Way::Vxlan, tunnels, ..Ways::default() };
    let refused = |ways: Ways, request: &NodeRequest| ways.plan(request).expect_err("a plan").message;
    let message = refused(vxlan(Tunnels::default()), &node_request(&OWN, vec![far()]));
    assert!(message.starts_with("config: ways is vxlan, but node n1 has no address"), "{message}");
    let small = node_request(&OWN, vec![far()]).on_uplink("eth0", &["192.168.1.11/24"], 1_329);
    let message = refused(vxlan(Tunnels::default()), &small);
    assert!(
        message.contains("an MTU of 1279 bytes, and IPv6 needs 1280: raise the MTU of eth0"),
        "{message}"
    );
    for (tunnels, key) in [
        (Tunnels { id: 0, ..Tunnels::default() }, "vxlan.id"),
        (Tunnels { id: 1 << 24, ..Tunnels::default() }, "vxlan.id"),
        (Tunnels { port: 0, ..Tunnels::default() }, "vxlan.port"),
        (Tunnels { name: "sixteen-bytes-xx".into(), ..Tunnels::default() }, "vxlan.name"),
    ] {
        assert!(refused(vxlan(tunnels), &request(vec![])).contains(key), "{key}");
    }
}

#[test]
fn tunnels_begin_where_both_ends_can() {
    let mut both = request(vec![peer("n4", &["fd07::14"], &["fd00:10:244:4::/64"])]);
    both.node.addresses.reverse();
    assert_eq!(plan(Way::Vxlan, &both), DEVICE, "IPv4 where there is a choice");
    assert!(notes()[0].contains("no IPv4 address for its end of a tunnel"));
    both.node.addresses.retain(IpAddr::is_ipv6);
    let lines = "vxlan podwire.vxlan id 28791 port 4789 local fd01::11 mtu 1430\n\
                 route fd00:10:244:4::/64 through the tunnel to fd07::14\n";
    assert_eq!(plan(Way::Vxlan, &both), lines);
}

#[test]
fn pods_have_room_for_what_the_ways_take() {
    let mtu = |way, mtu, peers| {
        let request = node_request(&OWN, peers).on_uplink("eth0", &["192.168.1.11/24"], mtu);
        Ways { way, ..Ways::default() }.plan(&request).expect("a plan").pod_mtu(&request)
    };
    assert_eq!(mtu(Way::Auto, 9_000, vec![near()]), Some(9_000 - 50), "fd01::12 is not on-link here");
    assert_eq!(mtu(Way::Direct, 9_000, vec![near()]), Some(9_000));
    assert_eq!(mtu(Way::Direct, 65_536, vec![]), Some(65_535));
    assert_eq!(mtu(Way::Direct, 1_200, vec![]), Some(1_280));
    assert_eq!(NodePlan::default().pod_mtu(&node_request(&OWN, vec![])), None);
}
