//! The node's VXLAN device: made, found, and given what the plan says.
//!
//! It learns nothing, and has no entry for frames to everybody, so that nothing is flooded: who is where stands in
//! [`super::tunnel`]'s entries.

use netlink_packet_route::link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkHeader, LinkInfo};
use std::net::IpAddr;

use crate::plan::Vxlan;
use crate::plan::derived::tunnel_mac;
use crate::plan::marks::{ALIAS, GROUP};

use super::link::{self, Link, Tunnel};
use super::socket::Request;

/// How a device is that has the name of the planned one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is somebody else's, or of another kind.
    Foreign,
    /// It has to be made anew: the kernel does not change this of one that is there.
    Different,
    /// It is down, without podwire's mark for people, or of another MTU.
    Unsettled,
    /// As planned.
    Settled,
}

impl Standing {
    pub(super) fn of(found: &Link, plan: &Vxlan) -> Self {
        let wanted = Tunnel { id: plan.id, port: plan.port, local: Some(plan.local), learning: false };
        if !found.is_vxlan() || found.group != GROUP {
            Self::Foreign
        } else if found.vxlan.as_ref() != Some(&wanted) || found.mac != Some(tunnel_mac(plan.local)) {
            Self::Different
        } else if !found.up || found.mtu != plan.mtu || found.alias.as_deref() != Some(ALIAS) {
            Self::Unsettled
        } else {
            Self::Settled
        }
    }
}

/// Makes the device. It is down: see [`settle`].
pub(super) fn creation(plan: &Vxlan) -> Request {
    let local = match plan.local {
        IpAddr::V4(address) => InfoVxlan::Local(address),
        IpAddr::V6(address) => InfoVxlan::Local6(address),
    };
    let data = vec![InfoVxlan::Id(plan.id), local, InfoVxlan::Port(plan.port), InfoVxlan::Learning(false)];
    let attributes = vec![
        LinkAttribute::IfName(plan.name.to_string()),
        LinkAttribute::Address(tunnel_mac(plan.local).0.to_vec()),
        LinkAttribute::Mtu(plan.mtu),
        LinkAttribute::Group(GROUP),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(data))]),
    ];
    link::create(LinkHeader::default(), attributes, format!("create VXLAN device {}", plan.name))
}

/// Gives the device of that index its MTU and its mark for people, and sets it up. It needs no address of its own:
/// nobody is asked on its link.
pub(super) fn settle(index: u32, plan: &Vxlan) -> Vec<Request> {
    let interface = link::Interface { index, name: plan.name.as_str() };
    let attributes = vec![LinkAttribute::IfAlias(ALIAS.to_owned()), LinkAttribute::Mtu(plan.mtu)];
    let step = format!("set VXLAN device {} up with MTU {}", plan.name, plan.mtu);
    vec![link::no_link_local(interface), link::change(link::up(index), attributes, step)]
}
