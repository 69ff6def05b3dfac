//! A Node as the API server writes it, as far as it counts here.
//!
//! Managed fields, images and conditions are nearly all of a Node's 10 to 20 KiB, and what its heartbeats change: they
//! are passed over while the text is read, so that a heartbeat costs neither memory nor a comparison of them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::plan::Role;

/// The address that other nodes use, in the API's words.
const INTERNAL: &str = "InternalIP";
/// What the label `podwire.dev/role` says of a node that carries packets and has no pods.
const ROUTER: &str = "router";

/// A Node.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Node {
    pub(super) metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default)]
    pub(super) resource_version: String,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    labels: Labels,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Labels {
    #[serde(rename = "podwire.dev/role")]
    role: Option<String>,
}

/// `podCIDR` is the older key; a server that knows `podCIDRs` repeats its first block there.
#[derive(Debug, Clone, Default, Deserialize)]
struct Spec {
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    addresses: Vec<Address>,
}

#[derive(Debug, Clone, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

/// A page of the list of all Nodes.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) metadata: PageMetadata,
    /// A server without Nodes may write `null`.
    pub(super) items: Option<Vec<Node>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMetadata {
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(super) rest: String,
}

/// What a Node says that routes depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) role: Role,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) pools: Vec<IpNet>,
    /// Somebody deletes it, and something still holds it.
    pub(super) leaving: bool,
}

impl From<&Node> for Member {
    fn from(node: &Node) -> Self {
        let Spec { pod_cidrs, pod_cidr } = &node.spec;
        let blocks = pod_cidrs.iter().chain(pod_cidr.iter().filter(|_| pod_cidrs.is_empty()));
        let internal = node.status.addresses.iter().filter(|address| address.kind == INTERNAL);
        let is_router = node.metadata.labels.role.as_deref() == Some(ROUTER);
        Self {
            role: if is_router { Role::Router } else { Role::Host },
            addresses: internal.filter_map(|internal| internal.address.parse().ok()).collect(),
            pools: blocks
                .filter_map(|block| block.parse::<IpNet>().ok())
                .map(|block| block.trunc())
                .collect(),
            leaving: node.metadata.deletion_timestamp.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(json: &str) -> Member {
        Member::from(&serde_json::from_str::<Node>(json).expect("a Node"))
    }

    #[test]
    fn what_counts_is_read_and_the_rest_passed_over() {
        let both = member(
            r#"{"metadata": {"name": "n1", "resourceVersion": "7", "labels": {"podwire.dev/role": "router", "a": "b"},
                             "managedFields": [{"fieldsV1": {"f:metadata": {"f:labels": {}}}}]},
                "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:0:0:1::/64"]},
                "status": {"addresses": [{"type": "Hostname", "address": "n1"},
                                         {"type": "InternalIP", "address": "192.168.1.1"},
                                         {"type": "ExternalIP", "address": "203.0.113.1"},
                                         {"type": "InternalIP", "address": "fd01::1"}]}}"#,
        );
        let addresses = ["192.168.1.1", "fd01::1"].map(|text| text.parse().expect("an address"));
        let pools = ["10.244.1.0/24", "fd00:0:0:1::/64"].map(|text| text.parse().expect("a block"));
        let expected =
            Member { role: Role::Router, addresses: addresses.into(), pools: pools.into(), leaving: false };
        assert_eq!(both, expected);
    }

    #[test]
    fn the_older_key_serves_where_the_newer_is_missing() {
        let node = member(r#"{"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.1.0/24"}}"#);
        assert_eq!(node.pools, ["10.244.1.0/24".parse().expect("a block")]);
    }

    #[test]
    fn a_node_that_was_only_just_made_is_no_error() {
        let node = member(r#"{"metadata": {"name": "n1", "deletionTimestamp": "2026-11-23T12:00:00Z"}}"#);
        assert!(node.leaving && node.pools.is_empty() && node.addresses.is_empty());
    }
}
