//! `ipam` of a network configuration: where a pod's addresses come from. Its words are those of the reference
//! plugin host-local, so that a configuration written for that means the same here.
//!
//! Knows ranges and their defaults; which address of a range is taken is a policy's to say.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::config::{block, known_keys};
use super::json::{Object, Value};
use super::{Code, Error};
use crate::plan::{AddressRange, Route};

/// The plugin whose words podwire takes, and in whose place it gives addresses.
const HOST_LOCAL: &str = "host-local";

/// Where host-local keeps its leases if `dataDir` does not say.
const HOST_LOCAL_FOLDER: &str = "/var/lib/cni/networks";

/// What may stand in `ipam`.
const KEYS: [&str; 9] =
    ["type", "ranges", "subnet", "rangeStart", "rangeEnd", "gateway", "routes", "resolvConf", "dataDir"];

/// Where the addresses of a network's pods come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipam {
    /// From the node's pools.
    Pools(Beside),
    /// From these ranges.
    Ranges(Ranges),
    /// From another plugin: its file's name in the folders of CNI_PATH.
    Delegate(String),
}

/// What a pod gets beside its addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// Inside the container.
    pub routes: Vec<Route>,
    /// A file in the form of resolv.conf(5), for a result that nobody has given other DNS settings.
    pub resolv_conf: Option<PathBuf>,
}

/// What `ipam` says to podwire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// One address of each set, whose ranges are tried in turn. No set: no address; but where a runtime sends no
    /// capabilities (GC, STATUS), there may be sets that are not seen.
    pub sets: Vec<Vec<AddressRange>>,
    /// With the addresses.
    pub beside: Beside,
    /// Where host-local has kept the leases of its networks, each in a folder of the network's name.
    pub host_local: Option<PathBuf>,
}

impl Ranges {
    /// The blocks from which the addresses come.
    pub fn pools(&self) -> Vec<IpNet> {
        let mut pools: Vec<IpNet> = self.sets.iter().flatten().map(|range| range.subnet).collect();
        pools.sort_unstable();
        pools.dedup();
        pools
    }
}

impl Ipam {
    /// Reads `ipam`. `asked` are range sets that the runtime asks for (the capability `ipRanges`): they are the
    /// first. `keys` are those that may stand there beside the ranges'.
    pub(super) fn read(
        configuration: &Object<'_>,
        is_own: impl Fn(&str) -> bool,
        asked: Vec<Vec<AddressRange>>,
        keys: &[&'static str],
    ) -> Result<Self, Error> {
        let Some(value) = configuration.get("ipam") else {
            return Ok(match asked.is_empty() {
                true => Self::Pools(Beside::default()),
                false => Self::Ranges(Ranges { sets: asked, ..Ranges::default() }),
            });
        };
        let ipam = value.object()?;
        let kind = ipam.get("type").filter(|kind| !kind.is_empty());
        let kind: Option<&str> = kind.map(|kind| kind.read("the name of a plugin")).transpose()?;
        if let Some(other) = kind.filter(|kind| *kind != HOST_LOCAL && !is_own(kind)) {
            return delegate(&ipam, other);
        }
        known_keys(&ipam, &[&KEYS, keys])?;
        let sets = sets_of(&ipam, asked)?;
        match kind {
            None => layer_two(&value, &ipam, &sets),
            Some(kind) => ranges(&ipam, sets, kind),
        }
    }

    /// Whether an address can be given. With other commands runtimes do not send what may bring ranges.
    pub(super) fn check_for_add(&self) -> Result<(), Error> {
        match self {
            Self::Ranges(ranges) if ranges.sets.is_empty() && ranges.host_local.is_some() => Err(no_range()),
            _ => Ok(()),
        }
    }
}

/// A name, not a path: it is looked for where the runtime says that plugins are.
fn delegate(ipam: &Object<'_>, name: &str) -> Result<Ipam, Error> {
    let value = ipam.get("type").filter(|_| name.contains('/') || name.starts_with('.'));
    match value {
        Some(value) => Err(value.invalid("is a path: name a plugin, which is looked for in CNI_PATH")),
        None => Ok(Ipam::Delegate(name.to_owned())),
    }
}

/// As with the reference plugin: without a type there are no addresses. Whoever writes more wants some.
fn layer_two(value: &Value<'_>, ipam: &Object<'_>, sets: &[Vec<AddressRange>]) -> Result<Ipam, Error> {
    if sets.is_empty() && ipam.members().all(|(_, value)| value.is_empty()) {
        return Ok(Ipam::Ranges(Ranges::default()));
    }
    let what = format!("has no \"type\": write {HOST_LOCAL:?} to have addresses, or {{}} to have none");
    Err(value.invalid(&what))
}

fn ranges(ipam: &Object<'_>, sets: Vec<Vec<AddressRange>>, kind: &str) -> Result<Ipam, Error> {
    let customary = (kind == HOST_LOCAL).then(|| HOST_LOCAL_FOLDER.into());
    let host_local = file(ipam, "dataDir")?.or(customary);
    if sets.is_empty() && host_local.is_none() {
        return Ok(Ipam::Pools(beside(ipam)?));
    }
    Ok(Ipam::Ranges(Ranges { sets, beside: beside(ipam)?, host_local }))
}

fn no_range() -> Error {
    let msg = "ipam has no range to give addresses from: name \"ranges\", such as [[{\"subnet\": \"10.244.1.0/24\"}]]";
    Error::new(Code::INVALID_CONFIG, msg)
}

fn beside(ipam: &Object<'_>) -> Result<Beside, Error> {
    Ok(Beside { routes: ipam.each("routes", route)?, resolv_conf: file(ipam, "resolvConf")? })
}

/// Those asked for, and those of the configuration.
fn sets_of(ipam: &Object<'_>, asked: Vec<Vec<AddressRange>>) -> Result<Vec<Vec<AddressRange>>, Error> {
    let mut sets = asked;
    // The form that host-local had first: one range, in the object itself.
    match ipam.get("subnet").filter(|subnet| !subnet.is_empty()) {
        Some(subnet) => sets.push(vec![range(&subnet, ipam)?]),
        None => without_subnet(ipam)?,
    }
    sets.extend(self::sets(ipam, "ranges")?);
    apart(&sets)?;
    Ok(sets)
}

fn without_subnet(ipam: &Object<'_>) -> Result<(), Error> {
    let of_subnet = ["rangeStart", "rangeEnd", "gateway"];
    let found = of_subnet.iter().find_map(|key| ipam.get(key).filter(|value| !value.is_empty()));
    let why = "belongs to a \"subnet\", and there is none beside it: put it into a range of \"ranges\"";
    found.map_or(Ok(()), |value| Err(value.invalid(why)))
}

fn file(object: &Object<'_>, key: &str) -> Result<Option<PathBuf>, Error> {
    object.get(key).filter(|file| !file.is_empty()).map(|file| file.read("a path")).transpose()
}

/// A list of range sets.
pub(super) fn sets(object: &Object<'_>, key: &str) -> Result<Vec<Vec<AddressRange>>, Error> {
    object.each(key, |set| {
        let elements = set.list()?;
        let ranges = elements.iter().map(|element| {
            let object = element.object()?;
            known_keys(&object, &[&["subnet", "rangeStart", "rangeEnd", "gateway"]])?;
            let missing = || element.invalid("has no \"subnet\"");
            range(&object.get("subnet").ok_or_else(missing)?, &object)
        });
        let ranges: Vec<AddressRange> = ranges.collect::<Result<_, _>>()?;
        match ranges.split_first() {
            None => Err(set.invalid("is an empty set of ranges")),
            Some((first, rest)) => {
                let other = |range: &&AddressRange| range.first.is_ipv4() != first.first.is_ipv4();
                let mixed = || set.invalid("has ranges of IPv4 and of IPv6: make a set of each");
                rest.iter().find(other).map_or(Ok(()), |_| Err(mixed()))?;
                Ok(ranges)
            }
        }
    })
}

/// A range with host-local's defaults: all of the subnet but its first address, which is the gateway, and in
/// IPv4 its last, the broadcast address.
fn range(value: &Value<'_>, object: &Object<'_>) -> Result<AddressRange, Error> {
    let subnet = block(value)?;
    if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
        return Err(value.invalid("is too small to allocate from: a /30 or a /126 is the smallest"));
    }
    let gateway = address(object, "gateway")?.unwrap_or_else(|| second(&subnet));
    let first = inside(object, "rangeStart", &subnet)?.unwrap_or_else(|| second(&subnet));
    let last = inside(object, "rangeEnd", &subnet)?.unwrap_or_else(|| usable_last(&subnet));
    if first > last {
        return Err(value.invalid(&format!("has a range that ends before it begins: {first} to {last}")));
    }
    Ok(AddressRange { subnet, first, last, gateway: Some(gateway) })
}

fn address(object: &Object<'_>, key: &str) -> Result<Option<IpAddr>, Error> {
    let given = object.get(key).filter(|given| !given.is_empty());
    given.map(|given| given.parse("an address such as 10.244.1.1")).transpose()
}

fn inside(object: &Object<'_>, key: &str, subnet: &IpNet) -> Result<Option<IpAddr>, Error> {
    let Some(found) = address(object, key)? else { return Ok(None) };
    if subnet.contains(&found) {
        return Ok(Some(found));
    }
    let outside = |value: Value<'_>| value.invalid(&format!("is not in the subnet {subnet}"));
    Err(object.get(key).map_or_else(|| Error::new(Code::INVALID_CONFIG, key), outside))
}

fn second(subnet: &IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(subnet) => (subnet.network().to_bits() + 1).to_be_bytes().into(),
        IpNet::V6(subnet) => (subnet.network().to_bits() + 1).to_be_bytes().into(),
    }
}

fn usable_last(subnet: &IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(subnet) => (subnet.broadcast().to_bits() - 1).to_be_bytes().into(),
        IpNet::V6(subnet) => subnet.broadcast().into(),
    }
}

/// No address may be in two ranges: it would be given twice, once for each.
fn apart(sets: &[Vec<AddressRange>]) -> Result<(), Error> {
    let ranges: Vec<&AddressRange> = sets.iter().flatten().collect();
    for (i, one) in ranges.iter().enumerate() {
        let meets = |other: &&&AddressRange| one.first <= other.last && other.first <= one.last;
        if let Some(other) = ranges[..i].iter().find(meets) {
            let msg = format!(
                "ipam: the ranges {}-{} and {}-{} overlap: give each address to one range",
                other.first, other.last, one.first, one.last
            );
            return Err(Error::new(Code::INVALID_CONFIG, msg));
        }
    }
    Ok(())
}

fn route(value: &Value<'_>) -> Result<Route, Error> {
    let route = value.object()?;
    let missing = || value.invalid("has no \"dst\"");
    let number = |key: &str| {
        let given = route.get(key).filter(|given| !given.is_empty());
        given.map(|given| given.read("a number")).transpose()
    };
    let scope = route.get("scope").map(|scope| scope.read("a number from 0 to 255")).transpose()?;
    Ok(Route {
        destination: block(&route.get("dst").ok_or_else(missing)?)?,
        via: address(&route, "gw")?,
        mtu: number("mtu")?,
        metric: number("priority")?,
        advmss: number("advmss")?,
        table: number("table")?,
        scope,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ipam: &str) -> Result<Ipam, Error> {
        let text = format!(r#"{{"ipam": {ipam}}}"#);
        let ipam =
            Ipam::read(&Object::outermost(&text).expect("JSON"), |kind| kind == "podwire", Vec::new(), &[])?;
        ipam.check_for_add().map(|()| ipam)
    }

    fn ranges_of(ipam: &str) -> Ranges {
        match read(ipam) {
            Ok(Ipam::Ranges(ranges)) => ranges,
            other => panic!("{other:?}"),
        }
    }

    fn shown(range: &AddressRange) -> String {
        let gateway = range.gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
        format!("{} {}-{} {gateway}", range.subnet, range.first, range.last)
    }

    #[test]
    fn ranges_have_host_locals_defaults() {
        let ranges = ranges_of(
            r#"{"type": "host-local", "subnet": "10.9.0.0/16", "rangeStart": "10.9.0.5", "gateway": "10.9.0.9",
                "ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.1.0/30", "rangeEnd": "10.1.1.1"}],
                           [{"subnet": "fd00:1::/64"}]]}"#,
        );
        let shown: Vec<Vec<String>> = ranges.sets.iter().map(|set| set.iter().map(shown).collect()).collect();
        assert_eq!(
            shown,
            [
                vec!["10.9.0.0/16 10.9.0.5-10.9.255.254 10.9.0.9"],
                vec!["10.1.0.0/24 10.1.0.1-10.1.0.254 10.1.0.1", "10.1.1.0/30 10.1.1.1-10.1.1.1 10.1.1.1"],
                vec!["fd00:1::/64 fd00:1::1-fd00:1::ffff:ffff:ffff:ffff fd00:1::1"],
            ]
        );
        let pools = ["10.1.0.0/24", "10.1.1.0/30", "10.9.0.0/16", "fd00:1::/64"];
        assert_eq!(ranges.pools().iter().map(IpNet::to_string).collect::<Vec<_>>(), pools);
        assert_eq!(ranges.host_local, Some(HOST_LOCAL_FOLDER.into()));
    }

    #[test]
    fn routes_and_files_are_read() {
        let ranges = ranges_of(
            r#"{"type": "host-local", "subnet": "10.1.0.0/24", "resolvConf": "/etc/resolv.conf", "dataDir": "/x",
                "routes": [{"dst": "0.0.0.0/0"},
                           {"dst": "10.0.0.0/8", "gw": "10.1.0.7", "mtu": 1400, "advmss": 1300, "priority": 7,
                            "table": 1000, "scope": 253}]}"#,
        );
        assert_eq!(
            (ranges.beside.resolv_conf, ranges.host_local),
            (Some("/etc/resolv.conf".into()), Some("/x".into()))
        );
        let all = |text: &str| text.parse::<IpNet>().expect("a block");
        assert_eq!(ranges.beside.routes[0], Route::to(all("0.0.0.0/0"), None));
        let expected = Route {
            mtu: Some(1400),
            metric: Some(7),
            advmss: Some(1300),
            table: Some(1000),
            scope: Some(253),
            ..Route::to(all("10.0.0.0/8"), Some([10, 1, 0, 7].into()))
        };
        assert_eq!(ranges.beside.routes[1], expected);
    }

    #[test]
    fn what_gives_the_addresses() {
        assert_eq!(read("null"), Ok(Ipam::Pools(Beside::default())));
        assert_eq!(read(r#"{"type": "podwire", "ranges": []}"#), Ok(Ipam::Pools(Beside::default())));
        for layer_two in ["{}", r#"{"type": "", "ranges": [], "subnet": ""}"#] {
            assert_eq!(ranges_of(layer_two).sets, Vec::<Vec<_>>::new());
        }
        let own = ranges_of(r#"{"type": "podwire", "subnet": "10.1.0.0/24"}"#);
        assert_eq!((own.sets.len(), own.host_local), (1, None));
        let import = ranges_of(r#"{"type": "podwire", "subnet": "10.1.0.0/24", "dataDir": "/x"}"#);
        assert_eq!(import.host_local, Some("/x".into()));
        assert_eq!(read(r#"{"type": "dhcp", "x": 1}"#), Ok(Ipam::Delegate("dhcp".to_owned())));
    }

    #[test]
    fn with_pools_a_pod_gets_the_same_beside_its_addresses() {
        let ipam =
            r#"{"type": "podwire", "routes": [{"dst": "10.0.0.0/8"}], "resolvConf": "/etc/resolv.conf"}"#;
        let Ok(Ipam::Pools(beside)) = read(ipam) else { panic!("{:?}", read(ipam)) };
        assert_eq!((beside.routes.len(), beside.resolv_conf), (1, Some("/etc/resolv.conf".into())));
    }

    #[test]
    fn nothing_is_passed_over_in_silence() {
        for (ipam, expected) in [
            (r#"{"tpye": "host-local", "ranges": []}"#, r#"unknown key "ipam.tpye""#),
            (r#"{"type": "podwire", "rangs": []}"#, r#"unknown key "ipam.rangs""#),
            (r#"{"subnet": "10.1.0.0/24"}"#, "ipam {\"subnet\": \"10.1.0.0/24\"} has no \"type\""),
            (r#"{"routes": [{"dst": "10.0.0.0/8"}]}"#, "ipam {\"routes\""),
            (r#"{"type": "podwire", "rangeStart": "10.1.0.9"}"#, "ipam.rangeStart \"10.1.0.9\" belongs to"),
            (
                r#"{"type": "host-local", "gateway": "10.1.0.9", "ranges": [[{"subnet": "10.1.0.0/24"}]]}"#,
                "ipam.gateway",
            ),
            (r#"{"type": "podwire", "dataDir": "/x"}"#, "ipam has no range"),
            (r#"{"type": "podwire", "routes": [{"nonsense": 1}]}"#, "ipam.routes[0]"),
        ] {
            let error = read(ipam).expect_err(ipam);
            assert!(error.msg().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn wrong_values_name_their_place() {
        for (ipam, expected) in [
            (r#"{"type": "host-local"}"#, "ipam has no range"),
            (r#"{"type": "../evil"}"#, r#"ipam.type "../evil" is a path"#),
            (
                r#"{"type": "podwire", "subnet": "10.1.0.5/24"}"#,
                r#"ipam.subnet "10.1.0.5/24" has bits beyond its length"#,
            ),
            (r#"{"type": "podwire", "subnet": "10.1.0.0/31"}"#, r#"ipam.subnet "10.1.0.0/31" is too small"#),
            (r#"{"type": "podwire", "subnet": "fd00::/127"}"#, r#"ipam.subnet "fd00::/127" is too small"#),
            (
                r#"{"type": "podwire", "subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}"#,
                r#"ipam.rangeStart "10.2.0.1" is not in the subnet 10.1.0.0/24"#,
            ),
            (
                r#"{"type": "podwire", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"}"#,
                r#"ipam.subnet "10.1.0.0/24" has a range that ends before it begins"#,
            ),
            (r#"{"type": "podwire", "ranges": [[{}]]}"#, "ipam.ranges[0][0] {} has no \"subnet\""),
            (
                r#"{"type": "podwire", "ranges": [[]], "subnet": "10.0.0.0/8"}"#,
                "ipam.ranges[0] [] is an empty set",
            ),
            (
                r#"{"type": "podwire", "ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]}"#,
                "ipam.ranges[0] [{\"subnet\": \"10.1.0.0/24\"}, {\"subnet\": \"fd00::/64\"}] has ranges of IPv4 and",
            ),
            (
                r#"{"type": "podwire", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/16"}]]}"#,
                "ipam: the ranges 10.1.0.1-10.1.0.254 and 10.1.0.1-10.1.255.254 overlap",
            ),
            (
                r#"{"type": "podwire", "subnet": "10.1.0.0/24", "routes": [{"gw": "10.1.0.1"}]}"#,
                "ipam.routes[0]",
            ),
        ] {
            let error = read(ipam).expect_err(ipam);
            assert_eq!(error.code(), Code::INVALID_CONFIG, "{error}");
            assert!(error.msg().starts_with(expected), "{error}");
        }
        let error = read(r#"{"type": "podwire", "subnet": "10.1.0.0/24", "rangestart": "10.1.0.9"}"#)
            .expect_err("misspelt");
        assert_eq!(error.code(), Code::UNSUPPORTED_FIELD);
        assert!(error.details().starts_with("did you mean \"rangeStart\"?"), "{error}");
    }
}
