//! Blocks of addresses that are meant for two things.

use ipnet::IpNet;

use super::super::facts::Facts;
use super::super::finding::Finding;
use super::{count, or_ok};
use crate::net::route::{Found, Hop};

const MEMBERS: &str = "pools";
const ADDRESSES: &str = "addresses";
const ROUTES: &str = "routes";
/// Of routes that come with an address: `RTPROT_KERNEL` of linux/rtnetlink.h.
const PROTOCOL_KERNEL: u8 = 2;

/// This node's and its peers'.
pub(super) fn members(facts: &Facts) -> Vec<Finding> {
    let own = facts.settings.pools.iter().map(|pool| (facts.settings.name.as_str(), *pool));
    let peers = facts.settings.peers.iter();
    let theirs = peers.flat_map(|peer| peer.pools.iter().map(move |pool| (peer.name.as_str(), *pool)));
    let mut all: Vec<(&str, IpNet)> = own.chain(theirs).collect();
    // Of two that overlap, one holds the other, and comes before it with nothing but what it holds between.
    all.sort_unstable_by_key(|(_, pool)| (*pool, pool.prefix_len()));
    let mut findings = Vec::new();
    let mut outer: Option<(&str, IpNet)> = None;
    for (name, pool) in all.iter().copied() {
        match outer {
            Some((holder, holding)) if holding.contains(&pool) => {
                findings.push(twice(holder, holding, name, pool));
            }
            _ => outer = Some((name, pool)),
        }
    }
    or_ok(findings, || Finding::ok(MEMBERS, format!("{}, none of which overlap", count(all.len(), "block"))))
}

fn twice(holder: &str, holding: IpNet, name: &str, pool: IpNet) -> Finding {
    Finding::wrong(
        MEMBERS,
        format!("{pool} of {name} overlaps {holding} of {holder}: pods of one are taken for the other's"),
    )
    .advised("give one of them another block, in node.json and in the peers.json of every node")
}

fn overlaps(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Addresses of others' interfaces among the pods'.
pub(super) fn addresses(facts: &Facts) -> Vec<Finding> {
    let cluster = &facts.settings.cluster;
    let mut findings = Vec::new();
    for interface in facts.survey.interfaces.iter().filter(|interface| !interface.ours) {
        for prefix in &interface.addresses {
            let Some(block) = cluster.iter().find(|block| overlaps(block, &prefix.trunc())) else { continue };
            findings.push(foreign(facts, &interface.name, interface.is("bridge"), *prefix, *block));
        }
    }
    or_ok(findings, || Finding::ok(ADDRESSES, format!("no interface of others has one in {}", list(cluster))))
}

/// What another plugin's bridge has of this node's own pools may be what podwire is given to use.
fn foreign(facts: &Facts, interface: &str, is_bridge: bool, prefix: IpNet, block: IpNet) -> Finding {
    let handed_over = is_bridge && facts.settings.pools.contains(&prefix.trunc());
    if handed_over {
        let found = format!("{interface}, which podwire did not make, has {prefix} of this node's own pool");
        return Finding::warning(ADDRESSES, found)
            .mended_by(format!("ip link set dev {interface} alias podwire"))
            .advised("if podwire shall use this bridge; if not, give the node another pool");
    }
    Finding::wrong(
        ADDRESSES,
        format!("{interface} has {prefix}, which overlaps the pods' {block}: packets for pods go there"),
    )
    .mended_by(format!("ip address del {prefix} dev {interface}"))
    .advised("then give whoever put it there another block, or the cluster")
}

/// Others' routes to pods.
pub(super) fn routes(facts: &Facts) -> Vec<Finding> {
    let foreign = facts.survey.routes.iter().filter(|route| is_foreign(route, facts));
    let findings = foreign.filter_map(|route| {
        let cluster = facts.settings.cluster.iter();
        let block = cluster.clone().find(|block| block.contains(&route.destination))?;
        let six = if route.destination.addr().is_ipv6() { "-6 " } else { "" };
        let found = format!("route {route} leads to pods of {block}, and podwire did not make it");
        Some(
            Finding::wrong(ROUTES, found)
                .mended_by(format!("ip {six}route del {} metric {}", route.destination, route.metric)),
        )
    });
    or_ok(findings.collect(), || {
        Finding::ok(ROUTES, format!("nobody else has any into {}", list(&facts.settings.cluster)))
    })
}

fn is_foreign(route: &Found, facts: &Facts) -> bool {
    let on_ours = |index| facts.survey.interface(index).is_some_and(|interface| interface.ours);
    let led = match route.hop {
        Some(Hop::Link { interface } | Hop::Via { interface: Some(interface), .. }) => on_ours(interface),
        _ => false,
    };
    !route.is_ours() && route.protocol != PROTOCOL_KERNEL && !led
}

fn list(blocks: &[IpNet]) -> String {
    blocks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ")
}
