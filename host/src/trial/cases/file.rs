//! How cases are written: TOML, with one table for each and one for what they have in common.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::wanted::Wanted;
use crate::leases::Holder;
use crate::names::{AttachmentId, ContainerId, InterfaceName, MacAddress, NetworkName};
use crate::plan::{AddRequest, Node, Pod};
use crate::trial::Setting;
use crate::trial::battery::attachment;

/// A block of `held` may have so many addresses.
const MOST_HELD: u128 = 65_536;

/// Why there are no cases.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or folder.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Nothing in it.
    #[error("{path} has no cases: a case is a table [[case]] in a file that ends in .toml")]
    Empty {
        /// The file or folder.
        path: PathBuf,
    },
    /// Not TOML, or not as cases are.
    #[error("{file}: {message}")]
    Wrong {
        /// The file.
        file: String,
        /// Where, and what.
        message: String,
    },
}

/// A question to a policy, and what is expected of the answer.
#[derive(Debug)]
pub struct Case {
    pub(super) file: String,
    pub(super) name: String,
    pub(super) request: AddRequest,
    pub(super) held: Vec<(IpAddr, Holder)>,
    pub(super) after: Vec<Step>,
    pub(super) wanted: Wanted,
}

/// What happened before.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Add(Pod),
    Del(Pod),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default)]
    defaults: Given,
    #[serde(default)]
    case: Vec<Given>,
}

/// What is given, by a case or for all of a file.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Given {
    name: Option<String>,
    expect: Option<Wanted>,
    network: Option<NetworkName>,
    container_id: Option<ContainerId>,
    ifname: Option<InterfaceName>,
    #[serde(deserialize_with = "pod")]
    pod: Option<Pod>,
    uid: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    node: Option<String>,
    node_addresses: Option<Vec<IpAddr>>,
    pools: Option<Vec<IpNet>>,
    cluster: Option<Vec<IpNet>>,
    config: Option<toml::Table>,
    requested_addresses: Option<Vec<Requested>>,
    requested_mac: Option<MacAddress>,
    held: Option<Held>,
    after: Option<Vec<Step>>,
}

impl Given {
    /// What the case says, else what the file says for all of them.
    fn or(self, defaults: &Self) -> Self {
        let Self { uid, annotations, requested_addresses, requested_mac, held, after, .. } = self;
        Self {
            name: self.name,
            expect: self.expect,
            network: self.network.or_else(|| defaults.network.clone()),
            container_id: self.container_id.or_else(|| defaults.container_id.clone()),
            ifname: self.ifname.or_else(|| defaults.ifname.clone()),
            pod: self.pod.or_else(|| defaults.pod.clone()),
            uid: uid.or_else(|| defaults.uid.clone()),
            annotations: annotations.or_else(|| defaults.annotations.clone()),
            node: self.node.or_else(|| defaults.node.clone()),
            node_addresses: self.node_addresses.or_else(|| defaults.node_addresses.clone()),
            pools: self.pools.or_else(|| defaults.pools.clone()),
            cluster: self.cluster.or_else(|| defaults.cluster.clone()),
            config: self.config.or_else(|| defaults.config.clone()),
            requested_addresses: requested_addresses.or_else(|| defaults.requested_addresses.clone()),
            requested_mac: requested_mac.or(defaults.requested_mac),
            held: held.or_else(|| defaults.held.clone()),
            after: after.or_else(|| defaults.after.clone()),
        }
    }
}

/// An address, with the length of its link's prefix or without.
#[derive(Clone, Copy)]
struct Requested(IpAddr, Option<u8>);

/// Addresses that somebody has.
#[derive(Clone)]
struct Held(Vec<(IpAddr, Holder)>);

/// The cases of a file, or of every .toml in a folder.
pub fn load(path: &Path) -> Result<Vec<Case>, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| Error::Read { path, source }
    };
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        files = entries.map_err(unreadable(path))?.iter().map(std::fs::DirEntry::path).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
    }
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(unreadable(&file))?;
        cases.extend(read(&file.display().to_string(), &text)?);
    }
    if cases.is_empty() { Err(Error::Empty { path: path.to_owned() }) } else { Ok(cases) }
}

/// The cases of a file with this text.
pub fn read(file: &str, text: &str) -> Result<Vec<Case>, Error> {
    let wrong = |message: String| Error::Wrong { file: file.to_owned(), message };
    let Cases { defaults, case: written } = toml::from_str(text).map_err(|error| wrong(explain(&error)))?;
    if defaults.name.is_some() || defaults.expect.is_some() {
        return Err(wrong("defaults: `name` and `expect` are each case's own".to_owned()));
    }
    let case = |(i, mut given): (usize, Given)| {
        let name = given.name.take().ok_or_else(|| wrong(format!("case {}: it has no `name`", i + 1)))?;
        let in_case = |problem: String| wrong(format!("case {name:?}: {problem}"));
        let nothing = || in_case("it has no `expect`, so it could not fail".to_owned());
        let wanted = given.expect.take().ok_or_else(nothing)?;
        wanted.check().map_err(in_case)?;
        let given = given.or(&defaults);
        let held = given.held.clone().map(|held| held.0).unwrap_or_default();
        let after = given.after.clone().unwrap_or_default();
        let request = given.request().map_err(in_case)?;
        Ok(Case { file: file.to_owned(), name, request, held, after, wanted })
    };
    written.into_iter().enumerate().map(case).collect()
}

/// What TOML says is wrong, and what was probably meant.
fn explain(error: &toml::de::Error) -> String {
    let text = error.to_string().trim_end().to_owned();
    match nearest(error.message()) {
        Some(meant) => format!("{text}\ndid you mean `{meant}`?"),
        None => text,
    }
}

/// Of serde's sentence "unknown field `x`, expected one of `a`, `b`": which of them is most like the first.
fn nearest(message: &str) -> Option<&str> {
    let mut quoted = message.strip_prefix("unknown field")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let distances = quoted.map(|known| (strsim::damerau_levenshtein(unknown, known), known));
    // No more than one letter in three is wrong.
    distances.filter(|(wrong, known)| wrong * 3 <= known.len()).min().map(|(_, known)| known)
}

impl Given {
    fn request(self) -> Result<AddRequest, String> {
        let default = Setting::default();
        let pools = self.pools.unwrap_or(default.pools);
        if pools.is_empty() {
            return Err("pools: the host never asks without any".to_owned());
        }
        let config = self.config.unwrap_or_default();
        let config = serde_json::to_string(&config).map_err(|error| format!("config: {error}"))?;
        let pod = self.pod.map(|pod| Pod {
            uid: self.uid.unwrap_or_default(),
            annotations: self.annotations.unwrap_or_default().into_iter().collect(),
            ..pod
        });
        let id = || attachment("container-of-the-case");
        let requested = self.requested_addresses.unwrap_or_default();
        let ifname = self.ifname.unwrap_or_else(|| id().ifname);
        Ok(AddRequest {
            network: self.network.unwrap_or_else(|| "pods".parse().expect("a name")),
            attachment: AttachmentId {
                container_id: self.container_id.unwrap_or_else(|| id().container_id),
                ifname,
            },
            pod,
            requested_addresses: requested.iter().map(|asked| asked.in_pools(&pools)).collect(),
            requested_mac: self.requested_mac,
            node: Node {
                name: self.node.unwrap_or_else(|| "node1".into()),
                addresses: self.node_addresses.unwrap_or_default(),
                cluster: self.cluster.unwrap_or_else(|| cluster_of(&pools)),
                pools,
            },
            range_sets: None,
            requested_routes: Vec::new(),
            config,
            operators_bridge: None,
            port_mappings: Vec::new(),
            bandwidth: None,
        })
    }
}

/// As on a node whose operator names none.
fn cluster_of(pools: &[IpNet]) -> Vec<IpNet> {
    let default = Setting::default();
    if pools == default.pools { default.cluster } else { pools.to_vec() }
}

impl Requested {
    /// As the host completes it.
    fn in_pools(self, pools: &[IpNet]) -> IpNet {
        let Self(address, length) = self;
        let of_pool = || pools.iter().find(|pool| pool.contains(&address)).map(IpNet::prefix_len);
        let length = length.or_else(of_pool).unwrap_or(IpNet::from(address).prefix_len());
        IpNet::new(address, length).unwrap_or(IpNet::from(address))
    }
}

/// Text that is read by a function.
fn parsed<'de, D: Deserializer<'de>, T>(
    text: D,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    let text = String::deserialize(text)?;
    read(&text).map_err(serde::de::Error::custom)
}

impl<'de> Deserialize<'de> for Requested {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        parsed(text, |text| match (text.parse::<IpAddr>(), text.parse::<IpNet>()) {
            (Ok(address), _) => Ok(Self(address, None)),
            (_, Ok(prefix)) => Ok(Self(prefix.addr(), Some(prefix.prefix_len()))),
            _ => Err(format!("{text:?} is no address, such as 10.244.1.7 or 10.244.1.7/24")),
        })
    }
}

fn pod<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Pod>, D::Error> {
    parsed(text, pod_named).map(Some)
}

fn pod_named(text: &str) -> Result<Pod, String> {
    let (namespace, name) = text.split_once('/').ok_or_else(|| format!("{text:?} is not NAMESPACE/NAME"))?;
    Ok(Pod { namespace: namespace.to_owned(), name: name.to_owned(), ..Pod::default() })
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        parsed(text, |text| match text.strip_prefix("del ") {
            Some(pod) => pod_named(pod).map(Self::Del),
            None => pod_named(text).map(Self::Add),
        })
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let entries = match toml::Value::deserialize(value)? {
            toml::Value::Array(list) => list.into_iter().map(|entry| (entry, None)).collect(),
            toml::Value::Table(table) => {
                let named = table.into_iter().map(|(address, pod)| (toml::Value::String(address), Some(pod)));
                named.collect::<Vec<_>>()
            }
            _ => return Err(wrong_held()),
        };
        let mut held = Vec::new();
        for (addresses, pod) in entries {
            let text = addresses.as_str().ok_or_else(wrong_held)?;
            let pod = match pod {
                None => "somebody/else".to_owned(),
                Some(pod) => pod.as_str().ok_or_else(wrong_held)?.to_owned(),
            };
            for address in all_of(text).map_err(serde::de::Error::custom)? {
                held.push((address, holder(held.len(), pod.clone())));
            }
        }
        Ok(Self(held))
    }
}

fn wrong_held<E: serde::de::Error>() -> E {
    E::custom(
        "this is neither a list of addresses, blocks and ranges, such as [\"10.244.1.2-10.244.1.9\"], nor a table of \
         those and of the pods that hold them, such as { \"10.244.1.7\" = \"db/postgres\" }",
    )
}

fn holder(number: usize, pod: String) -> Holder {
    let network = "pods".parse().expect("a name");
    Holder { network, attachment: attachment(&format!("holder-{number}")), pod: Some(pod) }
}

/// The addresses of a range, a block, or one.
fn all_of(text: &str) -> Result<Vec<IpAddr>, String> {
    let wrong = || format!("{text:?} is no address, block or range, such as 10.244.1.2-10.244.1.9");
    let range = match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (first.trim().parse::<IpAddr>(), last.trim().parse::<IpAddr>());
            first.ok().zip(last.ok())
        }
        None => {
            let block = text.parse::<IpNet>().ok();
            let one = text.parse().ok().map(|address: IpAddr| (address, address));
            block.map(|block| (block.network(), block.broadcast())).or(one)
        }
    };
    let (first, last) = range.ok_or_else(wrong)?;
    let between = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (first.to_bits().into(), last.to_bits().into()),
        (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits(), last.to_bits()),
        _ => return Err(wrong()),
    };
    let (first_number, last_number): (u128, u128) = between;
    if last_number < first_number || last_number - first_number >= MOST_HELD {
        return Err(format!("{text:?} has no addresses, or more than {MOST_HELD}"));
    }
    let at = |number: u128| match first {
        IpAddr::V4(_) => IpAddr::V4((number as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    };
    Ok((first_number..=last_number).map(at).collect())
}
