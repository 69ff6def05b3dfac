//! What the runtime says of one pod inside the configuration: `runtimeConfig` and `args`.

use std::collections::BTreeMap;

use super::args::{RequestedAddress, WANTED_ADDRESS, WANTED_MAC};
use super::config::{dns, unsupported};
use super::ipam;
use super::json::{Object, Value};
use super::traffic::{bandwidth, port_mappings};
use super::{Error, Role};
use crate::names::MacAddress;
use crate::plan::{AddressRange, Bandwidth, Dns, PortMapping};

/// The capability that carries the annotations of a Kubernetes pod: no convention of CNI's, but served by
/// containerd and CRI-O.
const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// What the runtime filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Runtime {
    /// `runtimeConfig.ips`, else `args.cni.ips`.
    pub(super) ips: Vec<RequestedAddress>,
    /// `runtimeConfig.mac`, else `args.cni.mac`.
    pub(super) mac: Option<MacAddress>,
    /// `runtimeConfig.dns`, none if it says nothing.
    pub(super) dns: Option<Dns>,
    /// Sorted by key.
    pub(super) annotations: Vec<(String, String)>,
    pub(super) port_mappings: Vec<PortMapping>,
    pub(super) bandwidth: Option<Bandwidth>,
}

/// `runtimeConfig.ipRanges`: range sets from which the runtime wants an address each.
pub(super) fn range_sets(configuration: &Object<'_>) -> Result<Vec<Vec<AddressRange>>, Error> {
    let Some(capabilities) = configuration.get("runtimeConfig") else { return Ok(Vec::new()) };
    ipam::sets(&capabilities.object()?, "ipRanges")
}

impl Runtime {
    /// Reads both members of the configuration. As [`Role::Ipam`] it is another plugin that declares capabilities,
    /// and serves them: only what concerns addresses is looked at.
    pub(super) fn read(configuration: &Object<'_>, role: Role) -> Result<Self, Error> {
        let args = match configuration.get("args") {
            Some(args) => Self::from_args(&args.object()?, role)?,
            None => Self::default(),
        };
        match configuration.get("runtimeConfig") {
            Some(capabilities) => {
                let capabilities = capabilities.object()?;
                let own = match role {
                    Role::Main => Self::from_capabilities(&capabilities)?,
                    Role::Ipam => Self::of_addresses(&capabilities)?,
                };
                Ok(own.or(args))
            }
            None => Ok(args),
        }
    }

    fn from_args(args: &Object<'_>, role: Role) -> Result<Self, Error> {
        let Some(cni) = args.get("cni") else { return Ok(Self::default()) };
        let cni = cni.object()?;
        let mac = if role == Role::Main { mac(&cni)? } else { None };
        Ok(Self { ips: cni.each("ips", |ip| ip.parse(WANTED_ADDRESS))?, mac, ..Self::default() })
    }

    fn from_capabilities(capabilities: &Object<'_>) -> Result<Self, Error> {
        let served = ["ips", "mac", "dns", "ipRanges", "portMappings", "bandwidth", ANNOTATIONS];
        let refused = |(key, value): &(&str, Value<'_>)| !served.contains(key) && !value.is_empty();
        if let Some((key, value)) = capabilities.members().find(refused) {
            return Err(not_served(key, &value));
        }
        Ok(Self {
            mac: mac(capabilities)?,
            port_mappings: port_mappings(capabilities)?,
            bandwidth: bandwidth(capabilities)?,
            ..Self::of_addresses(capabilities)?
        })
    }

    fn of_addresses(capabilities: &Object<'_>) -> Result<Self, Error> {
        Ok(Self {
            ips: capabilities.each("ips", |ip| ip.parse(WANTED_ADDRESS))?,
            // The capability has its own words for nameservers and search.
            dns: dns(capabilities, "servers", "searches")?,
            annotations: annotations(capabilities)?,
            ..Self::default()
        })
    }

    /// What is missing here is taken from the other.
    fn or(self, other: Self) -> Self {
        Self {
            ips: if self.ips.is_empty() { other.ips } else { self.ips },
            mac: self.mac.or(other.mac),
            ..self
        }
    }
}

fn mac(object: &Object<'_>) -> Result<Option<MacAddress>, Error> {
    let Some(value) = object.get("mac").filter(|value| !value.is_empty()) else { return Ok(None) };
    let mac: MacAddress = value.parse(WANTED_MAC)?;
    if mac.is_unicast() { Ok(Some(mac)) } else { Err(value.invalid(&format!("is not {WANTED_MAC}"))) }
}

fn annotations(object: &Object<'_>) -> Result<Vec<(String, String)>, Error> {
    let Some(value) = object.get(ANNOTATIONS) else { return Ok(Vec::new()) };
    let annotations: BTreeMap<String, String> = value.read("an object of strings")?;
    Ok(annotations.into_iter().collect())
}

fn not_served(key: &str, value: &Value<'_>) -> Error {
    unsupported(value.place(), value, &format!("take {key:?} out of podwire's \"capabilities\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::Code;

    fn read(text: &str) -> Result<Runtime, Error> {
        Runtime::read(&Object::outermost(text).expect("JSON"), Role::Main)
    }

    fn addresses(texts: &[&str]) -> Vec<RequestedAddress> {
        texts.iter().map(|text| text.parse().expect("valid")).collect()
    }

    #[test]
    fn capabilities_come_before_args() {
        let both = read(
            r#"{"runtimeConfig": {"ips": ["10.1.0.5/16"], "mac": "0a:58:00:00:00:01"},
                "args": {"cni": {"ips": ["10.1.0.6"], "mac": "0a:58:00:00:00:02", "labels": []}, "x": 1}}"#,
        );
        let both = both.expect("valid");
        assert_eq!(both.ips, addresses(&["10.1.0.5/16"]));
        assert_eq!(both.mac.map(|mac| mac.to_string()).as_deref(), Some("0a:58:00:00:00:01"));
        let args =
            read(r#"{"runtimeConfig": {"ips": []}, "args": {"cni": {"ips": ["10.1.0.6", "fd00::6"]}}}"#);
        assert_eq!(args.expect("valid").ips, addresses(&["10.1.0.6", "fd00::6"]));
        assert_eq!(read("{}"), Ok(Runtime::default()));
    }

    #[test]
    fn annotations_and_dns_are_read() {
        let runtime = read(
            r#"{"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"b": "2", "a": "1"},
                "dns": {"servers": ["10.0.0.1"], "searches": ["x.y"], "options": ["ndots:5"]}}}"#,
        );
        let runtime = runtime.expect("valid");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(runtime.annotations, [pair("a", "1"), pair("b", "2")]);
        let dns = runtime.dns.expect("given");
        assert_eq!((dns.search, dns.options), (vec!["x.y".to_owned()], vec!["ndots:5".to_owned()]));
        assert_eq!(read(r#"{"runtimeConfig": {"dns": {"servers": []}}}"#), Ok(Runtime::default()));
    }

    #[test]
    fn capabilities_that_are_not_served_are_refused_when_used() {
        let unused =
            r#"{"runtimeConfig": {"portMappings": [], "bandwidth": {"ingressRate": 0}, "aliases": null}}"#;
        assert_eq!(read(unused), Ok(Runtime::default()));
        let error = read(r#"{"runtimeConfig": {"deviceID": "0000:00"}}"#).expect_err("not served");
        assert_eq!(error.code(), Code::UNSUPPORTED_FIELD);
        assert!(
            error.msg().starts_with("runtimeConfig.deviceID")
                && error.details().contains("take \"deviceID\"")
        );
    }

    #[test]
    fn what_concerns_a_pods_traffic_is_read() {
        let runtime = read(
            r#"{"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 8080}],
                "bandwidth": {"egressRate": 1000, "egressBurst": 8000}}}"#,
        )
        .expect("valid");
        assert_eq!((runtime.port_mappings.len(), runtime.bandwidth.is_some()), (1, true));
        let ranges =
            r#"{"runtimeConfig": {"ipRanges": [[{"subnet": "10.0.0.0/8"}], [{"subnet": "fd00::/64"}]]}}"#;
        let sets = range_sets(&Object::outermost(ranges).expect("JSON")).expect("valid");
        assert_eq!(sets.len(), 2);
    }

    #[test]
    fn wrong_values_name_their_place() {
        for (text, place) in [
            (r#"{"args": []}"#, "args ["),
            (r#"{"args": {"cni": {"ips": ["x"]}}}"#, r#"args.cni.ips[0] "x""#),
            (r#"{"runtimeConfig": {"ips": "10.0.0.1"}}"#, "runtimeConfig.ips \"10.0.0.1\" is not a list"),
            (r#"{"runtimeConfig": {"mac": "01:00:00:00:00:00"}}"#, "runtimeConfig.mac"),
            (r#"{"runtimeConfig": {"dns": {"servers": ["a"]}}}"#, r#"runtimeConfig.dns.servers[0] "a""#),
            (r#"{"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a": 1}}}"#, "runtimeConfig.io."),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.code(), Code::INVALID_CONFIG);
            assert!(error.msg().starts_with(place), "{error}");
        }
    }
}
