//! A bridge that a plan names: found or made, podwire's own or the operator's, with what the plan gives it.

use ipnet::IpNet;
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags,
    LinkHeader, LinkInfo,
};
use rustix::io::Errno;

use crate::names::{InterfaceName, MacAddress};
use crate::plan::derived::{bridge_addresses, bridge_mac, has_ipv6, is_in_the_way, link_local};
use crate::plan::marks::{ALIAS, GROUP};
use crate::plan::{Bridge, PortVlans};

use super::link::{self, Interface, Link};
use super::socket::{Request, Socket};
use super::sysctl::enable_ipv6;
use super::{Error, address};

/// The bridge, made if it is missing.
pub fn find_or_create(socket: &mut Socket, plan: &Bridge) -> Result<Link, Error> {
    match find(socket, plan)? {
        Some(bridge) => Ok(bridge),
        None => create(socket, plan, Vlans::Ignored),
    }
}

/// Two that make a bridge at the same time both get it.
pub(super) fn create(socket: &mut Socket, plan: &Bridge, vlans: Vlans) -> Result<Link, Error> {
    let create = creation(&plan.name, bridge_mac(plan), vlans).tolerating(&[Errno::EXIST]);
    socket.apply(&[create]).map_err(|error| no_vlans(error, plan, vlans))?;
    find(socket, plan)?.ok_or(Error::BridgeGone(plan.name.clone()))
}

/// The bridge, if it is there; an error if something else has its name, or if it is somebody else's.
pub fn find(socket: &mut Socket, plan: &Bridge) -> Result<Option<Link>, Error> {
    link::find(socket, &plan.name)?.map(|found| check(found, plan)).transpose()
}

/// A bridge that podwire may use.
pub(super) fn check(found: Link, plan: &Bridge) -> Result<Link, Error> {
    if !found.is_bridge() {
        let kind = found.kind.unwrap_or_else(|| "hardware interface".to_owned());
        return Err(Error::NotABridge { name: plan.name.clone(), kind });
    }
    let may_be_used = found.is_ours() || plan.operators;
    if may_be_used { Ok(found) } else { Err(Error::ForeignBridge(plan.name.clone())) }
}

/// What a bridge does with the VLAN of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vlans {
    /// Nothing.
    Ignored,
    /// It is forwarded only between ports that are in it.
    Filtered,
}

impl Vlans {
    /// What a port in these VLANs needs.
    pub(super) fn needed(port: Option<&PortVlans>) -> Self {
        if port.is_some() { Self::Filtered } else { Self::Ignored }
    }
}

/// Makes a bridge. It is down: see [`settle`].
pub fn creation(name: &InterfaceName, mac: MacAddress, vlans: Vlans) -> Request {
    let mut kind = vec![LinkInfo::Kind(InfoKind::Bridge)];
    kind.extend((vlans == Vlans::Filtered).then(filtering));
    let attributes = vec![
        LinkAttribute::IfName(name.to_string()),
        // Set when it is made, so that neither the first port's address nor udev changes it.
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::Group(GROUP),
        LinkAttribute::LinkInfo(kind),
    ];
    link::create(LinkHeader::default(), attributes, format!("create bridge {name}"))
}

fn filtering() -> LinkInfo {
    LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)]))
}

/// Has a bridge that is there filter by VLAN. Nothing changes for ports of which no VLAN was ever said: the kernel
/// has put each into VLAN 1.
pub(super) fn filter_by_vlan(socket: &mut Socket, found: &Link, plan: &Bridge) -> Result<(), Error> {
    if found.vlan_filtering {
        return Ok(());
    }
    let kind = vec![LinkInfo::Kind(InfoKind::Bridge), filtering()];
    let step = format!("have bridge {} filter by VLAN", plan.name);
    let change = link::change(link::header(found.index), vec![LinkAttribute::LinkInfo(kind)], step);
    socket.apply(&[change]).map_err(|error| no_vlans(error, plan, Vlans::Filtered))
}

/// Of a bridge without VLANs, such a refusal has other reasons.
fn no_vlans(error: Error, plan: &Bridge, vlans: Vlans) -> Error {
    match error {
        Error::Refused(refused) if refused.errno == Errno::OPNOTSUPP && vlans == Vlans::Filtered => {
            Error::NoVlanFiltering(plan.name.clone())
        }
        error => error,
    }
}

/// What a bridge still lacks of what the plan gives it, addresses excepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacks {
    /// It is down, or podwire's own and without a mark for people: nobody has finished making it.
    pub settling: bool,
    /// Its MTU is not this.
    pub mtu: Option<u32>,
    /// It takes in frames for its own hardware address only.
    pub promiscuous: bool,
}

impl Lacks {
    /// Compares.
    pub fn of(found: &Link, plan: &Bridge) -> Self {
        let unmarked = found.is_ours() && found.alias.as_deref() != Some(ALIAS);
        Self {
            settling: !found.up || unmarked,
            mtu: plan.mtu.filter(|mtu| *mtu != found.mtu),
            promiscuous: plan.promiscuous && !found.promiscuous,
        }
    }

    /// Whether giving it changes how a bridge treats others' frames.
    pub fn alters(&self) -> bool {
        self.mtu.is_some() || self.promiscuous
    }

    /// Whether it lacks nothing.
    pub fn is_nothing(&self) -> bool {
        !self.settling && self.mtu.is_none() && !self.promiscuous
    }
}

/// The requests that give a bridge what it lacks. Whoever finds it unfinished finishes it: the process that
/// made it may have been killed. IPv6 may be off on a finished one too, if it had no such address before.
pub fn settle(found: &Link, plan: &Bridge) -> Result<Vec<Request>, Error> {
    if has_ipv6(&plan.addresses) && !found.has_ipv6 {
        enable_ipv6(&found.name)?;
    }
    let lacks = Lacks::of(found, plan);
    if lacks.is_nothing() {
        return Ok(Vec::new());
    }
    let mut requests = Vec::with_capacity(2 + plan.addresses.len());
    // One that was handed over keeps what its maker gave it.
    if found.group == GROUP {
        requests.push(link::no_link_local(found.interface()));
    }
    requests.push(settling(found, &lacks));
    Ok(requests)
}

/// Marks a bridge of podwire's for people, and sets it up.
fn settling(found: &Link, lacks: &Lacks) -> Request {
    let mut header = link::up(found.index);
    let mut step = format!("set bridge {} up", found.name);
    if lacks.promiscuous {
        header.flags |= LinkFlags::Promisc;
        header.change_mask |= LinkFlags::Promisc;
        step.push_str(" and promiscuous");
    }
    let mut attributes = Vec::with_capacity(2);
    attributes.extend(found.is_ours().then(|| LinkAttribute::IfAlias(ALIAS.to_owned())));
    if let Some(mtu) = lacks.mtu {
        attributes.push(LinkAttribute::Mtu(mtu));
        step.push_str(&format!(" with MTU {mtu}"));
    }
    link::change(header, attributes, step)
}

/// The requests that take a bridge's addresses off it that stand in the way of the plan's; an error if one of them is
/// the node's own. To be made before those
/// are given: with an IPv4 address go the later ones of its link.
pub(super) fn clear(socket: &mut Socket, found: &Link, plan: &Bridge) -> Result<Vec<Request>, Error> {
    if !plan.exclusive {
        return Ok(Vec::new());
    }
    let others = address::of(socket, found.index)?.into_iter().map(|found| found.prefix);
    let others: Vec<IpNet> = others.filter(|prefix| is_in_the_way(plan, prefix)).collect();
    if let Some(address) = others.iter().find(|prefix| plan.kept.contains(&prefix.addr())) {
        return Err(Error::NodeAddressInTheWay { bridge: plan.name.clone(), address: *address });
    }
    Ok(others.into_iter().map(|prefix| address::delete(found.interface(), prefix)).collect())
}

/// The requests that make sure of a bridge's addresses, but for those that are known to be there.
pub fn ensure_addresses(
    bridge: Interface<'_>,
    mac: MacAddress,
    plan: &Bridge,
    there: &[IpNet],
) -> Vec<Request> {
    let missing = bridge_addresses(plan, mac).into_iter().filter(|prefix| !there.contains(prefix));
    missing.map(|prefix| address::ensure(bridge, prefix)).collect()
}

/// The request that makes sure of a bridge's link-local address, if it needs one: the kernel would have it asked for on
/// the link first, and draws one as soon as the first port is up.
pub(super) fn ensure_link_local(bridge: Interface<'_>, mac: MacAddress, plan: &Bridge) -> Option<Request> {
    has_ipv6(&plan.addresses).then(|| address::ensure(bridge, link_local(mac)))
}

/// Gives a bridge back the hardware address that it had before a port was added. Unless somebody has chosen one, the
/// kernel gives it the least of its ports', while pods keep the old one in their neighbour tables; given, it stays.
/// Podwire's own has a chosen one from the beginning.
pub(super) fn keep_address(socket: &mut Socket, before: &Link, plan: &Bridge) -> Result<(), Error> {
    if before.group == GROUP {
        return Ok(());
    }
    let now = link::find(socket, &plan.name)?.ok_or_else(|| Error::BridgeGone(plan.name.clone()))?;
    match before.mac {
        Some(mac) if now.mac != before.mac => {
            let step = format!("keep the hardware address of bridge {}", plan.name);
            let attributes = vec![LinkAttribute::Address(mac.0.to_vec())];
            socket.apply(&[link::change(link::header(now.index), attributes, step)])
        }
        _ => Ok(()),
    }
}

/// Sets what a bridge's port does with frames.
pub fn set_port(port: Interface<'_>, hairpin: bool, isolated: bool) -> Request {
    let options = vec![InfoBridgePort::HairpinMode(hairpin), InfoBridgePort::Isolated(isolated)];
    let attributes = vec![LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(options)),
    ])];
    let step = format!("set hairpin {hairpin} and isolated {isolated} on bridge port {}", port.name);
    link::change(link::header(port.index), attributes, step)
}
