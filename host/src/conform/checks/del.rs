//! DEL: it succeeds whatever is gone already, and releases what is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::super::bench::Attached;
use super::super::{Bench, Check, Stop, Verdict, ensure, kernel, not_applicable};
use super::{must, should};

pub(super) const CHECKS: &[Check] = &[
    must("S2-6.1", "DEL", "a second DEL succeeds", twice),
    must("S2-6.2", "DEL", "DEL of what was never added succeeds", never_added),
    must("S2-6.3", "DEL", "DEL succeeds when the interface is gone already", interface_gone),
    must("S2-6.4", "DEL", "DEL takes away what ADD made, in the container and on the node", undoes),
    must("S2-6.5", "DEL", "DEL releases the address", |b| releases(b, &plain)),
    must("S2-6.6", "DEL", "DEL of one container leaves the others alone", leaves_others),
    should("S2-7.1", "DEL", "DEL succeeds when the namespace is gone", |b| vanished(b, &mut b.attached()?)),
    should("S2-7.2", "DEL", "DEL releases the address of a vanished namespace", |b| releases(b, &vanished)),
    should("S2-7.3", "DEL", "DEL succeeds without CNI_NETNS", |b| without_netns(b, &mut b.attached()?)),
    should("S2-7.4", "DEL", "DEL without CNI_NETNS releases the address", |b| releases(b, &without_netns)),
    should("S2-7.5", "DEL", "DEL leaves nothing on the node when the namespace is gone", nothing_left),
    should("S2-8.1", "DEL", "DEL succeeds without prevResult, and undoes ADD", no_result),
    should("S2-8.2", "DEL", "DEL without prevResult releases the address", |b| releases(b, &unremembered)),
];

/// Ways of one DEL.
fn plain(bench: Bench<'_>, attached: &mut Attached) -> Verdict {
    bench.del(&attached.pod, Some(&attached.result))?.done("a DEL")
}

fn unremembered(bench: Bench<'_>, attached: &mut Attached) -> Verdict {
    bench.del(&attached.pod, None)?.done("a DEL without prevResult")
}

fn vanished(bench: Bench<'_>, attached: &mut Attached) -> Verdict {
    attached.pod.vanish()?;
    bench.del(&attached.pod, Some(&attached.result))?.done("a DEL with a CNI_NETNS that leads nowhere")
}

fn without_netns(bench: Bench<'_>, attached: &mut Attached) -> Verdict {
    attached.pod.vanish()?;
    let reply = bench.del_with(&attached.pod, Some(&attached.result), &|call| call.env("CNI_NETNS", ""))?;
    reply.done("a DEL with an empty CNI_NETNS")
}

fn twice(bench: Bench<'_>) -> Verdict {
    let mut attached = bench.attached()?;
    plain(bench, &mut attached)?;
    bench.del(&attached.pod, Some(&attached.result))?.done("a second DEL")
}

fn never_added(bench: Bench<'_>) -> Verdict {
    let pod = bench.pod()?;
    bench.del(&pod, None)?.done("a DEL of what was never added")
}

fn interface_gone(bench: Bench<'_>) -> Verdict {
    let mut attached = bench.attached()?;
    let link = attached.pod.link()?;
    attached.pod.run(|| kernel::delete_link(&link))??;
    plain(bench, &mut attached)
}

fn undoes(bench: Bench<'_>) -> Verdict {
    undone(bench, &plain)
}

fn no_result(bench: Bench<'_>) -> Verdict {
    undone(bench, &unremembered)
}

/// A first container brings what belongs to the node and may stay; the second must leave it as it found it.
fn undone(bench: Bench<'_>, delete: &dyn Fn(Bench<'_>, &mut Attached) -> Verdict) -> Verdict {
    let _first = bench.attached()?;
    let before = kernel::snapshot()?;
    let mut second = bench.attached()?;
    delete(bench, &mut second)?;
    ensure(!second.pod.has_link()?, format!("no {} in the container", second.pod.ifname), "it is there")?;
    let after = kernel::snapshot()?;
    ensure(after == before, format!("the node as it was: {before:?}"), format!("{after:?}"))
}

fn leaves_others(bench: Bench<'_>) -> Verdict {
    let (first, mut second) = (bench.attached()?, bench.attached()?);
    plain(bench, &mut second)?;
    first.ensure_intact("another container's DEL")
}

fn nothing_left(bench: Bench<'_>) -> Verdict {
    let _first = bench.attached()?;
    let before = kernel::snapshot()?;
    vanished(bench, &mut bench.attached()?)?;
    // The kernel takes a namespace apart in its own time, and the far ends with it.
    let gone = super::eventually(|| Ok(kernel::snapshot()? == before))?;
    ensure(gone, format!("the node as it was: {before:?}"), format!("{:?}", kernel::snapshot()?))
}

/// Shows that a free address is handed out on request, and returns another one that was never held: only by
/// requests can be seen from outside whether an address was released.
pub(super) fn can_ask_for_addresses(bench: Bench<'_>) -> Result<IpNet, Stop> {
    let held = bench.attached()?.first_address()?;
    let (Some(asked), Some(other)) = (beyond(held, 5), beyond(held, 6)) else {
        return not_applicable(format!("there are no further addresses behind {held} to ask for"));
    };
    if bench.gets(asked)? && !bench.gets(held)? {
        return Ok(other);
    }
    not_applicable(format!(
        "what is free cannot be seen: asked for {asked} by the capability ips, or else by IP in CNI_ARGS, the \
         plugin does not hand it out, or it hands out {held} too, which is held"
    ))
}

fn beyond(prefix: IpNet, steps: u8) -> Option<IpNet> {
    let further = match prefix.addr() {
        IpAddr::V4(address) => IpAddr::from(Ipv4Addr::from(u32::from(address).checked_add(steps.into())?)),
        IpAddr::V6(address) => IpAddr::from(Ipv6Addr::from(u128::from(address).checked_add(steps.into())?)),
    };
    IpNet::new(further, prefix.prefix_len()).ok()
}

fn releases(bench: Bench<'_>, delete: &dyn Fn(Bench<'_>, &mut Attached) -> Verdict) -> Verdict {
    can_ask_for_addresses(bench)?;
    let mut attached = bench.attached()?;
    let address = attached.first_address()?;
    delete(bench, &mut attached)?;
    ensure(
        bench.gets(address)?,
        format!("{address} is free after DEL"),
        "a container that asks for it does not get it",
    )
}
