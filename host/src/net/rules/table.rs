//! Tables, sets, chains and elements of nf_tables: what they are, and the requests that make, ask for and remove
//! them.
//!
//! Message and attribute numbers are those of linux/netfilter/nf_tables.h. Knows nothing of plans.

use std::borrow::Cow;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use rustix::io::Errno;

use super::super::netfilter::{Attributes, Message, NFTABLES, attribute, nested, text};
use super::super::socket::Request;
use super::TABLE;
use super::field::{Field, data_type, width};
use super::rule::Rule;

const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_DELTABLE: u8 = 2;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_GETCHAIN: u8 = 4;
const NFT_MSG_DELCHAIN: u8 = 5;
const NFT_MSG_NEWRULE: u8 = 6;
const NFT_MSG_GETRULE: u8 = 7;
const NFT_MSG_NEWSET: u8 = 9;
const NFT_MSG_NEWSETELEM: u8 = 12;
const NFT_MSG_GETSETELEM: u8 = 13;
const NFT_MSG_DELSETELEM: u8 = 14;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NF_ACCEPT: u32 = 1;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFT_SET_MAP: u32 = 8;
/// What nft(8) leaves in a set to show its keys by: `NFTNL_UDATA_SET_KEYBYTEORDER` of libnftnl/udata.h, its length, and
/// the number for the order of this machine.
const KEY_BYTE_ORDER: [u8; 2] = [0, 4];
const HOST_ORDER: u32 = 1;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;

/// Whose packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Those of IPv4 and IPv6 that the node itself sends, receives and forwards.
    Inet,
    /// Frames on their way through the node's bridges.
    Bridge,
}

impl Family {
    /// `NFPROTO_INET` and `NFPROTO_BRIDGE` of linux/netfilter.h.
    fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Bridge => 7,
        }
    }

    /// As nft(8) writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Bridge => "bridge",
        }
    }

    fn message(self, kind: u8, attributes: Attributes) -> Message {
        Message::new(NFTABLES, kind, self.number(), attributes)
    }

    /// Removes podwire's table of this family, with all that is in it.
    pub(super) fn remove_table(self) -> Request<Message> {
        let message = self.message(NFT_MSG_DELTABLE, Attributes::default().text(NFTA_TABLE_NAME, TABLE));
        let step = format!("remove the nftables table {} {TABLE}", self.name());
        Request::new(message, 0, step).tolerating(&[Errno::NOENT])
    }

    /// Removes a chain with its rules.
    pub(super) fn remove_chain(self, name: &str) -> Request<Message> {
        let named = Attributes::default().text(NFTA_CHAIN_TABLE, TABLE).text(NFTA_CHAIN_NAME, name);
        let step = format!("remove the nftables chain {} {TABLE} {name}", self.name());
        Request::new(self.message(NFT_MSG_DELCHAIN, named), 0, step)
    }

    /// Asks for the chains of all tables of this family.
    pub(super) fn list_chains(self) -> Message {
        self.message(NFT_MSG_GETCHAIN, Attributes::default())
    }

    /// Asks for the rules of podwire's table of this family.
    pub(super) fn list_rules(self) -> Message {
        self.message(NFT_MSG_GETRULE, Attributes::default().text(NFTA_RULE_TABLE, TABLE))
    }
}

/// A set, or a map if it has data. Elements are found by a hash of the whole key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) family: Family,
    pub(super) name: Cow<'static, str>,
    pub(super) key: &'static [Field],
    pub(super) data: &'static [Field],
}

/// Where a chain sees packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hook {
    /// "filter" or "nat".
    pub(super) kind: &'static str,
    /// `NF_INET_…` of linux/netfilter.h, `NF_BR_…` of linux/netfilter_bridge.h.
    pub(super) number: u32,
    /// Less is earlier.
    pub(super) priority: i32,
}

/// A chain with its rules.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) name: Cow<'static, str>,
    /// None: packets get there from another chain.
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

/// Sets and chains that are made together.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) family: Family,
    pub(super) sets: Vec<Set>,
    pub(super) chains: Vec<Chain>,
}

impl Definition {
    /// What makes it, to be sent in one batch. That is refused as a whole if somebody else has made it meanwhile, so
    /// that no rule is there twice.
    pub(super) fn requests(self) -> Vec<Request<Message>> {
        let named = Attributes::default().text(NFTA_TABLE_NAME, TABLE);
        let step = format!("make the nftables table {} {TABLE}", self.family.name());
        let mut requests =
            vec![Request::new(self.family.message(NFT_MSG_NEWTABLE, named), NLM_F_CREATE, step)];
        requests.extend((1..).zip(&self.sets).map(|(number, set)| set.create(number)));
        for chain in self.chains {
            requests.push(chain.create(self.family));
            let Chain { name, rules, .. } = chain;
            requests.extend(rules.into_iter().map(|rule| append(self.family, &name, rule)));
        }
        requests
    }
}

impl Chain {
    fn create(&self, family: Family) -> Request<Message> {
        let mut attributes =
            Attributes::default().text(NFTA_CHAIN_TABLE, TABLE).text(NFTA_CHAIN_NAME, &self.name);
        if let Some(Hook { kind, number, priority }) = self.hook {
            let hook = Attributes::default().number(NFTA_HOOK_HOOKNUM, number);
            let hook = hook.number(NFTA_HOOK_PRIORITY, priority as u32);
            attributes = attributes.nested(NFTA_CHAIN_HOOK, hook).number(NFTA_CHAIN_POLICY, NF_ACCEPT);
            attributes = attributes.text(NFTA_CHAIN_TYPE, kind);
        }
        let step = format!("make the nftables chain {} {TABLE} {}", family.name(), self.name);
        Request::new(family.message(NFT_MSG_NEWCHAIN, attributes), NLM_F_CREATE | NLM_F_EXCL, step)
    }
}

fn append(family: Family, chain: &str, rule: Rule) -> Request<Message> {
    let attributes = Attributes::default().text(NFTA_RULE_TABLE, TABLE).text(NFTA_RULE_CHAIN, chain);
    let user_data = rule.user_data();
    let attributes = attributes.nested(NFTA_RULE_EXPRESSIONS, rule.into_expressions());
    let attributes = attributes.bytes(NFTA_RULE_USERDATA, &user_data);
    let step = format!("add a rule to the nftables chain {} {TABLE} {chain}", family.name());
    Request::new(family.message(NFT_MSG_NEWRULE, attributes), NLM_F_CREATE | NLM_F_APPEND, step)
}

impl Set {
    /// `number` tells it from the others of the batch.
    fn create(&self, number: u32) -> Request<Message> {
        let mut attributes = Attributes::default()
            .text(NFTA_SET_TABLE, TABLE)
            .text(NFTA_SET_NAME, &self.name)
            .number(NFTA_SET_KEY_TYPE, data_type(self.key))
            .number(NFTA_SET_KEY_LEN, width(self.key))
            .number(NFTA_SET_ID, number);
        if !self.data.is_empty() {
            let map = attributes.number(NFTA_SET_FLAGS, NFT_SET_MAP);
            attributes = map
                .number(NFTA_SET_DATA_TYPE, data_type(self.data))
                .number(NFTA_SET_DATA_LEN, width(self.data));
        }
        if self.key == [Field::InputName] {
            let order = [KEY_BYTE_ORDER.as_slice(), &HOST_ORDER.to_ne_bytes()].concat();
            attributes = attributes.bytes(NFTA_SET_USERDATA, &order);
        }
        let step = format!("make the nftables set {}", self.path());
        let message = self.family.message(NFT_MSG_NEWSET, attributes);
        Request::new(message, NLM_F_CREATE | NLM_F_EXCL, step)
    }

    /// As nft(8) writes it.
    pub(super) fn path(&self) -> String {
        format!("{} {TABLE} {}", self.family.name(), self.name)
    }
}

/// The bytes of fields one behind the other, as a set's keys and data have them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Value(Vec<u8>);

impl Value {
    /// Each field begins at a multiple of four.
    pub(super) fn and(mut self, field: &[u8]) -> Self {
        self.0.extend(field);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn attribute(&self) -> Attributes {
        Attributes::default().bytes(NFTA_DATA_VALUE, &self.0)
    }
}

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) set: Set,
    pub(super) key: Value,
    /// In a map.
    pub(super) data: Option<Value>,
    /// For people: "10.244.1.2".
    pub(super) name: String,
}

impl Element {
    /// Adds it. The same is success; one with the same key and other data is refused.
    pub(super) fn add(&self) -> Request<Message> {
        let step = format!("add {} to the nftables set {}", self.name, self.set.path());
        Request::new(self.message(NFT_MSG_NEWSETELEM, self.data.as_ref()), NLM_F_CREATE, step)
    }

    /// Removes it, whatever data it has.
    pub(super) fn remove(&self) -> Request<Message> {
        let step = format!("remove {} from the nftables set {}", self.name, self.set.path());
        Request::new(self.message(NFT_MSG_DELSETELEM, None), 0, step)
    }

    /// Asks for it.
    pub(super) fn get(&self) -> Message {
        self.message(NFT_MSG_GETSETELEM, None)
    }

    fn message(&self, kind: u8, data: Option<&Value>) -> Message {
        let mut element = Attributes::default().nested(NFTA_SET_ELEM_KEY, self.key.attribute());
        if let Some(data) = data {
            element = element.nested(NFTA_SET_ELEM_DATA, data.attribute());
        }
        let list = Attributes::default().nested(NFTA_LIST_ELEM, element);
        let attributes = Attributes::default()
            .text(NFTA_SET_ELEM_LIST_TABLE, TABLE)
            .text(NFTA_SET_ELEM_LIST_SET, &self.set.name)
            .nested(NFTA_SET_ELEM_LIST_ELEMENTS, list);
        self.set.family.message(kind, attributes)
    }
}

/// The data of the one element in an answer to [`Element::get`].
pub(super) fn data_of(attributes: &[u8]) -> Option<Vec<u8>> {
    let path = [NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_LIST_ELEM, NFTA_SET_ELEM_DATA, NFTA_DATA_VALUE];
    nested(attributes, &path).map(<[u8]>::to_vec)
}

/// The name of a chain in an answer to [`Family::list_chains`]; none if it is another table's.
pub(super) fn found_chain(attributes: &[u8]) -> Option<String> {
    let ours = text(attributes, NFTA_CHAIN_TABLE).as_deref() == Some(TABLE);
    text(attributes, NFTA_CHAIN_NAME).filter(|_| ours)
}

/// A rule in an answer to [`Family::list_rules`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundRule {
    /// Its chain.
    pub(super) chain: String,
    /// Empty, if it is not podwire's.
    pub(super) user_data: Vec<u8>,
}

/// None if it is another table's, which older kernels list too.
pub(super) fn found_rule(attributes: &[u8]) -> Option<FoundRule> {
    let ours = text(attributes, NFTA_RULE_TABLE).as_deref() == Some(TABLE);
    let chain = text(attributes, NFTA_RULE_CHAIN).filter(|_| ours)?;
    let user_data = attribute(attributes, NFTA_RULE_USERDATA).unwrap_or_default().to_vec();
    Some(FoundRule { chain, user_data })
}
