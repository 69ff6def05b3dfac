//! What is really there, in the calling thread's network namespace, and ways to disturb it.
//!
//! Asks the kernel for everything, whoever made it, and undoes a thing by the words in which the kernel
//! described it: plugins mark what they make in ways that are not known here.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use ipnet::{IpNet, Ipv4Net};
use netlink_packet_core::{DecodeError, NLM_F_CREATE, NLM_F_EXCL, Parseable as _};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkHeader, LinkInfo, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::net::socket::{Request, Socket};

/// A node's interface to elsewhere.
const UPLINK: &str = "uplink0";

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) mac: String,
}

/// An address of an interface.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) prefix: IpNet,
    message: AddressMessage,
}

/// A unicast route of the main table.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) destination: IpNet,
    pub(super) gateway: Option<IpAddr>,
    message: RouteMessage,
}

/// All links, by name.
pub(super) fn links() -> Result<Vec<Link>> {
    let decode = |body: &[u8]| Ok(Some(Link::from(LinkMessage::parse(body)?)));
    let mut links =
        Socket::route()?.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()), "links", decode)?;
    links.sort();
    Ok(links)
}

/// The link of that name.
pub(super) fn link(name: &str) -> Result<Option<Link>> {
    Ok(links()?.into_iter().find(|link| link.name == name))
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self { name: String::new(), index: message.header.index, mac: String::new() };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(bytes) => {
                    link.mac = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
                }
                _ => (),
            }
        }
        link
    }
}

/// The addresses of a link, without IPv6 link-local ones: the kernel itself makes those.
pub(super) fn addresses(link: &Link) -> Result<Vec<Address>> {
    let decode = |body: &[u8]| {
        Ok(address(AddressMessage::parse(body)?).filter(|a| a.message.header.index == link.index))
    };
    let all = Socket::route()?.dump(
        &RouteNetlinkMessage::GetAddress(AddressMessage::default()),
        "addresses",
        decode,
    )?;
    Ok(all.into_iter().filter(|address| !is_link_local(address.prefix)).collect())
}

fn is_link_local(prefix: IpNet) -> bool {
    matches!(prefix, IpNet::V6(prefix) if prefix.addr().is_unicast_link_local())
}

fn address(message: AddressMessage) -> Option<Address> {
    let local = message
        .attributes
        .iter()
        .find_map(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
    let other = message
        .attributes
        .iter()
        .find_map(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None });
    // The second is the other side's on a point-to-point link, and with IPv6 the only one.
    let prefix = IpNet::new(local.or(other)?, message.header.prefix_len).ok()?;
    Some(Address { prefix, message })
}

/// The routes of both families.
pub(super) fn routes() -> Result<Vec<Route>> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        let of_family = |route: &Route| route.message.header.address_family == family;
        let decode = |body: &[u8]| -> Result<_, DecodeError> {
            Ok(route(RouteMessage::parse(body)?).filter(of_family))
        };
        found.extend(Socket::route()?.dump(&RouteNetlinkMessage::GetRoute(question), "routes", decode)?);
    }
    Ok(found)
}

fn route(message: RouteMessage) -> Option<Route> {
    let RouteHeader { address_family, destination_prefix_length, table, kind, .. } = message.header;
    if table != RouteHeader::RT_TABLE_MAIN || kind != RouteType::Unicast {
        return None;
    }
    let (mut to, mut gateway) = (unspecified(address_family), None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address)?,
            RouteAttribute::Gateway(address) => gateway = ip(address),
            _ => (),
        }
    }
    Some(Route { destination: IpNet::new(to, destination_prefix_length).ok()?, gateway, message })
}

fn unspecified(family: AddressFamily) -> IpAddr {
    if family == AddressFamily::Inet6 { [0; 16].into() } else { [0; 4].into() }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// Everything of a node that an attachment may add to, in words that can be compared.
pub(super) fn snapshot() -> Result<Vec<String>> {
    let links = links()?;
    let mut all: Vec<_> = links.iter().map(|link| format!("link {}", link.name)).collect();
    for link in &links {
        all.extend(
            addresses(link)?.iter().map(|address| format!("address {} of {}", address.prefix, link.name)),
        );
    }
    // Those of IPv6 come and go with link-local addresses.
    let routes = routes()?.into_iter().filter(|route| route.destination.addr().is_ipv4());
    all.extend(routes.map(|route| format!("route {}", route.destination)));
    all.sort();
    Ok(all)
}

fn apply(message: RouteNetlinkMessage, flags: u16, step: &str) -> Result<()> {
    Ok(Socket::route()?.apply(&[Request::new(message, flags, step.to_owned())])?)
}

pub(super) fn set_loopback_up() -> Result<()> {
    let loopback = link("lo")?.context("a network namespace has lo")?;
    set_up(&loopback, true)
}

/// Gives the node what machines have: an interface to elsewhere with an address, and a default route by it. It is
/// not called eth0, which containers' interfaces are.
pub(super) fn add_uplink() -> Result<()> {
    let address = Ipv4Net::new_assert([192, 0, 2, 2].into(), 24);
    add_link(UPLINK)?;
    for link in links()? {
        set_up(&link, true)?;
    }
    let uplink = link(UPLINK)?.context("it was just made")?;
    add_address(&uplink, address.into())?;
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet,
        table: RouteHeader::RT_TABLE_MAIN,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    let gateway = RouteAddress::Inet([192, 0, 2, 1].into());
    message.attributes = vec![RouteAttribute::Gateway(gateway), RouteAttribute::Oif(uplink.index)];
    apply(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL, "add a route")
}

pub(super) fn set_up(link: &Link, up: bool) -> Result<()> {
    let flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    let header = LinkHeader { index: link.index, flags, change_mask: LinkFlags::Up, ..LinkHeader::default() };
    let mut message = LinkMessage::default();
    message.header = header;
    apply(RouteNetlinkMessage::SetLink(message), 0, "set a link up or down")
}

/// Makes a pair of links, of which one has that name.
pub(super) fn add_link(name: &str) -> Result<()> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
    ];
    apply(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, "make a link")
}

pub(super) fn delete_link(link: &Link) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    apply(RouteNetlinkMessage::DelLink(message), 0, "delete a link")
}

pub(super) fn add_address(link: &Link, prefix: IpNet) -> Result<()> {
    let mut message = AddressMessage::default();
    message.header.index = link.index;
    message.header.family = if prefix.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.attributes =
        vec![AddressAttribute::Local(prefix.addr()), AddressAttribute::Address(prefix.addr())];
    apply(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL, "add an address")
}

pub(super) fn delete_address(address: &Address) -> Result<()> {
    apply(RouteNetlinkMessage::DelAddress(address.message.clone()), 0, "delete an address")
}

pub(super) fn delete_route(route: &Route) -> Result<()> {
    apply(RouteNetlinkMessage::DelRoute(route.message.clone()), 0, "delete a route")
}
