//! The network configuration: which keys there are, and what their values must be.
//!
//! CNI's own keys pass, whatever they are for; every other key must be one of podwire's. What the values
//! mean is not known here: a policy's configuration stays the text that it was.

use ipnet::IpNet;

use super::error::shorten;
use super::json::{Object, Value};
use super::{Code, Command, Error, Version};
use crate::names::{NetworkName, PolicyName};
use crate::plan::Dns;

/// podwire's own keys.
const OURS: [&str; 4] = ["policy", "pools", "cluster", "config"];

/// The specification's keys (sections 1 and 3), those that runtimes insert, and the well-known ones of its
/// conventions. Keys that begin with `cni.dev/` are the specification's too.
const CNI: [&str; 14] = [
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
    "ipMasq",
    "dns",
];

/// A checked network configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// `cniVersion`: what the runtime speaks.
    pub version: Version,
    /// `name`.
    pub network: NetworkName,
    /// `policy`; none: as the node is configured.
    pub policy: Option<PolicyName>,
    /// `pools`; none: as the node is configured.
    pub pools: Option<Vec<IpNet>>,
    /// `cluster`; none: as the node is configured.
    pub cluster: Option<Vec<IpNet>>,
    /// `config`: the policy's own configuration, the text of a JSON object; none: as the node is configured.
    pub config: Option<String>,
    /// `runtimeConfig.dns`, else `dns`: for a result whose plan has none.
    pub dns: Option<Dns>,
}

impl Configuration {
    /// Checks a configuration, in the order in which the reference library finds its faults.
    pub(super) fn read(object: &Object<'_>, command: Command) -> Result<Self, Error> {
        let network = network(object)?;
        let version = version(object)?;
        version.allow(command)?;
        known_keys(object)?;
        not_served(object)?;
        Ok(Self {
            version,
            network,
            policy: object.get("policy").map(|value| value.name()).transpose()?,
            pools: blocks(object, "pools")?,
            cluster: blocks(object, "cluster")?,
            config: config(object)?,
            dns: dns(object, "nameservers", "search")?,
        })
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

fn config(object: &Object<'_>) -> Result<Option<String>, Error> {
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

fn block(value: &Value<'_>) -> Result<IpNet, Error> {
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
    let dns = dns.object()?;
    let domain = dns.get("domain").filter(|domain| !domain.is_empty());
    let dns = Dns {
        nameservers: dns.each(nameservers, |server| server.parse("an address such as 10.96.0.10"))?,
        domain: domain.map(|domain| domain.read("a string")).transpose()?,
        search: dns.each(search, |domain| domain.read("a string"))?,
        options: dns.each("options", |option| option.read("a string"))?,
    };
    Ok(Some(dns).filter(|dns| *dns != Dns::default()))
}

fn known_keys(object: &Object<'_>) -> Result<(), Error> {
    let known = |key: &str| OURS.contains(&key) || CNI.contains(&key) || key.starts_with("cni.dev/");
    match object.members().find(|(key, _)| !known(key)) {
        Some((key, value)) => Err(unknown_key(key, &value)),
        None => Ok(()),
    }
}

fn unknown_key(key: &str, value: &Value<'_>) -> Error {
    let key = shorten(key, 100);
    let hint = match nearest(&key) {
        Some(known) => format!("did you mean {known:?}? "),
        None => String::new(),
    };
    let details = format!(
        "{hint}podwire's keys are {}; what the policy itself is to know stands in \"config\"",
        OURS.join(", ")
    );
    let msg = format!("unknown key {key:?} in the network configuration, its value is {}", value.excerpt());
    Error::new(Code::UNSUPPORTED_FIELD, msg).with_details(details)
}

/// The known key that was probably meant: no more than one letter in three is wrong.
fn nearest(key: &str) -> Option<&'static str> {
    let wanted = key.to_lowercase();
    let distances =
        OURS.into_iter().chain(CNI).map(|known| (distance(&wanted, &known.to_lowercase()), known));
    distances.filter(|(wrong, known)| wrong * 3 <= known.len()).min().map(|(_, known)| known)
}

/// How many letters must be added, taken away or replaced to make one text of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Keys that ask for something that podwire does not do: to go on without it would be a silent surprise.
fn not_served(object: &Object<'_>) -> Result<(), Error> {
    if let Some(value) = object.get("ipMasq").filter(|value| !value.is_empty()) {
        value.read::<bool>("true or false")?;
        return Err(unsupported("ipMasq", &value, "podwire does not masquerade yet: leave the key out"));
    }
    match object.get("ipam") {
        Some(value) if !value.is_empty() => {
            let remedy = "podwire hands out addresses itself: leave the key out, and name \"pools\"";
            Err(unsupported("ipam", &value, remedy))
        }
        _ => Ok(()),
    }
}

/// A known key with a value that podwire cannot serve.
pub(super) fn unsupported(key: &str, value: &Value<'_>, remedy: &str) -> Error {
    let msg = format!("{key} is not supported, its value is {}", value.excerpt());
    Error::new(Code::UNSUPPORTED_FIELD, msg).with_details(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(members: &str) -> Result<Configuration, Error> {
        let text = format!(r#"{{"cniVersion": "1.1.0", "name": "pods", "type": "podwire"{members}}}"#);
        Configuration::read(&Object::outermost(&text).expect("JSON"), Command::Add)
    }

    #[test]
    fn everything_can_be_left_to_the_node() {
        let configuration = read("").expect("valid");
        assert_eq!(configuration.policy, None);
        assert_eq!((configuration.pools, configuration.cluster, configuration.dns), (None, None, None));
        assert_eq!(configuration.config, None);
        let empty =
            r#", "policy": null, "pools": null, "config": null, "dns": {}, "ipam": {}, "ipMasq": false"#;
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
            (r#", "ipMasq": "yes""#, "ipMasq \"yes\" is not true or false"),
        ] {
            let error = read(members).expect_err(members);
            assert_eq!(error.code(), Code::INVALID_CONFIG, "{error}");
            assert!(error.msg().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn what_is_not_served_is_refused() {
        for (members, key) in [
            (r#", "ipMasq": true"#, "ipMasq"),
            (r#", "ipam": {"type": "host-local", "subnet": "10.0.0.0/8"}"#, "ipam"),
        ] {
            let error = read(members).expect_err(members);
            assert_eq!(error.code(), Code::UNSUPPORTED_FIELD);
            assert!(error.msg().starts_with(key) && error.details().contains("leave the key out"), "{error}");
        }
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        for (key, nearest) in [
            ("pool", "\"pools\""),
            ("Policy", "\"policy\""),
            ("polcy", "\"policy\""),
            ("clusters", "\"cluster\""),
            ("ipmasq", "\"ipMasq\""),
            ("prevResults", "\"prevResult\""),
        ] {
            let error = read(&format!(r#", "{key}": ["x", 1]"#)).expect_err(key);
            assert_eq!(error.code(), Code::UNSUPPORTED_FIELD);
            assert!(error.msg().contains(key) && error.msg().contains(r#"["x", 1]"#), "{error}");
            assert!(error.details().starts_with(&format!("did you mean {nearest}?")), "{error}");
        }
        let error = read(r#", "isGateway": true"#).expect_err("the bridge plugin's");
        assert!(error.details().starts_with("podwire's keys are policy, pools"), "{error}");
    }

    #[test]
    fn distances_are_levenshteins() {
        for (from, to, expected) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("pools", "pools", 0)]
        {
            assert_eq!(distance(from, to), expected);
            assert_eq!(distance(to, from), expected);
        }
    }
}
