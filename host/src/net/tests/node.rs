use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketType, bind, recv, socket};

use crate::plan::{Masquerade, NextHop, NodePlan, NodeRoute, Traffic};

use super::super::node::{apply, apply_undisputed, inspect, remove};
use super::super::{Error, Unwiring, unwire, wire};
use super::*;
use crate::plan::marks::ALIAS;

/// The cluster's blocks.
pub(super) fn both() -> [ipnet::IpNet; 2] {
    ["10.244.0.0/16", "fd00:244::/32"].map(|block| block.parse().expect("valid"))
}

/// A node with an uplink on which its peers are, and of which the kernel has nothing more to say.
pub(super) fn uplink() {
    for command in [
        "ip link add uplink type veth peer name switch",
        "ip link set switch addrgenmode none",
        "ip link set uplink addrgenmode none",
        "ip link set switch up",
        "ip link set uplink up",
        "ip address add 192.168.1.11/24 dev uplink",
        "ip address add fd00:192::11/64 dev uplink nodad",
    ] {
        run(command);
    }
    while !output("ip link show uplink").contains("state UP") {
        std::thread::yield_now();
    }
}

pub(super) fn to(destination: &str, next_hop: &str) -> NodeRoute {
    let next_hop = next_hop.parse().map_or(NextHop::Blackhole, NextHop::Via);
    NodeRoute { destination: destination.parse().expect("valid"), next_hop, metric: None }
}

pub(super) fn node_plan(routes: &[NodeRoute]) -> NodePlan {
    let addresses = ["10.244.1.1/24", "fd00:244:1::1/64"].map(|p| p.parse().expect("valid")).into();
    let bridge = Bridge { mtu: Some(1450), ..Bridge::plain(name("cni0"), addresses) };
    NodePlan { bridges: vec![bridge], routes: routes.to_vec(), ..NodePlan::nothing() }
}

pub(super) fn peers() -> Vec<NodeRoute> {
    vec![
        to("10.244.2.0/24", "192.168.1.12"),
        to("fd00:244:2::/64", "fd00:192::12"),
        to("10.244.9.0/24", "blackhole"),
    ]
}

pub(super) fn applied(plan: &NodePlan) -> Vec<String> {
    let outcome = apply(plan, &both()).expect("applied");
    assert_eq!(outcome.failed, []);
    outcome.changes.iter().map(ToString::to_string).collect()
}

pub(super) fn differences(plan: &NodePlan) -> Vec<String> {
    inspect(plan, &both()).expect("compared").differences.iter().map(ToString::to_string).collect()
}

pub(super) fn routes_of_the_node() -> Vec<String> {
    routes().into_iter().filter(|route| route.ends_with("proto 112")).collect()
}

/// Whether no process, by netlink, changes an address or a route of this namespace (rtnetlink(7):
/// RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE). What the kernel does by itself, some of it
/// late, bears port number 0.
pub(super) fn silence_during(work: impl FnOnce()) -> bool {
    let monitor = socket(AddressFamily::NETLINK, SocketType::RAW, None).expect("socket");
    bind(&monitor, &SocketAddrNetlink::new(0, 0x10 | 0x40 | 0x400)).expect("bound");
    work();
    let mut header = [0; 16];
    while recv(&monitor, &mut header, RecvFlags::DONTWAIT).is_ok() {
        if header[12..] != [0; 4] {
            return false;
        }
    }
    true
}

#[test]
fn a_plan_becomes_true_once_and_a_second_time_changes_nothing() {
    isolated(|| {
        uplink();
        let plan = node_plan(&peers());
        let silent = silence_during(|| {
            let expected = [
                "net.ipv4.ip_forward set to 1",
                "net.ipv6.conf.all.forwarding set to 1",
                "bridge cni0 created",
                "address 10.244.1.1/24 added to cni0",
                "address fd00:244:1::1/64 added to cni0",
                "address fe80::858:aff:fef4:101/64 added to cni0",
                "route 10.244.2.0/24 via 192.168.1.12 added",
                "route fd00:244:2::/64 via fd00:192::12 added",
                "route blackhole 10.244.9.0/24 added",
            ];
            assert_eq!(applied(&plan), expected);
        });
        assert!(!silent, "the monitor hears");
        let bridge = link_named("cni0").expect("made");
        assert_eq!((bridge.mtu, bridge.up, bridge.alias.as_deref()), (1450, true, Some(ALIAS)));
        assert_eq!(addresses_of("cni0").len(), 3);
        assert!(silence_during(|| assert_eq!(applied(&plan), [""; 0])));
        assert_eq!(differences(&plan), [""; 0]);
    });
}

#[test]
fn what_changes_in_the_plan_changes_on_the_node() {
    isolated(|| {
        uplink();
        applied(&node_plan(&peers()));
        let mut other =
            node_plan(&[to("10.244.2.0/24", "192.168.1.22"), to("10.244.9.0/24", "192.168.1.19")]);
        other.bridges[0].addresses = vec!["10.244.7.1/24".parse().expect("valid")];
        other.bridges[0].mtu = Some(1400);
        run("ip address add 10.99.0.1/24 dev cni0");
        let found = differences(&other);
        assert!(
            found.contains(&"route fd00:244:2::/64 via fd00:192::12: expected none, found present".into())
        );
        let expected = [
            "bridge cni0 set up with MTU 1400",
            "address 10.244.1.1/24 removed from cni0",
            "address fd00:244:1::1/64 removed from cni0",
            "address fe80::858:aff:fef4:101/64 removed from cni0",
            "address 10.244.7.1/24 added to cni0",
            "route 10.244.2.0/24 via 192.168.1.22 put in place of 10.244.2.0/24 via 192.168.1.12 proto 112",
            "route 10.244.9.0/24 via 192.168.1.19 put in place of blackhole 10.244.9.0/24 proto 112",
            "route fd00:244:2::/64 via fd00:192::12 removed",
        ];
        assert_eq!(applied(&other), expected);
        assert_eq!(found.len(), expected.len());
        assert_eq!(addresses_of("cni0"), ["10.99.0.1/24", "10.244.7.1/24"], "a stranger's address stays");
        assert_eq!(applied(&other), [""; 0]);
    });
}

#[test]
fn a_bridges_address_may_change_within_its_link_and_be_the_only_one() {
    isolated(|| {
        uplink();
        applied(&node_plan(&[]));
        run("ip address add 172.16.0.1/24 dev cni0");
        let mut other = node_plan(&[]);
        other.bridges[0].addresses = vec!["10.244.1.254/24".parse().expect("valid")];
        other.bridges[0].exclusive = true;
        applied(&other);
        assert_eq!(addresses_of("cni0"), ["10.244.1.254/24"]);
        assert_eq!(applied(&other), [""; 0]);
    });
}

#[test]
fn routes_of_others_and_of_pods_stay() {
    isolated(|| {
        uplink();
        run("ip route add 172.16.0.0/16 via 192.168.1.1");
        run("ip route add 10.244.5.0/24 via 192.168.1.1 proto bird");
        let pod = new_namespace();
        wire(&pod, &routed(2, &[("10.244.1.9/32", "169.254.1.1")])).expect("wired");
        applied(&node_plan(&peers()));
        applied(&node_plan(&[]));
        let kept = routes();
        for route in [
            "172.16.0.0/16 via 192.168.1.1 proto 3",
            "10.244.5.0/24 via 192.168.1.1 proto 12",
            "10.244.1.9/32 on the link proto 112",
        ] {
            assert!(kept.iter().any(|found| found == route), "{route}");
        }
        assert_eq!(routes_of_the_node().len(), 1, "the pod's");
    });
}

#[test]
fn conflicts_are_found_before_anything_is_changed() {
    isolated(|| {
        uplink();
        run("ip route add 10.244.2.0/24 via 192.168.1.1");
        let plan = node_plan(&peers());
        let error = apply_undisputed(&plan, &both()).expect_err("taken");
        let Error::RouteTaken { found, .. } = &error else { panic!("{error}") };
        assert_eq!(found, "10.244.2.0/24 via 192.168.1.1 proto 3");
        assert!(link_named("cni0").is_none() && routes_of_the_node().is_empty());
        let conflicts = inspect(&plan, &both()).expect("compared").conflicts;
        assert_eq!(conflicts.iter().map(ToString::to_string).collect::<Vec<_>>(), [error.to_string()]);

        run("ip route del 10.244.2.0/24");
        run("ip link add cni0 type bridge");
        assert!(matches!(apply_undisputed(&plan, &both()), Err(Error::ForeignBridge(_))));
        assert!(routes_of_the_node().is_empty());
        let outcome = apply(&plan, &both()).expect("the rest");
        assert!(outcome.failed[0].why.contains("bridge cni0 was not made by podwire"), "{outcome:?}");
        assert_eq!((outcome.failed.len(), routes_of_the_node().len()), (1, 3));
    });
}

#[test]
fn a_next_hop_out_of_reach_is_named_and_does_not_stop_the_others() {
    isolated(|| {
        uplink();
        let far = [to("10.244.3.0/24", "203.0.113.1"), to("10.244.4.0/24", "203.0.113.1")];
        let plan = node_plan(&[far.as_slice(), &peers()].concat());
        let failed = apply(&plan, &both()).expect("the others").failed;
        let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(
            failed[0].starts_with("route 10.244.3.0/24 via 203.0.113.1: the kernel refused to"),
            "{failed:?}"
        );
        assert_eq!(routes_of_the_node().len(), 3);
    });
}

#[test]
fn taking_the_node_down_leaves_bridges_in_use_and_strangers() {
    isolated(|| {
        uplink();
        applied(&node_plan(&peers()));
        run("ip link add foreign type bridge");
        let pod = new_namespace();
        wire(&pod, &bridged(2, &["10.244.1.0/24"])).expect("wired");
        let outcome = remove().expect("removed");
        assert_eq!(outcome.changes.len(), 3, "{:?}", outcome.changes);
        let kept: Vec<_> = outcome.kept.iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["bridge cni0: expected none, found one with 1 port"]);
        assert!(routes_of_the_node().is_empty());

        super::super::unwire(&bridged(2, &["10.244.1.0/24"]))
            .and_then(super::super::Unwiring::finish)
            .expect("gone");
        let outcome = remove().expect("removed");
        let changes: Vec<_> = outcome.changes.iter().map(ToString::to_string).collect();
        assert_eq!((changes, outcome.kept), (vec!["bridge cni0 removed".to_owned()], vec![]));
        assert!(link_named("cni0").is_none() && link_named("foreign").is_some());
    });
}

#[test]
fn a_bridge_that_was_handed_over_is_used_and_never_removed() {
    isolated(|| {
        uplink();
        run("ip link add br0 type bridge");
        run("ip link set dev br0 alias podwire");
        applied(&node_plan(&peers()));
        let outcome = remove().expect("removed");
        assert!(link_named("br0").is_some(), "{:?}", outcome.changes);
    });
}

#[test]
fn many_routes_fit_and_are_listed_whole() {
    isolated(|| {
        uplink();
        let route = |n: u16| to(&format!("10.{}.{}.0/24", n >> 8, n & 0xff), "192.168.1.12");
        let plan = NodePlan { routes: (0..1000).map(route).collect(), ..NodePlan::nothing() };
        assert_eq!(applied(&plan).len(), 1002);
        assert_eq!(routes_of_the_node().len(), 1000);
        assert_eq!(applied(&plan), [""; 0]);
        assert_eq!(remove().expect("removed").changes.len(), 1000);
    });
}

#[test]
fn taking_the_node_down_takes_its_rules_once_the_pods_are_gone() {
    isolated(|| {
        let masquerade = Some(Masquerade { except: vec!["10.244.0.0/16".parse().expect("valid")] });
        let plan = bridged(2, &["10.244.1.0/24"]);
        let plan = Checked { traffic: Traffic { masquerade, ..plan.traffic.clone() }, ..plan };
        let _pod = super::wired(&plan);
        remove().expect("removed");
        assert!(output("nft list tables").contains("podwire"), "a pod counts on it");
        unwire(&plan).and_then(Unwiring::finish).expect("gone");
        remove().expect("removed");
        assert_eq!(output("nft list tables"), "");
    });
}
