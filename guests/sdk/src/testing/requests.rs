//! What a host may ask, in few words.

use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::{AddRequest, AddressRange, Node, NodeRequest, Peer, Pod, Role, Uplink, nth};

/// Blocks or addresses from their text.
///
/// # Panics
/// If one of them is neither.
pub fn prefixes(texts: &[&str]) -> Vec<IpNet> {
    let prefix = |text: &&str| match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse().expect("an address or a block"),
    };
    texts.iter().map(prefix).collect()
}

/// A range of a subnet, whose gateway is the first address after the network address.
///
/// # Panics
/// If a text is no block or no address.
pub fn range(subnet: &str, first: &str, last: &str) -> AddressRange {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let subnet = subnet.parse().expect("a block");
    AddressRange { subnet, first: address(first), last: address(last), gateway: nth(subnet, 1) }
}

/// Node `n1`, with these pools, in a cluster of 10.244.0.0/16 and fd00:10:244::/48.
pub fn node(pools: &[&str]) -> Node {
    Node {
        name: "n1".to_string(),
        addresses: Vec::new(),
        pools: prefixes(pools),
        cluster: prefixes(&["10.244.0.0/16", "fd00:10:244::/48"]),
    }
}

/// An ADD of `eth0` for a container on a node with these pools, outside Kubernetes, that asks for nothing.
pub fn add_request(container_id: &str, pools: &[&str]) -> AddRequest {
    AddRequest {
        network: "pods".to_string(),
        container_id: container_id.to_string(),
        ifname: "eth0".to_string(),
        pod: None,
        node: node(pools),
        requested_addresses: Vec::new(),
        requested_mac: None,
        range_sets: None,
        requested_routes: Vec::new(),
        extra: Vec::new(),
    }
}

/// Another node, of [`Role::Host`].
///
/// # Panics
/// If a text is no address or no block.
pub fn peer(name: &str, addresses: &[&str], pools: &[&str]) -> Peer {
    let (name, addresses) = (name.to_string(), prefixes(addresses).iter().map(IpNet::addr).collect());
    Peer { name, role: Role::Host, addresses, pools: prefixes(pools) }
}

/// What shall hold on node `n1`, with these pools, no addresses, and uplinks that are not known?
pub fn node_request(pools: &[&str], peers: Vec<Peer>) -> NodeRequest {
    NodeRequest { node: node(pools), role: Role::Host, uplinks: Vec::new(), peers, extra: Vec::new() }
}

/// What a test's request says beyond [`node_request`].
impl NodeRequest {
    /// With an uplink of these addresses, each with the length of its link's prefix, which are the node's too.
    ///
    /// # Panics
    /// If one of them is none.
    pub fn on_uplink(mut self, name: &str, addresses: &[&str], mtu: u32) -> Self {
        let addresses = prefixes(addresses);
        self.node.addresses.extend(addresses.iter().map(IpNet::addr));
        self.uplinks.push(Uplink { name: name.to_string(), addresses, mtu });
        self
    }

    /// Of a node without pods, that carries packets between those with pods.
    pub fn of_router(mut self) -> Self {
        (self.role, self.node.pools) = (Role::Router, Vec::new());
        self
    }
}

/// What a test's request says beyond [`add_request`].
impl AddRequest {
    /// For a pod of a namespace, instead of a container outside Kubernetes.
    pub fn for_pod(mut self, namespace: &str, name: &str) -> Self {
        self.pod = Some(Pod { namespace: namespace.to_string(), name: name.to_string(), ..Pod::default() });
        self
    }

    /// With an annotation of its pod.
    ///
    /// # Panics
    /// If it is for no pod.
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        let pod = self.pod.as_mut().expect("for_pod comes first");
        pod.annotations.push((key.to_string(), value.to_string()));
        self
    }

    /// Asking for these addresses.
    ///
    /// # Panics
    /// If one of them is none.
    pub fn asking_for(mut self, addresses: &[&str]) -> Self {
        self.requested_addresses = prefixes(addresses);
        self
    }
}
