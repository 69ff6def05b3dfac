//! Links: the requests that make, change and remove them, and what the kernel says of them.
//!
//! Requests are typed; of an answer only the attributes that podwire compares are decoded, because a
//! decoder of all of them stops at the first that a newer kernel writes in another way.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    DecodeError, NLM_F_CREATE, NLM_F_EXCL, NlaBuffer, NlasIterator, parse_i32, parse_ip, parse_string,
    parse_u16_be, parse_u32,
};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkHeader, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::names::{InterfaceName, MacAddress};
use crate::plan::marks::{ALIAS, GROUP};

use super::Error;
use super::frame::{Frame, attribute};
use super::socket::{Request, Socket};

/// An interface to act on: the kernel wants its index, the operator its name.
#[derive(Debug, Clone, Copy)]
pub struct Interface<'a> {
    /// In the network namespace of the socket.
    pub index: u32,
    /// For what is said of it.
    pub name: &'a str,
}

/// A veth pair to make.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    /// The end in the socket's namespace.
    pub near: &'a InterfaceName,
    /// Its hardware address; none: the kernel draws one.
    pub near_mac: Option<MacAddress>,
    /// The end in the other namespace.
    pub far: &'a InterfaceName,
    /// Its hardware address; none: the kernel draws one.
    pub far_mac: Option<MacAddress>,
    /// Of both ends, in bytes.
    pub mtu: u32,
    /// The index of the bridge of which the near end becomes a port.
    pub master: Option<u32>,
}

/// Makes a veth pair, the far end at once in its namespace. Both are down, for what has to be said before.
pub fn create_veth(veth: &Veth<'_>, namespace: BorrowedFd<'_>) -> Request {
    let mut far = end(veth.far, veth.far_mac, veth.mtu);
    far.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
    let mut peer = LinkMessage::default();
    peer.attributes = far;

    let mut near = end(veth.near, veth.near_mac, veth.mtu);
    near.push(LinkAttribute::Group(GROUP));
    near.extend(veth.master.map(LinkAttribute::Controller));
    near.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    let step = format!("create veth {} with its peer {} in the container", veth.near, veth.far);
    create(header(0), near, step)
}

fn end(name: &InterfaceName, mac: Option<MacAddress>, mtu: u32) -> Vec<LinkAttribute> {
    let mut attributes = vec![
        LinkAttribute::IfName(name.to_string()),
        LinkAttribute::Mtu(mtu),
        // Else the kernel makes one queue for each processor, then takes all but the first away again, and
        // waits until nobody can be using them.
        LinkAttribute::NumTxQueues(1),
        LinkAttribute::NumRxQueues(1),
    ];
    attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes
}

/// Sets an interface up.
pub fn set_up(interface: Interface<'_>) -> Request {
    change(up(interface.index), vec![], format!("set {} up", interface.name))
}

/// Keeps the kernel from giving an interface an IPv6 link-local address by itself. A kernel or an
/// interface without IPv6 gives none anyway.
pub fn no_link_local(interface: Interface<'_>) -> Request {
    let mode = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    let attributes = vec![LinkAttribute::AfSpecUnspec(vec![mode])];
    let step = format!("keep {} without IPv6 link-local address", interface.name);
    change(header(interface.index), attributes, step).tolerating(&[Errno::AFNOSUPPORT])
}

/// Removes a link; that it has gone by itself is fine.
pub fn delete(interface: Interface<'_>) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = interface.index;
    Request::new(RouteNetlinkMessage::DelLink(message), 0, format!("delete link {}", interface.name))
        .tolerating(&[Errno::NODEV])
}

pub(super) fn header(index: u32) -> LinkHeader {
    LinkHeader { index, ..LinkHeader::default() }
}

pub(super) fn up(index: u32) -> LinkHeader {
    LinkHeader { flags: LinkFlags::Up, change_mask: LinkFlags::Up, ..header(index) }
}

fn message(header: LinkHeader, attributes: Vec<LinkAttribute>) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    (message.header, message.attributes) = (header, attributes);
    RouteNetlinkMessage::NewLink(message)
}

pub(super) fn create(header: LinkHeader, attributes: Vec<LinkAttribute>, step: String) -> Request {
    Request::new(message(header, attributes), NLM_F_CREATE | NLM_F_EXCL, step)
}

pub(super) fn change(header: LinkHeader, attributes: Vec<LinkAttribute>, step: String) -> Request {
    Request::new(message(header, attributes), 0, step)
}

/// What the kernel says of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// As in `ip link add … type KIND`; none for hardware.
    pub kind: Option<String>,
    /// Its hardware address, if that has six bytes.
    pub mac: Option<MacAddress>,
    /// In bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it can send and receive.
    pub running: bool,
    /// The index of the bridge of which it is a port.
    pub master: Option<u32>,
    /// The index of a veth's peer, in the peer's namespace.
    pub peer: Option<u32>,
    /// This namespace's number for the peer's namespace, if that is another.
    pub peer_namespace: Option<i32>,
    /// Its group.
    pub group: u32,
    /// Its alias.
    pub alias: Option<String>,
    /// Whether it is known to have IPv6.
    pub has_ipv6: bool,
    /// Whether somebody set it to take in frames for whatever hardware address.
    pub promiscuous: bool,
    /// Whether it is a bridge's port by which a frame may leave that came in by it.
    pub hairpin: bool,
    /// Whether it is a bridge's port that is kept apart from other such.
    pub isolated: bool,
    /// Whether it is a bridge that filters by VLAN.
    pub vlan_filtering: bool,
    /// Whether it leads to the node itself.
    pub loopback: bool,
    /// What a VXLAN device does with frames.
    pub vxlan: Option<Tunnel>,
}

/// The settings of a VXLAN device that cannot be changed once it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// The VXLAN network identifier.
    pub id: u32,
    /// The UDP port.
    pub port: u16,
    /// The node's end.
    pub local: Option<IpAddr>,
    /// Whether it learns from frames where others are.
    pub learning: bool,
}

impl Link {
    /// Whether it is a bridge.
    pub fn is_bridge(&self) -> bool {
        self.kind.as_deref() == Some("bridge")
    }

    /// Whether it is a veth.
    pub fn is_veth(&self) -> bool {
        self.kind.as_deref() == Some("veth")
    }

    /// Whether it is a VXLAN device.
    pub fn is_vxlan(&self) -> bool {
        self.kind.as_deref() == Some("vxlan")
    }

    /// Whether podwire made it, or had it handed over.
    pub fn is_ours(&self) -> bool {
        self.group == GROUP || self.alias.as_deref() == Some(ALIAS)
    }

    /// Its hardware address; zeros if it has none, as an Ethernet device such as a bridge never does.
    pub fn hardware_address(&self) -> MacAddress {
        self.mac.unwrap_or(MacAddress([0; 6]))
    }

    /// To act on.
    pub fn interface(&self) -> Interface<'_> {
        Interface { index: self.index, name: &self.name }
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let header = LinkHeader::parse(body)?;
        let is = |flag| header.flags.contains(flag);
        let (up, promiscuous) = (is(LinkFlags::Up), is(LinkFlags::Promisc));
        let running = is(LinkFlags::Running);
        let mut link = Self { index: header.index, up, running, promiscuous, ..Self::default() };
        link.loopback = is(LinkFlags::Loopback);
        for attribute in NlasIterator::new(&body[LINK_HEADER..]) {
            link.take(&attribute?)?;
        }
        Ok(link)
    }

    fn take(&mut self, attribute: &NlaBuffer<&[u8]>) -> Result<(), DecodeError> {
        let value = attribute.value();
        match attribute.kind() {
            IFLA_ADDRESS => self.mac = value.try_into().ok().map(MacAddress),
            IFLA_IFNAME => self.name = parse_string(value)?,
            IFLA_MTU => self.mtu = parse_u32(value)?,
            IFLA_LINK => self.peer = Some(parse_u32(value)?),
            IFLA_MASTER => self.master = Some(parse_u32(value)?),
            IFLA_LINKINFO => self.take_info(value)?,
            IFLA_IFALIAS => self.alias = Some(parse_string(value)?),
            IFLA_AF_SPEC => self.has_ipv6 = has_ipv6(value)?,
            IFLA_GROUP => self.group = parse_u32(value)?,
            IFLA_LINK_NETNSID => self.peer_namespace = Some(parse_i32(value)?),
            _ => (),
        }
        Ok(())
    }

    fn take_info(&mut self, info: &[u8]) -> Result<(), DecodeError> {
        self.kind = attribute(info, IFLA_INFO_KIND)?.map(|kind| parse_string(kind.value())).transpose()?;
        if self.is_vxlan()
            && let Some(data) = attribute(info, IFLA_INFO_DATA)?
        {
            self.vxlan = Some(Tunnel::decode(data.value())?);
        }
        if self.is_bridge()
            && let Some(data) = attribute(info, IFLA_INFO_DATA)?
        {
            let filtering = attribute(data.value(), IFLA_BR_VLAN_FILTERING)?;
            self.vlan_filtering = filtering.is_some_and(|filtering| filtering.value() != [0]);
        }
        let kind =
            attribute(info, IFLA_INFO_SLAVE_KIND)?.map(|kind| parse_string(kind.value())).transpose()?;
        if kind.as_deref() == Some("bridge")
            && let Some(data) = attribute(info, IFLA_INFO_SLAVE_DATA)?
        {
            let is_on =
                |option| attribute(data.value(), option).map(|it| it.is_some_and(|it| it.value() != [0]));
            (self.hairpin, self.isolated) = (is_on(IFLA_BRPORT_MODE)?, is_on(IFLA_BRPORT_ISOLATED)?);
        }
        Ok(())
    }
}

impl Tunnel {
    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut tunnel = Self { id: 0, port: 0, local: None, learning: false };
        for attribute in NlasIterator::new(data) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                IFLA_VXLAN_ID => tunnel.id = parse_u32(value)?,
                IFLA_VXLAN_PORT => tunnel.port = parse_u16_be(value)?,
                IFLA_VXLAN_LOCAL | IFLA_VXLAN_LOCAL6 => tunnel.local = Some(parse_ip(value)?),
                IFLA_VXLAN_LEARNING => tunnel.learning = value != [0],
                _ => (),
            }
        }
        Ok(tunnel)
    }
}

/// Whether IPv6 is not switched off, by the list in which the kernel has all of an interface's switches.
fn has_ipv6(families: &[u8]) -> Result<bool, DecodeError> {
    let Some(family) = attribute(families, AF_INET6)? else { return Ok(false) };
    let Some(switches) = attribute(family.value(), IFLA_INET6_CONF)? else { return Ok(false) };
    Ok(switches.value().chunks(4).nth(DEVCONF_DISABLE_IPV6) == Some(&[0; 4]))
}

/// Whether the message says that the link of that index is no longer there. A bridge says something alike of a
/// port that leaves it, in a family of its own.
pub(super) fn is_removal(frame: &Frame<'_>, index: u32) -> bool {
    let header = || LinkHeader::parse(frame.body).ok();
    frame.kind == RTM_DELLINK
        && header().is_some_and(|it| it.index == index && it.interface_family == AddressFamily::Unspec)
}

/// The length of struct ifinfomsg.
pub(super) const LINK_HEADER: usize = 16;
const RTM_DELLINK: u16 = 17;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
pub(super) const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_LOCAL6: u16 = 17;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const AF_INET6: u16 = 10;
const IFLA_INET6_CONF: u16 = 2;
/// Of linux/ipv6.h.
const DEVCONF_DISABLE_IPV6: usize = 26;

/// The link of that name.
pub fn find(socket: &mut Socket, name: &InterfaceName) -> Result<Option<Link>, Error> {
    let asked = socket.ask(&[by_name(name)])?;
    found(socket, asked)
}

/// Asks for the link of that name.
pub(super) fn by_name(name: &InterfaceName) -> RouteNetlinkMessage {
    question(vec![LinkAttribute::IfName(name.to_string()), without_statistics()])
}

/// Asks for the interface of that index.
pub(super) fn by_index(index: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![without_statistics()];
    RouteNetlinkMessage::GetLink(message)
}

/// Whether a message about links says that this one can send and receive (`IFF_RUNNING`).
pub(super) fn is_running(body: &[u8], index: u32) -> bool {
    let header = LinkHeader::parse(body).ok();
    header.is_some_and(|header| header.index == index && header.flags.contains(LinkFlags::Running))
}

/// What the kernel says to [`by_name`].
pub(super) fn found(socket: &mut Socket, asked: u32) -> Result<Option<Link>, Error> {
    socket.answer(asked, "find an interface by its name", Link::decode)
}

/// All bridges.
pub fn bridges(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let kind = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]);
    let decode = |body: &[u8]| Ok(Some(Link::decode(body)?).filter(Link::is_bridge));
    socket.dump(&question(vec![kind, without_statistics()]), "bridges", decode)
}

/// All VXLAN devices.
pub fn vxlans(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let kind = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vxlan)]);
    let decode = |body: &[u8]| Ok(Some(Link::decode(body)?).filter(Link::is_vxlan));
    socket.dump(&question(vec![kind, without_statistics()]), "VXLAN devices", decode)
}

/// All of them.
pub fn all(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    socket.dump(&question(vec![without_statistics()]), "links", |body| Link::decode(body).map(Some))
}

/// All that podwire made.
pub fn own(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let decode = |body: &[u8]| Ok(Some(Link::decode(body)?).filter(|link| link.group == GROUP));
    socket.dump(&question(vec![without_statistics()]), "links", decode)
}

/// The ports of a bridge.
pub fn ports(socket: &mut Socket, bridge: u32) -> Result<Vec<Link>, Error> {
    let of_bridge = |link: &Link| link.master == Some(bridge);
    let decode = |body: &[u8]| Ok(Some(Link::decode(body)?).filter(of_bridge));
    socket.dump(&question(vec![LinkAttribute::Controller(bridge), without_statistics()]), "ports", decode)
}

fn question(attributes: Vec<LinkAttribute>) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    RouteNetlinkMessage::GetLink(message)
}

/// Counters are most of what the kernel would say of a link.
fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}
