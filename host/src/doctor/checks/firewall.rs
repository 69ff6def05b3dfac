//! Firewalls between pods.

use super::super::facts::Facts;
use super::super::finding::Finding;
use super::or_ok;

const FIREWALL: &str = "firewall";
const BRIDGED: &str = "bridge-nf-call";

pub(super) fn forwarded(facts: &Facts) -> Vec<Finding> {
    let wrong = |obstacle: &crate::net::firewall::Finding| {
        let finding = Finding::wrong(FIREWALL, obstacle.problem.clone());
        obstacle.remedy.iter().fold(finding, Finding::mended_by)
    };
    or_ok(facts.dropped.iter().map(wrong).collect(), || {
        Finding::ok(FIREWALL, "no chain of iptables or nftables at the forward hook drops what pods send")
    })
}

/// kube-proxy wants it on, where it works by iptables: else a pod that asks a Service, and is answered by a pod on the
/// same bridge, gets the answer from a stranger.
pub(super) fn bridged(facts: &Facts) -> Vec<Finding> {
    const SWITCHES: [(&str, &str); 3] = [
        ("net.bridge.bridge-nf-call-iptables", "iptables"),
        ("net.bridge.bridge-nf-call-ip6tables", "ip6tables"),
        ("net.bridge.bridge-nf-call-arptables", "arptables"),
    ];
    let (known, on): (Vec<_>, Vec<_>) = (
        SWITCHES.iter().filter(|(name, _)| facts.switches.get(name).is_some()).collect(),
        SWITCHES.iter().filter(|(name, _)| facts.switches.is_on(name)).map(|(_, tables)| *tables).collect(),
    );
    let hint = "kube-proxy in iptables mode needs bridge-nf-call-iptables=1, for Services between pods on one bridge";
    vec![match (known.is_empty(), on.as_slice()) {
        (true, _) => {
            Finding::ok(BRIDGED, "br_netfilter is not loaded: no firewall sees what one bridge carries")
                .advised(hint)
        }
        (false, []) => {
            Finding::ok(BRIDGED, "it is off: no firewall sees what one bridge carries").advised(hint)
        }
        (false, on) if facts.dropped.is_empty() => {
            Finding::ok(BRIDGED, format!("what one bridge carries passes {} too", on.join(", ")))
        }
        (false, on) => {
            let found = format!(
                "what one bridge carries passes {} too, and the firewall drops it: pods on this node are kept from each \
                 other",
                on.join(", ")
            );
            let remedies = facts.dropped.iter().filter_map(|obstacle| obstacle.remedy.clone());
            remedies.fold(Finding::wrong(BRIDGED, found), Finding::mended_by)
        }
    }]
}
