//! GC: what is not listed as valid goes, and only that.

use super::super::bench::Attached;
use super::super::{Bench, Check, Stop, Verdict, ensure, kernel};
use super::del::can_ask_for_addresses;
use super::{convention, must, should};

/// As the specification has it, and as the reference library also sends it.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

pub(super) const CHECKS: &[Check] = &[
    must("S2-14.1", "GC", "GC succeeds when every attachment is valid, and touches none", all_valid),
    should("S2-14.2", "GC", "GC removes the interfaces of what is not valid", removes_interfaces),
    should("S2-14.3", "GC", "GC releases the addresses of what is not valid", releases_addresses),
    should("S2-14.4", "GC", "GC releases addresses of containers whose namespace is gone", after_vanishing),
    should("S2-14.5", "GC", "GC tells interfaces of one container apart", by_interface),
    must("S2-14.6", "GC", "GC succeeds when there is nothing to do", nothing_to_do),
    must("S2-14.7", "GC", "DEL succeeds after GC", del_afterwards),
    convention("C4.1", "GC", "GC takes the legacy key cni.dev/attachments alone", legacy_key),
];

fn two(bench: Bench<'_>) -> Result<(Attached, Attached), Stop> {
    bench.since("1.1.0", "GC")?;
    Ok((bench.attached()?, bench.attached()?))
}

fn all_valid(bench: Bench<'_>) -> Verdict {
    let (first, second) = two(bench)?;
    let before = kernel::snapshot()?;
    bench.gc(&[&first.pod, &second.pod], &KEYS)?.done("a GC of valid attachments")?;
    first.ensure_intact("GC")?;
    second.ensure_intact("GC")?;
    let after = kernel::snapshot()?;
    ensure(after == before, format!("the node as it was: {before:?}"), format!("{after:?}"))?;
    bench.check(&first.pod, &first.result)?.done("a CHECK after GC")
}

fn removes_interfaces(bench: Bench<'_>) -> Verdict {
    let (kept, stale) = two(bench)?;
    bench.gc(&[&kept.pod], &KEYS)?.done("a GC")?;
    ensure(
        !stale.pod.has_link()?,
        format!("no {} in {}", stale.pod.ifname, stale.pod.id),
        "it is still there",
    )?;
    kept.ensure_intact("the GC of another container")?;
    bench.check(&kept.pod, &kept.result)?.done("a CHECK of what is valid, after GC")
}

fn releases_addresses(bench: Bench<'_>) -> Verdict {
    bench.since("1.1.0", "GC")?;
    can_ask_for_addresses(bench)?;
    let stale = bench.attached()?;
    released(bench, &stale)
}

fn after_vanishing(bench: Bench<'_>) -> Verdict {
    bench.since("1.1.0", "GC")?;
    can_ask_for_addresses(bench)?;
    let mut stale = bench.attached()?;
    stale.pod.vanish()?;
    released(bench, &stale)
}

fn released(bench: Bench<'_>, stale: &Attached) -> Verdict {
    let kept = bench.attached()?;
    bench.gc(&[&kept.pod], &KEYS)?.done("a GC")?;
    let address = stale.first_address()?;
    ensure(
        bench.gets(address)?,
        format!("{address} is free after GC"),
        "a container that asks for it does not get it",
    )?;
    let held = kept.first_address()?;
    ensure(!bench.gets(held)?, format!("{held}, which is valid, stays held"), "another container got it")
}

fn by_interface(bench: Bench<'_>) -> Verdict {
    bench.since("1.1.0", "GC")?;
    let kept = bench.attached()?;
    let stale = kept.pod.with_ifname("net1")?;
    // What the two would compete for, such as the default route, is another check's matter.
    kept.pod.clear_routes()?;
    bench.add(&stale)?.result("an ADD of another interface for the same container")?;
    bench.gc(&[&kept.pod], &KEYS)?.done("a GC")?;
    ensure(!stale.has_link()?, "no net1 in the container", "it is still there")?;
    kept.ensure_intact("the GC of another interface")
}

fn nothing_to_do(bench: Bench<'_>) -> Verdict {
    bench.since("1.1.0", "GC")?;
    bench.gc(&[], &KEYS)?.done("a GC on a node without attachments")?;
    let unknown = bench.pod()?;
    bench.gc(&[&unknown], &KEYS)?.done("a GC with a valid attachment that the plugin does not know")
}

fn del_afterwards(bench: Bench<'_>) -> Verdict {
    let (kept, stale) = two(bench)?;
    bench.gc(&[&kept.pod], &KEYS)?.done("a GC")?;
    bench.del(&stale.pod, Some(&stale.result))?.done("the DEL of what GC removed")?;
    bench.del(&kept.pod, Some(&kept.result))?.done("the DEL of what GC kept")
}

fn legacy_key(bench: Bench<'_>) -> Verdict {
    let (kept, stale) = two(bench)?;
    bench.gc(&[&kept.pod], &KEYS[1..])?.done("a GC")?;
    kept.ensure_intact("the GC of another container")?;
    ensure(
        !stale.pod.has_link()?,
        format!("no {} in {}", stale.pod.ifname, stale.pod.id),
        "it is still there",
    )
}
