//! Netfilter's messages: how its subsystems' requests are framed, and their attributes written and read.
//!
//! Numbers in attributes are big-endian. Knows nothing of what tables or connections mean.

use netlink_packet_core::{NetlinkSerializable, NlasIterator};

/// `NFNL_SUBSYS_CTNETLINK` of linux/netfilter/nfnetlink.h: connections.
pub(super) const CONNTRACK: u8 = 1;
/// `NFNL_SUBSYS_NFTABLES`: tables, chains, rules and sets.
pub(super) const NFTABLES: u8 = 10;

const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;

/// The length of struct nfgenmsg: family, version, resource.
pub(super) const GENERIC_HEADER: usize = 4;

const NLA_F_NESTED: u16 = 1 << 15;

/// A request to one of the subsystems.
#[derive(Debug, Clone)]
pub(super) struct Message {
    kind: u16,
    body: Vec<u8>,
}

impl Message {
    /// `kind` is the subsystem's own number for it.
    pub(super) fn new(subsystem: u8, kind: u8, family: u8, attributes: Attributes) -> Self {
        let mut body = vec![family, 0, 0, 0];
        body.extend(attributes.0);
        Self { kind: u16::from_be_bytes([subsystem, kind]), body }
    }

    /// What stands before requests to nf_tables that are carried out together or not at all.
    pub(super) fn begin() -> Self {
        Self { kind: NFNL_MSG_BATCH_BEGIN, body: vec![0, 0, 0, NFTABLES] }
    }

    /// What stands behind them.
    pub(super) fn end() -> Self {
        Self { kind: NFNL_MSG_BATCH_END, ..Self::begin() }
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.body);
    }
}

/// Attributes, one behind the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = GENERIC_HEADER + value.len();
        self.0.extend((length as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(super) fn nested(self, kind: u16, inner: Self) -> Self {
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }

    /// One whose value is attributes of the kernel's.
    pub(super) fn nested_bytes(self, kind: u16, value: &[u8]) -> Self {
        self.bytes(kind | NLA_F_NESTED, value)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The attributes among these bytes: their kinds and values.
pub(super) fn children(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        (kind, &attribute.into_inner()[4..length])
    })
}

/// The value of the first attribute of that kind.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    children(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// The value at the end of a path of nested attributes.
pub(super) fn nested<'a>(bytes: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, kind| attribute(bytes, *kind))
}

/// The number in an attribute.
pub(super) fn number(bytes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(attribute(bytes, kind)?.try_into().ok()?))
}

/// The text in an attribute.
pub(super) fn text(bytes: &[u8], kind: u16) -> Option<String> {
    let value = attribute(bytes, kind)?;
    Some(String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let inner = Attributes::default().number(1, 7).text(2, "podwire");
        let Attributes(bytes) = Attributes::default().bytes(5, &[1, 2, 3]).nested(4, inner);
        assert_eq!(attribute(&bytes, 5), Some([1, 2, 3].as_slice()));
        assert_eq!(nested(&bytes, &[4, 1]), Some([0, 0, 0, 7].as_slice()));
        let inner = attribute(&bytes, 4).expect("there");
        assert_eq!((number(inner, 1), text(inner, 2).as_deref()), (Some(7), Some("podwire")));
        assert_eq!(attribute(&bytes, 6), None);
    }
}
