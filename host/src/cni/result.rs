//! What a runtime is told when all went well, in the version that it speaks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PrevResult, Version, json, legacy};
use crate::names::MacAddress;
use crate::plan::derived::vlan_gateway;
use crate::plan::{Address, Checked, Dns, Wiring};

/// An interface of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The namespace's path; none on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

/// An address of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// With the length of its link's prefix.
    pub address: IpNet,
    /// The default gateway of that prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The place of its interface in `interfaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// A route of a result, inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// A block.
    pub dst: IpNet,
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The longest TCP segment to offer, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Less is preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The routing table; none: main.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// As in linux/rtnetlink.h: 0 universe, 253 link, 254 host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// What only the kernel could tell of an attachment, once it was made.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// CNI_NETNS.
    pub netns: &'a Path,
    /// Of both ends of the veth, in bytes.
    pub mtu: u32,
    /// The bridge's hardware address and MTU, if there is one.
    pub bridge: Option<(MacAddress, u32)>,
}

/// The result of one ADD, in the newest version's terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddResult {
    /// The bridge, the veth's end on the node, its end in the container, and the gateway of a VLAN, in this order.
    pub interfaces: Vec<Interface>,
    /// All of the container's interface.
    pub ips: Vec<Ip>,
    /// Inside the container.
    pub routes: Vec<Route>,
    /// What the runtime may put into resolv.conf(5); none: nothing, or what the previous result says.
    pub dns: Option<Dns>,
}

impl AddResult {
    /// The result of a plan that was carried out. `dns` is the configuration's, for a plan that has none.
    pub fn new(plan: &Checked, facts: &Facts<'_>, dns: Option<&Dns>) -> Self {
        let mut interfaces = interfaces(plan, facts);
        let interface = interfaces.len().checked_sub(1);
        interfaces.extend(vlan_gateway_of(plan));
        let ip = |a: &Address| Ip { address: a.prefix, gateway: a.gateway, interface };
        Self {
            ips: plan.addresses.iter().map(ip).collect(),
            routes: plan.routes.iter().map(route).collect(),
            dns: plan.dns.as_ref().or(dns).cloned(),
            interfaces,
        }
    }

    /// The result of a plugin that only gave addresses: whose interface they are on, another one says.
    pub fn of_addresses(plan: &Checked, dns: Option<&Dns>) -> Self {
        let ip = |a: &Address| Ip { address: a.prefix, gateway: a.gateway, interface: None };
        Self {
            interfaces: Vec::new(),
            ips: plan.addresses.iter().map(ip).collect(),
            routes: plan.routes.iter().map(route).collect(),
            dns: plan.dns.as_ref().or(dns).cloned(),
        }
    }

    /// What goes to standard output: the previous result, if there is one, with this one after it.
    pub fn to_json(&self, version: Version, previous: Option<&PrevResult>) -> String {
        if !version.has_interfaces() {
            return legacy::print(self, version, previous);
        }
        let raw = previous.map(|previous| &previous.raw);
        let earlier = raw.map_or(0, |raw| raw.interfaces.len());
        let dns = raw.and_then(|raw| raw.rest.get("dns")).filter(|dns| !dns.is_null());
        json::print(&Document {
            version: version.as_str(),
            interfaces: after(raw.map(|r| &r.interfaces), self.interfaces.iter().map(|i| i.at(version))),
            ips: after(raw.map(|r| &r.ips), self.ips.iter().map(|ip| ip.at(version, earlier))),
            routes: after(raw.map(|r| &r.routes), self.routes.iter().map(|route| route.at(version))),
            dns: match (&self.dns, dns) {
                (None, Some(dns)) => Item::Earlier(dns),
                (dns, _) => Item::Ours(dns.clone().unwrap_or_default()),
            },
            rest: raw.iter().flat_map(|raw| &raw.rest).filter(|(key, _)| *key != "dns").collect(),
        })
    }
}

fn interfaces(plan: &Checked, facts: &Facts<'_>) -> Vec<Interface> {
    let interface = |name: &str, mac: MacAddress, mtu| Interface {
        name: name.to_owned(),
        mac: Some(mac.to_string()),
        mtu: Some(mtu),
        sandbox: None,
    };
    let mut interfaces = Vec::with_capacity(3);
    if let (Wiring::Bridge { bridge, .. }, Some((mac, mtu))) = (&plan.wiring, facts.bridge) {
        interfaces.push(interface(bridge.name.as_str(), mac, mtu));
    }
    interfaces.push(interface(plan.host_interface.as_str(), plan.host_mac, facts.mtu));
    let sandbox = Some(facts.netns.to_string_lossy().into_owned());
    let container = interface(plan.container_interface.as_str(), plan.mac, facts.mtu);
    interfaces.push(Interface { sandbox, ..container });
    interfaces
}

/// Its hardware address depends on who made it.
fn vlan_gateway_of(plan: &Checked) -> Option<Interface> {
    let Wiring::Bridge { bridge, vlans, .. } = &plan.wiring else { return None };
    let name = vlan_gateway(bridge, vlans.as_ref())?.interface.name.to_string();
    Some(Interface { name, mac: None, mtu: None, sandbox: None })
}

fn route(route: &crate::plan::Route) -> Route {
    Route {
        dst: route.destination,
        gw: route.via,
        mtu: route.mtu,
        advmss: route.advmss,
        priority: route.metric,
        table: route.table,
        scope: route.scope.map(u32::from),
    }
}

impl Interface {
    fn at(&self, version: Version) -> Self {
        Self { mtu: self.mtu.filter(|_| version.has_mtu()), ..self.clone() }
    }
}

impl Route {
    fn at(&self, version: Version) -> Self {
        if version.has_mtu() {
            return self.clone();
        }
        Self { dst: self.dst, gw: self.gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

impl Ip {
    fn at(&self, version: Version, earlier_interfaces: usize) -> VersionedIp {
        let family = if self.address.addr().is_ipv4() { "4" } else { "6" };
        VersionedIp {
            version: version.has_address_version().then_some(family),
            ip: Self { interface: self.interface.map(|place| place + earlier_interfaces), ..self.clone() },
        }
    }
}

#[derive(Serialize)]
struct VersionedIp {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(flatten)]
    ip: Ip,
}

/// Every key is there even if it has nothing to say: the specification lists them without "optional".
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "cniVersion")]
    version: &'static str,
    interfaces: Vec<Item<'a, Interface>>,
    ips: Vec<Item<'a, VersionedIp>>,
    routes: Vec<Item<'a, Route>>,
    dns: Item<'a, Dns>,
    #[serde(flatten)]
    rest: BTreeMap<&'a String, &'a Value>,
}

/// What an earlier plugin said is passed on as it came.
#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a, T> {
    Earlier(&'a Value),
    Ours(T),
}

fn after<'a, T>(earlier: Option<&'a Vec<Value>>, ours: impl Iterator<Item = T>) -> Vec<Item<'a, T>> {
    earlier.into_iter().flatten().map(Item::Earlier).chain(ours.map(Item::Ours)).collect()
}

/// What goes to standard output for VERSION. The reference library does not read standard input here, and
/// answers in its newest version: so does podwire.
pub fn version_result() -> String {
    #[derive(Serialize)]
    struct Document {
        #[serde(rename = "cniVersion")]
        version: &'static str,
        #[serde(rename = "supportedVersions")]
        supported: [&'static str; Version::ALL.len()],
    }
    json::print(&Document { version: Version::NEWEST.as_str(), supported: Version::ALL.map(Version::as_str) })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::cni::json::Object;
    use crate::plan;

    fn parsed<T: std::str::FromStr>(text: &str) -> T {
        text.parse().unwrap_or_else(|_| panic!("{text} is not valid"))
    }

    pub(in crate::cni) fn plan(wiring: Wiring) -> Checked {
        let address = |prefix, gateway| Address { prefix: parsed(prefix), gateway: Some(parsed(gateway)) };
        let route = |destination, via: &str, mtu: Option<u32>| plan::Route {
            mtu,
            metric: mtu.map(|_| 100),
            ..plan::Route::to(parsed(destination), via.parse().ok())
        };
        Checked {
            container_interface: parsed("eth0"),
            host_interface: parsed("pw0123456789ab"),
            wiring,
            addresses: vec![address("10.244.1.2/24", "10.244.1.1"), address("fd00:1::2/64", "fd00:1::1")],
            routes: vec![route("0.0.0.0/0", "10.244.1.1", None), route("fd00::/16", "", Some(1400))],
            mac: parsed("0a:58:0a:f4:01:02"),
            host_mac: parsed("0a:58:00:00:00:01"),
            mtu: None,
            dns: None,
            sysctls: Vec::new(),
            traffic: Default::default(),
            duplicate_address_detection: false,
            interface_down: false,
        }
    }

    pub(in crate::cni) fn bridged() -> Wiring {
        let bridge = plan::Bridge::plain(parsed("cni0"), Vec::new());
        Wiring::Bridge { bridge, hairpin: true, isolated: false, vlans: None }
    }

    pub(in crate::cni) fn result(plan: &Checked) -> AddResult {
        let bridge = Some((parsed("0a:58:0a:f4:01:01"), 1500));
        AddResult::new(plan, &Facts { netns: Path::new("/run/netns/a"), mtu: 1450, bridge }, None)
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn the_newest_version_is_printed_whole() {
        let expected = r#"{
    "cniVersion": "1.1.0",
    "interfaces": [
        {
            "name": "cni0",
            "mac": "0a:58:0a:f4:01:01",
            "mtu": 1500
        },
        {
            "name": "pw0123456789ab",
            "mac": "0a:58:00:00:00:01",
            "mtu": 1450
        },
        {
            "name": "eth0",
            "mac": "0a:58:0a:f4:01:02",
            "mtu": 1450,
            "sandbox": "/run/netns/a"
        }
    ],
    "ips": [
        {
            "address": "10.244.1.2/24",
            "gateway": "10.244.1.1",
            "interface": 2
        },
        {
            "address": "fd00:1::2/64",
            "gateway": "fd00:1::1",
            "interface": 2
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.244.1.1"
        },
        {
            "dst": "fd00::/16",
            "mtu": 1400,
            "priority": 100
        }
    ],
    "dns": {}
}
"#;
        assert_eq!(result(&plan(bridged())).to_json(Version::V1_1_0, None), expected);
    }

    #[test]
    fn older_versions_know_less() {
        let interfaces = json!([
            {"name": "cni0", "mac": "0a:58:0a:f4:01:01"},
            {"name": "pw0123456789ab", "mac": "0a:58:00:00:00:01"},
            {"name": "eth0", "mac": "0a:58:0a:f4:01:02", "sandbox": "/run/netns/a"}
        ]);
        let mut ips = json!([
            {"address": "10.244.1.2/24", "gateway": "10.244.1.1", "interface": 2},
            {"address": "fd00:1::2/64", "gateway": "fd00:1::1", "interface": 2}
        ]);
        let routes = json!([{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}, {"dst": "fd00::/16"}]);
        let result = result(&plan(bridged()));
        let expected = |version: Version, ips: &Value| {
            let version = version.as_str();
            json!({"cniVersion": version, "interfaces": interfaces, "ips": ips, "routes": routes, "dns": {}})
        };
        let printed = |version| read(&result.to_json(version, None));
        assert_eq!(printed(Version::V1_0_0), expected(Version::V1_0_0, &ips));
        ips[0]["version"] = "4".into();
        ips[1]["version"] = "6".into();
        for version in [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0] {
            assert_eq!(printed(version), expected(version, &ips));
        }
    }

    #[test]
    fn without_a_bridge_the_container_comes_second() {
        let result = result(&plan(Wiring::Routed));
        let names: Vec<&str> = result.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        assert_eq!(names, ["pw0123456789ab", "eth0"]);
        assert_eq!(result.ips.iter().map(|ip| ip.interface).collect::<Vec<_>>(), [Some(1), Some(1)]);
    }

    #[test]
    fn the_gateway_of_a_vlan_comes_last() {
        let mut plan = plan(bridged());
        if let Wiring::Bridge { bridge, vlans, .. } = &mut plan.wiring {
            bridge.addresses = vec![parsed("10.244.1.1/24")];
            *vlans = Some(plan::PortVlans { native: 100, tagged: Vec::new(), keep_default: false });
        }
        let result = result(&plan);
        assert_eq!(result.interfaces.last().map(|interface| interface.name.as_str()), Some("cni0.100"));
        assert_eq!((result.interfaces.len(), result.ips[0].interface), (4, Some(2)));
    }

    #[test]
    fn the_plans_dns_comes_before_the_configurations() {
        let dns = |domain: &str| Dns { domain: Some(domain.to_owned()), ..Dns::default() };
        let facts = Facts { netns: Path::new("/x"), mtu: 1500, bridge: None };
        let mut plan = plan(Wiring::Routed);
        assert_eq!(AddResult::new(&plan, &facts, Some(&dns("b"))).dns, Some(dns("b")));
        plan.dns = Some(dns("a"));
        assert_eq!(AddResult::new(&plan, &facts, Some(&dns("b"))).dns, Some(dns("a")));
    }

    #[test]
    fn a_previous_result_is_amended() {
        let earlier = json!({
            "cniVersion": "1.1.0", "x-vendor": {"a": [1, 2.50]},
            "interfaces": [{"name": "tap0", "mac": "AA:BB:CC:00:00:01", "x": true},
                           {"name": "net0", "sandbox": "/n"}],
            "ips": [{"address": "192.0.2.1/24", "interface": 1, "y": "z"}],
            "routes": [{"dst": "192.0.2.0/24", "scope": 253, "w": null}],
            "dns": {"nameservers": ["resolver.example"]}
        });
        let text = json!({"prevResult": earlier}).to_string();
        let object = Object::outermost(&text).expect("JSON");
        let previous = PrevResult::read(&object, Version::V1_1_0).expect("valid");
        let nothing = AddResult::default().to_json(Version::V1_1_0, previous.as_ref());
        assert_eq!(read(&nothing), earlier);

        let mut ours = result(&plan(bridged()));
        let amended = read(&ours.to_json(Version::V1_1_0, previous.as_ref()));
        for (key, before) in [("interfaces", 2), ("ips", 1), ("routes", 1)] {
            let list = amended[key].as_array().expect("a list");
            assert_eq!(list[..before], earlier[key].as_array().expect("a list")[..]);
            assert!(list.len() > before);
        }
        let places: Vec<&Value> =
            amended["ips"].as_array().expect("a list").iter().map(|ip| &ip["interface"]).collect();
        assert_eq!(places, [1, 4, 4]);
        assert_eq!(amended["interfaces"][4]["name"], "eth0");
        assert_eq!((&amended["x-vendor"], &amended["dns"]), (&earlier["x-vendor"], &earlier["dns"]));

        ours.dns = Some(Dns { domain: Some("own".to_owned()), ..Dns::default() });
        assert_eq!(read(&ours.to_json(Version::V1_1_0, previous.as_ref()))["dns"], json!({"domain": "own"}));
    }

    #[test]
    fn versions_are_reported() {
        let expected = json!({
            "cniVersion": "1.1.0", "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
        });
        assert_eq!(read(&version_result()), expected);
    }
}
