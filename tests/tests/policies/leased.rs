//! What is somebody else's already: rules that need the lease database or the kernel to know.

use podwire_tests::{Network, Pod, kernel};
use serde_json::json;

use crate::{Bench, code, good_plan, hostile, with};

impl Bench {
    /// A pod of the hostile policy.
    fn neighbour(&self, config: serde_json::Value) -> (Network, Pod) {
        let (network, pod) = (hostile(config), self.node.pod("neighbour"));
        self.add(&network, &pod).result();
        (network, pod)
    }
}

fn planned(pointer: &str, value: serde_json::Value) -> Network {
    hostile(json!({ "plan": with(good_plan(), pointer, value) }))
}

#[test]
fn an_address_that_a_pod_holds_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let (network, pod) = bench.neighbour(json!({ "plan": good_plan() }));
    let words = ["10.244.1.2", "is held by", "container-neighbour", "policy hostile", "choose another"];
    bench.assert_refused(&hostile(json!({ "plan": good_plan() })), code::PLAN_BROKE_RULE, &words);
    bench.del(&network, &pod);
    bench.assert_nothing_is_held();
}

#[test]
fn an_address_that_rests_after_a_delete_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let (network, pod) = bench.neighbour(json!({ "plan": good_plan(), "release": 3600 }));
    bench.del(&network, &pod);
    pod.namespace.remove();
    let words =
        ["10.244.1.2", "rests", "more after", "container-neighbour", "policy hostile", "choose another"];
    bench.assert_refused(&hostile(json!({ "plan": good_plan() })), code::PLAN_BROKE_RULE, &words);
    // Another one is not.
    let (network, pod) =
        bench.neighbour(json!({ "plan": with(good_plan(), "/addresses/0/prefix", json!("10.244.1.3/24")) }));
    bench.del(&network, &pod);
}

#[test]
fn an_address_of_the_node_itself_is_refused() {
    let Some(bench) = Bench::new() else { return };
    // The bridge has it from a pod that is gone; no lease knows of it.
    let words = ["the node itself has the address 10.244.1.1", "policy hostile", "give the pod another"];
    bench.assert_refused(&hostile(json!({})), code::PLAN_BROKE_RULE, &words);
}

#[test]
fn a_gateway_of_another_pod_is_nobodys_address() {
    let Some(bench) = Bench::new() else { return };
    bench.neighbour(json!({ "plan": good_plan() }));
    let plan = json!({ "addresses": [{ "prefix": "10.244.1.1/32" }] });
    let words = ["10.244.1.1", "is a gateway or an address of a bridge", "policy hostile"];
    bench.assert_refused(&hostile(json!({ "plan": plan })), code::PLAN_BROKE_RULE, &words);
}

#[test]
fn an_address_of_another_pod_is_no_gateway() {
    let Some(bench) = Bench::new() else { return };
    bench.neighbour(json!({ "plan": good_plan() }));
    let plan = json!({ "addresses": [{ "prefix": "10.244.1.3/24", "gateway": "10.244.1.2" }] });
    let words = ["10.244.1.2", "names as a gateway", "is held by", "container-neighbour", "policy hostile"];
    bench.assert_refused(&hostile(json!({ "plan": plan })), code::PLAN_BROKE_RULE, &words);
    let bridge = with(good_plan(), "/wiring/bridge/bridge/addresses", json!(["10.244.1.2/24"]));
    let bridge = with(bridge, "/addresses/0/prefix", json!("10.244.1.3/24"));
    bench.assert_refused(&hostile(json!({ "plan": bridge })), code::PLAN_BROKE_RULE, &words);
}

#[test]
fn an_interface_of_another_attachment_is_taken() {
    let Some(bench) = Bench::new() else { return };
    bench.neighbour(json!({ "plan": with(good_plan(), "/host_interface", json!("veth-web")) }));
    let other = with(good_plan(), "/addresses/0/prefix", json!("10.244.1.3/24"));
    let network = hostile(json!({ "plan": with(other, "/host_interface", json!("veth-web")) }));
    let words = ["veth-web", "is used by container-neighbour/eth0", "policy hostile", "choose another"];
    bench.assert_refused(&network, code::PLAN_BROKE_RULE, &words);
}

#[test]
fn a_foreign_interface_on_the_node_is_taken_and_left_alone() {
    let Some(bench) = Bench::new() else { return };
    for kind in ["bridge", "veth peer name uplink1"] {
        kernel::ip(&format!("link add uplink0 type {kind}"));
        let words = ["the node already has an interface uplink0", "policy hostile"];
        bench.assert_refused(&planned("/host_interface", json!("uplink0")), code::INTERFACE_EXISTS, &words);
        kernel::ip("link delete uplink0");
    }
    bench.assert_refused(&planned("/host_interface", json!("lo")), code::INTERFACE_EXISTS, &["interface lo"]);
    bench.assert_nothing_is_held();
}

#[test]
fn a_taken_name_leaves_no_bridge_and_no_address_on_one() {
    let Some(bench) = Bench::new() else { return };
    kernel::ip("link add uplink0 type bridge");
    let taken = with(good_plan(), "/host_interface", json!("uplink0"));
    for (pointer, value) in [
        ("/wiring/bridge/bridge/name", json!("cni7")),
        ("/wiring/bridge/bridge/addresses/-", json!("10.244.1.99/24")),
        ("/wiring/bridge/bridge/mtu", json!(1400)),
    ] {
        let network = hostile(json!({ "plan": with(taken.clone(), pointer, value) }));
        bench.assert_refused(&network, code::INTERFACE_EXISTS, &["interface uplink0"]);
    }
}

#[test]
fn a_foreign_bridge_is_refused_and_left_alone() {
    let Some(bench) = Bench::new() else { return };
    kernel::ip("link add docker0 type bridge");
    kernel::ip("address add 172.17.0.1/16 dev docker0");
    let words = ["bridge docker0 was not made by podwire", "hand it over", "policy hostile"];
    bench.assert_refused(
        &planned("/wiring/bridge/bridge/name", json!("docker0")),
        code::PLAN_BROKE_RULE,
        &words,
    );
    bench.assert_nothing_is_held();
}

#[test]
fn a_link_of_another_kind_is_no_bridge() {
    let Some(bench) = Bench::new() else { return };
    kernel::ip("link add uplink0 type veth peer name uplink1");
    let bridge = |name: &str| planned("/wiring/bridge/bridge/name", json!(name));
    let words = ["uplink0 is a veth, not a bridge", "name another", "policy hostile"];
    bench.assert_refused(&bridge("uplink0"), code::PLAN_BROKE_RULE, &words);
    bench.assert_refused(&bridge("lo"), code::PLAN_BROKE_RULE, &["lo is a", "not a bridge"]);
    // Not even podwire's own veth of another pod.
    let own = json!({ "plan": with(good_plan(), "/host_interface", json!("veth-web")) });
    let (network, pod) = bench.neighbour(own);
    let other = with(good_plan(), "/addresses/0/prefix", json!("10.244.1.3/24"));
    let other = with(other, "/wiring/bridge/bridge/name", json!("veth-web"));
    let words = ["veth-web is a veth, not a bridge"];
    bench.assert_refused(&hostile(json!({ "plan": other })), code::PLAN_BROKE_RULE, &words);
    bench.del(&network, &pod);
    bench.assert_nothing_is_held();
}
