//! The node's own masquerade: packets of its blocks leave the cluster with the node's address, and between pods nothing
//! is ever translated.
//!
//! One chain, with a rule for each of the node's blocks, named by a digest of what it says: another plan's is another
//! chain, and the one takes the other's place in one transaction. What is left to a pod's own masquerade (see
//! [`super::masquerade`]) stays so: whichever chain translates a connection first, the other is not asked.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::io::Errno;

use super::super::Error;
use super::super::netfilter::GENERIC_HEADER;
use super::super::socket::Socket;
use super::POSTROUTING;
use super::masquerade::{Exempt, MULTICAST};
use super::rule::{Rule, Verdict};
use super::table::{Chain, Definition, Family, found_chain, found_rule};

const PREFIX: &str = "node_masquerade_";

/// What never leaves by a router, or not to a single receiver.
const NEAR: [IpNet; 3] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)),
];

/// None if there is nothing to be masqueraded.
fn chain(blocks: &[IpNet], cluster: &[IpNet]) -> Option<Chain> {
    if blocks.is_empty() {
        return None;
    }
    let kept = cluster.iter().copied().chain(MULTICAST).chain(NEAR);
    let mut rules: Vec<Rule> = kept.map(|block| Rule::new().to(block).then(Verdict::Return)).collect();
    rules.extend(blocks.iter().map(|block| Rule::new().from(*block).masquerade()));
    let digest = |blocks| Exempt::new(blocks).into_name();
    let name = format!("{PREFIX}{}_{}", &digest(blocks)[..8], &digest(cluster)[..8]);
    Some(Chain { name: name.into(), hook: Some(POSTROUTING), rules })
}

/// What tells the chain and its rules from others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::net) struct Marks {
    pub(in crate::net) chain: String,
    pub(in crate::net) rules: Vec<Vec<u8>>,
}

/// Of the masquerade of these blocks, if there is any.
pub(in crate::net) fn marks(blocks: &[IpNet], cluster: &[IpNet]) -> Option<Marks> {
    chain(blocks, cluster).map(|chain| Marks {
        rules: chain.rules.iter().map(Rule::user_data).collect(),
        chain: chain.name.into_owned(),
    })
}

/// Whether packets of these blocks, and of no others, leave the cluster's blocks with the node's own address, as far as
/// the node itself does it and not a pod's plan.
pub fn is_masquerading(blocks: &[IpNet], cluster: &[IpNet]) -> Result<bool, Error> {
    let mut socket = match Socket::netfilter() {
        // A kernel without nftables.
        Err(Error::Socket { errno: Errno::PROTONOSUPPORT, .. }) => return Ok(blocks.is_empty()),
        socket => socket?,
    };
    let outcome = chains(&mut socket).and_then(|found| match marks(blocks, cluster) {
        None => Ok(found.is_empty()),
        Some(planned) if found != [planned.chain.as_str()] => Ok(false),
        Some(planned) => rules(&mut socket, &planned.chain).map(|found| found == planned.rules),
    });
    socket.close_unattended();
    match outcome {
        // Whoever may not look may still compare what has no masquerade.
        Err(Error::Refused(refused)) if refused.errno == Errno::PERM && blocks.is_empty() => Ok(true),
        outcome => outcome,
    }
}

/// Has packets of these blocks, and of no others, leave the cluster's blocks with the node's own address.
pub fn masquerade(blocks: &[IpNet], cluster: &[IpNet]) -> Result<(), Error> {
    let mut socket = Socket::netfilter()?;
    let mut requests: Vec<_> =
        chains(&mut socket)?.iter().map(|chain| Family::Inet.remove_chain(chain)).collect();
    if let Some(chain) = chain(blocks, cluster) {
        let definition = Definition { family: Family::Inet, sets: Vec::new(), chains: vec![chain] };
        requests.extend(definition.requests());
    }
    let outcome = socket.transact(&requests).and_then(Error::from_refusals);
    socket.close_unattended();
    outcome
}

/// The names of those that are there.
fn chains(socket: &mut Socket) -> Result<Vec<String>, Error> {
    let ours = |body: &[u8]| {
        let name = found_chain(body.get(GENERIC_HEADER..).unwrap_or_default());
        Ok(name.filter(|name| name.starts_with(PREFIX)))
    };
    match socket.dump(&Family::Inet.list_chains(), "nftables chains", ours) {
        Err(Error::Refused(refused)) if matches!(refused.errno, Errno::OPNOTSUPP | Errno::NOENT) => {
            Ok(Vec::new())
        }
        found => found,
    }
}

/// What tells a chain's rules apart, in their order.
fn rules(socket: &mut Socket, chain: &str) -> Result<Vec<Vec<u8>>, Error> {
    let rule = |body: &[u8]| {
        let found = found_rule(body.get(GENERIC_HEADER..).unwrap_or_default());
        Ok(found.filter(|found| found.chain == chain).map(|found| found.user_data))
    };
    socket.dump(&Family::Inet.list_rules(), "nftables rules", rule)
}
