//! A rule: what must hold of a packet, and what then becomes of it.
//!
//! Expression and attribute numbers are those of linux/netfilter/nf_tables.h. Knows none of podwire's rules.

use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use super::super::netfilter::Attributes;
use super::field::{Field, expression, width};
use super::table::Set;

pub(super) const IPV4: u8 = 2;
pub(super) const IPV6: u8 = 10;

/// A bit of a packet's mark, on the way of a connection's first packet through this node only. Not the one that the
/// plugin portmap takes for the same thing, 0x2000: where that was ever used, its rule gives the node's address to
/// whatever has the mark. Nor kube-proxy's, 0x4000 and 0x8000.
const MARK: u32 = 0x1000;

/// The first of sixteen registers of four bytes (`NFT_REG32_00`).
const REGISTER: u32 = 8;
const NFT_REG_VERDICT: u32 = 0;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;
const NFTA_LOOKUP_FLAGS: u16 = 5;
const NFT_LOOKUP_F_INV: u32 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_META_SREG: u16 = 3;
const NFT_META_MARK: u32 = 3;
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFT_NAT_DNAT: u32 = 1;
const NFTA_MASQ_FLAGS: u16 = 1;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY` of linux/netfilter/nf_nat.h.
const RANDOM_PORTS: u32 = 1 << 4;

/// Of libnftnl/udata.h: before it stand its number and its length.
const NFTNL_UDATA_RULE_COMMENT: u8 = 0;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    Drop,
    /// The chain has nothing more to say of it.
    Return,
    /// Another chain has the last word.
    Goto(&'a str),
}

impl Verdict<'_> {
    fn code(self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Goto(_) => -4,
            Self::Return => -5,
        }
    }
}

/// Conditions, each of which must hold before the next is looked at, and effects.
#[derive(Debug, Clone, Default)]
pub(super) struct Rule {
    expressions: Attributes,
}

impl Rule {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A comment that tells it from another in its place. A kernel gives expressions back in its own way, and nft(8)
    /// restores them in another; a comment both keep as it is.
    pub(super) fn user_data(&self) -> Vec<u8> {
        let mut comment = b"podwire ".to_vec();
        for byte in &Sha256::digest(self.expressions.clone().into_bytes())[..4] {
            comment.extend(format!("{byte:02x}").into_bytes());
        }
        comment.push(0);
        [&[NFTNL_UDATA_RULE_COMMENT, comment.len() as u8], comment.as_slice()].concat()
    }

    /// As a rule's `NFTA_RULE_EXPRESSIONS`.
    pub(super) fn into_expressions(self) -> Attributes {
        self.expressions
    }

    fn and(self, expression: Attributes) -> Self {
        Self { expressions: self.expressions.nested(NFTA_LIST_ELEM, expression) }
    }

    /// The field has this value, or begins with it.
    pub(super) fn has(self, field: Field, value: &[u8]) -> Self {
        self.and(field.load(REGISTER)).compare(NFT_CMP_EQ, value)
    }

    /// The field has another value.
    pub(super) fn has_not(self, field: Field, value: &[u8]) -> Self {
        self.and(field.load(REGISTER)).compare(NFT_CMP_NEQ, value)
    }

    pub(super) fn of_ipv4(self) -> Self {
        self.has(Field::NetworkProtocol, &[IPV4])
    }

    pub(super) fn of_ipv6(self) -> Self {
        self.has(Field::NetworkProtocol, &[IPV6])
    }

    /// It is of the block's family, and comes from there.
    pub(super) fn from(self, block: IpNet) -> Self {
        match block {
            IpNet::V4(_) => self.of_ipv4().within(Field::Source4, block),
            IpNet::V6(_) => self.of_ipv6().within(Field::Source6, block),
        }
    }

    /// It is of the block's family, and goes there.
    pub(super) fn to(self, block: IpNet) -> Self {
        match block {
            IpNet::V4(_) => self.of_ipv4().within(Field::Destination4, block),
            IpNet::V6(_) => self.of_ipv6().within(Field::Destination6, block),
        }
    }

    /// The field is an address of the block.
    pub(super) fn within(self, field: Field, block: IpNet) -> Self {
        let (mask, network) = (octets(block.netmask()), octets(block.network()));
        self.and(field.load(REGISTER)).bitwise(&mask, &vec![0; mask.len()]).compare(NFT_CMP_EQ, &network)
    }

    /// The set has an element of what its key is made of.
    pub(super) fn in_set(self, set: &Set) -> Self {
        self.fields_in_set(set.key, set)
    }

    /// The set has an element of these fields.
    pub(super) fn fields_in_set(self, fields: &[Field], set: &Set) -> Self {
        self.load(fields).look_up(set, Attributes::default())
    }

    /// The set has no element of what its key is made of.
    pub(super) fn not_in_set(self, set: &Set) -> Self {
        self.load(set.key).look_up(set, Attributes::default().number(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV))
    }

    /// Whether [`Rule::mark`] was said of it.
    pub(super) fn marked(self, marked: bool) -> Self {
        let mask = MARK.to_ne_bytes();
        let compared = if marked { NFT_CMP_NEQ } else { NFT_CMP_EQ };
        self.and(Field::Mark.load(REGISTER)).bitwise(&mask, &[0; 4]).compare(compared, &[0; 4])
    }

    /// Marks it, or takes the mark away.
    pub(super) fn mark(self, marked: bool) -> Self {
        let bit = if marked { MARK } else { 0 };
        let masked = self.and(Field::Mark.load(REGISTER));
        let meta = Attributes::default().number(NFTA_META_KEY, NFT_META_MARK);
        let set = expression("meta", meta.number(NFTA_META_SREG, REGISTER));
        masked.bitwise(&(!MARK).to_ne_bytes(), &bit.to_ne_bytes()).and(set)
    }

    /// It gets the address of the interface by which it leaves, and a port at random: with the next that is free,
    /// two connections that begin at once may be given the same, and one is lost.
    pub(super) fn masquerade(self) -> Self {
        self.and(expression("masq", Attributes::default().number(NFTA_MASQ_FLAGS, RANDOM_PORTS)))
    }

    /// It goes to the address and port that the map has for what its key is made of, if it has any. The packet must be
    /// of this family.
    pub(super) fn lead(self, map: &Set, family: u8) -> Self {
        let port = REGISTER + width(&map.data[..1]) / 4;
        let nat = Attributes::default().number(NFTA_NAT_TYPE, NFT_NAT_DNAT);
        let to = nat.number(NFTA_NAT_FAMILY, family.into()).number(NFTA_NAT_REG_ADDR_MIN, REGISTER);
        let found = self.load(map.key).look_up(map, Attributes::default().number(NFTA_LOOKUP_DREG, REGISTER));
        found.and(expression("nat", to.number(NFTA_NAT_REG_PROTO_MIN, port)))
    }

    pub(super) fn then(self, verdict: Verdict<'_>) -> Self {
        let code = Attributes::default().number(NFTA_VERDICT_CODE, verdict.code() as u32);
        let verdict = match verdict {
            Verdict::Goto(chain) => code.text(NFTA_VERDICT_CHAIN, chain),
            _ => code,
        };
        let data = Attributes::default().nested(NFTA_DATA_VERDICT, verdict);
        let into = Attributes::default().number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
        self.and(expression("immediate", into.nested(NFTA_IMMEDIATE_DATA, data)))
    }

    /// Fields into registers, one behind the other, as a set's key has them.
    fn load(self, fields: &[Field]) -> Self {
        let register = |before: usize| REGISTER + width(&fields[..before]) / 4;
        let loads = fields.iter().enumerate().map(|(before, field)| field.load(register(before)));
        loads.fold(self, Self::and)
    }

    fn look_up(self, set: &Set, how: Attributes) -> Self {
        self.and(expression(
            "lookup",
            how.text(NFTA_LOOKUP_SET, &set.name).number(NFTA_LOOKUP_SREG, REGISTER),
        ))
    }

    fn compare(self, operation: u32, with: &[u8]) -> Self {
        let numbers = Attributes::default().number(NFTA_CMP_SREG, REGISTER).number(NFTA_CMP_OP, operation);
        self.and(expression("cmp", numbers.nested(NFTA_CMP_DATA, value(with))))
    }

    fn bitwise(self, mask: &[u8], xor: &[u8]) -> Self {
        let registers =
            Attributes::default().number(NFTA_BITWISE_SREG, REGISTER).number(NFTA_BITWISE_DREG, REGISTER);
        let length = registers.number(NFTA_BITWISE_LEN, mask.len() as u32);
        let operands = length.nested(NFTA_BITWISE_MASK, value(mask)).nested(NFTA_BITWISE_XOR, value(xor));
        self.and(expression("bitwise", operands))
    }
}

fn value(bytes: &[u8]) -> Attributes {
    Attributes::default().bytes(NFTA_DATA_VALUE, bytes)
}

/// In the order of the network.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
