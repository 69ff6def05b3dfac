//! CHECK: it tolerates what others did, and tells what is gone.

use ipnet::{IpNet, Ipv4Net};

use super::super::bench::Attached;
use super::super::{Bench, Check, Stop, Verdict, answer, ensure, kernel, not_applicable};
use super::{must, should};

pub(super) const CHECKS: &[Check] = &[
    must("S2-9.1", "CHECK", "CHECK right after ADD succeeds", immediately),
    must("S2-9.2", "CHECK", "CHECK right after ADD succeeds in 0.4.0", |b| immediately(b.speaking("0.4.0")?)),
    must("S2-9.3", "CHECK", "CHECK right after ADD succeeds in 1.0.0", |b| immediately(b.speaking("1.0.0")?)),
    must("S2-9.4", "CHECK", "CHECK tolerates an address and a link that a later plugin added", additions),
    must("S2-9.5", "CHECK", "CHECK changes nothing", changes_nothing),
    should("S2-10.1", "CHECK", "CHECK fails when the interface is gone", |b| notices(b, gone)),
    should("S2-10.2", "CHECK", "CHECK fails when the interface is down", |b| notices(b, down)),
    should("S2-10.3", "CHECK", "CHECK fails when an address is gone", |b| notices(b, no_address)),
    should("S2-10.4", "CHECK", "CHECK fails when a prefix length differs", |b| notices(b, wrong_address)),
    should("S2-10.5", "CHECK", "CHECK fails when a route is gone", |b| notices(b, no_route)),
    should("S2-10.6", "CHECK", "CHECK fails when the interface was replaced", |b| notices(b, replaced)),
    should("S2-10.7", "CHECK", "CHECK without an ADD fails", never_added),
    should("S2-10.8", "CHECK", "CHECK after DEL fails", after_del),
];

fn attached(bench: Bench<'_>) -> Result<Attached, Stop> {
    bench.since("0.4.0", "CHECK")?;
    bench.attached()
}

fn checked(bench: Bench<'_>, attached: &Attached, when: &str) -> Verdict {
    bench.check(&attached.pod, &attached.result)?.done(&format!("a CHECK {when}"))
}

fn immediately(bench: Bench<'_>) -> Verdict {
    let attached = attached(bench)?;
    checked(bench, &attached, "right after ADD")?;
    checked(bench, &attached, "once more")
}

fn additions(bench: Bench<'_>) -> Verdict {
    let attached = attached(bench)?;
    let link = attached.pod.link()?;
    attached.pod.run(|| kernel::add_address(&link, strange()).and_then(|()| kernel::add_link("later")))??;
    checked(bench, &attached, "after a later plugin added an address and a link")
}

/// Nobody's: of TEST-NET-3 (RFC 5737).
fn strange() -> IpNet {
    Ipv4Net::new_assert([203, 0, 113, 7].into(), 24).into()
}

fn changes_nothing(bench: Bench<'_>) -> Verdict {
    let attached = attached(bench)?;
    let before = (kernel::snapshot()?, attached.pod.run(kernel::snapshot)??);
    checked(bench, &attached, "right after ADD")?;
    let after = (kernel::snapshot()?, attached.pod.run(kernel::snapshot)??);
    ensure(after == before, format!("as before: {before:?}"), format!("{after:?}"))
}

/// CHECK must succeed before something is disturbed, and fail after.
fn notices(bench: Bench<'_>, disturb: fn(&Attached) -> Verdict) -> Verdict {
    let attached = attached(bench)?;
    checked(bench, &attached, "right after ADD")?;
    disturb(&attached)?;
    let reply = bench.check(&attached.pod, &attached.result)?;
    reply.error("a CHECK of what is not as ADD left it").map(drop)
}

fn gone(attached: &Attached) -> Verdict {
    let link = attached.pod.link()?;
    Ok(attached.pod.run(|| kernel::delete_link(&link))??)
}

fn down(attached: &Attached) -> Verdict {
    let link = attached.pod.link()?;
    Ok(attached.pod.run(|| kernel::set_up(&link, false))??)
}

fn first_address(attached: &Attached) -> Result<kernel::Address, Stop> {
    let listed = attached.first_address()?;
    let there = attached.pod.addresses()?;
    there
        .into_iter()
        .find(|it| it.prefix == listed)
        .map_or_else(|| super::super::failed(format!("{listed} in the container"), "none"), Ok)
}

/// With the last IPv4 address the routes would go too: another one keeps them, so that only the address is missed.
fn no_address(attached: &Attached) -> Verdict {
    let (address, link) = (first_address(attached)?, attached.pod.link()?);
    let disturb = || kernel::add_address(&link, strange()).and_then(|()| kernel::delete_address(&address));
    Ok(attached.pod.run(disturb)??)
}

fn wrong_address(attached: &Attached) -> Verdict {
    let (address, link) = (first_address(attached)?, attached.pod.link()?);
    let other = IpNet::new(address.prefix.addr(), other_length(address.prefix))?;
    no_address(attached)?;
    Ok(attached.pod.run(|| kernel::add_address(&link, other))??)
}

fn other_length(prefix: IpNet) -> u8 {
    let length = prefix.prefix_len();
    if length < prefix.max_prefix_len() { length + 1 } else { length - 1 }
}

fn no_route(attached: &Attached) -> Verdict {
    let listed = answer::routes(&attached.result)?;
    let there = attached.pod.routes()?;
    let route =
        there.iter().find(|found| listed.iter().any(|it| it.destination.trunc() == found.destination));
    let Some(route) = route else { return not_applicable("the result has no routes") };
    Ok(attached.pod.run(|| kernel::delete_route(route))??)
}

fn replaced(attached: &Attached) -> Verdict {
    gone(attached)?;
    Ok(attached.pod.run(|| kernel::add_link(&attached.pod.ifname))??)
}

fn never_added(bench: Bench<'_>) -> Verdict {
    let other = attached(bench)?;
    let pod = bench.pod()?;
    let path = |pod: &super::super::bench::Pod| pod.path.to_string_lossy().into_owned();
    let result = other.result.to_string().replace(&path(&other.pod), &path(&pod));
    let result = serde_json::from_str(&result)?;
    bench.check(&pod, &result)?.error("a CHECK of what was never added").map(drop)
}

fn after_del(bench: Bench<'_>) -> Verdict {
    let attached = attached(bench)?;
    bench.del(&attached.pod, Some(&attached.result))?.done("a DEL")?;
    bench.check(&attached.pod, &attached.result)?.error("a CHECK after DEL").map(drop)
}
