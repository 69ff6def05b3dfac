//! The keys of the reference plugin, with the same assertions for both.

use std::collections::BTreeSet;

use podwire_tests::{Node, Pod, assert_reaches, kernel};
use serde_json::{Value, json};

use crate::{address, alone, bridge, with_each};

#[test]
fn a_gateway_is_on_the_bridge_only_if_asked_for() {
    for (asked, expected) in [(false, vec![]), (true, vec!["10.88.0.1/24".parse().expect("valid")])] {
        with_each(|node, kind| {
            let result = alone(node, bridge(kind, &json!({ "isGateway": asked }))).add(&node.pod("a"));
            assert_eq!(kernel::addresses_of("br0"), expected, "{kind}");
            assert_eq!(result["ips"][0]["gateway"], "10.88.0.1");
        });
    }
}

#[test]
fn the_node_forwards_only_as_a_gateway() {
    for asked in [false, true] {
        with_each(|node, kind| {
            alone(node, bridge(kind, &json!({ "isGateway": asked }))).add(&node.pod("a"));
            let forwards = kernel::run("sysctl", "-n net.ipv4.ip_forward");
            assert_eq!(forwards.trim() == "1", asked, "{kind}");
        });
    }
}

#[test]
fn pods_reach_each_other_and_the_node() {
    with_each(|node, kind| {
        let chain = alone(node, bridge(kind, &json!({})));
        let (a, b) = (node.pod("a"), node.pod("b"));
        let (ip_a, ip_b) = (address(&chain.add(&a), 0), address(&chain.add(&b), 0));
        assert_reaches(&a.namespace, &b.namespace, ip_b, ip_a);
        assert_reaches(&a.namespace, &node.namespace, "10.88.0.1".parse().expect("valid"), ip_a);
    });
}

/// Destination and gateway of the routes that the configuration asked for.
fn routes(pod: &Pod) -> BTreeSet<String> {
    let own = |route: &String| !route.contains("\"local\"") && !route.contains("protocol \"kernel\"");
    let short = |route: String| route.split(" protocol").next().unwrap_or_default().to_owned();
    pod.namespace.run(kernel::routes).into_iter().filter(own).map(short).collect()
}

#[test]
fn routes_are_those_of_the_configuration() {
    let wanted = json!([{ "dst": "10.0.0.0/8" }, { "dst": "172.16.0.0/12", "gw": "10.88.0.9" }]);
    let ipam = json!({ "type": "host-local", "subnet": "10.88.0.0/24", "routes": wanted });
    with_each(|node, kind| {
        let pod = node.pod("a");
        alone(node, bridge(kind, &json!({ "ipam": ipam }))).add(&pod);
        let expected = [
            "10.0.0.0/8 gateway \"10.88.0.1\" dev \"eth0\"",
            "172.16.0.0/12 gateway \"10.88.0.9\" dev \"eth0\"",
        ];
        let seen = routes(&pod);
        let seen: Vec<String> =
            seen.into_iter().map(|route| route.replacen(" type \"unicast\"", "", 1)).collect();
        assert_eq!(seen, expected, "{kind}");
    });
}

#[test]
fn a_default_route_comes_with_the_default_gateway() {
    let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.88.0.0/24" }], [{ "subnet": "fd00:88::/64" }]] });
    with_each(|node, kind| {
        let pod = node.pod("a");
        let keys = json!({ "isGateway": false, "isDefaultGateway": true, "ipam": ipam });
        let result = alone(node, bridge(kind, &keys)).add(&pod);
        let defaults = routes(&pod).iter().filter(|route| route.starts_with("default")).count();
        assert_eq!(defaults, 2, "{kind}: {:?}", routes(&pod));
        assert_eq!(result["ips"].as_array().map(Vec::len), Some(2));
        assert_eq!(kernel::addresses_of("br0").len(), 2, "{kind}");
    });
}

#[test]
fn ranges_are_gone_through_in_turn_and_never_give_the_gateway() {
    let ranges = json!([[
        { "subnet": "10.88.0.0/24", "rangeStart": "10.88.0.10", "rangeEnd": "10.88.0.11", "gateway": "10.88.0.10" },
        { "subnet": "10.89.0.0/24", "rangeStart": "10.89.0.20", "rangeEnd": "10.89.0.21" }
    ]]);
    with_each(|node, kind| {
        let ipam = json!({ "type": "host-local", "ranges": ranges });
        let chain = alone(node, bridge(kind, &json!({ "isGateway": false, "ipam": ipam })));
        let given: Vec<String> =
            (0..3).map(|i| address(&chain.add(&node.pod(&format!("p{i}"))), 0).to_string()).collect();
        assert_eq!(given, ["10.88.0.11", "10.89.0.20", "10.89.0.21"], "{kind}");
        chain.try_add(&node.pod("full")).expect_err("all are held").error();
    });
}

#[test]
fn layer_two_alone_has_no_addresses() {
    with_each(|node, kind| {
        let pod = node.pod("a");
        let result = alone(node, bridge(kind, &json!({ "isGateway": false, "ipam": {} }))).add(&pod);
        assert!(result["ips"].as_array().is_none_or(Vec::is_empty), "{kind}: {result}");
        assert_eq!(pod.namespace.run(|| kernel::addresses_of("eth0")), []);
        assert!(pod.namespace.run(|| kernel::link("eth0")).expect("wired").up);
    });
}

/// What the bridge's port says of itself.
pub(crate) fn port() -> Value {
    let details = kernel::json("-details link show type veth");
    let port = details.iter().find(|link| link["master"] == "br0").expect("a port");
    port["linkinfo"]["info_slave_data"].clone()
}

#[test]
fn a_port_is_as_asked_for() {
    for (keys, hairpin) in [(json!({}), false), (json!({ "hairpinMode": true }), true)] {
        with_each(|node, kind| {
            alone(node, bridge(kind, &keys)).add(&node.pod("a"));
            assert_eq!(port()["hairpin"], hairpin, "{kind}");
        });
    }
}

#[test]
fn mtu_and_promiscuity_are_as_asked_for() {
    with_each(|node, kind| {
        let pod = node.pod("a");
        alone(node, bridge(kind, &json!({ "mtu": 1400, "promiscMode": true }))).add(&pod);
        let bridge = kernel::json("link show dev br0").remove(0);
        let flags: Vec<&str> =
            bridge["flags"].as_array().expect("flags").iter().filter_map(Value::as_str).collect();
        assert_eq!((flags.contains(&"PROMISC"), &bridge["mtu"]), (true, &json!(1400)), "{kind}");
        assert_eq!(pod.namespace.run(|| kernel::link("eth0")).expect("wired").mtu, 1400);
    });
}

#[test]
fn hairpin_and_promiscuity_exclude_each_other() {
    with_each(|node, kind| {
        let chain = alone(node, bridge(kind, &json!({ "hairpinMode": true, "promiscMode": true })));
        chain.try_add(&node.pod("a")).expect_err("both at once").error();
        assert_eq!(kernel::veths(), 0, "{kind}");
    });
}

#[test]
fn an_address_and_a_mac_can_be_asked_for() {
    let mac = "c2:11:22:33:44:55";
    let both = json!({ "ips": ["10.88.0.99/24"], "mac": mac });
    let by_environment = format!("IgnoreUnknown=1;IP=10.88.0.99;MAC={mac}");
    for (variable, args, capabilities) in [
        (by_environment.as_str(), json!({}), json!({})),
        ("IgnoreUnknown=1", json!({ "ips": ["10.88.0.99"], "mac": mac, "labels": [] }), json!({})),
        ("IgnoreUnknown=1", json!({}), both),
    ] {
        with_each(|node, kind| {
            let declared = json!({ "capabilities": { "ips": true, "mac": true }, "args": { "cni": args } });
            let mut plugin = bridge(kind, &declared);
            plugin["ipam"]["ranges"] = json!([[{ "subnet": "10.88.0.0/24" }]]);
            let mut chain = alone(node, plugin).with_args(variable);
            for (name, value) in capabilities.as_object().expect("an object") {
                chain = chain.with_capability(name, value.clone());
            }
            let pod = node.pod("a");
            assert_eq!(address(&chain.add(&pod), 0).to_string(), "10.88.0.99", "{kind}");
            assert_eq!(pod.namespace.run(|| kernel::link("eth0")).expect("wired").mac, mac, "{kind}");
            chain.try_add(&node.pod("b")).expect_err("it is held").error();
        });
    }
}

#[test]
fn capabilities_come_before_args_and_those_before_the_environment() {
    let Some(node) = podwire_tests::Node::enter() else { return };
    let said = |address: &str, mac: &str| json!({ "ips": [address], "mac": mac });
    let declared = json!({ "ips": true, "mac": true });
    let args = json!({ "cni": said("10.88.0.50", "c2:00:00:00:00:02") });
    let variable = "IP=10.88.0.60;MAC=c2:00:00:00:00:03";
    for (name, keys, last) in [
        ("first", json!({ "capabilities": declared, "args": args }), 1),
        ("second", json!({ "args": args }), 2),
        ("third", json!({}), 3),
    ] {
        let mut chain = alone(&node, bridge("podwire", &keys)).with_args(variable);
        for (capability, value) in [("ips", json!(["10.88.0.40/24"])), ("mac", json!("c2:00:00:00:00:01"))] {
            chain = chain.with_capability(capability, value);
        }
        let pod = node.pod(name);
        assert_eq!(address(&chain.add(&pod), 0).to_string(), format!("10.88.0.{}", 30 + 10 * last), "{name}");
        let mac = pod.namespace.run(|| kernel::link("eth0")).expect("wired").mac;
        assert_eq!(mac, format!("c2:00:00:00:00:0{last}"), "{name}");
    }
}

#[test]
fn a_requested_address_outside_of_every_range_is_refused() {
    with_each(|node, kind| {
        let chain = alone(node, bridge(kind, &json!({}))).with_args("IgnoreUnknown=1;IP=10.99.0.5");
        let error = chain.try_add(&node.pod("a")).expect_err("outside").error();
        assert!(error.message.contains("10.99.0.5"), "{kind}: {}", error.message);
        // What the reference plugin leaves goes with the container.
        assert!(kernel::veths() == 0 || kind == "bridge");
    });
}

#[test]
fn resolver_settings_come_from_the_file_unless_the_configuration_has_its_own() {
    let text = "nameserver 10.0.0.53\nsearch a.example b.example\noptions ndots:5\n";
    for (dns, expected) in [
        (
            json!({}),
            json!({"nameservers": ["10.0.0.53"], "search": ["a.example", "b.example"], "options": ["ndots:5"]}),
        ),
        (json!({ "nameservers": ["10.9.9.9"] }), json!({ "nameservers": ["10.9.9.9"] })),
    ] {
        with_each(|node, kind| {
            podwire_tests::command::write_file("/run/resolv.conf", text);
            let mut plugin = bridge(kind, &json!({ "dns": dns }));
            plugin["ipam"]["resolvConf"] = json!("/run/resolv.conf");
            let seen = &alone(node, plugin).add(&node.pod("a"))["dns"];
            // The reference plugin of this version forgets what its ipam plugin says.
            assert!(*seen == expected || (kind == "bridge" && dns == json!({})), "{kind}: {seen}");
        });
    }
}

#[test]
fn a_bridge_that_somebody_else_made_is_used() {
    with_each(|node, kind| {
        kernel::ip("link add br0 type bridge");
        kernel::ip("link add foreign type veth peer name x");
        kernel::ip("link set foreign master br0");
        let chain = alone(node, bridge(kind, &json!({})));
        let pod = node.pod("a");
        let result = chain.add(&pod);
        chain.check(&pod, &result);
        assert_eq!(kernel::link("foreign").expect("still there").master, "br0", "{kind}");
        chain.del(&pod, &result);
        assert!(kernel::link("br0").is_some());
    });
}

#[test]
fn what_is_no_bridge_is_refused() {
    with_each(|node, kind| {
        kernel::ip("link add br0 type veth peer name x");
        let error =
            alone(node, bridge(kind, &json!({}))).try_add(&node.pod("a")).expect_err("a veth").error();
        assert!(error.message.contains("br0"), "{kind}: {}", error.message);
    });
}

#[test]
fn an_old_address_gives_way_if_forced() {
    with_each(|node, kind| {
        kernel::ip("link add br0 type bridge");
        kernel::ip("address add 10.77.0.1/24 dev br0");
        alone(node, bridge(kind, &json!({ "forceAddress": true }))).add(&node.pod("a"));
        assert_eq!(kernel::addresses_of("br0"), ["10.88.0.1/24".parse().expect("valid")], "{kind}");
    });
}

#[test]
fn an_attachment_that_fails_costs_the_bridge_nothing() {
    let Some(node) = Node::enter() else { return };
    kernel::ip("link add br0 type bridge");
    kernel::ip("link set br0 up");
    kernel::ip("address add 10.77.0.1/24 dev br0");
    let pod = node.pod("a");
    pod.namespace.run(|| kernel::ip("link add eth0 type veth peer name x"));
    let keys = json!({ "forceAddress": true, "promiscMode": true, "mtu": 1300 });
    let error = alone(&node, bridge("podwire", &keys)).try_add(&pod).expect_err("eth0 is taken").error();
    assert!(error.message.contains("eth0"), "{}", error.message);
    assert_eq!(kernel::addresses_of("br0"), ["10.77.0.1/24".parse().expect("valid")]);
    let bridge = kernel::json("link show dev br0").remove(0);
    assert_eq!(bridge["mtu"], 1500);
    assert!(!bridge["flags"].to_string().contains("PROMISC"), "{bridge}");
}
