//! `prevResult`: what earlier plugins of the chain made, or what ADD returned in the end.
//!
//! Kept as it came, members that nobody here knows included: a result passes it on, amended. What CHECK
//! compares with is read out of it.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::json::{self, Object};
use super::result::{Interface, Ip, Route};
use super::{Code, Error, Version, legacy};
use crate::plan::Dns;

/// Members of interfaces and routes that came with 1.1.0.
const OF_INTERFACES: [&str; 3] = ["mtu", "socketPath", "pciID"];
const OF_ROUTES: [&str; 5] = ["mtu", "advmss", "priority", "table", "scope"];

/// A previous result, in the version of the configuration that brought it.
#[derive(Debug, Clone, PartialEq)]
pub struct PrevResult {
    /// Of the containers and of the node.
    pub interfaces: Vec<Interface>,
    /// Addresses; each may name an interface by its place in `interfaces`.
    pub ips: Vec<Ip>,
    /// Inside the container.
    pub routes: Vec<Route>,
    pub(super) raw: Raw,
}

/// The same as it came. Everything but the three lists is in `rest`; not the version, which is the answer's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Raw {
    #[serde(default, deserialize_with = "list")]
    pub(super) interfaces: Vec<Value>,
    #[serde(default, deserialize_with = "list")]
    pub(super) ips: Vec<Value>,
    #[serde(default, deserialize_with = "list")]
    pub(super) routes: Vec<Value>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

/// Plugins written in Go say null for an empty list.
fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl PrevResult {
    /// What another plugin answered to an ADD.
    pub fn of_plugin(text: &str, version: Version) -> Result<Self, Error> {
        let undecodable = |what: &str| Error::new(Code::UNDECODABLE, what);
        let wrapped = format!("{{\"prevResult\": {text}}}");
        let object = Object::outermost(&wrapped).map_err(|error| undecodable(&error.to_string()))?;
        Self::read(&object, version)?.ok_or_else(|| undecodable("it is null"))
    }

    /// Its `dns`, if that says anything. What is not of the form is nobody's to use.
    pub fn dns(&self) -> Option<Dns> {
        let dns: Dns = serde_json::from_value(self.raw.rest.get("dns")?.clone()).ok()?;
        Some(dns).filter(|dns| *dns != Dns::default())
    }

    /// Reads the member of a configuration, and brings it to the configuration's version if it says another.
    pub(super) fn read(configuration: &Object<'_>, version: Version) -> Result<Option<Self>, Error> {
        let Some(value) = configuration.get("prevResult") else { return Ok(None) };
        let said = value.object()?;
        let said = said.get("cniVersion").filter(|said| said.text() != r#""""#);
        let said = said.map(|said| said.parse("a version that podwire speaks")).transpose()?;
        if !said.unwrap_or(version).has_interfaces() {
            let mut result: Map<String, Value> = value.read("the result of a plugin")?;
            legacy::modernise(&mut result);
            let text = serde_json::value::to_raw_value(&result).expect("keys are strings");
            return Self::modern(&value.rewritten(&text), said, version).map(Some);
        }
        Self::modern(&value, said, version).map(Some)
    }

    fn modern(value: &json::Value<'_>, said: Option<Version>, version: Version) -> Result<Self, Error> {
        let object = value.object()?;
        let mut raw: Raw = value.read("the result of a plugin")?;
        raw.rest.remove("cniVersion");
        if said.is_some_and(|said: Version| said != version) {
            raw.convert(version);
        }
        Ok(Self {
            interfaces: object.each("interfaces", |interface| interface.read("an interface with a name"))?,
            ips: object.each("ips", |ip| ip.read("an object with an address such as 10.244.1.2/24"))?,
            routes: object.each("routes", |route| route.read("an object with a dst such as 0.0.0.0/0"))?,
            raw,
        })
    }
}

impl Raw {
    fn convert(&mut self, version: Version) {
        for ip in self.ips.iter_mut().filter_map(Value::as_object_mut) {
            if !version.has_address_version() {
                ip.remove("version");
            } else if !ip.contains_key("version") {
                let is_v6 = ip.get("address").and_then(Value::as_str).is_some_and(|text| text.contains(':'));
                ip.insert("version".to_owned(), Value::from(if is_v6 { "6" } else { "4" }));
            }
        }
        if !version.has_mtu() {
            remove(&mut self.interfaces, &OF_INTERFACES);
            remove(&mut self.routes, &OF_ROUTES);
        }
    }
}

fn remove(list: &mut [Value], keys: &[&str]) {
    for object in list.iter_mut().filter_map(Value::as_object_mut) {
        object.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(prev: &str, version: Version) -> Result<Option<PrevResult>, Error> {
        let text = format!(r#"{{"prevResult": {prev}}}"#);
        PrevResult::read(&Object::outermost(&text).expect("JSON"), version)
    }

    fn given(prev: &str, version: Version) -> PrevResult {
        read(prev, version).expect("valid").expect("given")
    }

    #[test]
    fn what_check_needs_is_read() {
        let previous = given(
            r#"{"cniVersion": "1.1.0", "x": 1,
                "interfaces": [{"name": "cni0"}, {"name": "eth0", "mac": "0A:58:00:00:00:01", "mtu": 1400,
                                "sandbox": "/run/netns/a", "pciID": "b"}],
                "ips": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 1},
                        {"address": "fd00::3/64"}],
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1", "priority": 5}]}"#,
            Version::V1_1_0,
        );
        assert_eq!(previous.interfaces[1].mac.as_deref(), Some("0A:58:00:00:00:01"));
        assert_eq!(previous.interfaces[1].sandbox.as_deref(), Some("/run/netns/a"));
        assert_eq!((previous.ips[0].interface, previous.ips[1].interface), (Some(1), None));
        assert_eq!(previous.routes[0].priority, Some(5));
        assert_eq!(previous.raw.rest.keys().collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn little_is_enough() {
        let nothing = r#"{"cniVersion": "", "interfaces": null, "ips": null}"#;
        let previous = given(nothing, Version::V0_4_0);
        assert_eq!((previous.interfaces.len(), previous.ips.len(), previous.routes.len()), (0, 0, 0));
        assert_eq!(read("null", Version::V1_1_0), Ok(None));
    }

    #[test]
    fn another_version_is_converted() {
        let newest = r#"{"cniVersion": "1.1.0", "interfaces": [{"name": "a", "mtu": 1, "z": 2}],
            "ips": [{"address": "fd00::1/64"}, {"address": "10.0.0.1/8"}],
            "routes": [{"dst": "::/0", "table": 3}]}"#;
        let raw = given(newest, Version::V0_4_0).raw;
        assert_eq!(raw.interfaces, [serde_json::json!({"name": "a", "z": 2})]);
        assert_eq!(raw.ips.iter().map(|ip| &ip["version"]).collect::<Vec<_>>(), ["6", "4"]);
        assert_eq!(raw.routes, [serde_json::json!({"dst": "::/0"})]);
        let old = r#"{"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.0.0.1/8"}]}"#;
        assert_eq!(given(old, Version::V1_0_0).raw.ips, [serde_json::json!({"address": "10.0.0.1/8"})]);
        assert_eq!(given(old, Version::V0_3_1).raw.ips[0]["version"], "4");
    }

    #[test]
    fn wrong_values_name_their_place() {
        for (prev, place) in [
            ("[]", "prevResult [] is not"),
            (r#"{"cniVersion": "0.2", "ip4": {}}"#, r#"prevResult.cniVersion "0.2" is not a version"#),
            (r#"{"cniVersion": "0.2.0", "ip4": {}}"#, "prevResult.ips[0]"),
            (r#"{"interfaces": {}}"#, "prevResult"),
            (r#"{"interfaces": [{"mac": "x"}]}"#, "prevResult.interfaces[0]"),
            (r#"{"ips": [{"address": "10.0.0.1"}]}"#, "prevResult.ips[0]"),
            (r#"{"routes": [{"gw": "10.0.0.1"}]}"#, "prevResult.routes[0]"),
        ] {
            let error = read(prev, Version::V1_1_0).expect_err(prev);
            assert_eq!(error.code(), Code::INVALID_CONFIG);
            assert!(error.msg().starts_with(place), "{error}");
        }
    }
}
