//! What is put right on a node, in words, and as the difference that it was before.

use std::fmt::{self, Display};

use ipnet::IpNet;

use crate::names::InterfaceName;
use crate::net::inspect::Difference;
use crate::net::route::Route;
use crate::net::sysctl::Sysctl;
use crate::net::tunnel::{Neighbour, Peer};

/// One thing that was, or is to be, put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A switch was off.
    Forwarding(Sysctl),
    /// A bridge was missing.
    BridgeCreated(InterfaceName),
    /// A bridge was down, without podwire's mark, or of another MTU.
    BridgeSettled(InterfaceName, Option<u32>),
    /// A bridge lacked an address.
    AddressAdded(InterfaceName, IpNet),
    /// A bridge had an address that podwire gave it and no plan names.
    AddressRemoved(InterfaceName, IpNet),
    /// A bridge of podwire's without ports, which no plan names.
    BridgeRemoved(InterfaceName),
    /// The VXLAN device was missing.
    VxlanCreated(InterfaceName),
    /// The VXLAN device had another identifier, port, or end.
    VxlanReplaced(InterfaceName),
    /// The VXLAN device was down, without podwire's mark, or of another MTU.
    VxlanSettled(InterfaceName, u32),
    /// A VXLAN device of podwire's that no plan names.
    VxlanRemoved(InterfaceName),
    /// The VXLAN device did not know where a peer is, or had it elsewhere.
    PeerSet(Peer),
    /// The VXLAN device had an entry that no route needs.
    PeerRemoved(Peer),
    /// A next hop through the tunnel had no hardware address, or another.
    NeighbourSet(Neighbour),
    /// A next hop through the tunnel that no route needs.
    NeighbourRemoved(Neighbour),
    /// A route was missing.
    RouteAdded(Route),
    /// A route of podwire's led elsewhere: how, in words.
    RouteReplaced(Route, String),
    /// A route of podwire's that no plan names.
    RouteRemoved(Route),
    /// What these blocks' pods send out of the cluster did not, or not only, leave with the node's own address.
    MasqueradeSet(Vec<IpNet>),
    /// There was masquerade that no plan names.
    MasqueradeRemoved,
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarding(switch) => write!(f, "{} set to 1", switch.name()),
            Self::BridgeCreated(_) | Self::VxlanCreated(_) => write!(f, "{} created", self.subject()),
            Self::BridgeSettled(_, None) => write!(f, "{} set up", self.subject()),
            Self::BridgeSettled(_, Some(mtu)) | Self::VxlanSettled(_, mtu) => {
                write!(f, "{} set up with MTU {mtu}", self.subject())
            }
            Self::AddressAdded(name, prefix) => write!(f, "address {prefix} added to {name}"),
            Self::AddressRemoved(name, prefix) => write!(f, "address {prefix} removed from {name}"),
            Self::VxlanReplaced(_) => write!(f, "{} made anew", self.subject()),
            Self::PeerSet(_) | Self::NeighbourSet(_) | Self::MasqueradeSet(_) => {
                write!(f, "{} set", self.subject())
            }
            Self::RouteAdded(_) => write!(f, "{} added", self.subject()),
            Self::RouteReplaced(_, before) => write!(f, "{} put in place of {before}", self.subject()),
            _ => write!(f, "{} removed", self.subject()),
        }
    }
}

impl Change {
    /// What it is about.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Forwarding(switch) => switch.name(),
            Self::BridgeCreated(name) | Self::BridgeSettled(name, _) | Self::BridgeRemoved(name) => {
                format!("bridge {name}")
            }
            Self::AddressAdded(name, prefix) | Self::AddressRemoved(name, prefix) => {
                format!("address {prefix} of {name}")
            }
            Self::VxlanCreated(name)
            | Self::VxlanReplaced(name)
            | Self::VxlanSettled(name, _)
            | Self::VxlanRemoved(name) => format!("VXLAN device {name}"),
            Self::PeerSet(peer) | Self::PeerRemoved(peer) => {
                format!("tunnel to {} ({})", peer.address, peer.mac)
            }
            Self::NeighbourSet(neighbour) | Self::NeighbourRemoved(neighbour) => {
                format!("next hop {} ({})", neighbour.address, neighbour.mac)
            }
            Self::RouteAdded(route) | Self::RouteReplaced(route, _) | Self::RouteRemoved(route) => {
                format!("route {route}")
            }
            Self::MasqueradeSet(blocks) => {
                let blocks: Vec<String> = blocks.iter().map(ToString::to_string).collect();
                format!("masquerade of {}", blocks.join(", "))
            }
            Self::MasqueradeRemoved => "masquerade of the node".to_owned(),
        }
    }

    /// The same thing before it is put right.
    pub(super) fn difference(&self) -> Difference {
        let (expected, found) = match self {
            Self::Forwarding(_) => ("1".to_owned(), "off".to_owned()),
            Self::BridgeSettled(_, mtu) => (settled(*mtu), otherwise()),
            Self::VxlanSettled(_, mtu) => (settled(Some(*mtu)), otherwise()),
            Self::VxlanReplaced(_) => ("as planned".to_owned(), otherwise()),
            Self::PeerSet(_) | Self::NeighbourSet(_) | Self::MasqueradeSet(_) => {
                (present(), "none, or otherwise".to_owned())
            }
            Self::RouteReplaced(_, before) => (present(), before.clone()),
            Self::BridgeCreated(_) | Self::VxlanCreated(_) | Self::AddressAdded(..) | Self::RouteAdded(_) => {
                (present(), none())
            }
            _ => (none(), present()),
        };
        Difference { what: self.subject(), expected, found }
    }
}

fn settled(mtu: Option<u32>) -> String {
    format!("up and marked{}", mtu.map(|mtu| format!(" with MTU {mtu}")).unwrap_or_default())
}

fn otherwise() -> String {
    "otherwise".to_owned()
}

fn present() -> String {
    "present".to_owned()
}

pub(super) fn none() -> String {
    "none".to_owned()
}
