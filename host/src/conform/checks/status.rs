//! STATUS: whether an ADD could be served.

use super::super::bench::Attached;
use super::super::{Bench, Check, Stop, Verdict, ensure, kernel, not_applicable};
use super::must;

/// More is not tried to use all addresses up.
const MANY: usize = 64;

pub(super) const CHECKS: &[Check] = &[
    must("S2-11.1", "STATUS", "STATUS succeeds when an ADD can be served", ready),
    must("S2-11.2", "STATUS", "STATUS fails with 50 or 51 when no address is left", exhausted),
    must("S2-11.3", "STATUS", "STATUS changes nothing", changes_nothing),
    must("S2-12.1", "STATUS", "DEL and ADD are served after a STATUS that failed", served_afterwards),
];

fn ready(bench: Bench<'_>) -> Verdict {
    bench.since("1.1.0", "STATUS")?;
    bench.status()?.done("a STATUS on a fresh node")?;
    bench.attached()?;
    bench.status()?.done("a STATUS after an ADD")
}

fn changes_nothing(bench: Bench<'_>) -> Verdict {
    bench.since("1.1.0", "STATUS")?;
    let attached = bench.attached()?;
    let before = kernel::snapshot()?;
    bench.status()?.done("a STATUS")?;
    attached.ensure_intact("STATUS")?;
    let after = kernel::snapshot()?;
    ensure(after == before, format!("the node as it was: {before:?}"), format!("{after:?}"))
}

/// Adds until the plugin refuses; the check does not apply if it never does.
fn use_up(bench: Bench<'_>) -> Result<Vec<Attached>, Stop> {
    bench.since("1.1.0", "STATUS")?;
    bench.attached()?.ips()?;
    let mut all = Vec::new();
    while all.len() < MANY {
        let pod = bench.pod()?;
        let reply = bench.add(&pod)?;
        if !reply.succeeded() {
            bench.del(&pod, None)?.done("the DEL after a refused ADD")?;
            return Ok(all);
        }
        all.push(Attached { result: reply.result("an ADD")?, pod });
    }
    not_applicable(format!("addresses are left after {MANY} ADDs: give a configuration with fewer"))
}

fn exhausted(bench: Bench<'_>) -> Verdict {
    let all = use_up(bench)?;
    bench.status()?.error_of("a STATUS with no address left", &[50, 51])?;
    all.iter().try_for_each(|attached| attached.ensure_intact("STATUS"))
}

fn served_afterwards(bench: Bench<'_>) -> Verdict {
    let all = use_up(bench)?;
    bench.status()?.error("a STATUS with no address left")?;
    let Some(last) = all.last() else { return not_applicable("the plugin has one address only") };
    bench.del(&last.pod, Some(&last.result))?.done("a DEL after a STATUS that failed")?;
    let pod = bench.pod()?;
    bench.add(&pod)?.result("an ADD after an address was released")?;
    bench.del(&pod, None)?.done("its DEL")
}
