//! What a rule can look at in a packet, and how it is put before nf_tables.
//!
//! Attribute numbers and keys are those of linux/netfilter/nf_tables.h.

use super::super::netfilter::Attributes;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_PROTOCOL: u32 = 1;
const NFT_META_MARK: u32 = 3;
const NFT_META_IIF: u32 = 4;
const NFT_META_IIFNAME: u32 = 6;
const NFT_META_NFPROTO: u32 = 15;
const NFT_META_L4PROTO: u32 = 16;

const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFT_PAYLOAD_LL_HEADER: u32 = 0;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;

const NFTA_FIB_DREG: u16 = 1;
const NFTA_FIB_RESULT: u16 = 2;
const NFTA_FIB_FLAGS: u16 = 3;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_DADDR: u32 = 1 << 1;

/// Something that a packet has, or that is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    NetworkProtocol,
    /// As in /etc/protocols.
    TransportProtocol,
    /// What a frame carries: an EtherType, that inside a VLAN tag if there is one.
    FrameProtocol,
    InputIndex,
    InputName,
    Mark,
    /// What the destination is to this node: `RTN_LOCAL` or another of linux/rtnetlink.h.
    DestinationType,
    SourceMac,
    Source4,
    Destination4,
    Source6,
    Destination6,
    /// The sender's IPv4 address in ARP.
    ArpSender,
    /// Of TCP, UDP and SCTP alike.
    DestinationPort,
}

impl Field {
    /// In bytes.
    pub(super) fn length(self) -> u32 {
        match self {
            Self::NetworkProtocol | Self::TransportProtocol => 1,
            Self::FrameProtocol | Self::DestinationPort => 2,
            Self::InputIndex | Self::Mark | Self::DestinationType => 4,
            Self::Source4 | Self::Destination4 | Self::ArpSender => 4,
            Self::SourceMac => 6,
            Self::InputName | Self::Source6 | Self::Destination6 => 16,
        }
    }

    /// nft(8)'s number for such data, which the kernel keeps so that `nft` can show a set; 0 for what is in none.
    fn data_type(self) -> u32 {
        match self {
            Self::Source4 | Self::Destination4 | Self::ArpSender => 7,
            Self::Source6 | Self::Destination6 => 8,
            Self::SourceMac => 9,
            Self::TransportProtocol => 12,
            Self::DestinationPort => 13,
            Self::InputName => 41,
            _ => 0,
        }
    }

    /// The expression that puts it into a register.
    pub(super) fn load(self, register: u32) -> Attributes {
        match self {
            Self::NetworkProtocol => meta(NFT_META_NFPROTO, register),
            Self::TransportProtocol => meta(NFT_META_L4PROTO, register),
            Self::FrameProtocol => meta(NFT_META_PROTOCOL, register),
            Self::InputIndex => meta(NFT_META_IIF, register),
            Self::InputName => meta(NFT_META_IIFNAME, register),
            Self::Mark => meta(NFT_META_MARK, register),
            Self::DestinationType => destination_type(register),
            Self::SourceMac => self.payload(NFT_PAYLOAD_LL_HEADER, 6, register),
            Self::Source4 => self.payload(NFT_PAYLOAD_NETWORK_HEADER, 12, register),
            Self::Destination4 => self.payload(NFT_PAYLOAD_NETWORK_HEADER, 16, register),
            Self::Source6 => self.payload(NFT_PAYLOAD_NETWORK_HEADER, 8, register),
            Self::Destination6 => self.payload(NFT_PAYLOAD_NETWORK_HEADER, 24, register),
            Self::ArpSender => self.payload(NFT_PAYLOAD_NETWORK_HEADER, 14, register),
            Self::DestinationPort => self.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, register),
        }
    }

    fn payload(self, base: u32, offset: u32, register: u32) -> Attributes {
        let place = Attributes::default().number(NFTA_PAYLOAD_BASE, base).number(NFTA_PAYLOAD_OFFSET, offset);
        let length = place.number(NFTA_PAYLOAD_LEN, self.length());
        expression("payload", length.number(NFTA_PAYLOAD_DREG, register))
    }
}

fn meta(key: u32, register: u32) -> Attributes {
    let key = Attributes::default().number(NFTA_META_KEY, key);
    expression("meta", key.number(NFTA_META_DREG, register))
}

fn destination_type(register: u32) -> Attributes {
    let result = Attributes::default().number(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    expression("fib", result.number(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR).number(NFTA_FIB_DREG, register))
}

/// One step of a rule.
pub(super) fn expression(name: &str, data: Attributes) -> Attributes {
    Attributes::default().text(NFTA_EXPR_NAME, name).nested(NFTA_EXPR_DATA, data)
}

/// How many bytes of registers, and of a set's key, fields take one behind the other.
pub(super) fn width(fields: &[Field]) -> u32 {
    fields.iter().map(|field| field.length().next_multiple_of(4)).sum()
}

/// nft(8)'s number for fields one behind the other: six bits for each.
pub(super) fn data_type(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |types, field| types << 6 | field.data_type())
}
