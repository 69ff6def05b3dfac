//! nftables, read over netlink: iptables-nft's tables are among its own.
//!
//! Message and attribute numbers are those of linux/netfilter/nf_tables.h.

pub(super) mod refusals;

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::io::Errno;

use super::super::Error;
use super::super::netfilter::{
    Attributes, GENERIC_HEADER, Message, NFTABLES, attribute, children, nested, number, text,
};
use super::super::socket::Socket;
use super::super::sysctl::Families;
use super::{DroppingChain, Place};

const NFT_MSG_GETCHAIN: u8 = 4;
const NFT_MSG_GETRULE: u8 = 7;

const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_BRIDGE: u8 = 7;
const NFPROTO_IPV6: u8 = 10;

/// `NF_INET_FORWARD`, and `NF_BR_FORWARD` for bridges.
const HOOK_FORWARD: u32 = 2;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const NFT_JUMP: u32 = -3i32 as u32;

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_META_KEY: u16 = 2;
const NFT_META_NFPROTO: u32 = 15;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_CMP_OP: u16 = 2;
const NFT_CMP_EQ: u32 = 0;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFTA_MATCH_NAME: u16 = 1;

/// The chains at the forward hook whose policy is to drop. None without nftables in the kernel.
pub(super) fn dropping_chains() -> Result<Vec<DroppingChain>, Error> {
    let mut socket = match Socket::netfilter() {
        Err(Error::Socket { errno: Errno::PROTONOSUPPORT, .. }) => return Ok(Vec::new()),
        socket => socket?,
    };
    let question = question(NFT_MSG_GETCHAIN, 0, None);
    let bases = match socket.dump(&question, "nftables chains", |body| Ok(Base::decode(body))) {
        Err(Error::Refused(refused)) if refused.errno == Errno::INVAL => return Ok(Vec::new()),
        bases => bases?,
    };
    bases.into_iter().map(|base| base.with_rules(&mut socket)).collect()
}

/// Asks for all of it, or for that of one table.
fn question(kind: u8, family: u8, table: Option<&str>) -> Message {
    let none = Attributes::default();
    Message::new(NFTABLES, kind, family, table.map_or(none.clone(), |name| none.text(NFTA_RULE_TABLE, name)))
}

/// A base chain at the forward hook that drops.
struct Base {
    family: u8,
    table: String,
    chain: String,
}

impl Base {
    fn decode(body: &[u8]) -> Option<Self> {
        let (family, attributes) = (*body.first()?, body.get(GENERIC_HEADER..)?);
        let hook = number(attribute(attributes, NFTA_CHAIN_HOOK)?, NFTA_HOOK_HOOKNUM)?;
        let policy = number(attributes, NFTA_CHAIN_POLICY)?;
        let known = [NFPROTO_INET, NFPROTO_IPV4, NFPROTO_BRIDGE, NFPROTO_IPV6].contains(&family);
        if !known || hook != HOOK_FORWARD || policy != NF_DROP {
            return None;
        }
        let (table, chain) = (text(attributes, NFTA_CHAIN_TABLE)?, text(attributes, NFTA_CHAIN_NAME)?);
        Some(Self { family, table, chain })
    }

    fn with_rules(self, socket: &mut Socket) -> Result<DroppingChain, Error> {
        let question = question(NFT_MSG_GETRULE, self.family, Some(&self.table));
        let rules = socket.dump(&question, "nftables rules", |body| Ok(Rule::decode(body, &self.table)))?;
        let jumps = |chain: &str| {
            rules.iter().any(|rule| rule.chain == self.chain && rule.effect == Effect::Jump(chain.to_owned()))
        };
        let reached = rules.iter().filter(|rule| rule.chain == self.chain || jumps(&rule.chain));
        let accepted = reached.flat_map(|rule| match &rule.effect {
            Effect::Accept(sources) => sources.clone(),
            _ => Vec::new(),
        });
        let accepted = accepted.collect();
        let docker = jumps("DOCKER-USER");
        Ok(DroppingChain {
            name: self.name(),
            families: self.families(),
            accepted,
            place: self.place(docker),
        })
    }

    /// As nft(8) writes it.
    fn path(&self) -> String {
        let family = match self.family {
            NFPROTO_INET => "inet",
            NFPROTO_IPV4 => "ip",
            NFPROTO_BRIDGE => "bridge",
            _ => "ip6",
        };
        format!("{family} {} {}", self.table, self.chain)
    }

    fn name(&self) -> String {
        format!("nftables chain {}", self.path())
    }

    fn families(&self) -> Families {
        Families { ipv4: self.family != NFPROTO_IPV6, ipv6: self.family != NFPROTO_IPV4 }
    }

    /// What iptables-nft made is to be changed by it. Docker keeps a chain for others' rules, before its
    /// own.
    fn place(&self, docker: bool) -> Place {
        let iptables = [NFPROTO_IPV4, NFPROTO_IPV6].contains(&self.family);
        if !iptables || (self.table.as_str(), self.chain.as_str()) != ("filter", "FORWARD") {
            return Place::Nftables(self.path());
        }
        let chain = if docker { "DOCKER-USER" } else { "FORWARD" };
        Place::Iptables { legacy: false, chain: chain.to_owned() }
    }
}

struct Rule {
    chain: String,
    effect: Effect,
}

#[derive(Debug, PartialEq, Eq)]
enum Effect {
    /// Accepts all packets from these sources.
    Accept(Vec<IpNet>),
    /// Sends all packets through another chain.
    Jump(String),
    /// Anything else.
    Other,
}

impl Rule {
    fn decode(body: &[u8], table: &str) -> Option<Self> {
        let (family, attributes) = (*body.first()?, body.get(GENERIC_HEADER..)?);
        if text(attributes, NFTA_RULE_TABLE)? != table {
            return None;
        }
        let effect = attribute(attributes, NFTA_RULE_EXPRESSIONS).map_or(Effect::Other, |list| {
            let mut reading = Reading { family, ..Reading::default() };
            children(list).find_map(|(_, expression)| reading.take(expression)).unwrap_or(Effect::Other)
        });
        Some(Self { chain: text(attributes, NFTA_RULE_CHAIN)?, effect })
    }
}

/// What a rule's expressions have said so far.
#[derive(Default)]
struct Reading {
    family: u8,
    nfproto_loaded: bool,
    source_loaded: Option<IpVersion>,
    mask: Option<Vec<u8>>,
    source: Option<IpNet>,
}

#[derive(Clone, Copy)]
enum IpVersion {
    V4,
    V6,
}

impl Reading {
    /// The rule's effect, as soon as it is known. An expression that is not understood makes it `Other`:
    /// it may be a condition.
    fn take(&mut self, expression: &[u8]) -> Option<Effect> {
        let name = text(expression, NFTA_EXPR_NAME)?;
        let data = attribute(expression, NFTA_EXPR_DATA).unwrap_or_default();
        let understood = match name.as_str() {
            "counter" => true,
            "match" => text(data, NFTA_MATCH_NAME).as_deref() == Some("comment"),
            "meta" => {
                self.nfproto_loaded = number(data, NFTA_META_KEY) == Some(NFT_META_NFPROTO);
                self.nfproto_loaded
            }
            "payload" => self.load(data),
            "bitwise" => {
                self.mask = nested(data, &[NFTA_BITWISE_MASK, NFTA_DATA_VALUE]).map(<[u8]>::to_vec);
                self.source_loaded.is_some()
            }
            "cmp" => self.compare(data),
            "immediate" => return Some(self.verdict(data)),
            _ => false,
        };
        (!understood).then_some(Effect::Other)
    }

    /// The source address lies 12 bytes into an IPv4 header, and 8 bytes into an IPv6 header.
    fn load(&mut self, payload: &[u8]) -> bool {
        let base = number(payload, NFTA_PAYLOAD_BASE);
        let offset = number(payload, NFTA_PAYLOAD_OFFSET);
        self.source_loaded = match (offset, self.family) {
            (Some(12), NFPROTO_IPV4 | NFPROTO_INET | NFPROTO_BRIDGE) => Some(IpVersion::V4),
            (Some(8), NFPROTO_IPV6 | NFPROTO_INET | NFPROTO_BRIDGE) => Some(IpVersion::V6),
            _ => None,
        };
        base == Some(NFT_PAYLOAD_NETWORK_HEADER) && self.source_loaded.is_some() && self.source.is_none()
    }

    fn compare(&mut self, data: &[u8]) -> bool {
        if number(data, NFTA_CMP_OP) != Some(NFT_CMP_EQ) {
            return false;
        }
        if std::mem::take(&mut self.nfproto_loaded) {
            return true;
        }
        let value = nested(data, &[NFTA_CMP_DATA, NFTA_DATA_VALUE]);
        self.source = self.source_loaded.take().zip(value).and_then(|(version, value)| {
            let length = self.mask.as_deref().map_or(8 * value.len() as u32, ones);
            block(version, value, length)
        });
        self.source.is_some()
    }

    fn verdict(&self, data: &[u8]) -> Effect {
        let verdict = nested(data, &[NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT]).unwrap_or_default();
        match (number(verdict, NFTA_VERDICT_CODE), self.source) {
            (Some(NF_ACCEPT), Some(source)) => Effect::Accept(vec![source]),
            (Some(NF_ACCEPT), None) => {
                Effect::Accept(vec![Ipv4Net::default().into(), Ipv6Net::default().into()])
            }
            (Some(NFT_JUMP), None) => text(verdict, NFTA_VERDICT_CHAIN).map_or(Effect::Other, Effect::Jump),
            _ => Effect::Other,
        }
    }
}

fn ones(mask: &[u8]) -> u32 {
    mask.iter().map(|byte| byte.count_ones()).sum()
}

/// nft leaves the bytes out that a prefix does not reach.
fn block(version: IpVersion, value: &[u8], length: u32) -> Option<IpNet> {
    let mut octets = [0; 16];
    octets.get_mut(..value.len())?.copy_from_slice(value);
    let [a, b, c, d, ..] = octets;
    let address = match version {
        IpVersion::V4 => Ipv4Addr::new(a, b, c, d).into(),
        IpVersion::V6 => Ipv6Addr::from(octets).into(),
    };
    IpNet::new(address, u8::try_from(length).ok()?).ok()
}
