//! What the result of an ADD says, whichever version's words it uses.
//!
//! Reads JSON by itself: podwire's own types would forgive what podwire gets wrong.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::{Stop, failed};

/// An entry of `interfaces`.
#[derive(Debug, Clone)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) mac: Option<String>,
    /// Empty: on the node.
    pub(super) sandbox: String,
}

/// An entry of `ips`, or an `ip4` or `ip6`.
#[derive(Debug, Clone)]
pub(super) struct Ip {
    pub(super) address: IpNet,
    pub(super) interface: Option<Value>,
}

/// An entry of `routes`.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) destination: IpNet,
    pub(super) gateway: Option<IpAddr>,
}

pub(super) fn interfaces(result: &Value) -> Result<Vec<Interface>, Stop> {
    entries(result, "interfaces")?.iter().map(interface).collect()
}

fn interface(entry: &Value) -> Result<Interface, Stop> {
    let text = |key: &str| entry[key].as_str().map(str::to_owned);
    let Some(name) = text("name").filter(|name| !name.is_empty()) else {
        return failed("every entry of interfaces has a name", entry.to_string());
    };
    Ok(Interface {
        name,
        mac: text("mac").filter(|mac| !mac.is_empty()),
        sandbox: text("sandbox").unwrap_or_default(),
    })
}

pub(super) fn ips(result: &Value) -> Result<Vec<Ip>, Stop> {
    let mut found = Vec::new();
    for entry in entries(result, "ips")? {
        let interface = entry.get("interface").filter(|interface| !interface.is_null()).cloned();
        found.push(Ip { address: prefix(&entry["address"], "ips[].address")?, interface });
    }
    for family in ["ip4", "ip6"].iter().filter_map(|key| result.get(key)) {
        found.push(Ip { address: prefix(&family["ip"], "ip4.ip and ip6.ip")?, interface: None });
    }
    Ok(found)
}

pub(super) fn routes(result: &Value) -> Result<Vec<Route>, Stop> {
    let of_families = ["ip4", "ip6"].iter().filter_map(|key| result.get(key));
    let mut found = Vec::new();
    for place in std::iter::once(result).chain(of_families) {
        for entry in entries(place, "routes")? {
            let gateway = match &entry["gw"] {
                Value::Null => None,
                gateway => Some(address(gateway)?),
            };
            found.push(Route { destination: prefix(&entry["dst"], "routes[].dst")?, gateway });
        }
    }
    Ok(found)
}

fn entries<'a>(result: &'a Value, key: &str) -> Result<&'a [Value], Stop> {
    match result.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(entries)) => Ok(entries),
        Some(other) => failed(format!("{key} is a list"), other.to_string()),
    }
}

fn prefix(value: &Value, what: &str) -> Result<IpNet, Stop> {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.map_or_else(|| failed(format!("{what} is an address with a prefix length"), value.to_string()), Ok)
}

fn address(value: &Value) -> Result<IpAddr, Stop> {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.map_or_else(|| failed("routes[].gw is an address", value.to_string()), Ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_generations_of_results_are_read() {
        let old =
            json!({ "ip4": { "ip": "10.1.0.2/24", "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }] } });
        let new = json!({ "ips": [{ "address": "10.1.0.2/24", "interface": 2 }],
                          "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }] });
        for result in [old, new] {
            assert_eq!(ips(&result).expect("proper")[0].address.to_string(), "10.1.0.2/24");
            assert_eq!(routes(&result).expect("proper")[0].destination.to_string(), "0.0.0.0/0");
        }
    }

    #[test]
    fn what_has_the_wrong_shape_is_a_finding() {
        for result in [
            json!({ "ips": {} }),
            json!({ "ips": [{ "address": "10.1.0.2" }] }),
            json!({ "ip4": { "ip": 7 } }),
        ] {
            assert!(matches!(ips(&result), Err(Stop::Failed(_))), "{result}");
        }
        assert!(matches!(interfaces(&json!({ "interfaces": [{ "mac": "x" }] })), Err(Stop::Failed(_))));
        assert!(matches!(
            routes(&json!({ "routes": [{ "dst": "10.0.0.0/8", "gw": 1 }] })),
            Err(Stop::Failed(_))
        ));
    }
}
