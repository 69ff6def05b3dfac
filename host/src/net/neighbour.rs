//! The node's own neighbour table: who has a pod's address on the bridge.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use rustix::io::Errno;

use crate::plan::Checked;
use crate::plan::derived::newly_paired;

use super::Error;
use super::address::family;
use super::link::Interface;
use super::socket::{Request, Socket};

/// The requests that put right what the node may remember of the pod's addresses from pods that had them before.
/// What it does not remember it is not told either: the table's size is bounded for all pods together. In IPv6 the
/// node hears the announcement itself, see [`super::announcement`].
pub(super) fn correct(bridge: Interface<'_>, plan: &Checked) -> Vec<Request> {
    let correct = |address| {
        let mut message = entry(bridge, address);
        // In use, and asked for again a few seconds later.
        message.header.state = NeighbourState::Stale;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(plan.mac.0.to_vec()));
        let step = format!("replace what the node remembers of {address} on {}", bridge.name);
        let request = Request::new(RouteNetlinkMessage::NewNeighbour(message), NLM_F_REPLACE, step);
        request.tolerating(&[Errno::NOENT])
    };
    newly_paired(plan).filter(IpAddr::is_ipv4).map(correct).collect()
}

/// Has the node forget who had the addresses on the bridge. What an operator has written there stays.
pub(super) fn forget(socket: &mut Socket, bridge: Interface<'_>, addresses: &[IpAddr]) -> Result<(), Error> {
    let question = |address: &IpAddr| RouteNetlinkMessage::GetNeighbour(entry(bridge, *address));
    let asked = socket.ask(&addresses.iter().map(question).collect::<Vec<_>>())?..;
    let mut learned = Vec::new();
    for (address, asked) in addresses.iter().zip(asked) {
        if is_learned(socket, asked)? {
            let message = RouteNetlinkMessage::DelNeighbour(entry(bridge, *address));
            let step = format!("forget who had {address} on {}", bridge.name);
            learned.push(Request::new(message, 0, step).tolerating(&[Errno::NOENT]));
        }
    }
    if learned.is_empty() { Ok(()) } else { socket.apply(&learned) }
}

/// Whether there is an entry, and the kernel made it by itself.
fn is_learned(socket: &mut Socket, asked: u32) -> Result<bool, Error> {
    let state = |body: &[u8]| -> Result<_, DecodeError> { Ok(NeighbourHeader::parse(body)?.state) };
    match socket.answer(asked, "find a neighbour by its address", state) {
        Ok(state) => {
            let by_hand =
                |state: &NeighbourState| matches!(state, NeighbourState::Permanent | NeighbourState::Noarp);
            Ok(state.is_some_and(|state| !by_hand(&state)))
        }
        // Linux before 5.0 tells of all neighbours or of none. The next pod's ADD corrects what it remembers.
        Err(Error::Refused(refused)) if refused.errno == Errno::OPNOTSUPP => Ok(false),
        Err(error) => Err(error),
    }
}

fn entry(bridge: Interface<'_>, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let family = family(address);
    message.header = NeighbourHeader { family, ifindex: bridge.index, ..NeighbourHeader::default() };
    message.attributes = vec![NeighbourAttribute::Destination(address.into())];
    message
}
