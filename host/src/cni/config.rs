//! The network configuration: which keys there are, and what their values must be.
//!
//! CNI's own keys pass, whatever they are for; podwire's are read; every other key is the policy's, who says what
//! it does not know. What that means is not known here: a policy's configuration stays the text that it was.

use ipnet::IpNet;
use strsim::levenshtein;

use super::error::shorten;
use super::ipam::Ipam;
use super::json::{Object, Value};
use super::runtime;
use super::{Code, Command, Environment, Error, Version};
use crate::names::{InterfaceName, NetworkName, PolicyName};
use crate::plan::Dns;

/// podwire's own keys.
const OURS: [&str; 4] = ["policy", "pools", "cluster", "config"];

/// The specification's keys (sections 1 and 3), those that runtimes insert, and the well-known ones of its
/// conventions that are the host's. Keys that begin with `cni.dev/` are the specification's too.
const CNI: [&str; 13] = [
    "cniVersion",
    "cniVersions",
    "name",
    "type",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
    "capabilities",
    "runtimeConfig",
    "args",
    "prevResult",
    "ipam",
    "dns",
];

/// The bridge of the reference plugin, if its configuration does not say.
const REFERENCE_BRIDGE: &str = "cni0";

/// What podwire is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The interface and its addresses.
    Main,
    /// Addresses only: another plugin makes the interface, and names podwire in its `ipam`.
    Ipam,
}

/// A checked network configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// `cniVersion`: what the runtime speaks.
    pub version: Version,
    /// `name`.
    pub network: NetworkName,
    /// What podwire is called for. As [`Role::Ipam`] it has its own keys in `ipam`.
    pub role: Role,
    /// `policy`; none: as the node is configured.
    pub policy: Option<PolicyName>,
    /// `pools`; none: as the node is configured.
    pub pools: Option<Vec<IpNet>>,
    /// `cluster`; none: as the node is configured.
    pub cluster: Option<Vec<IpNet>>,
    /// The policy's own configuration, the text of a JSON object: `config`, and every key that is nobody else's;
    /// none: as the node is configured.
    pub config: Option<String>,
    /// `ipam`, with what the runtime asks for.
    pub ipam: Ipam,
    /// The bridge that the operator names, as for the reference plugin.
    pub bridge: Option<InterfaceName>,
    /// `runtimeConfig.dns`, else `dns`: for a result whose plan has none.
    pub dns: Option<Dns>,
}

impl Configuration {
    /// Checks a configuration, in the order in which the reference library finds its faults.
    pub(super) fn read(
        object: &Object<'_>,
        command: Command,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let network = network(object)?;
        let version = version(object)?;
        version.allow(command)?;
        let role = role(object, environment)?;
        let (ours, config) = match (role, object.get("ipam")) {
            (Role::Ipam, Some(ipam)) => (ipam.object()?, None),
            _ => (object.clone(), own_keys(object)?),
        };
        let asked = runtime::range_sets(object)?;
        let keys: &[_] = if role == Role::Ipam { &OURS } else { &[] };
        let ipam = Ipam::read(object, |kind| environment.is_own(kind), asked, keys)?;
        if command == Command::Add {
            ipam.check_for_add()?;
        }
        Ok(Self {
            version,
            network,
            role,
            policy: ours.get("policy").map(|value| value.name()).transpose()?,
            pools: blocks(&ours, "pools")?,
            cluster: blocks(&ours, "cluster")?,
            config: if role == Role::Ipam { text_of_config(&ours)? } else { config },
            bridge: bridge(object, role, &ipam)?,
            ipam,
            dns: dns(object, "nameservers", "search")?,
        })
    }
}

/// Another plugin's configuration comes whole to the plugin that its `ipam` names.
fn role(object: &Object<'_>, environment: &Environment) -> Result<Role, Error> {
    let kind = |object: &Object<'_>| -> Result<Option<String>, Error> {
        object.get("type").map(|kind| kind.read("the name of a plugin")).transpose()
    };
    let ipam = object.get("ipam").map(|ipam| kind(&ipam.object()?)).transpose()?.flatten();
    let main = kind(object)?;
    let is_own = |kind: &String| environment.is_own(kind);
    let elsewhere = main.is_some_and(|main| !is_own(&main)) && ipam.is_some_and(|ipam| is_own(&ipam));
    Ok(if elsewhere { Role::Ipam } else { Role::Main })
}

/// A configuration written for the reference plugin says by `bridge` which bridge is to be used, whoever made it.
fn bridge(object: &Object<'_>, role: Role, ipam: &Ipam) -> Result<Option<InterfaceName>, Error> {
    let named = object.get("bridge").filter(|name| !name.is_empty());
    match named {
        _ if role == Role::Ipam => Ok(None),
        Some(name) => name.name().map(Some),
        None if matches!(ipam, Ipam::Pools(_)) => Ok(None),
        None => Ok(Some(REFERENCE_BRIDGE.parse().expect("an interface name"))),
    }
}

/// `cniVersion`. Before 0.2.0 configurations had none, so its absence stands for 0.1.0.
pub(super) fn version(object: &Object<'_>) -> Result<Version, Error> {
    let text: Option<String> = object.get("cniVersion").map(|value| value.read("a string")).transpose()?;
    text.filter(|text| !text.is_empty()).as_deref().unwrap_or("0.1.0").parse()
}

fn network(object: &Object<'_>) -> Result<NetworkName, Error> {
    let missing = || Error::new(Code::INVALID_CONFIG, "missing network name");
    let name = object.get("name").filter(|value| value.text() != r#""""#).ok_or_else(missing)?;
    name.name()
}

/// The policy's configuration: the members of `config`, and the keys that are neither CNI's nor podwire's.
fn own_keys(object: &Object<'_>) -> Result<Option<String>, Error> {
    let ours = |key: &str| OURS.contains(&key) || CNI.contains(&key) || key.starts_with("cni.dev/");
    let others: Vec<(&str, Value<'_>)> = object.members().filter(|(key, _)| !ours(key)).collect();
    if let Some((key, value)) = others.iter().find(|(key, _)| nearest(key, &[&OURS, &CNI]).is_some()) {
        let rest = "podwire's keys are policy, pools, cluster, config; a policy's own key that is so near to one of \
                    CNI's or podwire's stands in \"config\"";
        return Err(unknown_key(key, value, &[&OURS, &CNI], rest));
    }
    if others.is_empty() {
        return text_of_config(object);
    }
    let config = object.get("config").map(|config| config.object()).transpose()?;
    let mut members: Vec<String> = others.iter().map(|(key, value)| member(key, value)).collect();
    for (key, value) in config.iter().flat_map(Object::members) {
        if object.get_or_null(key).is_some() && !ours(key) {
            return Err(value.invalid("stands in the network configuration itself, too: say it once"));
        }
        members.push(member(key, &value));
    }
    Ok(Some(format!("{{{}}}", members.join(", "))))
}

fn member(key: &str, value: &Value<'_>) -> String {
    format!("{}: {}", serde_json::Value::from(key), value.text())
}

fn text_of_config(object: &Object<'_>) -> Result<Option<String>, Error> {
    let Some(value) = object.get("config") else { return Ok(None) };
    value.object()?;
    Ok(Some(value.text().to_owned()))
}

fn blocks(object: &Object<'_>, key: &str) -> Result<Option<Vec<IpNet>>, Error> {
    let Some(value) = object.get(key) else { return Ok(None) };
    let blocks = value.list()?.iter().map(block).collect::<Result<Vec<_>, _>>()?;
    if blocks.is_empty() {
        return Err(value.invalid("names no block: leave the key out to have the node's"));
    }
    Ok(Some(blocks))
}

pub(super) fn block(value: &Value<'_>) -> Result<IpNet, Error> {
    let block: IpNet = value.parse("a block of addresses such as 10.244.1.0/24")?;
    if block != block.trunc() {
        let what = format!("has bits beyond its length: write {} for the whole block", block.trunc());
        return Err(value.invalid(&what));
    }
    Ok(block)
}

/// `dns`, under the given words for nameservers and search; none if it says nothing.
pub(super) fn dns(object: &Object<'_>, nameservers: &str, search: &str) -> Result<Option<Dns>, Error> {
    let Some(dns) = object.get("dns") else { return Ok(None) };
    let dns = dns.object()?.uncapitalised();
    let domain = dns.get("domain").filter(|domain| !domain.is_empty());
    let dns = Dns {
        nameservers: dns.each(nameservers, |server| server.parse("an address such as 10.96.0.10"))?,
        domain: domain.map(|domain| domain.read("a string")).transpose()?,
        search: dns.each(search, |domain| domain.read("a string"))?,
        options: dns.each("options", |option| option.read("a string"))?,
    };
    Ok(Some(dns).filter(|dns| *dns != Dns::default()))
}

/// Every key must be one of these: a misspelt one would be passed over in silence.
pub(super) fn known_keys(object: &Object<'_>, known: &[&[&'static str]]) -> Result<(), Error> {
    let is_known = |key: &str| known.iter().any(|list| list.contains(&key));
    match object.members().find(|(key, _)| !is_known(key)) {
        Some((key, value)) => {
            let list = known.concat().join(", ");
            Err(unknown_key(key, &value, known, &format!("the keys here are {list}")))
        }
        None => Ok(()),
    }
}

fn unknown_key(key: &str, value: &Value<'_>, known: &[&[&'static str]], rest: &str) -> Error {
    let hint = match nearest(key, known) {
        Some(known) => format!("did you mean {known:?}? "),
        None => String::new(),
    };
    let msg = format!("unknown key {:?}, its value is {}", shorten(value.place(), 100), value.excerpt());
    Error::new(Code::UNSUPPORTED_FIELD, msg).with_details(format!("{hint}{rest}"))
}

/// The known key that was probably meant: no more than one letter in three is wrong.
fn nearest(key: &str, known: &[&[&'static str]]) -> Option<&'static str> {
    let wanted = shorten(key, 100).to_lowercase();
    let is_near = |wrong: usize, known: &str| wrong * 3 <= known.len();
    // As many letters are wrong at least; each ADD looks at every key of the policy's own.
    let apart = |known: &str| known.len().abs_diff(wanted.chars().count());
    let known = known.iter().copied().flatten().copied().filter(|known| is_near(apart(known), known));
    let distances = known.map(|known| (levenshtein(&wanted, &known.to_lowercase()), known));
    distances.filter(|(wrong, known)| is_near(*wrong, known)).min().map(|(_, known)| known)
}

/// A known key with a value that podwire cannot serve.
pub(super) fn unsupported(key: &str, value: &Value<'_>, remedy: &str) -> Error {
    let msg = format!("{key} is not supported, its value is {}", value.excerpt());
    Error::new(Code::UNSUPPORTED_FIELD, msg).with_details(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::Beside;

    fn read(members: &str) -> Result<Configuration, Error> {
        let text = format!(r#"{{"cniVersion": "1.1.0", "name": "pods", "type": "podwire"{members}}}"#);
        Configuration::read(&Object::outermost(&text).expect("JSON"), Command::Add, &Environment::default())
    }

    #[test]
    fn everything_can_be_left_to_the_node() {
        let configuration = read("").expect("valid");
        assert_eq!(configuration.policy, None);
        assert_eq!((configuration.pools, configuration.cluster, configuration.dns), (None, None, None));
        assert_eq!(configuration.config, None);
        let empty = r#", "policy": null, "pools": null, "config": null, "dns": {}, "ipam": null"#;
        assert_eq!(read(empty), read(""));
    }

    #[test]
    fn values_are_taken_as_they_are() {
        let configuration = read(
            r#", "policy": "by-tenant", "pools": ["10.244.1.0/24", "fd00:1::/64"], "cluster": ["10.244.0.0/16"],
               "config": { "z": 1.50, "a" : [ ] }, "dns": {"nameservers": ["10.0.0.1"], "search": ["x"]}"#,
        )
        .expect("valid");
        assert_eq!(configuration.policy.expect("named").as_str(), "by-tenant");
        assert_eq!(configuration.pools.map(|pools| pools.len()), Some(2));
        assert_eq!(configuration.config.as_deref(), Some(r#"{ "z": 1.50, "a" : [ ] }"#));
        let dns = configuration.dns.expect("given");
        assert_eq!((dns.nameservers.len(), dns.search), (1, vec!["x".to_owned()]));
    }

    #[test]
    fn keys_of_cni_pass() {
        let keys = r#", "cniVersions": ["1.0.0"], "disableCheck": true, "disableGC": true,
            "capabilities": {"ips": true},
            "loadOnlyInlinedPlugins": true, "cni.dev/attachments": [], "cni.dev/new": 1, "args": {"labels": 3}"#;
        assert_eq!(read(keys), read(""));
    }

    #[test]
    fn wrong_values_name_their_place() {
        for (members, expected) in [
            (r#", "policy": "Bridge""#, r#"policy: policy name "Bridge" must"#),
            (r#", "policy": 1"#, "policy 1 is not a string"),
            (r#", "pools": "10.0.0.0/8""#, r#"pools "10.0.0.0/8" is not a list"#),
            (r#", "pools": []"#, "pools [] names no block"),
            (r#", "pools": ["10.0.0.0/8", "10.1.0.0"]"#, r#"pools[1] "10.1.0.0" is not a block"#),
            (
                r#", "pools": ["10.244.1.5/24"]"#,
                r#"pools[0] "10.244.1.5/24" has bits beyond its length: write 10.244.1.0/24"#,
            ),
            (r#", "cluster": ["10.0.0.0/33"]"#, r#"cluster[0] "10.0.0.0/33" is not a block"#),
            (r#", "config": []"#, "config [] is not an object"),
            (r#", "dns": {"nameservers": ["one"]}"#, r#"dns.nameservers[0] "one" is not an address"#),
            (r#", "isGateway": true, "config": {"isGateway": true}"#, "config.isGateway true stands in"),
            (r#", "bridge": "a/b""#, "bridge: interface name \"a/b\""),
        ] {
            let error = read(members).expect_err(members);
            assert_eq!(error.code(), Code::INVALID_CONFIG, "{error}");
            assert!(error.msg().starts_with(expected), "{error}");
        }
    }

    fn config_of(members: &str) -> Option<serde_json::Value> {
        let config = read(members).expect(members).config?;
        Some(serde_json::from_str(&config).expect("JSON"))
    }

    #[test]
    fn what_is_nobody_elses_is_the_policys() {
        let reference = r#", "bridge": "br0", "isGateway": true, "isDefaultGateway": true, "forceAddress": false,
            "ipMasq": true, "ipMasqBackend": "nftables", "mtu": 1400, "hairpinMode": true, "promiscMode": false,
            "vlan": 5, "vlanTrunk": [{"id": 7}], "preserveDefaultVlan": false, "macspoofchk": true,
            "enabledad": true, "disableContainerInterface": false, "portIsolation": true,
            "dns": {}, "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}"#;
        let config = config_of(reference).expect("given");
        assert_eq!(config.as_object().map(serde_json::Map::len), Some(16));
        assert_eq!((&config["vlan"], &config["vlanTrunk"][0]["id"]), (&5.into(), &7.into()));
        let both = config_of(r#", "ipMasq": true, "config": {"k\"ey": 1}"#).expect("given");
        assert_eq!(both, serde_json::json!({"ipMasq": true, "k\"ey": 1}));
        assert_eq!(config_of(r#", "cni.dev/x": 1"#), None);
    }

    #[test]
    fn the_operators_bridge_is_the_one_that_the_reference_plugin_would_use() {
        let bridge = |members: &str| read(members).expect(members).bridge.map(String::from);
        assert_eq!(bridge(r#", "bridge": "br0""#).as_deref(), Some("br0"));
        assert_eq!(bridge(r#", "ipam": {}"#).as_deref(), Some("cni0"));
        assert_eq!(bridge(r#", "config": {"bridge": "br0"}"#), None);
    }

    #[test]
    fn as_ipam_its_own_keys_stand_in_ipam() {
        let text = r#"{"cniVersion": "1.0.0", "name": "pods", "type": "macvlan", "master": "eth0", "mode": "bridge",
            "ipam": {"type": "podwire", "policy": "by-tenant", "pools": ["10.1.0.0/24"], "config": {"a": 1}}}"#;
        let configuration = Configuration::read(
            &Object::outermost(text).expect("JSON"),
            Command::Add,
            &Environment::default(),
        )
        .expect("valid");
        assert_eq!((configuration.role, configuration.ipam), (Role::Ipam, Ipam::Pools(Beside::default())));
        assert_eq!(configuration.policy.expect("named").as_str(), "by-tenant");
        assert_eq!((configuration.config.as_deref(), configuration.bridge), (Some(r#"{"a": 1}"#), None));
        assert_eq!(configuration.pools.map(|pools| pools.len()), Some(1));
        let own = read(r#", "ipam": {"type": "podwire", "subnet": "10.1.0.0/24"}"#).expect("valid");
        assert_eq!(own.role, Role::Main);
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        for (key, nearest) in [
            ("pool", "\"pools\""),
            ("Policy", "\"policy\""),
            ("polcy", "\"policy\""),
            ("clusters", "\"cluster\""),
            ("prevResults", "\"prevResult\""),
        ] {
            let error = read(&format!(r#", "{key}": ["x", 1]"#)).expect_err(key);
            assert_eq!(error.code(), Code::UNSUPPORTED_FIELD);
            assert!(error.msg().contains(key) && error.msg().contains(r#"["x", 1]"#), "{error}");
            assert!(error.details().starts_with(&format!("did you mean {nearest}?")), "{error}");
        }
    }
}
