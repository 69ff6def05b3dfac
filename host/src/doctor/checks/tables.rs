//! Tables of the kernel that may be full: what finds no room in them is dropped.

use super::super::facts::Facts;
use super::super::finding::Finding;

const CONNECTIONS: &str = "connections";
const NEIGHBOURS: &str = "neighbours";

pub(super) fn connections(facts: &Facts) -> Vec<Finding> {
    const MOST: &str = "net.netfilter.nf_conntrack_max";
    let number = |name| facts.switches.number(name);
    let known = number("net.netfilter.nf_conntrack_count").zip(number(MOST).filter(|most| *most > 0));
    let Some((now, most)) = known else {
        return vec![Finding::not_applicable(CONNECTIONS, "the kernel keeps none here")];
    };
    let found = format!("{now} of {most} in the kernel's table");
    let more = format!("sysctl -w {MOST}={}", 2 * most);
    vec![match 100 * now / most {
        90.. => Finding::wrong(CONNECTIONS, format!("{found}: new ones are dropped when it is full"))
            .mended_by(more),
        75.. => Finding::warning(CONNECTIONS, found).mended_by(more),
        _ => Finding::ok(CONNECTIONS, found),
    }]
}

/// Each pod of this node is one, and each peer that a route leads to.
pub(super) fn neighbours(facts: &Facts) -> Vec<Finding> {
    let pods = facts.survey.interfaces.iter().filter(|it| it.ours && it.is("veth")).count();
    let needed = (pods + facts.settings.peers.len()) as u64;
    let families = [(facts.families().ipv4, "ipv4"), (facts.families().ipv6, "ipv6")];
    let of_family = |(_, family): (bool, &str)| {
        let name = format!("net.{family}.neigh.default.gc_thresh3");
        let most = facts.switches.number(&name)?;
        let found = format!("{needed} pods and peers, and {name} is {most}");
        let command = format!("sysctl -w {name}={}", (4 * needed).next_power_of_two());
        Some(match needed {
            // Others are neighbours as well.
            _ if 2 * needed <= most => Finding::ok(NEIGHBOURS, found),
            _ if needed <= most => Finding::warning(NEIGHBOURS, found).mended_by(command),
            _ => Finding::wrong(NEIGHBOURS, format!("{found}: some are not found")).mended_by(command),
        })
    };
    let findings: Vec<_> = families.into_iter().filter(|(wanted, _)| *wanted).filter_map(of_family).collect();
    super::or_ok(findings, || {
        Finding::not_applicable(
            NEIGHBOURS,
            "their table is that of the machine, which is not this network namespace's",
        )
    })
}
