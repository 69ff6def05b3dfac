//! Each rule that a plan for the node must keep, and what becomes of `podwire node up` when a policy
//! breaks it.

use podwire_tests::command::Printed;
use podwire_tests::kernel;
use serde_json::{Value, json};

use crate::{Bench, wording, write};

impl Bench {
    /// `podwire node up` on a node whose policy is the hostile one, with this configuration.
    fn node_up(&self, config: &Value) -> Printed {
        let node = json!({
            "name": "node1", "addresses": ["192.168.1.11"], "policy": "hostile", "config": config,
            "pools": ["10.244.1.0/24"], "cluster": ["10.244.0.0/16"],
        });
        let peers = json!({ "peers": [
            { "name": "node2", "addresses": ["192.168.1.12", "10.244.9.9"], "pools": ["10.244.2.0/24"] },
        ] });
        self.podwire.configure("node.json", &node);
        self.podwire.configure("peers.json", &peers);
        self.podwire.run(&["node", "up"])
    }

    /// Panics unless `podwire node up` refuses with these words and changes nothing.
    #[track_caller]
    fn assert_node_refused(&self, config: &Value, words: &[&str]) {
        let (before, forwarding) = (self.snapshot(), forwarding());
        let message = self.node_up(config).failed();
        wording::assert_helpful(message.trim_end());
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        before.assert_unchanged();
        assert_eq!(forwarding, self::forwarding());
    }

    #[track_caller]
    fn assert_node_plans_broken(&self, plans: impl IntoIterator<Item = (Value, &'static str)>) {
        for (plan, sentence) in plans {
            let words = ["the plan of policy hostile (sha256:", "breaks a rule", sentence];
            self.assert_node_refused(&json!({ "node_plan": plan }), &words);
        }
    }
}

fn forwarding() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("the kernel says whether it forwards")
}

fn route(destination: &str, via: &str) -> Value {
    json!({ "destination": destination, "next_hop": { "via": via } })
}

fn one_route(destination: &str) -> Value {
    json!({ "routes": [route(destination, "192.168.1.12")] })
}

/// A node in its network, with forwarding off.
fn node() -> Option<Bench> {
    let bench = Bench::new()?;
    kernel::ip("link add uplink0 type veth peer name uplink1");
    kernel::ip("link set uplink1 up");
    kernel::ip("link set uplink0 up");
    kernel::ip("address add 192.168.1.11/24 dev uplink0");
    write("/proc/sys/net/ipv4/ip_forward", "0");
    Some(bench)
}

#[test]
fn a_node_plan_that_keeps_every_rule_is_carried_out() {
    let Some(bench) = node() else { return };
    let plan = json!({
        "bridges": [{ "name": "cni0", "addresses": ["10.244.1.1/24"] }],
        "routes": [
            route("10.244.2.0/24", "192.168.1.12"),
            { "destination": "10.244.1.0/24", "next_hop": "blackhole", "metric": 4000 },
        ],
    });
    bench.node_up(&json!({ "node_plan": plan })).done();
    assert!(kernel::routes().iter().any(|route| route.starts_with("10.244.2.0/24")));
}

#[test]
fn a_nodes_routes_lead_to_pods_elsewhere() {
    let Some(bench) = node() else { return };
    bench.assert_node_plans_broken([
        (
            one_route("0.0.0.0/0"),
            "routes[0].destination is 0.0.0.0/0, but a policy must not set the node's default route",
        ),
        (one_route("::/0"), "routes[0].destination is ::/0, but a policy must not set the node's default route"),
        (
            one_route("10.0.0.0/8"),
            "routes[0].destination is 10.0.0.0/8, but it must lie in the cluster's blocks (10.244.0.0/16)",
        ),
        (one_route("192.168.1.0/24"), "but it must lie in the cluster's blocks (10.244.0.0/16)"),
        (one_route("192.168.1.12/32"), "but it must lie in the cluster's blocks (10.244.0.0/16)"),
        (one_route("128.0.0.0/1"), "but it must lie in the cluster's blocks (10.244.0.0/16)"),
        (
            one_route("10.244.9.0/24"),
            "routes[0].destination is 10.244.9.0/24, but it covers 10.244.9.9, the address of a node",
        ),
        (one_route("10.244.9.9/32"), "but it covers 10.244.9.9, the address of a node"),
        (
            json!({ "routes": [{ "destination": "10.244.9.9/32", "next_hop": "blackhole" }] }),
            "but it covers 10.244.9.9, the address of a node",
        ),
        (
            one_route("10.244.1.0/24"),
            "routes[0].destination is 10.244.1.0/24, but it would lead this node's own pool 10.244.1.0/24 away",
        ),
        (one_route("10.244.1.128/25"), "but it would lead this node's own pool 10.244.1.0/24 away"),
        (one_route("10.244.0.0/21"), "but it would lead this node's own pool 10.244.1.0/24 away"),
        (one_route("10.244.2.1/24"), "but a block has no host bits: 10.244.2.0/24"),
    ]);
}

#[test]
fn a_nodes_next_hops_are_other_machines() {
    let Some(bench) = node() else { return };
    let by_way_of = |via: &str| json!({ "routes": [route("10.244.2.0/24", via)] });
    bench.assert_node_plans_broken([
        (
            by_way_of("192.168.1.11"),
            "routes[0].next-hop is 192.168.1.11, but that is this node's own address",
        ),
        (by_way_of("fd00::1"), "routes[0].next-hop is fd00::1, but 10.244.2.0/24 is of another family"),
        (by_way_of("127.0.0.1"), "routes[0].next-hop is 127.0.0.1, but no machine can have it"),
        (by_way_of("0.0.0.0"), "routes[0].next-hop is 0.0.0.0, but no machine can have it"),
        (by_way_of("255.255.255.255"), "routes[0].next-hop is 255.255.255.255, but no machine can have it"),
    ]);
}

#[test]
fn a_nodes_plan_has_nothing_twice_and_nothing_too_often() {
    let Some(bench) = node() else { return };
    let twice = vec![route("10.244.2.0/24", "192.168.1.12"); 2];
    let bridges = |count: usize| json!({ "bridges": vec![json!({ "name": "cni1" }); count] });
    bench.assert_node_plans_broken([
        (
            json!({ "routes": twice }),
            "routes[1].destination is 10.244.2.0/24, but the plan has a route to it with the same metric already",
        ),
        (bridges(2), "bridges[1].name is cni1, but the plan has it twice"),
        (
            json!({ "extra": [["firewall", "off"]] }),
            "extra is \"firewall\" (\"off\"), but this version of podwire knows no such key",
        ),
    ]);
    let answer = ["policy hostile (sha256:", "gave an answer to node that breaks a rule"];
    for (config, sentence) in [
        (
            json!({ "node_plan": one_route("10.244.2.0/77") }),
            "routes[0].destination is 10.244.2.0/77, but the length of an IPv4 prefix is 0 to 32",
        ),
        (json!({ "node_plan": bridges(17) }), "bridges is a list of 17, but at most 16 are allowed"),
        (
            json!({ "do": "routes", "in": "node", "count": 16_385 }),
            "routes is a list of 16385, but at most 16384 are allowed",
        ),
        (
            json!({ "node_plan": { "extra": vec![json!(["a", "b"]); 17] } }),
            "extra is a list of 17, but at most 16 are allowed",
        ),
    ] {
        bench.assert_node_refused(&config, &[&answer[..], &[sentence]].concat());
    }
}

#[test]
fn a_nodes_bridges_are_podwires_own_and_of_its_pools() {
    let Some(bench) = node() else { return };
    kernel::ip("link add docker0 type bridge");
    let bridge = |name: &str, address: &str| json!({ "bridges": [{ "name": name, "addresses": [address] }] });
    bench.assert_node_plans_broken([
        (
            bridge("cni1", "192.168.1.1/24"),
            "bridges[0].addresses[0] is 192.168.1.1/24, but it must lie in one of the node's pools (10.244.1.0/24)",
        ),
        (bridge("cni1", "10.244.1.255/24"), "bridges[0].addresses[0] is 10.244.1.255/24, but that is the broad"),
        (bridge("cni/1", "10.244.1.1/24"), "bridges[0].name is \"cni/1\", but an interface name has 1 to 15"),
        (json!({ "bridges": [{ "name": "cni1", "mtu": 67 }] }), "bridges[0].mtu is 67, but it must be 68 to"),
    ]);
    for (name, words) in [
        ("docker0", "bridge docker0 was not made by podwire"),
        ("uplink0", "uplink0 is a veth, not a bridge"),
    ] {
        bench.assert_node_refused(&json!({ "node_plan": bridge(name, "10.244.1.1/24") }), &[words]);
    }
}

#[test]
fn a_route_that_others_made_is_left_alone() {
    let Some(bench) = node() else { return };
    kernel::ip("route add 10.244.2.0/24 via 192.168.1.99");
    let config = json!({ "node_plan": one_route("10.244.2.0/24") });
    bench.assert_node_refused(&config, &["route 10.244.2.0/24 exists already", "192.168.1.99", "remove it"]);
}

#[test]
fn a_policy_that_misbehaves_for_the_node_changes_nothing() {
    let Some(bench) = node() else { return };
    for (deed, fault) in [
        ("loop", "units of fuel"),
        ("memory", "of at most 64 MiB"),
        ("recurse", "of stack"),
        ("trap", "unreachable"),
        ("panic", "the configuration says so"),
        ("leases", "more than 4,096 times"),
        ("walk", "more than 4,096 times"),
        ("bad-utf8", "utf-8"),
        ("bad-pointer", "out of bounds"),
    ] {
        let words = ["policy hostile (sha256:", "failed in node", fault];
        bench.assert_node_refused(&json!({ "do": deed, "in": "node" }), &words);
    }
    let refusal = json!({ "do": "refuse", "in": "node", "message": "no\nway" });
    bench.assert_node_refused(&refusal, &["policy hostile (sha256:", "refuses: no way"]);
}
