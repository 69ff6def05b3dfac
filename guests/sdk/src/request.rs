//! What the host asks.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::{AddressRange, Family, Route, contains};

/// The node on which the policy runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// As in Kubernetes; the host name if nothing else is configured.
    pub name: String,
    /// Its own addresses in the network between nodes. May be empty.
    pub addresses: Vec<IpAddr>,
    /// The blocks from which its pods get their addresses. Never empty, but on a router.
    pub pools: Vec<IpNet>,
    /// The blocks that together hold every pod of the cluster.
    pub cluster: Vec<IpNet>,
}

impl Node {
    /// The pools of one family, in the operator's order.
    pub fn pools_of(&self, family: Family) -> impl Iterator<Item = IpNet> {
        self.pools.iter().copied().filter(move |pool| Family::of(pool.addr()) == family)
    }

    /// The pool that holds an address.
    pub fn pool_with(&self, address: IpAddr) -> Option<IpNet> {
        self.pools.iter().copied().find(|pool| contains(*pool, address))
    }
}

/// What a machine does for the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// It has pods.
    #[default]
    Host,
    /// It has none, and carries packets between those that have.
    Router,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// As in Kubernetes.
    pub name: String,
    /// What it does for the cluster.
    pub role: Role,
    /// Its addresses in the network between nodes: next hops towards its pods.
    pub addresses: Vec<IpAddr>,
    /// The blocks from which its pods get their addresses.
    pub pools: Vec<IpNet>,
}

/// What the runtime said of the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; empty if the runtime did not say.
    pub uid: String,
    /// Its annotations.
    pub annotations: Vec<(String, String)>,
}

impl Pod {
    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

/// One ADD: an interface is wanted in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddRequest {
    /// `name` of the network configuration.
    pub network: String,
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_IFNAME.
    pub ifname: String,
    /// The pod, inside Kubernetes.
    pub pod: Option<Pod>,
    /// This node.
    pub node: Node,
    /// Addresses that somebody asked for.
    pub requested_addresses: Vec<IpNet>,
    /// A hardware address that somebody asked for.
    pub requested_mac: Option<String>,
    /// Where the addresses shall come from: one of each set, whose ranges are tried in turn. None: the policy
    /// chooses from the node's pools. Empty: no address is wanted.
    pub range_sets: Option<Vec<Vec<AddressRange>>>,
    /// Routes that the network configuration asks for. One without a next hop leads to the gateway of the
    /// first address of its family.
    pub requested_routes: Vec<Route>,
    /// Facts that later hosts know.
    pub extra: Vec<(String, String)>,
}

/// One DEL, told after the host has taken the interface down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelRequest {
    /// `name` of the network configuration.
    pub network: String,
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_IFNAME.
    pub ifname: String,
    /// The pod, inside Kubernetes.
    pub pod: Option<Pod>,
    /// The addresses that are given back.
    pub addresses: Vec<IpAddr>,
}

/// An interface of the node into the network between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its name.
    pub name: String,
    /// Each with the length of its link's prefix: a peer with an address in that block is on-link.
    pub addresses: Vec<IpNet>,
    /// In bytes.
    pub mtu: u32,
}

impl Uplink {
    /// Whether an address is on its link, so that packets reach it without a router.
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| contains(*own, address))
    }
}

/// The node itself: what shall hold on it, beside the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRequest {
    /// This node.
    pub node: Node,
    /// What it does for the cluster.
    pub role: Role,
    /// Its interfaces into the network between nodes.
    pub uplinks: Vec<Uplink>,
    /// The others.
    pub peers: Vec<Peer>,
    /// Facts that later hosts know.
    pub extra: Vec<(String, String)>,
}

impl NodeRequest {
    /// The uplink that carries one of the node's own addresses.
    pub fn uplink_of(&self, own: IpAddr) -> Option<&Uplink> {
        self.uplinks.iter().find(|uplink| uplink.addresses.iter().any(|prefix| prefix.addr() == own))
    }

    /// Whether an address can be another machine's.
    pub fn is_foreign(&self, address: IpAddr) -> bool {
        let nobodys = address.is_unspecified() || address.is_multicast() || address.is_loopback();
        let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
        !nobodys && !broadcast && !self.node.addresses.contains(&address)
    }

    /// Whether an address can be a next hop: another machine's, and on the link of one of the uplinks, if these are
    /// known.
    pub fn is_next_hop(&self, address: IpAddr) -> bool {
        let on_link = self.uplinks.is_empty() || self.uplinks.iter().any(|uplink| uplink.reaches(address));
        on_link && self.is_foreign(address)
    }
}
