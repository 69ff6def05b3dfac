//! What a VXLAN device knows of the peers: behind which address a hardware address is (its forwarding database), and
//! which hardware address a next hop has (the node's neighbours there).
//!
//! Both are written by podwire alone, and stay until it takes them away.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, NLM_F_CREATE, NLM_F_REPLACE, NlasIterator, parse_ip};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::names::MacAddress;

use super::Error;
use super::address::family;
use super::socket::{Request, Socket};

/// A peer's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its hardware address.
    pub mac: MacAddress,
    /// The peer's address in the network between nodes.
    pub address: IpAddr,
}

/// A next hop through the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// Of no interface: it stands for the peer in routes.
    pub address: IpAddr,
    /// Of the peer's device.
    pub mac: MacAddress,
}

/// An entry as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) interface: u32,
    /// Whether it is of the forwarding database, else one of the node's neighbours.
    pub(super) forwarding: bool,
    pub(super) address: Option<IpAddr>,
    pub(super) mac: Option<MacAddress>,
    /// Whether it stays until somebody takes it away.
    pub(super) permanent: bool,
}

impl Entry {
    pub(super) fn peer(&self) -> Option<Peer> {
        let Self { address, mac, .. } = *self;
        Some(Peer { mac: mac?, address: address? }).filter(|_| self.forwarding)
    }

    pub(super) fn neighbour(&self) -> Option<Neighbour> {
        let Self { address, mac, .. } = *self;
        Some(Neighbour { address: address?, mac: mac.unwrap_or(MacAddress([0; 6])) })
            .filter(|_| !self.forwarding)
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let header = NeighbourHeader::parse(body)?;
        let mut entry = Self {
            interface: header.ifindex,
            forwarding: header.family == AddressFamily::Bridge,
            address: None,
            mac: None,
            permanent: u16::from(header.state) & u16::from(NeighbourState::Permanent) != 0,
        };
        for attribute in NlasIterator::new(body.get(HEADER..).unwrap_or_default()) {
            let attribute = attribute?;
            match attribute.kind() {
                NDA_DST => entry.address = parse_ip(attribute.value()).ok(),
                NDA_LLADDR => entry.mac = attribute.value().try_into().ok().map(MacAddress),
                _ => (),
            }
        }
        Ok(entry)
    }
}

/// The length of struct ndmsg.
const HEADER: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// What the device of that index knows.
pub(super) fn known(socket: &mut Socket, device: u32) -> Result<Vec<Entry>, Error> {
    let mut known = Vec::new();
    for family in [AddressFamily::Bridge, AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        message.attributes = vec![NeighbourAttribute::IfIndex(device)];
        // Linux before 4.20 answers for all devices.
        let decode = |body: &[u8]| Ok(Some(Entry::decode(body)?).filter(|entry| entry.interface == device));
        known.extend(socket.dump(&RouteNetlinkMessage::GetNeighbour(message), "neighbours", decode)?);
    }
    Ok(known)
}

/// Says where a peer is; whatever was said of its hardware address before is no longer true.
pub(super) fn set_peer(device: u32, peer: &Peer) -> Request {
    let step = format!("send what is for {} to {}", peer.mac, peer.address);
    set(permanent(forwarding(device, peer)), step)
}

/// Takes it away.
pub(super) fn remove_peer(device: u32, peer: &Peer) -> Request {
    let step = format!("no longer send what is for {} to {}", peer.mac, peer.address);
    remove(forwarding(device, peer), step)
}

/// Says which hardware address a next hop has.
pub(super) fn set_neighbour(device: u32, neighbour: &Neighbour) -> Request {
    let mut message = next_hop(device, neighbour);
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(neighbour.mac.0.to_vec()));
    set(permanent(message), format!("say that {} has {}", neighbour.address, neighbour.mac))
}

/// Takes it away.
pub(super) fn remove_neighbour(device: u32, neighbour: &Neighbour) -> Request {
    remove(next_hop(device, neighbour), format!("forget who has {}", neighbour.address))
}

fn set(message: NeighbourMessage, step: String) -> Request {
    Request::new(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE, step)
}

fn remove(message: NeighbourMessage, step: String) -> Request {
    Request::new(RouteNetlinkMessage::DelNeighbour(message), 0, step)
        .tolerating(&[Errno::NOENT, Errno::NODEV])
}

fn permanent(mut message: NeighbourMessage) -> NeighbourMessage {
    message.header.state = NeighbourState::Permanent;
    message
}

fn forwarding(device: u32, peer: &Peer) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family: AddressFamily::Bridge,
        ifindex: device,
        flags: NeighbourFlags::Own,
        ..NeighbourHeader::default()
    };
    message.attributes = vec![
        NeighbourAttribute::LinkLayerAddress(peer.mac.0.to_vec()),
        NeighbourAttribute::Destination(NeighbourAddress::from(peer.address)),
    ];
    message
}

fn next_hop(device: u32, neighbour: &Neighbour) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let family = family(neighbour.address);
    message.header = NeighbourHeader { family, ifindex: device, ..NeighbourHeader::default() };
    message.attributes = vec![NeighbourAttribute::Destination(neighbour.address.into())];
    message
}
