//! Every interface of the node with its addresses, for whoever looks at the node as a whole.
//!
//! Reads only, and decodes only what is looked at: see [`super::link`].

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NlasIterator, parse_string, parse_u32};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkMessage};

use super::frame::attribute;
use super::link::LINK_HEADER;
use super::route::{self, Found};
use super::socket::Socket;
use super::{Error, address};
use crate::plan::marks::{ALIAS, GROUP};

/// An interface, as the kernel says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// As in `ip link add … type KIND`; none for hardware.
    pub kind: Option<String>,
    /// In bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// The index of the bridge of which it is a port.
    pub master: Option<u32>,
    /// Whether podwire made it, or had it handed over.
    pub ours: bool,
    /// What it has, if it is a VXLAN.
    pub vxlan: Option<Tunnels>,
    /// Its addresses, each with the length of its link's prefix. Not looked for on podwire's veths.
    pub addresses: Vec<IpNet>,
}

/// What tells one VXLAN of a node from another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tunnels {
    /// The VXLAN network identifier.
    pub id: u32,
    /// The UDP port.
    pub port: u16,
}

/// What a node's network consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// In the order of their indices.
    pub interfaces: Vec<Interface>,
    /// Of the main table.
    pub routes: Vec<Found>,
}

impl Survey {
    /// Looks at the network namespace of the calling thread.
    pub fn make() -> Result<Self, Error> {
        let mut socket = Socket::route()?;
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let decode = |body: &[u8]| Interface::decode(body).map(Some);
        let mut interfaces = socket.dump(&question, "links", decode)?;
        for interface in interfaces.iter_mut().filter(|it| !(it.ours && it.is("veth"))) {
            let found = address::of(&mut socket, interface.index)?;
            interface.addresses = found.into_iter().map(|found| found.prefix).collect();
        }
        Ok(Self { interfaces, routes: route::all(&mut socket)? })
    }

    /// The interface of that index.
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }

    /// The ports of the bridge of that index.
    pub fn ports(&self, bridge: u32) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(move |interface| interface.master == Some(bridge))
    }
}

impl Interface {
    /// Whether it is of that kind.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }

    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let header = LinkHeader::parse(body)?;
        let up = header.flags.contains(LinkFlags::Up);
        let mut interface = Self { index: header.index, up, ..Self::default() };
        for attribute in NlasIterator::new(&body[LINK_HEADER..]) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                IFLA_IFNAME => interface.name = parse_string(value)?,
                IFLA_MTU => interface.mtu = parse_u32(value)?,
                IFLA_MASTER => interface.master = Some(parse_u32(value)?),
                IFLA_GROUP => interface.ours |= parse_u32(value)? == GROUP,
                IFLA_IFALIAS => interface.ours |= parse_string(value)? == ALIAS,
                IFLA_LINKINFO => interface.take_info(value)?,
                _ => (),
            }
        }
        Ok(interface)
    }

    fn take_info(&mut self, info: &[u8]) -> Result<(), DecodeError> {
        self.kind = attribute(info, IFLA_INFO_KIND)?.map(|kind| parse_string(kind.value())).transpose()?;
        let Some(data) = attribute(info, IFLA_INFO_DATA)?.filter(|_| self.is("vxlan")) else { return Ok(()) };
        let id = attribute(data.value(), IFLA_VXLAN_ID)?.map(|id| parse_u32(id.value())).transpose()?;
        let port = attribute(data.value(), IFLA_VXLAN_PORT)?;
        let port = port.and_then(|port| Some(u16::from_be_bytes(port.value().try_into().ok()?)));
        self.vxlan = Some(Tunnels { id: id.unwrap_or_default(), port: port.unwrap_or_default() });
        Ok(())
    }
}

const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_PORT: u16 = 15;
