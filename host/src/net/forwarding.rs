//! Whether the node forwards packets between its interfaces.
//!
//! Asked of the kernel by netlink: an entry below /proc/sys/net is found among those of the same name of all
//! namespaces, one by one, and every ADD asks.

use netlink_packet_core::{DecodeError, NetlinkSerializable, parse_u32};
use rustix::net::AddressFamily;

use super::Error;
use super::frame::attribute;
use super::socket::Socket;
use super::sysctl::{Families, forwarding};

/// What is asked before forwarding is switched on, one question for each of these families.
pub(super) fn questions(families: Families) -> impl Iterator<Item = Question> {
    let asked = [(families.ipv4, AddressFamily::INET), (families.ipv6, AddressFamily::INET6)];
    asked.into_iter().filter(|(wanted, _)| *wanted).map(|(_, family)| Question(family))
}

/// Has the node forward what is of these families. `asked` are the sequence numbers of [`questions`].
pub(super) fn ensure(
    socket: &mut Socket,
    families: Families,
    asked: impl IntoIterator<Item = u32>,
) -> Result<(), Error> {
    let mut asked = asked.into_iter();
    let mut is_off = |wanted: bool| match wanted.then(|| asked.next()).flatten() {
        Some(asked) => is_on(socket, asked).map(|on| !on),
        None => Ok(false),
    };
    let off = Families { ipv4: is_off(families.ipv4)?, ipv6: is_off(families.ipv6)? };
    forwarding(off).iter().try_for_each(|switch| switch.ensure("1").map(|_| ()))
}

/// By the switch for all interfaces: IPv6 looks at no other, and IPv4 hands it on to each.
fn is_on(socket: &mut Socket, asked: u32) -> Result<bool, Error> {
    match socket.answer(asked, "say whether it forwards", decode) {
        Ok(answer) => Ok(answer == Some(true)),
        // A family that this kernel does not have.
        Err(Error::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn decode(body: &[u8]) -> Result<bool, DecodeError> {
    let switch = attribute(body.get(HEADER..).unwrap_or_default(), NETCONFA_FORWARDING)?;
    let value = switch.map(|switch| parse_u32(switch.value())).transpose()?;
    Ok(value.is_some_and(|value| value != 0))
}

/// RTM_GETNETCONF (linux/netconf.h) for what concerns all interfaces.
pub(super) struct Question(AddressFamily);

impl NetlinkSerializable for Question {
    fn message_type(&self) -> u16 {
        RTM_GETNETCONF
    }

    fn buffer_len(&self) -> usize {
        HEADER + ATTRIBUTE
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (header, attribute) = buffer.split_at_mut(HEADER);
        header[0] = self.0.as_raw() as u8;
        attribute[..2].copy_from_slice(&(ATTRIBUTE as u16).to_ne_bytes());
        attribute[2..4].copy_from_slice(&NETCONFA_IFINDEX.to_ne_bytes());
        attribute[4..].copy_from_slice(&NETCONFA_IFINDEX_ALL.to_ne_bytes());
    }
}

const RTM_GETNETCONF: u16 = 82;
/// The length of struct netconfmsg, aligned.
const HEADER: usize = 4;
/// The length of an attribute with one number.
const ATTRIBUTE: usize = 8;
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
const NETCONFA_IFINDEX_ALL: i32 = -1;
