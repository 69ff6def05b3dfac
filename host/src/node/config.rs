//! The node's own settings: `node.json` and `peers.json` in /etc/podwire.
//!
//! Two files, because every ADD reads the first, and nobody but `podwire node` the second, which may name
//! thousands of peers and be the same on all of them.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::names::PolicyName;
use crate::plan::{Node, Peer, Role};

/// The pods of a node that nobody has configured: enough to try podwire on one machine.
const DEFAULT_POOL: &str = "10.244.0.0/24";
/// The cluster of a node that nobody has configured: Kubernetes' customary pod network.
const DEFAULT_CLUSTER: &str = "10.244.0.0/16";
/// Once may be a pod like no other, twice the same pod again.
const DEFAULT_POLICY_FAULTS: u32 = 3;

/// Why the node's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there, but cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The file is not JSON of the right shape.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// A value that cannot be meant.
    #[error("{}: {field} is {value}, but {rule}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Such as `pools[0]`.
        field: String,
        /// What stands there.
        value: String,
        /// What should.
        rule: &'static str,
    },
    /// Pods of this node would be no pods of the cluster.
    #[error("the pool {pool} lies outside of the cluster's blocks ({}): correct `pools` or `cluster`", .cluster.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", "))]
    PoolOutside {
        /// The pool.
        pool: IpNet,
        /// The blocks.
        cluster: Vec<IpNet>,
    },
}

/// What `node.json` says; everything may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The node's name; the host name if it is left out.
    pub name: Option<String>,
    /// Its addresses in the network between nodes.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Blocks from which its pods get their addresses.
    pub pools: Option<Vec<IpNet>>,
    /// Blocks that together hold every pod of the cluster.
    pub cluster: Option<Vec<IpNet>>,
    /// The policy that is asked, unless a network configuration names one.
    pub policy: Option<PolicyName>,
    /// The policy's configuration, unless a network configuration has one.
    pub config: Option<Box<RawValue>>,
    /// After how many faults a version of a policy is taken out of use; 0: never.
    #[serde(rename = "policyFaults")]
    policy_faults: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peers {
    peers: Vec<PeerEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerEntry {
    name: String,
    #[serde(default)]
    role: Role,
    #[serde(default)]
    addresses: Vec<IpAddr>,
    #[serde(default)]
    pools: Vec<IpNet>,
}

impl Settings {
    /// Reads `node.json`; a missing file says nothing.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let settings: Self = read(path)?.unwrap_or_default();
        if settings.pools.as_ref().is_some_and(Vec::is_empty) {
            let rule = "a node needs at least one block for its pods: leave the key out for the default";
            return Err(Error::Value {
                path: path.to_owned(),
                field: "pools".into(),
                value: "[]".into(),
                rule,
            });
        }
        blocks(path, "pools", settings.pools.as_deref().unwrap_or_default())?;
        blocks(path, "cluster", settings.cluster.as_deref().unwrap_or_default())?;
        Ok(settings)
    }

    /// The policy's configuration.
    pub fn policy_config(&self) -> &str {
        self.config.as_ref().map_or("{}", |config| config.get())
    }

    /// After how many faults a version of a policy is taken out of use; 0: never.
    pub fn policy_faults(&self) -> u32 {
        self.policy_faults.unwrap_or(DEFAULT_POLICY_FAULTS)
    }

    /// The cluster of a network that takes its addresses from these blocks, not from the node's: they need not be
    /// in any that the node knows of.
    pub fn cluster_with(&self, blocks: &[IpNet]) -> Vec<IpNet> {
        let own = self.cluster.as_deref().or(self.pools.as_deref()).unwrap_or_default();
        let more = blocks.iter().filter(|block| !own.contains(block));
        own.iter().chain(more).copied().collect()
    }

    /// The node as a policy sees it. What a network configuration says of pools and cluster goes first;
    /// a cluster that nobody named is the pools.
    pub fn node(&self, pools: Option<&[IpNet]>, cluster: Option<&[IpNet]>) -> Result<Node, Error> {
        let pools = pools.map(<[_]>::to_vec).or_else(|| self.pools.clone());
        let cluster = cluster.map(<[_]>::to_vec).or_else(|| self.cluster.clone());
        let node = Node {
            name: self.name(),
            addresses: self.addresses.clone(),
            cluster: match (cluster, &pools) {
                (Some(cluster), _) => cluster,
                (None, Some(pools)) => pools.clone(),
                (None, None) => vec![default_cluster()],
            },
            pools: pools.unwrap_or_else(|| vec![default_pool()]),
        };
        inside_cluster(&node).map(|()| node)
    }

    /// The node's name.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(host_name)
    }

    /// The blocks of all pods, where the node has these pools: those that are named here, else those that somebody
    /// else `knows`, else the customary ones if nobody chose others, else the pools.
    pub(crate) fn cluster_of(&self, pools: &[IpNet], known: &[IpNet]) -> Vec<IpNet> {
        let customary = default_cluster();
        match &self.cluster {
            Some(cluster) => cluster.clone(),
            None if !known.is_empty() => known.to_vec(),
            None if self.pools.is_none() && pools.iter().all(|pool| customary.contains(pool)) => {
                vec![customary]
            }
            None => pools.to_vec(),
        }
    }
}

/// The pods of this node must be pods of the cluster.
pub(super) fn inside_cluster(node: &Node) -> Result<(), Error> {
    let inside = |pool: &&IpNet| node.cluster.iter().any(|block| block.contains(*pool));
    match node.pools.iter().find(|pool| !inside(pool)) {
        Some(pool) => Err(Error::PoolOutside { pool: *pool, cluster: node.cluster.clone() }),
        None => Ok(()),
    }
}

pub(super) fn default_pool() -> IpNet {
    DEFAULT_POOL.parse().expect("a block")
}

fn default_cluster() -> IpNet {
    DEFAULT_CLUSTER.parse().expect("a block")
}

/// What `agent.json` says that concerns everybody who asks the policy about the node.
#[derive(Default, Deserialize)]
struct Duty {
    #[serde(default)]
    role: Role,
}

/// What the machine does for the cluster, as `agent.json` has it; a missing file says nothing.
pub fn read_role(path: &Path) -> Result<Role, Error> {
    Ok(read::<Duty>(path)?.unwrap_or_default().role)
}

/// Reads `peers.json`, which may name the node itself; a missing file names none.
pub fn read_peers(path: &Path) -> Result<Vec<Peer>, Error> {
    let Some(Peers { peers }) = read(path)? else { return Ok(Vec::new()) };
    for (i, peer) in peers.iter().enumerate() {
        blocks(path, &format!("peers[{i}].pools"), &peer.pools)?;
    }
    let peer = |p: PeerEntry| Peer { name: p.name, role: p.role, addresses: p.addresses, pools: p.pools };
    Ok(peers.into_iter().map(peer).collect())
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    // As text, so that it is looked through once, and not each string in it.
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Unreadable { path: path.to_owned(), source }),
    };
    serde_json::from_str(&text).map(Some).map_err(|source| Error::Malformed { path: path.to_owned(), source })
}

fn blocks(path: &Path, list: &str, blocks: &[IpNet]) -> Result<(), Error> {
    match blocks.iter().position(|block| *block != block.trunc()) {
        None => Ok(()),
        Some(i) => Err(Error::Value {
            path: path.to_owned(),
            field: format!("{list}[{i}]"),
            value: blocks[i].to_string(),
            rule: "a block of addresses has no host bits",
        }),
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("room");
        file
    }

    fn net(text: &str) -> IpNet {
        text.parse().expect("a block")
    }

    #[test]
    fn a_node_without_settings_can_be_tried() {
        let node = Settings::read(Path::new("/nonexistent/node.json"))
            .expect("nothing said")
            .node(None, None)
            .expect("sound");
        assert_eq!(node.pools, [net(DEFAULT_POOL)]);
        assert_eq!(node.cluster, [net(DEFAULT_CLUSTER)]);
        assert!(!node.name.is_empty());
    }

    #[test]
    fn a_network_configuration_goes_first() {
        let file = file(r#"{"name": "n1", "pools": ["10.1.0.0/24"], "cluster": ["10.1.0.0/16"]}"#);
        let settings = Settings::read(file.path()).expect("well-formed");
        assert_eq!(settings.node(None, None).expect("sound").pools, [net("10.1.0.0/24")]);
        let node = settings.node(Some(&[net("10.1.7.0/24")]), None).expect("sound");
        assert_eq!((node.pools, node.cluster), (vec![net("10.1.7.0/24")], vec![net("10.1.0.0/16")]));
        let alone = Settings::default().node(Some(&[net("10.1.7.0/24")]), None).expect("sound");
        assert_eq!(alone.cluster, [net("10.1.7.0/24")]);
    }

    #[test]
    fn mistakes_are_named() {
        let message = |text: &str| Settings::read(file(text).path()).expect_err(text).to_string();
        assert!(message(r#"{"pool": []}"#).contains("unknown field `pool`"));
        assert!(message(r#"{"pools": ["10.1.0.1/24"]}"#).contains("pools[0] is 10.1.0.1/24"));
        assert!(message(r#"{"pools": []}"#).contains("at least one block"));
        assert!(message("{").contains("EOF"));
    }

    #[test]
    fn a_pool_is_part_of_the_cluster() {
        let cluster = [net("10.244.0.0/16"), net("fd00::/48")];
        let node = |pool: &str| Settings::default().node(Some(&[net(pool)]), Some(&cluster));
        assert!(node("10.244.1.0/24").is_ok() && node("fd00:0:0:1::/64").is_ok());
        for outside in ["10.9.1.0/24", "10.0.0.0/8", "fd01::/64"] {
            let error = node(outside).expect_err(outside).to_string();
            assert!(error.contains(outside) && error.contains("10.244.0.0/16, fd00::/48"), "{error}");
        }
    }

    #[test]
    fn addresses_of_ipam_belong_to_the_cluster() {
        let ranges = [net("10.20.0.0/16")];
        let cluster = |text: &str, given: Option<&[IpNet]>| {
            let settings = Settings::read(file(text).path()).expect("well-formed");
            let cluster = settings.cluster_with(&ranges);
            let node = settings.node(Some(&ranges), given.or(Some(&cluster)));
            node.map(|node| node.cluster)
        };
        let both = r#"{"pools": ["10.244.1.0/24"], "cluster": ["10.244.0.0/16"]}"#;
        assert_eq!(cluster(both, None).expect("sound"), [net("10.244.0.0/16"), ranges[0]]);
        let pools = r#"{"pools": ["10.244.1.0/24"]}"#;
        assert_eq!(cluster(pools, None).expect("sound"), [net("10.244.1.0/24"), ranges[0]]);
        assert_eq!(cluster("{}", None).expect("sound"), ranges);
        assert!(cluster(both, Some(&[net("10.244.0.0/16")])).is_err());
    }
}
