//! Network configurations, as a runtime derives them from a configuration list for one plugin.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::plugin::Plugin;

/// Every version of the specification that podwire speaks.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// A block of this node for IPv4.
pub const V4: &str = "10.244.1.0/24";
/// A block of this node for IPv6.
pub const V6: &str = "fd00:10:244:1::/64";

/// Whether podwire gets the reference plugin's configuration, with its own name in it: `PODWIRE_CONFIGURATION` is
/// `bridge`.
pub fn is_drop_in() -> bool {
    std::env::var_os("PODWIRE_CONFIGURATION").is_some_and(|form| form == "bridge")
}

/// One network configuration.
#[derive(Debug, Clone)]
pub struct Network {
    version: String,
    bridge: String,
    pools: Vec<IpNet>,
    extra: Map<String, Value>,
}

impl Network {
    /// The network `pods` on the bridge cni0, with one address for each pod from each of these pools.
    pub fn new(version: &str, pools: &[&str]) -> Self {
        let pools = pools.iter().map(|pool| pool.parse().expect("a test writes blocks right")).collect();
        Self { version: version.to_owned(), bridge: "cni0".to_owned(), pools, extra: Map::new() }
    }

    /// On another bridge.
    pub fn on_bridge(mut self, bridge: &str) -> Self {
        self.bridge = bridge.to_owned();
        self
    }

    /// With this key at the top level, in place of what stands there.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.extra.insert(key.to_owned(), value);
        self
    }

    /// As the runtime sends it after the ADD: with the result as `prevResult`, where the version has that.
    pub fn after(&self, result: &Value) -> Self {
        let network = self.clone();
        if self.version.starts_with("0.3.") { network } else { network.with("prevResult", result.clone()) }
    }

    /// Its pools.
    pub fn pools(&self) -> &[IpNet] {
        &self.pools
    }

    /// The bridge's address in a pool: the first one.
    pub fn gateway(&self, pool: &IpNet) -> IpAddr {
        match pool.network() {
            IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits() + 1).into(),
            IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits() + 1).into(),
        }
    }

    /// The JSON object for this plugin's standard input.
    pub fn configuration(&self, plugin: &Plugin) -> Value {
        let own = match plugin.is_reference() {
            true => self.for_reference("bridge"),
            false if is_drop_in() => self.for_reference("podwire"),
            false => self.for_podwire(),
        };
        let Value::Object(mut object) = own else { unreachable!("both forms are objects") };
        object.insert("cniVersion".to_owned(), json!(self.version));
        object.insert("name".to_owned(), json!("pods"));
        object.extend(self.extra.clone());
        Value::Object(object)
    }

    /// The configuration list of this plugin alone, as a runtime finds it in its folder.
    pub fn list(&self, plugin: &Plugin) -> Value {
        let only = self.configuration(plugin);
        json!({ "cniVersion": only["cniVersion"], "name": only["name"], "plugins": [only] })
    }

    fn for_podwire(&self) -> Value {
        let cluster = |pool: &IpNet| if pool.addr().is_ipv4() { "10.244.0.0/16" } else { "fd00:10:244::/48" };
        let cluster = self.pools.iter().map(cluster).collect::<Vec<_>>();
        json!({
            "type": "podwire",
            "pools": self.pools,
            "cluster": cluster,
            "config": { "bridge": self.bridge },
        })
    }

    fn for_reference(&self, kind: &str) -> Value {
        let ranges = self.pools.iter().map(|pool| json!([{ "subnet": pool }])).collect::<Vec<_>>();
        json!({
            "type": kind,
            "bridge": self.bridge,
            "isDefaultGateway": true,
            "ipam": { "type": "host-local", "ranges": ranges },
        })
    }
}
