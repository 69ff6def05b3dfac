//! Tunnels, the node's masquerade, what a difference of plans takes, and uplinks.

use ipnet::IpNet;

use super::super::Error;
use super::super::node::{Outcome, Step, Target, advance, apply, apply_undisputed, remove, uplinks};
use super::super::watch::Expected;
use super::node::{
    applied, both, differences, node_plan, peers, routes_of_the_node, silence_during, to, uplink,
};
use super::*;
use crate::plan::marks::GROUP;
use crate::plan::{NextHop, NodePlan, NodeRoute, Vxlan};

pub(super) fn vxlan(local: &str) -> Option<Vxlan> {
    let local = local.parse().expect("valid");
    Some(Vxlan { name: name("pwvx"), id: 7, port: 4789, local, mtu: 1450 })
}

pub(super) fn tunnel(destination: &str, peer: &str) -> NodeRoute {
    NodeRoute { next_hop: NextHop::Tunnel(peer.parse().expect("valid")), ..to(destination, "blackhole") }
}

pub(super) fn overlay(routes: &[NodeRoute]) -> NodePlan {
    NodePlan { vxlan: vxlan("192.168.1.11"), ..node_plan(routes) }
}

pub(super) fn tunnels() -> [NodeRoute; 3] {
    [
        tunnel("10.244.2.0/24", "192.168.2.12"),
        tunnel("fd00:244:2::/64", "192.168.2.12"),
        tunnel("10.244.3.0/24", "192.168.2.13"),
    ]
}

/// As the agent gets from one plan to the next. What it then expects is what the plan alone makes it expect.
pub(super) fn step(from: &NodePlan, to: &NodePlan) -> Result<Outcome, Error> {
    let [from, to] = [from, to].map(|plan| Target::of(plan, &both()));
    let Some(step) = Step::between(&from, &to) else { return apply(&to.plan, &to.cluster) };
    let mut expected = Expected::of(&from);
    expected.advance(&step);
    assert_eq!(expected, Expected::of(&to));
    advance(step, &to)
}

#[test]
fn a_cluster_that_grows_is_more_than_a_step() {
    let of = |cluster: &[IpNet]| Target::of(&overlay(&tunnels()), cluster);
    assert!(Step::between(&of(&both()[..1]), &of(&both())).is_none(), "another family is forwarded");
    assert!(Step::between(&of(&both()), &of(&both())).is_some());
}

/// What the device knows of peers.
fn known() -> Vec<String> {
    let lines = output("bridge fdb show dev pwvx") + &output("ip neighbour show dev pwvx nud permanent");
    let mut lines: Vec<String> = (lines + &output("ip -6 neighbour show dev pwvx nud permanent"))
        .lines()
        .map(|it| it.trim().to_owned())
        .collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

#[test]
fn tunnels_become_true_once_and_a_second_time_change_nothing() {
    isolated(|| {
        uplink();
        let plan = overlay(&tunnels());
        let changes = applied(&plan);
        for expected in [
            "VXLAN device pwvx created",
            "tunnel to 192.168.2.12 (02:58:c0:a8:02:0c) set",
            "next hop 10.244.2.0 (02:58:c0:a8:02:0c) set",
            "route 10.244.2.0/24 via 10.244.2.0 added",
        ] {
            assert!(changes.iter().any(|change| change == expected), "{expected}: {changes:?}");
        }
        let device = link_named("pwvx").expect("made");
        assert_eq!((device.mtu, device.up, device.group), (1450, true, GROUP));
        assert_eq!(device.hardware_address().to_string(), "02:58:c0:a8:01:0b");
        assert_eq!(addresses_of("pwvx"), [""; 0]);
        let shown = output("ip -details link show dev pwvx");
        assert!(shown.contains("vxlan id 7 local 192.168.1.11") && shown.contains("nolearning"), "{shown}");
        let expected = [
            "02:58:c0:a8:02:0c dst 192.168.2.12 self permanent",
            "02:58:c0:a8:02:0d dst 192.168.2.13 self permanent",
            "10.244.2.0 lladdr 02:58:c0:a8:02:0c PERMANENT",
            "10.244.3.0 lladdr 02:58:c0:a8:02:0d PERMANENT",
            "fd00:244:2:: lladdr 02:58:c0:a8:02:0c PERMANENT",
        ];
        assert_eq!(known(), expected);
        let ways = output("ip route show proto 112");
        assert!(ways.contains("10.244.2.0/24 via 10.244.2.0 dev pwvx src 10.244.1.1 onlink"), "{ways}");
        assert!(silence_during(|| assert_eq!(applied(&plan), [""; 0])));
        assert_eq!(differences(&plan), [""; 0]);
    });
}

#[test]
fn what_somebody_did_to_the_tunnels_is_put_right() {
    isolated(|| {
        uplink();
        let plan = overlay(&tunnels());
        applied(&plan);
        let before = known();
        for (disturbance, expected) in [
            ("bridge fdb del 02:58:c0:a8:02:0c dev pwvx", 1),
            ("bridge fdb replace 02:58:c0:a8:02:0c dev pwvx dst 192.168.2.99", 1),
            ("bridge fdb add 02:00:00:00:00:01 dev pwvx dst 192.168.2.99", 1),
            ("bridge fdb append 00:00:00:00:00:00 dev pwvx dst 192.168.2.99", 1),
            ("ip neighbour del 10.244.2.0 dev pwvx", 1),
            ("ip neighbour replace 10.244.2.0 dev pwvx lladdr 02:00:00:00:00:01", 1),
            ("ip neighbour replace 10.244.2.0 dev pwvx lladdr 02:58:c0:a8:02:0c nud stale", 1),
            ("ip neighbour add fd00::7 dev pwvx lladdr 02:00:00:00:00:01", 1),
            ("ip route del 10.244.2.0/24", 1),
            ("ip -6 route flush dev pwvx proto 112", 1),
            ("ip link set pwvx mtu 1400", 1),
            ("ip link set pwvx type vxlan ttl 3", 0),
        ] {
            run(disturbance);
            assert_eq!(differences(&plan).len(), expected, "{disturbance}: {:?}", differences(&plan));
            assert_eq!(applied(&plan).len(), expected, "{disturbance}");
            assert_eq!(differences(&plan), [""; 0], "{disturbance}");
            assert_eq!(known(), before, "{disturbance}");
        }
        for disturbance in [
            "ip link set pwvx down",
            "ip link set pwvx address 02:00:00:00:00:02",
            "ip link del pwvx",
            "ip link set pwvx type vxlan learning",
            "ip address flush dev cni0",
        ] {
            run(disturbance);
            assert!(!differences(&plan).is_empty(), "{disturbance}");
            applied(&plan);
            assert_eq!(differences(&plan), [""; 0], "{disturbance}");
            assert_eq!(known(), before, "{disturbance}");
        }
    });
}

#[test]
fn tunnels_follow_the_plan_and_go_with_it() {
    isolated(|| {
        uplink();
        applied(&overlay(&tunnels()));
        let mut other =
            overlay(&[tunnel("10.244.2.0/24", "192.168.2.22"), to("10.244.3.0/24", "192.168.1.13")]);
        applied(&other);
        assert_eq!(differences(&other), [""; 0]);
        let expected = [
            "02:58:c0:a8:02:16 dst 192.168.2.22 self permanent",
            "10.244.2.0 lladdr 02:58:c0:a8:02:16 PERMANENT",
        ];
        assert_eq!(known(), expected);
        other.vxlan = Some(Vxlan { id: 8, mtu: 1400, ..vxlan("192.168.1.11").expect("one") });
        let changes = applied(&other);
        assert!(changes.contains(&"VXLAN device pwvx made anew".to_owned()), "{changes:?}");
        assert_eq!(known(), expected);
        assert_eq!(differences(&other), [""; 0]);
        other.vxlan.as_mut().expect("one").name = name("pwvy");
        assert!(applied(&other).contains(&"VXLAN device pwvx removed".to_owned()));
        assert!(link_named("pwvx").is_none() && link_named("pwvy").is_some());
        assert_eq!(differences(&other), [""; 0]);
        assert_eq!(remove().expect("removed").failed, []);
        assert!(link_named("pwvy").is_none() && routes_of_the_node().is_empty());
    });
}

#[test]
fn a_device_of_others_is_left_alone_and_stops_no_other_route() {
    isolated(|| {
        uplink();
        run("ip link add pwvx type vxlan id 9 dstport 4790 local 192.168.1.11");
        run("bridge fdb append 00:00:00:00:00:00 dev pwvx dst 192.168.2.99");
        let (before, plan) =
            (output("ip -details link show dev pwvx") + &known().join("\n"), overlay(&tunnels()));
        let plan = NodePlan { routes: [plan.routes.clone(), peers()[2..].to_vec()].concat(), ..plan };
        assert!(matches!(apply_undisputed(&plan, &both()), Err(Error::VxlanTaken { .. })));
        assert_eq!(routes_of_the_node(), [""; 0]);
        let outcome = apply(&plan, &both()).expect("the rest");
        assert_eq!(outcome.failed.len(), 1, "{outcome:?}");
        assert_eq!(routes_of_the_node(), ["blackhole 10.244.9.0/24 proto 112"]);
        remove().expect("removed");
        assert_eq!(output("ip -details link show dev pwvx") + &known().join("\n"), before);
    });
}

/// Two nodes with a pod each, and tunnels between them over IPv4 or IPv6.
fn carries(ends: [&str; 2]) {
    let nodes = [new_namespace(), new_namespace()];
    let prefixes = [["10.244.1.0/24", "fd00:244:1::/64"], ["10.244.2.0/24", "fd00:244:2::/64"]];
    run("ip link add one type veth peer name other");
    for (end, link) in [(0, "one"), (1, "other")] {
        move_to(&nodes[end], link);
    }
    let pods: Vec<Namespace> = [0, 1]
        .map(|own| {
            inside(&nodes[own], || {
                let (link, other) = (["one", "other"][own], 1 - own);
                run(&format!("ip link set {link} up"));
                let nodad = if ends[own].contains(':') { "nodad" } else { "" };
                run(&format!("ip address add {} dev {link} {nodad}", ends[own]));
                let address = |end: &str| end.split_once('/').expect("a prefix").0.to_owned();
                let routes = prefixes[other].map(|block| tunnel(block, &address(ends[other])));
                let plan = bridged(2, &prefixes[own]);
                let bridges = match &plan.wiring {
                    Wiring::Bridge { bridge, .. } => vec![Bridge { mtu: Some(1430), ..bridge.clone() }],
                    Wiring::Routed => Vec::new(),
                };
                let vxlan = vxlan(&address(ends[own])).map(|vxlan| Vxlan { mtu: 1430, ..vxlan });
                let node = NodePlan { bridges, vxlan, routes: routes.into(), ..NodePlan::nothing() };
                applied(&node);
                wired(&plan)
            })
        })
        .into();
    for (source, target) in [("10.244.1.2", "10.244.2.2"), ("fd00:244:1::2", "fd00:244:2::2")] {
        assert!(reaches(&pods[0], source, &pods[1], target), "{source} to {target} over {ends:?}");
        assert!(reaches(&pods[1], target, &pods[0], source), "{target} to {source} over {ends:?}");
    }
    assert!(reaches(&nodes[0], "10.244.1.1", &pods[1], "10.244.2.2"), "the node's own, over {ends:?}");
}

fn move_to(namespace: &Namespace, link: &str) {
    use std::os::fd::{AsFd, AsRawFd};
    let index = link_named(link).expect("made").index;
    let mut header = super::super::link::header(index);
    header.index = index;
    let file = namespace.as_fd().as_raw_fd();
    let attributes = vec![netlink_packet_route::link::LinkAttribute::NetNsFd(file)];
    let request = super::super::link::change(header, attributes, format!("move {link}"));
    Socket::route().expect("socket").apply(&[request]).expect("moved");
}

#[test]
fn tunnels_carry_pods_packets_with_their_own_source() {
    isolated(|| carries(["192.168.1.11/24", "192.168.1.12/24"]));
    isolated(|| carries(["fd00:192::11/64", "fd00:192::12/64"]));
}

#[test]
fn a_difference_is_carried_out_without_looking() {
    isolated(|| {
        uplink();
        let from = overlay(&tunnels()[..2]);
        applied(&from);
        let join = tunnel("10.244.3.0/24", "192.168.2.13");
        let to_be = NodePlan { routes: [from.routes.clone(), vec![join]].concat(), ..from.clone() };
        let said = |from: &NodePlan, to: &NodePlan| {
            let outcome = step(from, to).expect("advanced");
            assert_eq!(outcome.failed, []);
            outcome.changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let expected = [
            "tunnel to 192.168.2.13 (02:58:c0:a8:02:0d) set",
            "next hop 10.244.3.0 (02:58:c0:a8:02:0d) set",
            "route 10.244.3.0/24 via 10.244.3.0 added",
        ];
        assert_eq!(said(&from, &to_be), expected);
        assert_eq!(differences(&to_be), [""; 0]);
        assert_eq!(said(&to_be, &to_be), [""; 0]);

        let moved = NodePlan {
            routes: vec![
                tunnel("10.244.2.0/24", "192.168.2.13"),
                to("10.244.3.0/24", "192.168.1.13"),
                to("10.244.9.0/24", "blackhole"),
            ],
            ..to_be.clone()
        };
        said(&to_be, &moved);
        assert_eq!(differences(&moved), [""; 0]);
        said(&moved, &from);
        assert_eq!(differences(&from), [""; 0]);
        let without = node_plan(&peers());
        said(&from, &without);
        assert_eq!(differences(&without), [""; 0]);
    });
}

#[test]
fn a_peer_moves_behind_a_tunnel_and_back() {
    isolated(|| {
        uplink();
        let near = overlay(&[to("10.244.2.0/24", "192.168.1.12"), to("fd00:244:2::/64", "fd00:192::12")]);
        let far = overlay(&tunnels()[..2]);
        applied(&near);
        for (from, to_be) in [(&near, &far), (&far, &near)] {
            assert_eq!(step(from, to_be).expect("advanced").failed, []);
            assert_eq!(differences(to_be), [""; 0]);
        }
        applied(&far);
        applied(&near);
    });
}

#[test]
fn one_route_that_fails_leaves_the_others_and_is_named() {
    isolated(|| {
        uplink();
        let from = node_plan(&[]);
        applied(&from);
        let plan = node_plan(&[&[to("10.244.3.0/24", "203.0.113.1")], peers().as_slice()].concat());
        let outcome = step(&from, &plan).expect("the others");
        assert_eq!((outcome.failed.len(), outcome.changes.len()), (1, 3), "{outcome:?}");
        assert!(outcome.failed[0].why.contains("no interface of the node"), "{outcome:?}");
    });
}

#[test]
fn what_leaves_the_cluster_is_masqueraded_as_planned() {
    isolated(|| {
        uplink();
        let blocks: Vec<ipnet::IpNet> =
            ["10.244.1.0/24", "fd00:244:1::/64"].map(|block| block.parse().expect("valid")).into();
        let plan = NodePlan { masquerade: blocks.clone(), ..node_plan(&[]) };
        assert!(applied(&plan).contains(&"masquerade of 10.244.1.0/24, fd00:244:1::/64 set".to_owned()));
        assert_eq!(applied(&plan), [""; 0]);
        let shown = output("nft list ruleset");
        assert!(shown.contains("ip saddr 10.244.1.0/24 masquerade"), "{shown}");
        assert_eq!(shown.matches("chain ").count(), 1, "{shown}");
        let chain = shown.lines().find_map(|line| line.trim().strip_prefix("chain ")).expect("a chain");
        let chain = chain.trim_end_matches(" {").to_owned();
        for disturbance in [
            "nft delete table inet podwire".to_owned(),
            format!("nft flush chain inet podwire {chain}"),
            format!("nft add rule inet podwire {chain} accept"),
            format!("nft add chain inet podwire {chain}_x"),
        ] {
            run(&disturbance);
            assert_eq!(differences(&plan).len(), 1, "{disturbance}");
            assert_eq!(applied(&plan).len(), 1, "{disturbance}");
            assert_eq!(differences(&plan), [""; 0], "{disturbance}");
        }
        let other = NodePlan { masquerade: blocks[..1].to_vec(), ..plan };
        assert_eq!(applied(&other), ["masquerade of 10.244.1.0/24 set"]);
        assert_eq!(output("nft list ruleset").matches("chain ").count(), 1);
        assert_eq!(applied(&node_plan(&[])), ["masquerade of the node removed"]);
        assert!(!output("nft list ruleset").contains("chain "));
    });
}

#[test]
fn pods_keep_their_source_inside_the_cluster_and_leave_it_with_the_nodes() {
    isolated(|| {
        let outside = new_namespace();
        run("ip link add near type veth peer name far");
        move_to(&outside, "far");
        inside(&outside, || {
            for command in [
                "ip link set lo up",
                "ip link set far up",
                "ip address add 203.0.113.9/24 dev far",
                "ip address add 2001:db8::9/64 dev far nodad",
                "ip address add 10.244.2.2/32 dev lo",
                "ip address add fd00:244:2::2/128 dev lo nodad",
                "ip route add 10.244.1.0/24 via 203.0.113.1",
                "ip route add fd00:244:1::/64 via 2001:db8::1",
            ] {
                run(command);
            }
        });
        for command in [
            "ip link set near up",
            "ip address add 203.0.113.1/24 dev near",
            "ip address add 2001:db8::1/64 dev near nodad",
        ] {
            run(command);
        }
        let masquerade = ["10.244.1.0/24", "fd00:244:1::/64"].map(|it| it.parse().expect("valid")).into();
        let routes = [to("10.244.2.0/24", "203.0.113.9"), to("fd00:244:2::/64", "2001:db8::9")];
        let plan = bridged(2, &["10.244.1.0/24", "fd00:244:1::/64"]);
        let bridges = match &plan.wiring {
            Wiring::Bridge { bridge, .. } => vec![bridge.clone()],
            Wiring::Routed => Vec::new(),
        };
        applied(&NodePlan { bridges, masquerade, routes: routes.into(), ..NodePlan::nothing() });
        let pod = wired(&plan);
        for (source, target, seen) in [
            ("10.244.1.2", "10.244.2.2", "10.244.1.2"),
            ("10.244.1.2", "203.0.113.9", "203.0.113.1"),
            ("fd00:244:1::2", "fd00:244:2::2", "fd00:244:1::2"),
            ("fd00:244:1::2", "2001:db8::9", "2001:db8::1"),
        ] {
            let found = source_at(&pod, source, &outside, target);
            assert_eq!(found, Some(seen.parse().expect("valid")), "{source} to {target}");
        }
    });
}

#[test]
fn uplinks_are_those_that_carry_the_nodes_addresses() {
    isolated(|| {
        uplink();
        run("ip link set lo up");
        applied(&overlay(&tunnels()));
        let of = |addresses: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|it| it.parse().expect("valid")).collect();
            uplinks(&addresses).expect("found")
        };
        let found = of(&["192.168.1.11", "10.244.1.1", "127.0.0.1"]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].name.as_str(), found[0].mtu), ("uplink", 1500));
        let has = |prefix: &str| found[0].addresses.contains(&prefix.parse().expect("valid"));
        assert!(has("192.168.1.11/24") && has("fd00:192::11/64"), "{found:?}");
        assert_eq!(of(&[]), []);
        run("ip route add default via 192.168.1.1");
        assert_eq!(of(&[]), found);
        assert_eq!(of(&["192.0.2.1"]), []);
    });
}

/// Blocks of 5,000 peers in two families, every second peer through a tunnel.
fn many(peers: u32) -> NodePlan {
    let route = |number: u32| {
        let (high, low) = (number >> 8, number & 0xff);
        let four = format!("10.{}.{low}.0/24", high + 1);
        let six = format!("fd00:244:{number:x}::/64");
        let far = format!("172.{}.{high}.{low}", 16);
        if number.is_multiple_of(2) {
            [tunnel(&four, &far), tunnel(&six, &far)]
        } else {
            [to(&four, "192.168.1.12"), to(&six, "fd00:192::12")]
        }
    };
    overlay(&(0..peers).flat_map(route).collect::<Vec<_>>())
}

#[test]
fn five_thousand_peers_fit() {
    isolated(|| {
        uplink();
        let plan = many(5000);
        assert_eq!(apply(&plan, &both()).expect("applied").failed, []);
        assert_eq!(routes_of_the_node().len(), 10_000);
        assert_eq!(differences(&plan), [""; 0]);
        let joined = NodePlan { routes: many(5001).routes, ..plan.clone() };
        assert_eq!(step(&plan, &joined).expect("advanced").changes.len(), 5);
        assert_eq!(differences(&joined), [""; 0]);
    });
}
