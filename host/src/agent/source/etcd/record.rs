//! What stands in etcd: its keys, and how they and their values read.
//!
//! | key | value | lease |
//! | --- | --- | --- |
//! | `PREFIX/nodes/NAME` | JSON: addresses, pools, role | the node's: a member is who has this key |
//! | `PREFIX/blocks/BLOCK` | the name of the node to which the block belongs | none: a node that returns finds its block |
//!
//! Others write there too: nothing that is read is trusted to be of this form.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::blocks::Reservation;
use crate::plan::{Peer, Role};

/// More bytes than the record of a node with all its addresses has.
const LONGEST_RECORD: usize = 16 * 1024;
/// As many addresses or blocks one node may have.
const MOST_ADDRESSES: usize = 64;
/// A DNS name, as Kubernetes names nodes.
const LONGEST_NAME: usize = 253;

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) addresses: Vec<IpAddr>,
    #[serde(default)]
    pub(super) pools: Vec<IpNet>,
    #[serde(default)]
    pub(super) role: Role,
}

impl Record {
    /// Keys that a later version adds are no mistake.
    fn parse(value: &[u8]) -> Result<Self, String> {
        if value.len() > LONGEST_RECORD {
            return Err(format!("{} bytes, and {LONGEST_RECORD} are the most", value.len()));
        }
        let record: Self = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        if record.addresses.len().max(record.pools.len()) > MOST_ADDRESSES {
            return Err(format!("more than {MOST_ADDRESSES} addresses or pools"));
        }
        match record.pools.iter().find(|pool| **pool != pool.trunc()) {
            Some(pool) => Err(format!("the pool {pool} has host bits")),
            None => Ok(record),
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("addresses and blocks are JSON")
    }

    pub(super) fn into_peer(self, name: String) -> Peer {
        Peer { name, role: self.role, addresses: self.addresses, pools: self.pools }
    }

    /// Whether it is of the same machine: no two have an address in common.
    pub(super) fn shares_an_address(&self, addresses: &[IpAddr]) -> bool {
        self.addresses.iter().any(|address| addresses.contains(address))
    }
}

/// Whether a node can be a key of that name.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(plain)
}

/// What a member of that name says of itself; else what is wrong with it.
pub(super) fn member(name: &str, value: &[u8]) -> Result<Record, String> {
    if is_name(name) { Record::parse(value) } else { Err("no node is named so".to_owned()) }
}

/// A reservation as etcd has it, if its key is a block: that counts, whoever its owner is.
pub(super) fn reservation(text: &str, owner: &[u8], revision: i64) -> Option<Reservation> {
    let block: IpNet = text.parse().ok()?;
    let owner = String::from_utf8_lossy(owner).into_owned();
    Some(Reservation { text: text.to_owned(), block: block.trunc(), owner, revision })
}

/// The keys of one cluster.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// What the keys of all members begin with.
    pub(super) fn nodes(&self) -> String {
        format!("{}/nodes/", self.prefix)
    }

    pub(super) fn node(&self, name: &str) -> String {
        self.nodes() + name
    }

    /// What the keys of all reservations begin with.
    pub(super) fn blocks(&self) -> String {
        format!("{}/blocks/", self.prefix)
    }

    pub(super) fn block(&self, text: &str) -> String {
        self.blocks() + text
    }
}

/// What a key says behind the beginning that it was asked by; in text for people, if it is none.
pub(super) fn rest<'a>(key: &'a [u8], beginning: &str) -> std::borrow::Cow<'a, str> {
    String::from_utf8_lossy(key.strip_prefix(beginning.as_bytes()).unwrap_or(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let record = Record {
            addresses: vec!["192.168.1.11".parse().expect("valid"), "fd00::11".parse().expect("valid")],
            pools: vec!["10.244.1.0/24".parse().expect("valid")],
            role: Role::Router,
        };
        assert_eq!(Record::parse(&record.to_json()), Ok(record));
    }

    #[test]
    fn a_record_of_a_later_version_is_read() {
        let record =
            Record::parse(br#"{"addresses": ["192.168.1.11"], "zone": "a"}"#).expect("known keys count");
        assert_eq!((record.role, record.pools), (Role::Host, vec![]));
    }

    #[test]
    fn what_is_no_record_is_said() {
        let many = format!(r#"{{"addresses": [{}"10.0.0.1"]}}"#, r#""10.0.0.1","#.repeat(MOST_ADDRESSES));
        let long = " ".repeat(LONGEST_RECORD + 1);
        for (value, said) in [
            ("", "EOF"),
            ("{}", "missing field `addresses`"),
            (r#"{"addresses": ["node1"]}"#, "invalid"),
            (r#"{"addresses": [], "pools": ["10.1.0.1/24"]}"#, "host bits"),
            (&many, "more than 64"),
            (&long, "bytes"),
        ] {
            let error = Record::parse(value.as_bytes()).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_member_has_a_name() {
        let value = br#"{"addresses": ["192.168.1.11"]}"#;
        assert!(member("node1.example", value).is_ok());
        for name in ["", "a/b", "a b", "ä", &"a".repeat(LONGEST_NAME + 1)] {
            assert!(member(name, value).is_err(), "{name}");
        }
    }

    #[test]
    fn a_reservation_counts_however_it_is_written() {
        let found = reservation("FD00:0::1/64", b"node1", 7).expect("a block of a node");
        assert_eq!((found.block.to_string().as_str(), found.text.as_str()), ("fd00::/64", "FD00:0::1/64"));
        assert_eq!(reservation("10.1.0.0", b"node1", 7), None);
        assert!(!is_name(&reservation("10.1.0.0/24", &[0xff], 7).expect("a block").owner));
    }
}
