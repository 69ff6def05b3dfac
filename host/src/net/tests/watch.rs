//! What contradicts a plan is heard, and nothing else is.

use super::super::node::{Target, apply};
use super::super::watch::{Expected, Seen, Watch};
use super::super::{Unwiring, unwire};
use super::node::{applied, both, uplink};
use super::overlay::{overlay, step, tunnel, tunnels, vxlan};
use super::*;
use crate::plan::{Bandwidth, Masquerade, NodePlan, Rate, Traffic, Vxlan};

fn plan() -> NodePlan {
    let masquerade = ["10.244.1.0/24", "fd00:244:1::/64"].map(|block| block.parse().expect("valid")).into();
    let routes = [tunnels().as_slice(), &super::node::peers()[2..], &[direct()]].concat();
    NodePlan { masquerade, ..overlay(&routes) }
}

fn direct() -> crate::plan::NodeRoute {
    super::node::to("10.244.4.0/24", "192.168.1.14")
}

fn read(watch: &mut Watch, plan: &NodePlan) -> Seen {
    watch.read(&Expected::of(&Target::of(plan, &both()))).expect("read")
}

/// Makes the plan true while the watch listens, which must stay silent about that.
#[track_caller]
fn put_right(watch: &mut Watch, plan: &NodePlan, why: &str) {
    read(watch, plan);
    let outcome = apply(plan, &both()).expect("applied");
    assert_eq!(outcome.failed, [], "{why}");
    assert!(!read(watch, plan).suspicious, "putting right: {why}");
}

#[test]
fn what_contradicts_the_plan_is_suspicious_and_putting_it_right_is_not() {
    isolated(|| {
        uplink();
        let plan = plan();
        let mut watch = Watch::open().expect("listening");
        put_right(&mut watch, &plan, "from nothing");
        let chain = output("nft list ruleset");
        let chain = chain.lines().find_map(|line| line.trim().strip_prefix("chain ")).expect("a chain");
        let chain = chain.trim_end_matches(" {").to_owned();
        for disturbance in [
            "ip route del 10.244.2.0/24",
            "ip -6 route del fd00:244:2::/64",
            "ip route del blackhole 10.244.9.0/24",
            "ip route replace 10.244.4.0/24 via 192.168.1.99 proto 112",
            "ip route add 10.244.8.0/24 via 192.168.1.99 proto 112",
            "ip route flush proto 112",
            "ip address del 10.244.1.1/24 dev cni0",
            "ip link set cni0 down",
            "ip link set cni0 mtu 1300",
            "ip link del cni0",
            "ip link set pwvx down",
            "ip link set pwvx mtu 1300",
            "ip link del pwvx",
            "ip link set pwvx name other",
            "bridge fdb del 02:58:c0:a8:02:0c dev pwvx",
            "bridge fdb replace 02:58:c0:a8:02:0c dev pwvx dst 192.168.2.99",
            "bridge fdb append 00:00:00:00:00:00 dev pwvx dst 192.168.2.99",
            "ip neighbour del 10.244.2.0 dev pwvx",
            "ip neighbour replace 10.244.2.0 dev pwvx lladdr 02:00:00:00:00:01",
            "ip neighbour add fd00::7 dev pwvx lladdr 02:00:00:00:00:01",
            "ip link set uplink down",
            "sysctl -q net.ipv4.ip_forward=0",
            "sysctl -q net.ipv6.conf.all.forwarding=0",
            "nft delete table inet podwire",
            &format!("nft flush chain inet podwire {chain}"),
            &format!("nft add rule inet podwire {chain} accept"),
        ] {
            run(disturbance);
            assert!(read(&mut watch, &plan).suspicious, "{disturbance}");
            if disturbance.contains("uplink") {
                run("ip link set uplink up");
            }
            put_right(&mut watch, &plan, disturbance);
        }
        assert_eq!(applied(&plan), [""; 0]);
    });
}

#[test]
fn a_route_of_others_in_a_planned_ones_place_is_suspicious() {
    isolated(|| {
        uplink();
        let plan = plan();
        applied(&plan);
        let mut watch = Watch::open().expect("listening");
        run("ip route replace 10.244.4.0/24 via 192.168.1.99 proto static");
        assert!(read(&mut watch, &plan).suspicious);
    });
}

#[test]
fn uplinks_and_default_routes_are_told_apart_from_the_rest() {
    isolated(|| {
        uplink();
        let plan = plan();
        applied(&plan);
        let mut watch = Watch::open().expect("listening");
        let uplinks = Seen { uplinks_changed: true, ..Seen::default() };
        let both_of_it = Seen { suspicious: true, ..uplinks };
        for (change, expected) in [
            ("ip address add 192.168.1.77/24 dev uplink", uplinks),
            ("ip address del 192.168.1.77/24 dev uplink", both_of_it),
            ("ip link set uplink mtu 1400", uplinks),
            ("ip route add default via 192.168.1.1", uplinks),
            ("ip route del default via 192.168.1.1", uplinks),
            ("ip route add 172.16.0.0/16 via 192.168.1.1", Seen::default()),
            ("ip route add 10.244.8.0/24 dev uplink proto 112", Seen::default()),
            ("ip address add 10.99.0.1/24 dev cni0", Seen::default()),
            ("ip neighbour add 10.244.1.9 dev cni0 lladdr 02:00:00:00:00:01", Seen::default()),
            ("nft add table inet other", Seen::default()),
            ("nft delete table inet other", Seen::default()),
        ] {
            read(&mut watch, &plan);
            run(change);
            assert_eq!(read(&mut watch, &plan), expected, "{change}");
        }
    });
}

#[test]
fn pods_that_come_and_go_are_not_heard() {
    isolated(|| {
        uplink();
        let plan = plan();
        applied(&plan);
        let mut watch = Watch::open().expect("listening");
        let rate = Rate { rate: 8_000_000, burst: 80_000 };
        let traffic = Traffic {
            masquerade: Some(Masquerade { except: vec!["10.244.0.0/16".parse().expect("valid")] }),
            bandwidth: Some(Bandwidth { ingress: Some(rate), egress: Some(rate) }),
            ..Traffic::default()
        };
        for round in 0..3 {
            let pods = [
                Checked { traffic: traffic.clone(), ..bridged(2, &["10.244.1.0/24", "fd00:244:1::/64"]) },
                routed(3, &[("10.244.1.77/32", "169.254.1.1"), ("fd00:244:1::77/128", "fe80::1")]),
            ];
            for pod in pods {
                let namespace = wired(&pod);
                unwire(&pod).and_then(Unwiring::finish).expect("gone");
                drop(namespace);
                assert_eq!(read(&mut watch, &plan), Seen::default(), "round {round}: {}", pod.host_interface);
            }
        }
        assert_eq!(applied(&plan), [""; 0]);
    });
}

#[test]
fn what_is_done_as_planned_is_not_suspicious() {
    isolated(|| {
        uplink();
        let mut from = plan();
        let mut watch = Watch::open().expect("listening");
        put_right(&mut watch, &from, "the first plan");
        let more = [from.routes.clone(), vec![tunnel("10.244.5.0/24", "192.168.2.15")]].concat();
        let moved =
            vec![tunnel("10.244.2.0/24", "192.168.2.22"), super::node::to("10.244.4.0/24", "192.168.1.99")];
        let other = vxlan("192.168.1.11").map(|vxlan| Vxlan { id: 9, mtu: 1400, ..vxlan });
        for to in [
            NodePlan { routes: more, ..from.clone() },
            from.clone(),
            NodePlan { routes: moved, ..from.clone() },
            NodePlan { masquerade: Vec::new(), ..from.clone() },
            NodePlan { vxlan: other, ..from.clone() },
            NodePlan { bridges: Vec::new(), ..from.clone() },
            NodePlan::nothing(),
            from.clone(),
        ] {
            let outcome = step(&from, &to).expect("advanced");
            assert_eq!(outcome.failed, []);
            assert!(!read(&mut watch, &to).suspicious, "{:?}", outcome.changes);
            from = to;
        }
    });
}
