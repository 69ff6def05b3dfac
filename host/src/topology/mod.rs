//! What the network looks like, as a picture.
//!
//! A [`Topology`] is plain data. Who gathers it ([`live`] from this node's kernel and leases, [`lab`] from a lab's
//! record) knows nothing of how it is drawn, and who draws it ([`text`], [`svg`], [`dot`]) nothing of where it is from.

pub mod dot;
pub mod lab;
pub mod live;
pub mod svg;
pub mod text;

use crate::plan::Role;

/// Nodes on one network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// What lies between the nodes, such as `192.168.1.0/24`; several are listed.
    pub network: String,
    /// Every node that is known of; routers first.
    pub nodes: Vec<Node>,
    /// Between nodes: who does not reach the other's pods over the network itself.
    pub tunnels: Vec<Tunnel>,
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it does for the cluster.
    pub role: Role,
    /// Whether it is the one on which this runs.
    pub is_here: bool,
    /// Its addresses in the network between nodes.
    pub addresses: Vec<String>,
    /// Such as `10.244.2.0/24 via 192.168.1.12`.
    pub routes: Vec<String>,
    /// What is seen of its pods, if it can be looked at.
    pub bridges: Vec<Bridge>,
    /// What is known of its pods, if it cannot.
    pub pools: Vec<String>,
}

/// A bridge of a node, with the pods that are its ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Each with the length of its link's prefix.
    pub addresses: Vec<String>,
    /// Its pods.
    pub pods: Vec<Pod>,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// `namespace/name`, or what else it is known by.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
}

/// Two nodes, by their places in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// One end.
    pub from: usize,
    /// The other.
    pub to: usize,
}

impl Topology {
    /// Whether packets to or from the node go through a tunnel.
    fn is_tunnelled(&self, node: usize) -> bool {
        self.tunnels.iter().any(|tunnel| tunnel.from == node || tunnel.to == node)
    }
}

impl Pod {
    fn address(&self) -> &str {
        self.addresses.first().map_or("no address", String::as_str)
    }
}
