//! What is too large on its way is cut, or lost where somebody drops what routers say about it.

use super::super::facts::Facts;
use super::super::finding::Finding;
use super::{count, or_ok};
use crate::net::survey::Interface;

const MTU: &str = "MTU";
/// Ethernet, IP, UDP and VXLAN headers (RFC 7348, section 5): what a tunnel adds.
const OVERHEAD: u32 = 14 + 20 + 8 + 8;
const OVERHEAD_IPV6: u32 = OVERHEAD + 20;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(uplink) = facts.uplinks().into_iter().min_by_key(|uplink| uplink.mtu) else {
        return vec![Finding::not_applicable(MTU, "no interface leads to other nodes")];
    };
    let tunnel = facts.survey.interfaces.iter().find(|it| it.ours && it.vxlan.is_some());
    // Whatever else leaves by the uplink comes with its own.
    let narrowest = tunnel.map_or(uplink, |tunnel| if tunnel.mtu < uplink.mtu { tunnel } else { uplink });
    let mut findings: Vec<Finding> =
        tunnel.and_then(|tunnel| overlay(facts, tunnel, uplink)).into_iter().collect();
    for bridge in facts.survey.interfaces.iter().filter(|it| it.ours && it.is("bridge")) {
        findings.extend(wide(bridge, narrowest));
        findings.extend(pods(facts, bridge, narrowest));
    }
    or_ok(findings, || {
        Finding::ok(
            MTU,
            format!("no pod sends more than {} carries ({} bytes)", narrowest.name, narrowest.mtu),
        )
    })
}

fn overlay(facts: &Facts, tunnel: &Interface, uplink: &Interface) -> Option<Finding> {
    let by_ipv6 = facts.settings.addresses.iter().all(|address| address.is_ipv6())
        && !facts.settings.addresses.is_empty();
    let most = uplink.mtu.saturating_sub(if by_ipv6 { OVERHEAD_IPV6 } else { OVERHEAD });
    (tunnel.mtu > most).then(|| {
        let found = format!(
            "{} takes {} bytes, and with a tunnel's headers {} carries {most}: larger packets are lost",
            tunnel.name, tunnel.mtu, uplink.name
        );
        Finding::wrong(MTU, found).mended_by(format!("ip link set dev {} mtu {most}", tunnel.name))
    })
}

fn wide(bridge: &Interface, narrowest: &Interface) -> Option<Finding> {
    (bridge.mtu > narrowest.mtu).then(|| {
        let found = format!(
            "bridge {} has {} bytes, and {} carries {}: larger packets are cut, or lost",
            bridge.name, bridge.mtu, narrowest.name, narrowest.mtu
        );
        Finding::warning(MTU, found)
            .mended_by(format!("ip link set dev {} mtu {}", bridge.name, narrowest.mtu))
            .advised("set `mtu` in the policy's configuration as well, so that it stays so")
    })
}

/// A pod keeps what it had when it was made.
fn pods(facts: &Facts, bridge: &Interface, narrowest: &Interface) -> Option<Finding> {
    let wide = facts.survey.ports(bridge.index).filter(|port| port.ours && port.mtu > narrowest.mtu).count();
    (wide > 0).then(|| {
        let found = format!(
            "{} on {} may send more than {} carries",
            count(wide, "pod"),
            bridge.name,
            narrowest.name
        );
        Finding::warning(MTU, found)
            .advised("pods that are made from now on get the right one: replace these")
    })
}
