//! The wiring `routed` gives what the reference plugin `ptp` gives: an address and its routes, no bridge.
//!
//! Its policy is `tests/guests/hostile`, which answers with the plan that the configuration has.

use std::net::IpAddr;
use std::path::Path;

use podwire_tests::{Node, Pod, Podwire, assert_reaches, kernel, reach};
use serde_json::{Value, json};

use crate::{address, alone};

/// An address of the node's that no pod's link is about.
const NODE: &str = "192.0.2.1";

/// One pod's network with each plugin: host-local gives the addresses in the same order.
fn network(kind: &str, index: usize) -> Value {
    let addresses = json!([{ "prefix": format!("10.88.0.{}/32", index + 2), "gateway": "10.88.0.1" }]);
    match kind {
        "ptp" => json!({ "type": kind, "ipam": {
            "type": "host-local", "subnet": "10.88.0.0/24", "routes": [{ "dst": "0.0.0.0/0" }]
        } }),
        _ => json!({ "type": kind, "policy": "hostile", "pools": ["10.88.0.0/24"], "config": { "plan": {
            "wiring": "routed", "addresses": addresses,
            "routes": [
                { "destination": "10.88.0.1/32" },
                { "destination": "10.88.0.0/24", "via": "10.88.0.1" },
                { "destination": "0.0.0.0/0", "via": "10.88.0.1" }
            ]
        } } }),
    }
}

fn prepare(node: &Node) {
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/built/hostile.wasm");
    Podwire::on(node).put_into_use("hostile", &hostile);
    kernel::ip("link add up0 type veth peer name up1");
    kernel::ip(&format!("address add {NODE}/32 dev up0"));
    kernel::ip("link set up0 up");
}

/// Where a pod's routes lead, and by which gateway. Everything leaves by way of the node, its own subnet too.
const WAYS: [(&str, Option<&str>); 3] =
    [("10.88.0.0/24", Some("10.88.0.1")), ("10.88.0.1", None), ("default", Some("10.88.0.1"))];

fn routes() -> Vec<(String, Value)> {
    let of =
        |route: &Value| (route["dst"].as_str().expect("a destination").to_owned(), route["gateway"].clone());
    let mut routes: Vec<_> = kernel::json("-4 route show dev eth0").iter().map(of).collect();
    routes.sort_by(|one, other| one.0.cmp(&other.0));
    routes
}

/// The interface by which the node reaches a pod.
fn way_to(pod: IpAddr) -> String {
    let ways = kernel::json(&format!("route get {pod}"));
    ways[0]["dev"].as_str().expect("a device").to_owned()
}

fn assert_wired(pod: &Pod, result: &Value, kind: &str) {
    let own = address(result, 0);
    let held = pod.namespace.run(|| kernel::addresses_of("eth0"));
    assert_eq!(held.iter().map(ipnet::IpNet::addr).collect::<Vec<_>>(), [own], "{kind}");
    assert_eq!(pod.namespace.run(routes), WAYS.map(|(to, by)| (to.to_owned(), json!(by))), "{kind}");
    let interfaces = result["interfaces"].as_array().expect("a list");
    assert_eq!(interfaces.len(), 2, "{kind}: {result}");
    assert_eq!(
        (&interfaces[0]["name"], &interfaces[1]["name"]),
        (&json!(way_to(own)), &json!("eth0")),
        "{kind}"
    );
    assert_eq!(result["ips"][0]["interface"], 1, "{kind}");
    assert_eq!(result["ips"][0]["gateway"], "10.88.0.1", "{kind}");
}

#[test]
fn a_routed_pod_has_what_ptp_gives() {
    for kind in ["ptp", "podwire"] {
        let Some(node) = Node::enter() else { return };
        prepare(&node);
        let pods = ["a", "b"].map(|name| node.pod(name));
        let chains = [0, 1].map(|index| alone(&node, network(kind, index)));
        let results = [0, 1].map(|i| chains[i].add(&pods[i]));
        let [a, b] = [0, 1].map(|i| address(&results[i], 0));
        assert_eq!([a.to_string(), b.to_string()], ["10.88.0.2", "10.88.0.3"], "{kind}");
        for (pod, result) in pods.iter().zip(&results) {
            assert_wired(pod, result, kind);
        }
        assert_reaches(&pods[0].namespace, &pods[1].namespace, b, a);
        assert_reaches(&pods[0].namespace, &node.namespace, NODE.parse().expect("valid"), a);
        reach::tcp_source(&node.namespace, &pods[1].namespace, b).unwrap_or_else(|e| panic!("{kind}: {e}"));
        for i in [0, 1] {
            chains[i].check(&pods[i], &results[i]);
            chains[i].del(&pods[i], &results[i]);
        }
        assert_eq!(kernel::veths(), 2, "{kind}: up0 and up1 are left");
        let left: Vec<_> = kernel::routes().into_iter().filter(|route| route.starts_with("10.88.")).collect();
        assert!(left.is_empty(), "{kind}: {left:?}");
    }
}
