//! What a host may ask, in few words.

use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::{AddRequest, AddressRange, Node, Pod, nth};

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
