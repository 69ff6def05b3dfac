//! Who belongs to the cluster, and what a policy is asked because of it.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::config::{self, Settings};
use crate::plan::{Node, NodeRequest, Peer, Role, Uplink};
use crate::state::State;

/// This node, as the source of the membership knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Its name in the cluster.
    pub name: String,
    /// What it does for the cluster.
    pub role: Role,
    /// Its addresses in the network between nodes.
    pub addresses: Vec<IpAddr>,
    /// Blocks from which its pods get their addresses. Empty on a router, and as long as nobody has given it any.
    pub pools: Vec<IpNet>,
}

/// Who belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// This node.
    pub own: Own,
    /// The others, by name.
    pub peers: Arc<[Peer]>,
}

impl Membership {
    /// Puts the others in the order of their names, so that the same members are the same membership.
    pub fn new(own: Own, mut peers: Vec<Peer>) -> Self {
        peers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self { own, peers: peers.into() }
    }

    /// As `node.json` and `peers.json` have it. One file of peers serves every node: what `node.json` leaves out of
    /// this one stands in the entry of its name.
    pub fn read(state: &State, settings: &Settings, role: Role) -> Result<Self, config::Error> {
        let name = settings.name();
        let (entries, peers): (Vec<_>, Vec<_>) =
            config::read_peers(&state.peers())?.into_iter().partition(|peer| peer.name == name);
        let entry = entries.into_iter().next();
        let (known, given) = entry.map(|entry| (entry.addresses, entry.pools)).unwrap_or_default();
        let addresses = if settings.addresses.is_empty() { known } else { settings.addresses.clone() };
        let pools = match (&settings.pools, role) {
            (_, Role::Router) => Vec::new(),
            (Some(pools), Role::Host) => pools.clone(),
            (None, Role::Host) if given.is_empty() => vec![config::default_pool()],
            (None, Role::Host) => given,
        };
        Ok(Self::new(Own { name, role, addresses, pools }, peers))
    }

    /// What the policy is asked. The blocks of all pods are those that `node.json` names, else those that the source
    /// knows.
    pub fn request(
        self,
        settings: &Settings,
        cluster: &[IpNet],
        uplinks: Vec<Uplink>,
    ) -> Result<NodeRequest, config::Error> {
        let Own { name, role, addresses, pools } = self.own;
        let cluster = settings.cluster_of(&pools, cluster);
        let node = Node { name, addresses, pools, cluster };
        config::inside_cluster(&node)?;
        let config = settings.policy_config().to_owned();
        Ok(NodeRequest { node, role, uplinks, peers: self.peers, config })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(node: &str, peers: &str, role: Role) -> (Settings, Membership) {
        let root = tempfile::tempdir().expect("a folder");
        let state = State::new(Some(root.path()));
        std::fs::create_dir(&state.etc).expect("a folder");
        crate::state::write_atomically(&state.node_config(), node.as_bytes()).expect("room");
        crate::state::write_atomically(&state.peers(), peers.as_bytes()).expect("room");
        let settings = Settings::read(&state.node_config()).expect("well-formed");
        let membership = Membership::read(&state, &settings, role).expect("well-formed");
        (settings, membership)
    }

    const PEERS: &str = r#"{"peers": [{"name": "n3"}, {"name": "n2", "pools": ["10.1.2.0/24"]},
        {"name": "n1", "addresses": ["192.168.1.11"], "pools": ["10.1.1.0/24"]}]}"#;

    #[test]
    fn one_file_of_peers_serves_every_node() {
        let (_, found) = membership(r#"{"name": "n1"}"#, PEERS, Role::Host);
        assert_eq!(found.peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(), ["n2", "n3"]);
        assert_eq!(found.own.addresses, ["192.168.1.11".parse::<IpAddr>().expect("an address")]);
        assert_eq!(found.own.pools, ["10.1.1.0/24".parse().expect("a block")]);
        let said = r#"{"name": "n1", "addresses": ["192.168.1.99"], "pools": ["10.1.9.0/24"]}"#;
        let (_, found) = membership(said, PEERS, Role::Host);
        assert_eq!(found.own.addresses, ["192.168.1.99".parse::<IpAddr>().expect("an address")]);
        assert_eq!(found.own.pools, ["10.1.9.0/24".parse().expect("a block")]);
    }

    #[test]
    fn a_router_has_no_pools() {
        let (settings, found) =
            membership(r#"{"name": "n1", "cluster": ["10.1.0.0/16"]}"#, PEERS, Role::Router);
        let request = found.request(&settings, &[], Vec::new()).expect("sound");
        assert_eq!((request.role, request.node.pools.len()), (Role::Router, 0));
        assert_eq!(request.node.cluster, ["10.1.0.0/16".parse().expect("a block")]);
    }

    #[test]
    fn the_cluster_is_what_somebody_named() {
        let known = ["10.0.0.0/8".parse().expect("a block")];
        let cluster = |node: &str, known: &[IpNet]| {
            let (settings, found) = membership(node, PEERS, Role::Host);
            let request = found.request(&settings, known, Vec::new()).expect("sound");
            request.node.cluster.iter().map(IpNet::to_string).collect::<Vec<_>>().join(" ")
        };
        let named = r#"{"name": "n1", "cluster": ["10.1.0.0/16"]}"#;
        assert_eq!(cluster(named, &known), "10.1.0.0/16");
        assert_eq!(cluster(r#"{"name": "n1"}"#, &known), "10.0.0.0/8");
        assert_eq!(cluster(r#"{"name": "n1"}"#, &[]), "10.1.1.0/24");
        assert_eq!(cluster("{}", &[]), "10.244.0.0/16");
        assert_eq!(cluster(r#"{"pools": ["10.244.1.0/24"]}"#, &[]), "10.244.1.0/24");
    }
}
