//! The life of attachments: what a plugin promises to a runtime, one property per test.
//!
//! Most of them hold for the reference plugin too; those that it does not promise say so and leave it out.

mod chained;
mod check;
mod failures;
mod gc;
mod kill;
mod life;
mod many;

use std::net::IpAddr;

use ipnet::IpNet;
use podwire_tests::{Network, Node, Plugin, Pod};
use serde_json::Value;

/// Five addresses for pods: without network, gateway and broadcast address.
const SMALL: &str = "10.244.1.0/29";
const SMALL_HOLDS: usize = 5;

/// A node with the plugin under test.
struct Bench {
    node: Node,
    plugin: Plugin,
}

impl Bench {
    fn new() -> Option<Self> {
        let node = Node::enter()?;
        let plugin = Plugin::under_test(&node);
        Some(Self { node, plugin })
    }

    /// A new pod, wired: with the result of its ADD.
    fn wired(&self, network: &Network, name: &str) -> (Pod, Value) {
        let pod = self.node.pod(name);
        let result = self.plugin.add(network, &pod).result();
        (pod, result)
    }

    /// New pods, wired.
    fn wired_all(&self, network: &Network, names: impl Iterator<Item = String>) -> Vec<Pod> {
        names.map(|name| self.wired(network, &name).0).collect()
    }

    /// Panics unless a small pool can be filled to the last address: nothing in it is held.
    fn assert_all_free(&self, network: &Network) {
        let names = (0..SMALL_HOLDS).map(|i| format!("free-{i}"));
        for pod in self.wired_all(network, names) {
            self.plugin.del(network, &pod).done();
        }
    }
}

/// The addresses in a result.
fn ips(result: &Value) -> Vec<IpNet> {
    let ips = result["ips"].as_array().into_iter().flatten();
    ips.map(|ip| ip["address"].as_str().and_then(|text| text.parse().ok()).expect("an address")).collect()
}

/// The only address in a result.
fn ip(result: &Value) -> IpAddr {
    match ips(result)[..] {
        [only] => only.addr(),
        ref other => panic!("not one address but {other:?}"),
    }
}
