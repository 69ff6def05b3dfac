//! Versions before 0.3.0, whose results have one address of each family and say nothing of interfaces.

use podwire_tests::{Chain, Node, kernel};
use serde_json::{Value, json};

use crate::{bridge, with_each};

const OLD: [&str; 2] = ["0.1.0", "0.2.0"];

/// One address of each family, the first two that are free.
#[track_caller]
fn assert_old(result: &Value, version: &str, four: &str, six: &str) {
    assert_eq!(result["cniVersion"], version);
    assert_eq!((&result["ip4"]["ip"], &result["ip6"]["ip"]), (&json!(four), &json!(six)), "{result}");
    assert_eq!(result["ip4"]["gateway"], "10.88.0.1", "{result}");
    let newer = ["interfaces", "ips", "routes"].iter().find(|key| result.get(**key).is_some());
    assert_eq!(newer, None, "{result}");
}

fn both_families(kind: &str) -> Value {
    json!({
        "type": kind, "routes": [{ "dst": "10.0.0.0/8" }, { "dst": "fd00::/8" }],
        "ranges": [[{ "subnet": "10.88.0.0/24" }], [{ "subnet": "fd00:88::/64" }]]
    })
}

#[test]
fn old_versions_have_an_address_of_each_family() {
    for version in OLD {
        with_each(|node, kind| {
            let keys =
                json!({ "ipam": both_families("host-local"), "dns": { "nameservers": ["10.88.0.53"] } });
            let chain = Chain::new(node, version, &[bridge(kind, &keys)]);
            let pod = node.pod("a");
            let result = chain.add(&pod);
            assert_old(&result, version, "10.88.0.2/24", "fd00:88::2/64");
            assert_eq!(result["dns"], json!({ "nameservers": ["10.88.0.53"] }), "{kind}");
            let routes = |family: &str| result[family]["routes"][0]["dst"].clone();
            assert_eq!((routes("ip4"), routes("ip6")), (json!("10.0.0.0/8"), json!("fd00::/8")), "{kind}");
            let held = pod.namespace.run(|| kernel::addresses_of("eth0"));
            for address in ["10.88.0.2/24", "fd00:88::2/64"] {
                assert!(held.contains(&address.parse().expect("valid")), "{kind}: {held:?}");
            }
            chain.del(&pod, &result);
            assert!(pod.namespace.run(|| kernel::link("eth0")).is_none(), "{kind}");
            chain.del(&pod, &result);
            assert_eq!(chain.add(&node.pod("b"))["cniVersion"], version);
        });
    }
}

#[test]
fn two_addresses_of_a_family_cannot_be_said_and_nothing_is_done() {
    let Some(node) = Node::enter() else { return };
    let sets = json!([[{ "subnet": "10.88.0.0/24" }], [{ "subnet": "10.89.0.0/24" }]]);
    let keys = json!({ "ipam": { "type": "host-local", "ranges": sets } });
    let chain = Chain::new(&node, "0.2.0", &[bridge("podwire", &keys)]);
    let error = chain.try_add(&node.pod("a")).expect_err("one too many").error();
    assert_eq!(error.code, 1, "{}", error.message);
    assert!(error.message.contains("10.88.0.2/24, 10.89.0.2/24"), "{}", error.message);
    assert_eq!(kernel::veths(), 0);
}

#[test]
fn addresses_go_either_way_between_plugins_of_old_versions() {
    for version in OLD {
        let Some(node) = Node::enter() else { return };
        let under = bridge("bridge", &json!({ "ipam": both_families("podwire") }));
        let lent = json!({
            "type": "static",
            "addresses": [
                { "address": "10.88.0.7/24", "gateway": "10.88.0.1" },
                { "address": "fd00:88::7/64", "gateway": "fd00:88::1" }
            ]
        });
        let over = bridge("podwire", &json!({ "bridge": "br1", "isGateway": false, "ipam": lent }));
        for (plugin, name, four, six) in [
            (under, "under", "10.88.0.2/24", "fd00:88::2/64"),
            (over, "over", "10.88.0.7/24", "fd00:88::7/64"),
        ] {
            let chain = Chain::new(&node, version, &[plugin]);
            let pod = node.pod(name);
            let result = chain.add(&pod);
            assert_old(&result, version, four, six);
            chain.del(&pod, &result);
            assert!(pod.namespace.run(|| kernel::link("eth0")).is_none(), "{name}");
        }
    }
}
