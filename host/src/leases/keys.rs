//! How keys and values are laid out in bytes; the table is in the [module's header](super).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::{Error, Holder, Sequence};
use crate::names::{AttachmentId, InterfaceName};

/// Where the sequence number lies.
pub(super) const SEQUENCE: &[u8] = b"s";
/// All attachments begin with it.
pub(super) const ATTACHMENTS: &[u8] = b"t";
/// All blocks begin with it.
pub(super) const BLOCKS: &[u8] = b"b";

/// Part of an address space, by number, so that "the next" is an addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    ipv6: bool,
    pub(super) numbers: RangeInclusive<u128>,
}

impl Range {
    /// Every address of the block.
    pub(crate) fn whole(block: IpNet) -> Self {
        let numbers = number(block.network())..=number(block.broadcast());
        Self { ipv6: block.network().is_ipv6(), numbers }
    }

    /// The addresses that an interface may carry. RFC 3021 makes both of a /31 usable, RFC 6164 both of
    /// a /127; elsewhere in IPv6 the first is the routers' (RFC 4291, 2.6.1), and the last is like any other.
    pub(crate) fn usable(block: IpNet) -> Self {
        let Self { ipv6, numbers } = Self::whole(block);
        let (first, last) = numbers.into_inner();
        let numbers = match block.max_prefix_len() - block.prefix_len() {
            0 | 1 => first..=last,
            _ if ipv6 => first + 1..=last,
            _ => first + 1..=last - 1,
        };
        Self { ipv6, numbers }
    }

    /// The first and the last position.
    pub(crate) fn positions(&self) -> (u128, u128) {
        self.numbers.clone().into_inner()
    }

    /// The first free address at or after `start`, going round once; `gap` finds one from one position to another. A
    /// start outside of the range is none.
    pub(crate) fn first_free(
        &self,
        start: Option<IpAddr>,
        mut gap: impl FnMut(&Self, u128, u128) -> Result<Option<u128>, Error>,
    ) -> Result<Option<IpAddr>, Error> {
        let (first, last) = self.positions();
        let start = start.and_then(|start| self.position(start)).unwrap_or(first);
        let mut found = gap(self, start, last)?;
        if found.is_none() && start > first {
            found = gap(self, first, start - 1)?;
        }
        Ok(found.map(|position| self.at(position)))
    }

    /// Where the address is, if it is in the range.
    pub(crate) fn position(&self, address: IpAddr) -> Option<u128> {
        let number = number(address);
        (address.is_ipv6() == self.ipv6 && self.numbers.contains(&number)).then_some(number)
    }

    /// The address at a position.
    pub(crate) fn at(&self, position: u128) -> IpAddr {
        match self.ipv6 {
            true => IpAddr::V6(Ipv6Addr::from_bits(position)),
            // Positions of an IPv4 range come from IPv4 addresses.
            false => IpAddr::V4(Ipv4Addr::from_bits(position as u32)),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn push(key: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            key.push(4);
            key.extend(address.octets());
        }
        IpAddr::V6(address) => {
            key.push(6);
            key.extend(address.octets());
        }
    }
}

fn pull(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.split_first()? {
        (4, octets) => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        (6, octets) => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// What is known of an address.
pub(super) fn address(address: IpAddr) -> Vec<u8> {
    let mut key = vec![b'a'];
    push(&mut key, address);
    key
}

/// The address of such a key.
pub(super) fn to_address(key: &[u8]) -> Option<IpAddr> {
    pull(key.strip_prefix(b"a")?)
}

/// The address handed out last in a block.
pub(super) fn block(block: IpNet) -> Vec<u8> {
    let mut key = BLOCKS.to_vec();
    push(&mut key, block.network());
    key.push(block.prefix_len());
    key
}

/// The highest address that was handed out, of the family of this one.
pub(super) fn highest(address: IpAddr) -> [u8; 2] {
    [b'h', if address.is_ipv4() { 4 } else { 6 }]
}

/// An address as a value.
pub(super) fn plain(address: IpAddr) -> Vec<u8> {
    let mut value = Vec::new();
    push(&mut value, address);
    value
}

/// The address of such a value.
pub(super) fn from_plain(value: &[u8]) -> Option<IpAddr> {
    pull(value)
}

/// The attachment that uses an interface name on the node.
pub(super) fn interface(name: &InterfaceName) -> Vec<u8> {
    [b"i", name.as_str().as_bytes()].concat()
}

/// One attachment.
pub(super) fn attachment(id: &AttachmentId) -> Vec<u8> {
    let AttachmentId { container_id, ifname } = id;
    [ATTACHMENTS, container_id.as_str().as_bytes(), b"/", ifname.as_str().as_bytes()].concat()
}

/// The attachment of such a key. Neither part can hold a '/'.
pub(super) fn to_attachment(key: &[u8]) -> Option<AttachmentId> {
    let text = std::str::from_utf8(key.strip_prefix(ATTACHMENTS)?).ok()?;
    let (container_id, ifname) = text.split_once('/')?;
    Some(AttachmentId { container_id: container_id.parse().ok()?, ifname: ifname.parse().ok()? })
}

/// That an address rests.
pub(super) fn rest(until: u64, address: IpAddr) -> Vec<u8> {
    let mut key = vec![b'r'];
    key.extend(until.to_be_bytes());
    push(&mut key, address);
    key
}

/// When, and which address, of such a key.
pub(super) fn to_rest(key: &[u8]) -> Option<(u64, IpAddr)> {
    let (until, address) = key.strip_prefix(b"r")?.split_first_chunk()?;
    Some((u64::from_be_bytes(*until), pull(address)?))
}

/// The keys of all rests that are over at a time.
pub(super) fn rests_until(now: u64) -> RangeInclusive<Vec<u8>> {
    let mut last = vec![b'r'];
    last.extend(now.to_be_bytes());
    // Greater than every family byte.
    last.push(u8::MAX);
    b"r".to_vec()..=last
}

/// The value under [`SEQUENCE`].
pub(super) fn to_sequence(value: &[u8]) -> Option<Sequence> {
    Some(Sequence(u64::from_be_bytes(value.try_into().ok()?)))
}

/// What is known of an address: the value under [`address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) state: State,
    holder: &'a [u8],
}

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// An attachment has it.
    Held,
    /// An attachment had it; nobody gets it until then, in nanoseconds of CLOCK_BOOTTIME.
    Resting(u64),
    /// So many attachments name it as a gateway, or their bridge carries it.
    Gateway(u64),
}

impl<'a> Entry<'a> {
    /// Reads a value; none if podwire did not write it.
    pub(super) fn read(value: &'a [u8]) -> Option<Self> {
        let (tag, rest) = value.split_first()?;
        let (number, holder) = rest.split_first_chunk()?;
        let number = u64::from_be_bytes(*number);
        let state = match tag {
            b'h' => State::Held,
            b'r' => State::Resting(number),
            b'g' => State::Gateway(number),
            _ => return None,
        };
        Some(Self { state, holder })
    }

    /// Who has or had it; none if podwire did not write it.
    pub(super) fn holder(&self) -> Option<Holder> {
        serde_json::from_slice(self.holder).ok()
    }

    /// The same holder in another state.
    pub(super) fn becomes(&self, state: State) -> Vec<u8> {
        state.write(self.holder)
    }
}

impl State {
    /// A value to put under [`address`].
    pub(super) fn write(self, holder: &[u8]) -> Vec<u8> {
        let (tag, number) = match self {
            Self::Held => (b'h', 0),
            Self::Resting(until) => (b'r', until),
            Self::Gateway(count) => (b'g', count),
        };
        let mut value = vec![tag];
        value.extend(number.to_be_bytes());
        value.extend(holder);
        value
    }

    /// Whether the address is free: it has rested enough.
    pub(super) fn is_free(self, now: u64) -> bool {
        matches!(self, Self::Resting(until) if until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_addresses_of_small_and_large_blocks() {
        let usable = |block: &str| {
            let range = Range::usable(block.parse().expect("a block"));
            let (first, last) = range.numbers.clone().into_inner();
            format!("{} {}", range.at(first), range.at(last))
        };
        assert_eq!(usable("10.0.0.77/24"), "10.0.0.1 10.0.0.254");
        assert_eq!(usable("10.0.0.0/30"), "10.0.0.1 10.0.0.2");
        assert_eq!(usable("10.0.0.0/31"), "10.0.0.0 10.0.0.1");
        assert_eq!(usable("10.0.0.7/32"), "10.0.0.7 10.0.0.7");
        assert_eq!(usable("0.0.0.0/0"), "0.0.0.1 255.255.255.254");
        assert_eq!(usable("fd00::/126"), "fd00::1 fd00::3");
        assert_eq!(usable("fd00::/127"), "fd00:: fd00::1");
        assert_eq!(usable("fd00::9/128"), "fd00::9 fd00::9");
        assert_eq!(usable("::/0"), "::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    }

    #[test]
    fn keys_read_back_and_keep_the_order_of_what_they_stand_for() {
        let addresses =
            ["0.0.0.0", "10.0.0.255", "10.0.1.0", "255.255.255.255", "::", "::ffff:10.0.0.1", "fe80::1"];
        let addresses = addresses.map(|text| text.parse::<IpAddr>().expect("an address"));
        assert!(addresses.map(address).is_sorted());
        for one in addresses {
            assert_eq!(to_address(&address(one)), Some(one));
            assert_eq!(from_plain(&plain(one)), Some(one));
            assert_eq!(to_rest(&rest(7, one)), Some((7, one)));
            assert!(rests_until(7).contains(&rest(7, one)));
            assert!(!rests_until(7).contains(&rest(8, one)));
        }
        let id = AttachmentId {
            container_id: "0a-b_c.d".parse().expect("valid"),
            ifname: "eth0".parse().expect("valid"),
        };
        assert_eq!(to_attachment(&attachment(&id)), Some(id));
    }

    #[test]
    fn entries_read_back() {
        for state in [State::Held, State::Resting(5), State::Gateway(9)] {
            let value = state.write(b"{}");
            let entry = Entry::read(&value).expect("just written");
            assert_eq!(entry, Entry { state, holder: b"{}" });
        }
        assert_eq!(Entry::read(b"h"), None);
        assert_eq!(Entry::read(b"x00000000"), None);
        assert!(State::Resting(5).is_free(5) && !State::Resting(5).is_free(4) && !State::Held.is_free(9));
    }
}
