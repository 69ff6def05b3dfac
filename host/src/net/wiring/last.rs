//! What an ADD asks at its end, and waits for.

use netlink_packet_core::NetlinkSerializable;
use netlink_packet_route::RouteNetlinkMessage;

use super::super::link::Interface;
use super::super::socket::Socket;
use super::super::sysctl::Families;
use super::super::{Error, carrier, forwarding};
use crate::plan::Checked;
use crate::plan::derived::forwarded;

/// One of the questions, which go out in one send.
enum Last {
    Carrier(RouteNetlinkMessage),
    Forwarding(forwarding::Question),
}

impl NetlinkSerializable for Last {
    fn message_type(&self) -> u16 {
        match self {
            Self::Carrier(question) => question.message_type(),
            Self::Forwarding(question) => question.message_type(),
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Carrier(question) => question.buffer_len(),
            Self::Forwarding(question) => question.buffer_len(),
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Self::Carrier(question) => question.serialize(buffer),
            Self::Forwarding(question) => question.serialize(buffer),
        }
    }
}

/// Whoever hears that the pod is wired sends it packets.
pub(super) fn finish(host: &mut Socket, end: Interface<'_>, plan: &Checked) -> Result<(), Error> {
    let carrier = (!plan.interface_down).then(|| Last::Carrier(carrier::question(end)));
    let waits = carrier.is_some();
    let families = Families::of(forwarded(plan));
    let questions: Vec<_> =
        carrier.into_iter().chain(forwarding::questions(families).map(Last::Forwarding)).collect();
    let mut asked = host.ask(&questions)?..;
    if let Some(asked) = waits.then(|| asked.next()).flatten() {
        carrier::wait(host, asked, end)?;
    }
    // Last, since it cannot be undone: others may count on it a moment later.
    forwarding::ensure(host, families, asked)
}
