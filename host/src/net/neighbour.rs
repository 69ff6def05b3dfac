//! The node's own neighbour table: who has a pod's address on the bridge.

use std::net::IpAddr;

use netlink_packet_core::NLM_F_REPLACE;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use rustix::io::Errno;

use crate::plan::Checked;
use crate::plan::derived::newly_paired;

use super::address::family;
use super::link::Interface;
use super::socket::Request;

/// The requests that put right what the node may remember of the pod's addresses from pods that had them before.
/// What it does not remember it is not told either: the table's size is bounded for all pods together. In IPv6 the
/// node hears the announcement itself, see [`super::announcement`].
pub(super) fn correct(bridge: Interface<'_>, plan: &Checked) -> Vec<Request> {
    let correct = |address| {
        let mut message = NeighbourMessage::default();
        message.header = NeighbourHeader {
            family: family(address),
            ifindex: bridge.index,
            // In use, and asked for again a few seconds later.
            state: NeighbourState::Stale,
            ..NeighbourHeader::default()
        };
        message.attributes = vec![
            NeighbourAttribute::Destination(address.into()),
            NeighbourAttribute::LinkLayerAddress(plan.mac.0.to_vec()),
        ];
        let step = format!("replace what the node remembers of {address} on {}", bridge.name);
        let request = Request::new(RouteNetlinkMessage::NewNeighbour(message), NLM_F_REPLACE, step);
        request.tolerating(&[Errno::NOENT])
    };
    newly_paired(plan).filter(IpAddr::is_ipv4).map(correct).collect()
}
