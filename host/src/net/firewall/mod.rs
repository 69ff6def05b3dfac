//! Why the kernel would drop packets on their way between pods.
//!
//! Docker, for one, sets the policy of iptables' FORWARD chain to DROP. podwire changes nobody's firewall:
//! it finds the chains that drop what no rule accepts, and says which command lets pods through. Knows
//! policies of forward chains and rules that accept by source; what else a firewall does is its owner's.

mod legacy;
mod nftables;

use std::fmt;

use ipnet::IpNet;

use super::Error;
use super::sysctl::{Families, Sysctl, forwarding};

/// Something that stops packets, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A sentence.
    pub problem: String,
    /// A command; none if podwire cannot name one.
    pub remedy: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        self.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "; mend it with `{remedy}`"))
    }
}

/// A base chain at the forward hook whose policy is to drop.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DroppingChain {
    /// For the operator.
    name: String,
    /// Whose packets pass it.
    families: Families,
    /// Sources from which it accepts everything.
    accepted: Vec<IpNet>,
    /// Where a rule that accepts belongs.
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A chain of iptables': of the one before nftables, or of the one that is a front end of it.
    Iptables { legacy: bool, chain: String },
    /// "inet filter forward": family, table and chain.
    Nftables(String),
}

impl Place {
    fn accept_port(&self, port: u16) -> String {
        match self {
            Self::Iptables { legacy, chain } => {
                let legacy = if *legacy { "-legacy" } else { "" };
                format!("iptables{legacy} -I {chain} -p udp --dport {port} -j ACCEPT")
            }
            Self::Nftables(chain) => format!("nft insert rule {chain} udp dport {port} accept"),
        }
    }

    fn accept(&self, block: IpNet) -> String {
        let six = if block.addr().is_ipv6() { "6" } else { "" };
        match self {
            Self::Iptables { legacy, chain } => {
                let legacy = if *legacy { "-legacy" } else { "" };
                format!("ip{six}tables{legacy} -I {chain} -s {block} -j ACCEPT")
            }
            Self::Nftables(chain) => format!("nft insert rule {chain} ip{six} saddr {block} accept"),
        }
    }
}

/// Whatever in this thread's network namespace would keep packets between the cluster's blocks from being
/// forwarded; empty if nothing does.
pub fn blocked_forwarding(cluster: &[IpNet]) -> Vec<Finding> {
    switched_off(Families::of(cluster)).chain(dropped_forwarding(cluster)).collect()
}

/// The same, but for the switches of forwarding.
pub fn dropped_forwarding(cluster: &[IpNet]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for chains in [nftables::dropping_chains(), nftables::refusals::forward(), legacy::dropping_chains()] {
        let found = match chains {
            Ok(chains) => chains.iter().flat_map(|chain| dropped(chain, cluster)).collect(),
            Err(error) => vec![uninspected(&error)],
        };
        // A chain may drop by its policy and by a rule: one command mends both.
        let is_news = |finding: &Finding| {
            finding.remedy.is_none() || findings.iter().all(|known| known.remedy != finding.remedy)
        };
        let news: Vec<Finding> = found.into_iter().filter(is_news).collect();
        findings.extend(news);
    }
    findings
}

/// What keeps datagrams to that UDP port from the node itself.
pub fn closed_port(port: u16) -> Vec<Finding> {
    match nftables::refusals::input(port) {
        Err(error) => vec![uninspected(&error)],
        Ok(chains) => chains.iter().map(|chain| closed(chain, port)).collect(),
    }
}

fn closed(chain: &DroppingChain, port: u16) -> Finding {
    Finding {
        problem: format!("{} drops what no rule accepts, datagrams to UDP port {port} among it", chain.name),
        remedy: Some(chain.place.accept_port(port)),
    }
}

fn switched_off(families: Families) -> impl Iterator<Item = Finding> {
    let off = |switch: &Sysctl| switch.get().as_deref() != Some("1");
    forwarding(families).into_iter().filter(off).map(|switch| Finding {
        problem: format!("{} is off: packets between nodes and pods are not forwarded", switch.name()),
        remedy: Some(format!("sysctl -w {}=1", switch.name())),
    })
}

fn dropped(chain: &DroppingChain, cluster: &[IpNet]) -> Vec<Finding> {
    let (four, six) = (chain.families.ipv4, chain.families.ipv6);
    let concerned = |block: &&IpNet| if block.addr().is_ipv4() { four } else { six };
    let accepted = |block: &IpNet| chain.accepted.iter().any(|accepted| accepted.contains(block));
    let blocks = cluster.iter().filter(concerned).filter(|block| !accepted(block));
    let finding = |block: &IpNet| Finding {
        problem: format!(
            "{} drops what no rule accepts, packets from {block} among it{}",
            chain.name,
            bridged(block)
        ),
        remedy: Some(chain.place.accept(*block)),
    };
    blocks.map(finding).collect()
}

/// br_netfilter hands bridged frames to the forward hook.
fn bridged(block: &IpNet) -> &'static str {
    let switch = if block.addr().is_ipv4() { "bridge-nf-call-iptables" } else { "bridge-nf-call-ip6tables" };
    match Sysctl::named(&format!("net.bridge.{switch}")).get().as_deref() {
        Some("1") => ", also between pods on one bridge (br_netfilter is in use)",
        _ => "",
    }
}

fn uninspected(error: &Error) -> Finding {
    Finding { problem: format!("the firewall could not be inspected: {error}"), remedy: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(place: Place, accepted: &[&str]) -> DroppingChain {
        DroppingChain {
            name: "the chain".to_owned(),
            families: Families { ipv4: true, ipv6: false },
            accepted: accepted.iter().map(|block| block.parse().expect("valid")).collect(),
            place,
        }
    }

    fn remedies(chain: &DroppingChain, cluster: &[&str]) -> Vec<String> {
        let cluster: Vec<IpNet> = cluster.iter().map(|block| block.parse().expect("valid")).collect();
        dropped(chain, &cluster).into_iter().filter_map(|finding| finding.remedy).collect()
    }

    #[test]
    fn blocks_that_are_accepted_or_of_another_family_are_no_finding() {
        let place = Place::Iptables { legacy: false, chain: "DOCKER-USER".to_owned() };
        let cluster = ["10.244.0.0/16", "10.96.0.0/12", "fd00::/48"];
        let commands = [
            "iptables -I DOCKER-USER -s 10.244.0.0/16 -j ACCEPT",
            "iptables -I DOCKER-USER -s 10.96.0.0/12 -j ACCEPT",
        ];
        assert_eq!(remedies(&chain(place.clone(), &[]), &cluster), commands);
        assert_eq!(
            remedies(&chain(place.clone(), &["10.244.0.0/15", "10.96.0.0/16"]), &cluster),
            commands[1..]
        );
        assert_eq!(remedies(&chain(place, &["0.0.0.0/0"]), &cluster), [""; 0]);
    }

    #[test]
    fn commands_are_those_of_the_tool_that_made_the_chain() {
        let four = "10.244.0.0/16".parse().expect("valid");
        let six = "fd00::/48".parse().expect("valid");
        let legacy = Place::Iptables { legacy: true, chain: "FORWARD".to_owned() };
        assert_eq!(legacy.accept(six), "ip6tables-legacy -I FORWARD -s fd00::/48 -j ACCEPT");
        let place = Place::Nftables("inet filter forward".to_owned());
        assert_eq!(place.accept(four), "nft insert rule inet filter forward ip saddr 10.244.0.0/16 accept");
        assert_eq!(place.accept(six), "nft insert rule inet filter forward ip6 saddr fd00::/48 accept");
    }
}
