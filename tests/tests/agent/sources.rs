//! Members and policies come and go; what is wrong changes nothing.

use podwire_tests::kernel::{addresses_of, ip, link, routes};
use serde_json::json;

use crate::{Bench, ours, peers};

const HOSTILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/built/hostile.wasm");

#[test]
fn routes_follow_the_peers() {
    let Some(bench) = Bench::new() else { return };
    ip("route add 10.244.9.0/24 via 192.168.1.19 proto static");
    let _agent = bench.settled();
    assert_eq!(addresses_of("cni0"), ["10.244.1.1/24".parse().expect("an address")]);
    bench.podwire.configure("peers.json", &peers(&[2, 3, 4]));
    bench.becomes("3 routes", &["10.244.2.0/24", "10.244.3.0/24", "10.244.4.0/24"]);
    bench.podwire.configure("peers.json", &peers(&[3]));
    bench.becomes("1 route ", &["10.244.3.0/24"]);
    std::fs::remove_file(bench.root().join("etc/peers.json")).expect("it is there");
    bench.podwire.configure(
        "node.json",
        &json!({ "name": "node-1", "addresses": ["192.168.1.11"],
        "pools": ["10.244.1.0/24"], "cluster": ["10.244.0.0/16"] }),
    );
    bench.becomes("0 routes", &[]);
    assert!(routes().iter().any(|route| route.starts_with("10.244.9.0/24")), "that was nobody's of podwire");
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_is_said() {
    let Some(bench) = Bench::new() else { return };
    let _agent = bench.settled();
    let before = bench.kernel();
    bench.podwire.write("peers.json", "{");
    bench.says("is lost since");
    let said = bench.status();
    assert!(said.exit == Some(1) && said.stdout.contains("peers.json: EOF"), "{said}");
    before.assert_unchanged();
    ip("route del 10.244.2.0/24");
    bench.becomes_as(&before, "a deleted route, with the source lost");
    bench.podwire.configure("peers.json", &peers(&[2, 3, 4]));
    bench.becomes("is heard since", &["10.244.2.0/24", "10.244.3.0/24", "10.244.4.0/24"]);
}

#[test]
fn another_policy_is_asked_at_once_and_one_that_fails_changes_nothing() {
    let Some(bench) = Bench::new() else { return };
    let _agent = bench.settled();
    bench.podwire.put_into_use("bridge", HOSTILE.as_ref());
    bench.becomes("0 bridges, 0 routes", &[]);
    let node = |config| json!({ "name": "node-1", "cluster": ["10.244.0.0/16"], "config": config });
    let route = json!({ "destination": "10.244.2.0/24", "next_hop": { "via": "192.168.1.12" } });
    bench.podwire.configure("node.json", &node(json!({ "node_plan": { "routes": [route] } })));
    bench.becomes("0 bridges, 1 route", &["10.244.2.0/24"]);
    bench.podwire.configure("node.json", &node(json!({ "do": "trap", "in": "node" })));
    bench.says("policy has no plan since");
    assert_eq!(ours(), ["10.244.2.0/24"]);
    std::fs::remove_file(bench.root().join("lib/policies/names/bridge.json")).expect("it is there");
    bench.podwire.configure("node.json", &node(json!({})));
    bench.becomes("1 bridge, 2 routes", &["10.244.2.0/24", "10.244.3.0/24"]);
    assert!(link("cni0").is_some_and(|bridge| bridge.up));
}

#[test]
fn settings_that_are_wrong_are_named() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.kernel();
    bench.podwire.write("agent.json", r#"{"rol": "host"}"#);
    let said = bench.podwire.run(&["node", "run"]).failed();
    assert!(
        said.contains("agent.json: unknown field `rol`") && said.contains("did you mean `role`?"),
        "{said}"
    );
    before.assert_unchanged();
}

#[test]
fn a_file_that_is_wrong_from_the_start_is_said_and_can_be_mended() {
    let Some(bench) = Bench::new() else { return };
    bench.podwire.write("node.json", "{");
    let _agent = bench.agent();
    bench.says("is lost since");
    bench.podwire.configure("node.json", &json!({ "name": "node-1", "cluster": ["10.244.0.0/16"] }));
    bench.becomes("heard since", &["10.244.2.0/24", "10.244.3.0/24"]);
}
