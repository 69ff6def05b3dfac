//! Each rule that a plan must keep (promise 5 of the design: a plan can only wire its own pod), and a plan that
//! breaks it.

use serde_json::{Value, json};

use crate::{Bench, code, good_plan, hostile, with};

/// Offers plans, each the good one with one thing spoilt, and panics unless the sentence of each refusal names
/// field, value and rule.
#[track_caller]
fn assert_broken(plans: impl IntoIterator<Item = (Value, &'static str)>) {
    let Some(bench) = Bench::new() else { return };
    for (plan, sentence) in plans {
        let network = hostile(json!({ "plan": plan }));
        bench.assert_refused(&network, code::PLAN_BROKE_RULE, &["policy hostile", "breaks a rule", sentence]);
    }
    bench.assert_nothing_is_held();
}

fn spoilt<const N: usize>(pointer: &str, values: [(Value, &'static str); N]) -> [(Value, &'static str); N] {
    values.map(|(value, sentence)| (with(good_plan(), pointer, value), sentence))
}

/// With `routed` wiring, a gateway and a default route by way of it.
fn routed(gateway: &str) -> Value {
    let default = if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" };
    json!({
        "addresses": [{ "prefix": "10.244.1.2/32", "gateway": gateway }],
        "routes": [{ "destination": default, "via": gateway }],
    })
}

fn many(value: Value, count: usize) -> Value {
    vec![value; count].into()
}

#[test]
fn a_plan_that_keeps_every_rule_is_wired() {
    let Some(bench) = Bench::new() else { return };
    for plan in [good_plan(), routed("169.254.1.1"), routed("10.244.1.1")] {
        let (network, pod) = (hostile(json!({ "plan": plan })), bench.node.pod("good"));
        bench.add(&network, &pod).result();
        bench.del(&network, &pod);
        pod.namespace.remove();
    }
}

#[test]
fn an_address_lies_in_a_pool_of_this_node() {
    assert_broken(spoilt(
        "/addresses/0/prefix",
        [
            (
                json!("10.245.1.2/24"),
                "addresses[0].prefix is 10.245.1.2/24, but it must lie in one of the node's pools \
                 (10.244.1.0/24, fd00:10:244:1::/64)",
            ),
            (json!("10.244.2.2/24"), "addresses[0].prefix is 10.244.2.2/24, but it must lie in one of the"),
            (json!("127.0.0.1/8"), "addresses[0].prefix is 127.0.0.1/8, but it must lie in one of the"),
            (json!("fd00:10:244:2::2/64"), "addresses[0].prefix is fd00:10:244:2::2/64, but it must lie in"),
            (
                json!("10.244.1.2/200"),
                "addresses[0].prefix is 10.244.1.2/200, but the length of an IPv4 prefix is 0 to 32",
            ),
        ],
    ));
}

#[test]
fn network_and_broadcast_addresses_are_nobodys() {
    assert_broken(spoilt(
        "/addresses/0/prefix",
        [
            (
                json!("10.244.1.0/24"),
                "addresses[0].prefix is 10.244.1.0/24, but that is the network address of 10.244.1.0/24",
            ),
            (
                json!("10.244.1.255/24"),
                "addresses[0].prefix is 10.244.1.255/24, but that is the broadcast address of 10.244.1.0/24",
            ),
            // The pool's, even if the link is another.
            (json!("10.244.1.0/32"), "but that is the network address of 10.244.1.0/24"),
            (json!("10.244.1.255/16"), "but that is the broadcast address of 10.244.1.0/24"),
            // The link's, even if the pool is larger.
            (json!("10.244.1.128/25"), "but that is the network address of 10.244.1.128/25"),
            (json!("10.244.1.127/25"), "but that is the broadcast address of 10.244.1.0/25"),
            (json!("fd00:10:244:1::/64"), "but that is the network address of fd00:10:244:1::/64"),
        ],
    ));
}

#[test]
fn gateways_and_bridges_keep_their_addresses() {
    let no_bridge_address = with(good_plan(), "/wiring/bridge/bridge/addresses", json!([]));
    assert_broken([
        (
            with(good_plan(), "/addresses/0/prefix", json!("10.244.1.1/24")),
            "addresses[0].prefix is 10.244.1.1/24, but that is the bridge's own address",
        ),
        (
            with(no_bridge_address, "/addresses/0/prefix", json!("10.244.1.1/24")),
            "addresses[0].prefix is 10.244.1.1/24, but that is a gateway",
        ),
    ]);
}

#[test]
fn no_address_is_in_a_plan_twice() {
    let again = json!({ "prefix": "10.244.1.2/25" });
    assert_broken(spoilt(
        "/addresses/-",
        [(again, "addresses[1].prefix is 10.244.1.2/25, but the plan has it twice")],
    ));
}

#[test]
fn a_link_does_not_reach_beyond_the_cluster() {
    let rule = "but its link would reach beyond the cluster's blocks (10.244.0.0/16, fd00:10:244::/48)";
    assert_broken(spoilt(
        "/addresses/0/prefix",
        [
            (json!("10.244.1.2/15"), rule),
            (json!("10.244.1.2/0"), "addresses[0].prefix is 10.244.1.2/0, but its link would reach beyond"),
            (json!("fd00:10:244:1::2/32"), rule),
        ],
    ));
}

#[test]
fn a_link_does_not_cover_the_nodes_own_address() {
    let Some(bench) = Bench::new() else { return };
    bench.podwire.configure("node.json", &json!({ "addresses": ["10.244.1.200"] }));
    for plan in [good_plan(), json!({ "addresses": [{ "prefix": "10.244.1.200/32" }] })] {
        let words = ["policy hostile", "its link would cover 10.244.1.200, the node's own address"];
        bench.assert_refused(&hostile(json!({ "plan": plan })), code::PLAN_BROKE_RULE, &words);
    }
}

#[test]
fn a_gateway_is_a_machine_on_the_link() {
    assert_broken(spoilt(
        "/addresses/0/gateway",
        [
            (
                json!("10.244.2.1"),
                "addresses[0].gateway is 10.244.2.1, but it must lie on the address's link, 10.244.1.0/24",
            ),
            (json!("8.8.8.8"), "addresses[0].gateway is 8.8.8.8, but it must lie on the address's link"),
            (json!("fd00:10:244:1::1"), "addresses[0].gateway is fd00:10:244:1::1, but it must lie on the"),
            (
                json!("10.244.1.255"),
                "addresses[0].gateway is 10.244.1.255, but that is the broadcast address of 10.244.1.0/24",
            ),
            (json!("10.244.1.0"), "but that is the network address of 10.244.1.0/24"),
        ],
    ));
}

#[test]
fn a_node_answers_for_no_foreign_gateway() {
    let rule = "but it must lie in 169.254.1.0/24, fe80::/10 or one of the node's pools";
    assert_broken([
        (routed("8.8.8.8"), "addresses[0].gateway is 8.8.8.8, but it must lie in 169.254.1.0/24, fe80::/10"),
        (routed("192.168.1.12"), rule),
        (routed("10.244.2.1"), rule),
        (routed("127.0.0.1"), rule),
        (
            routed("fe80::1"),
            "addresses[0].gateway is fe80::1, but it must be of the same family as 10.244.1.2/32",
        ),
        (
            routed("169.254.169.254"),
            "addresses[0].gateway is 169.254.169.254, but it must lie in 169.254.1.0/24",
        ),
        (
            routed("10.244.1.255"),
            "addresses[0].gateway is 10.244.1.255, but that is the broadcast address of",
        ),
    ]);
}

#[test]
fn next_hops_are_on_the_link() {
    assert_broken(spoilt(
        "/routes/0/via",
        [
            (
                json!("192.168.1.1"),
                "routes[0].via is 192.168.1.1, but it must lie on the link of one of the plan's addresses, or \
                 be the gateway of one",
            ),
            (json!("10.244.2.1"), "routes[0].via is 10.244.2.1, but it must lie on the link of one of"),
            (
                json!("fd00:10:244:1::1"),
                "routes[0].via is fd00:10:244:1::1, but 0.0.0.0/0 is of another family",
            ),
            (json!("10.244.1.2"), "routes[0].via is 10.244.1.2, but that is the pod's own address"),
            (json!("10.244.1.255"), "routes[0].via is 10.244.1.255, but that is the broadcast address of"),
        ],
    ));
    let neighbour = with(routed("169.254.1.1"), "/routes/0/via", json!("10.244.1.7"));
    assert_broken([(
        neighbour,
        "routes[0].via is 10.244.1.7, but it must lie on the link of one of the plan's",
    )]);
}

#[test]
fn routes_are_blocks_of_the_plans_families() {
    assert_broken(spoilt(
        "/routes/0/destination",
        [
            (
                json!("10.0.0.1/8"),
                "routes[0].destination is 10.0.0.1/8, but a block has no host bits: 10.0.0.0/8",
            ),
            (json!("::/0"), "routes[0].destination is ::/0, but the plan has no address of its family"),
            (
                json!("10.0.0.0/33"),
                "routes[0].destination is 10.0.0.0/33, but the length of an IPv4 prefix is 0",
            ),
        ],
    ));
    let again = json!({ "destination": "0.0.0.0/0" });
    assert_broken(spoilt(
        "/routes/-",
        [(again, "routes[1].destination is 0.0.0.0/0, but the plan has a route to it with the same metric")],
    ));
}

#[test]
fn an_interface_name_is_one_for_the_kernel() {
    let rule =
        "an interface name has 1 to 15 bytes and no '/', ':', '%' or white space, and is not '.' or '..'";
    for pointer in ["/host_interface", "/wiring/bridge/bridge/name"] {
        assert_broken(spoilt(
            pointer,
            [
                (json!(""), rule),
                (json!(".."), rule),
                (json!("../cni0"), rule),
                (json!("a:b"), rule),
                (json!("a b"), rule),
                (json!("eth%d"), rule),
                (json!("line\nbreak"), rule),
                (
                    json!("sixteen-bytes-xx"),
                    "is \"sixteen-bytes-xx\", but an interface name has 1 to 15 bytes",
                ),
                (json!("all"), "is all, but the kernel keeps that name for itself"),
                (json!("default"), "is default, but the kernel keeps that name for itself"),
                (json!("x".repeat(254)), "is a string of 254 bytes, but at most 253 are allowed"),
            ],
        ));
    }
}

#[test]
fn both_ends_of_the_veth_and_the_bridge_have_names_of_their_own() {
    assert_broken([(
        with(good_plan(), "/host_interface", json!("cni0")),
        "host-interface is cni0, but that is the name of the plan's bridge",
    )]);
}

#[test]
fn a_bridge_carries_addresses_of_the_pools() {
    assert_broken(spoilt(
        "/wiring/bridge/bridge/addresses",
        [
            (
                json!(["192.168.1.1/24"]),
                "wiring.bridge.addresses[0] is 192.168.1.1/24, but it must lie in one of the node's pools",
            ),
            (
                json!(["10.244.1.1/24", "10.244.2.1/24"]),
                "wiring.bridge.addresses[1] is 10.244.2.1/24, but it must lie in one of the node's pools",
            ),
            (
                json!(["10.244.1.0/24"]),
                "wiring.bridge.addresses[0] is 10.244.1.0/24, but that is the network",
            ),
            (json!(["10.244.1.1/8"]), "wiring.bridge.addresses[0] is 10.244.1.1/8, but its link would reach"),
            (many(json!("10.244.1.1/24"), 9), "wiring.bridge.addresses is a list of 9, but at most 8 are"),
        ],
    ));
}

#[test]
fn an_mtu_is_within_the_kernels_bounds() {
    let bound = "but it must be 68 to 65535";
    let at = |pointer| move |mtu: u32| (with(good_plan(), pointer, json!(mtu)), bound);
    let beyond = [0, 67, 65_536, u32::MAX];
    assert_broken(beyond.map(at("/mtu")));
    assert_broken(beyond.map(at("/wiring/bridge/bridge/mtu")));
    let dual = with(good_plan(), "/addresses/-", json!({ "prefix": "fd00:10:244:1::2/64" }));
    let dual_bridge = with(good_plan(), "/wiring/bridge/bridge/addresses/-", json!("fd00:10:244:1::1/64"));
    assert_broken([
        (with(dual, "/mtu", json!(1279)), "mtu is 1279, but IPv6 needs at least 1280"),
        (
            with(dual_bridge, "/wiring/bridge/bridge/mtu", json!(1279)),
            "wiring.bridge.mtu is 1279, but IPv6 needs at least 1280",
        ),
        (with(good_plan(), "/mtu", json!(67)), "mtu is 67, but it must be 68 to 65535"),
        (
            with(good_plan(), "/wiring/bridge/bridge/mtu", json!(67)),
            "wiring.bridge.mtu is 67, but it must be 68",
        ),
        (with(good_plan(), "/routes/0/mtu", json!(67)), "routes[0].mtu is 67, but it must be 68 to 65535"),
    ]);
}

#[test]
fn a_hardware_address_is_unicast() {
    let form = "but it must have the form 0a:58:0a:f4:01:02";
    assert_broken(spoilt(
        "/mac",
        [
            (
                json!("01:00:5e:00:00:01"),
                "mac is 01:00:5e:00:00:01, but an interface needs a unicast address",
            ),
            (json!("ff:ff:ff:ff:ff:ff"), "but an interface needs a unicast address"),
            (json!("00:00:00:00:00:00"), "but an interface needs a unicast address"),
            (json!("0a:58:0a:f4:01"), form),
            (json!("0a-58-0a-f4-01-02"), form),
            (json!("0a:58:0a:f4:01:02\n"), form),
            (json!(""), "mac is \"\", but it must have the form"),
        ],
    ));
}

#[test]
fn a_sysctl_is_on_the_list_and_its_value_on_one_line() {
    let list = "but it is not on the list of sysctls that a plan may set";
    let value = "but a sysctl's value has digits, blanks, ',' and '-' only, at most 253 bytes";
    let set = |name: &str, value: &str| json!([[name, value]]);
    assert_broken(spoilt(
        "/sysctls",
        [
            (
                set("kernel.core_pattern", "|/bin/sh"),
                "sysctls[0] is \"kernel.core_pattern\", but it is not on",
            ),
            (set("net.ipv4.ip_forward", "1"), list),
            (set("net/ipv4/ping_group_range", "0 0"), list),
            (set("net.ipv4.conf.all.rp_filter", "0"), list),
            (set("net.ipv4.conf.cni0.rp_filter", "0"), list),
            (set("net.ipv4.conf.eth0/../all.rp_filter", "0"), list),
            (set("net.ipv4.conf.{interface}.rp_filter", "0"), list),
            (set("net.ipv4.ping_group_range\0", "0"), list),
            (set("net.ipv4.ping_group_range", "0\n0"), value),
            (set("net.ipv4.ping_group_range", "0'; reboot; '"), value),
            (set("net.ipv4.ping_group_range", ""), value),
        ],
    ));
}

#[test]
fn nothing_is_in_a_plan_too_often() {
    let address = |i: usize| json!({ "prefix": format!("10.244.1.{i}/24") });
    let route = json!({ "destination": "0.0.0.0/0" });
    let spoilt = |pointer, value: Value, sentence| (with(good_plan(), pointer, value), sentence);
    let dns = |key: &str, value: Value| json!({ key: many(value, 9) });
    assert_broken([
        spoilt(
            "/addresses",
            (2..11).map(address).collect::<Vec<_>>().into(),
            "addresses is a list of 9, but at most 8 are allowed",
        ),
        spoilt("/routes", many(route, 65), "routes is a list of 65, but at most 64 are allowed"),
        spoilt(
            "/sysctls",
            many(json!(["a", "b"]), 17),
            "sysctls is a list of 17, but at most 16 are allowed",
        ),
        spoilt("/extra", many(json!(["a", "b"]), 17), "extra is a list of 17, but at most 16 are allowed"),
        spoilt(
            "/dns",
            dns("nameservers", json!("10.96.0.10")),
            "dns.nameservers is a list of 9, but at most 8",
        ),
        spoilt("/dns", dns("search", json!("a")), "dns.search is a list of 9, but at most 8 are allowed"),
        spoilt("/dns", dns("options", json!("a")), "dns.options is a list of 9, but at most 8 are allowed"),
    ]);
}

#[test]
fn an_unknown_key_of_a_later_version_is_not_ignored() {
    assert_broken(spoilt(
        "/extra",
        [(
            json!([["firewall", "off"]]),
            "extra is \"firewall\" (\"off\"), but this version of podwire knows no such key",
        )],
    ));
}

#[test]
fn resolver_settings_are_words_of_bounded_length() {
    let rule = "but it must be one word of printable ASCII, at most 253 bytes, as resolv.conf(5) takes it";
    let long = "x".repeat(254);
    assert_broken(spoilt(
        "/dns",
        [
            (json!({ "domain": "a b" }), "dns.domain is \"a b\", but it must be one word of printable ASCII"),
            (json!({ "domain": "" }), rule),
            (json!({ "search": ["cluster.local", "x\nnameserver 8.8.8.8"] }), rule),
            (json!({ "options": ["ndots:5 timeout:1"] }), rule),
            (json!({ "search": ["bücher.example"] }), rule),
            (json!({ "domain": long }), "dns.domain is a string of 254 bytes, but at most 253 are allowed"),
            (
                json!({ "search": [long] }),
                "dns.search[0] is a string of 254 bytes, but at most 253 are allowed",
            ),
            (json!({ "options": [long] }), "dns.options[0] is a string of 254 bytes, but at most 253 are"),
        ],
    ));
}
