//! podwire in the reference plugins' place: their configurations, their neighbours in a list, their leases.
//!
//! What is asserted of podwire is asserted of the reference plugins too where they can do it, in the same run: the
//! configuration differs in one word.

mod bridge;
mod chained;
mod delegate;
mod import;
mod ipam;
mod modes;
mod routed;
mod traffic;
mod versions;

use std::net::IpAddr;

use podwire_tests::{Chain, Node};
use serde_json::{Value, json};

/// The plugins that have to give the same for one configuration.
const PLUGINS: [&str; 2] = ["bridge", "podwire"];

/// What containernetworking-plugins 1.1 and podwire both speak.
const VERSION: &str = "1.0.0";

/// The reference plugin's configuration, its type replaced.
fn bridge(kind: &str, keys: &Value) -> Value {
    let mut plugin = json!({
        "type": kind, "bridge": "br0", "isGateway": true,
        "ipam": {
            "type": "host-local", "ranges": [[{ "subnet": "10.88.0.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }]
        }
    });
    let object = plugin.as_object_mut().expect("an object");
    object.extend(keys.as_object().expect("keys").clone());
    plugin
}

/// Runs a property with each of the plugins, on a node of its own.
fn with_each(property: impl Fn(&Node, &str)) {
    for kind in PLUGINS {
        let Some(node) = Node::enter() else { return };
        property(&node, kind);
    }
}

/// A list of one plugin.
fn alone(node: &Node, plugin: Value) -> Chain {
    Chain::new(node, VERSION, &[plugin])
}

fn address(result: &Value, index: usize) -> IpAddr {
    let text = result["ips"][index]["address"].as_str().unwrap_or_else(|| panic!("no address in {result}"));
    text.split('/').next().and_then(|address| address.parse().ok()).expect("an address")
}
