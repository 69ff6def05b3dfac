//! What the node does with a pod's packets beyond carrying them. All of it is off unless somebody asks.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Whatever is asked for one attachment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Packets from the pod leave with the node's own address, but for those to these blocks and to
    /// multicast groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masquerade: Option<Masquerade>,
    /// What the pod must not pretend.
    pub spoof_check: SpoofCheck,
    /// Ports of the node that lead to the pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    /// How much the pod may receive and send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
}

/// Where a pod's packets keep its own address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masquerade {
    /// Destinations: the cluster's blocks.
    pub except: Vec<IpNet>,
}

/// Frames of the pod that do not leave it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpoofCheck {
    /// Those with another source hardware address than the plan's.
    pub mac: bool,
    /// Packets with another source address than the plan's.
    pub address: bool,
}

/// A port of the node that leads to the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The protocol.
    pub protocol: Protocol,
    /// The node's address; none: each of its addresses, of the families that the pod has.
    pub host_ip: Option<IpAddr>,
    /// On the node; not 0.
    pub host_port: u16,
    /// In the pod; not 0.
    pub container_port: u16,
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, host_ip, host_port, container_port } = self;
        write!(f, "{protocol} port {host_port} of ")?;
        match host_ip {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("the node")?,
        }
        write!(f, " leads to the pod's port {container_port}")
    }
}

/// A protocol that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Limits to a pod's traffic, as the capability `bandwidth` of CNI's conventions has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bandwidth {
    /// Towards the pod.
    pub ingress: Option<Rate>,
    /// From the pod.
    pub egress: Option<Rate>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// In bits a second.
    pub rate: u64,
    /// The bucket, in bits.
    pub burst: u64,
}
