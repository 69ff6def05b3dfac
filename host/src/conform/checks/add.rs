//! ADD: what it does, and what it must refuse without leaving anything.

use serde_json::json;

use super::super::answer;
use super::super::bench::{Attached, at_least};
use super::super::call::Call;
use super::super::{Bench, Check, Verdict, ensure, kernel};
use super::del::can_ask_for_addresses;
use super::errors::IMPOSSIBLE_NAMES;
use super::{convention, must, should};

pub(super) const CHECKS: &[Check] = &[
    must("S2-1.1", "ADD", "ADD makes the interface that CNI_IFNAME names", takes_the_name),
    should("S2-1.2", "ADD", "a container may have interfaces of several names", several),
    must("S2-1.3", "ADD", "ADD needs no CNI_ARGS", no_arguments),
    must("S1-1.1", "ADD", "ADD passes over the runtime's keys, cni.dev/… and args", runtime_keys),
    must("S2-3.1", "ADD", "ADD refuses the name of an interface that the container has", occupied),
    must("S2-3.2", "ADD", "ADD refuses an interface name that cannot be", impossible_names),
    must("S2-3.3", "ADD", "a refused ADD leaves nothing on the node after its DEL", leaves_nothing),
    should("S2-3.4", "ADD", "a refused ADD holds no address after its DEL", holds_no_address),
    must("S2-3.5", "ADD", "ADD refuses a namespace that is none", no_namespace),
    must("S2-4.1", "ADD", "ADD passes on the interfaces and addresses of prevResult", passes_on),
    should("S2-5.1", "ADD", "a second ADD is refused, and the first attachment stays", twice),
    convention("C3.1", "ADD", "CNI_ARGS with IgnoreUnknown may have unknown keys", unknown_arguments),
];

fn takes_the_name(bench: Bench<'_>) -> Verdict {
    let pod = bench.pod()?.with_ifname("fifteencharacte")?;
    bench.add(&pod)?.result("an ADD of an interface with a name of 15 characters")?;
    pod.link().map(drop)
}

fn several(bench: Bench<'_>) -> Verdict {
    let first = bench.attached()?;
    let pod = first.pod.with_ifname("net1")?;
    let result = bench.add(&pod)?.result("an ADD of another interface for the same container")?;
    let second = Attached { pod, result };
    first.ensure_intact("the ADD of net1")?;
    second.ensure_intact("its ADD")?;
    bench.del(&second.pod, Some(&second.result))?.done("the DEL of net1")?;
    first.ensure_intact("the DEL of net1")
}

fn no_arguments(bench: Bench<'_>) -> Verdict {
    let pod = bench.pod()?;
    bench.add_with(&pod, &|call| call.without("CNI_ARGS"))?.result("an ADD without CNI_ARGS")?;
    pod.link().map(drop)
}

fn runtime_keys(bench: Bench<'_>) -> Verdict {
    let pod = bench.pod()?;
    let args = json!({ "labels": [{ "key": "app", "value": "conform" }] });
    let reply = bench.add_with(&pod, &|call| {
        call.with("cni.dev/conform", json!({ "a": [1] })).with("args", json!({ "org.example": args }))
    })?;
    reply.result("an ADD with keys of the runtime's")?;
    pod.link().map(drop)
}

fn occupied(bench: Bench<'_>) -> Verdict {
    let pod = bench.pod()?;
    pod.run(|| kernel::add_link(&pod.ifname))??;
    let before = pod.link()?;
    bench.add(&pod)?.error("an ADD of an interface whose name is taken")?;
    let after = pod.link()?;
    ensure(after == before, format!("the interface that was there: {before:?}"), format!("{after:?}"))
}

fn impossible_names(bench: Bench<'_>) -> Verdict {
    let pod = bench.pod()?;
    let before = pod.run(kernel::links)??;
    for name in IMPOSSIBLE_NAMES {
        let reply = bench.add_with(&pod, &|call| call.env("CNI_IFNAME", name))?;
        reply.error(&format!("an ADD of the interface {name:?}"))?;
    }
    let after = pod.run(kernel::links)??;
    ensure(after == before, "no interface in the container", format!("{after:?}"))
}

fn no_namespace(bench: Bench<'_>) -> Verdict {
    let pod = bench.pod()?;
    for path in ["/run/netns/nowhere", "/etc/hostname", "/", "/proc/self/ns/mnt"] {
        let reply = bench.add_with(&pod, &|call| call.env("CNI_NETNS", path))?;
        reply.error(&format!("an ADD with CNI_NETNS={path}"))?;
    }
    Ok(())
}

/// The name is free again before the DEL: whoever deletes by name then deletes nothing of others'.
fn refuse(bench: Bench<'_>, change: &dyn Fn(Call) -> Call) -> Verdict {
    let pod = bench.pod()?;
    pod.run(|| kernel::add_link(&pod.ifname))??;
    bench.add_with(&pod, change)?.error("an ADD of an interface whose name is taken")?;
    let occupant = pod.link()?;
    pod.run(|| kernel::delete_link(&occupant))??;
    bench.del(&pod, None)?.done("the DEL after a refused ADD")
}

fn leaves_nothing(bench: Bench<'_>) -> Verdict {
    // What belongs to the node, such as a bridge, may come with the first container and stay.
    let _first = bench.attached()?;
    let before = kernel::snapshot()?;
    refuse(bench, &|call| call)?;
    let after = kernel::snapshot()?;
    ensure(after == before, format!("the node as it was: {before:?}"), format!("{after:?}"))
}

fn holds_no_address(bench: Bench<'_>) -> Verdict {
    let address = can_ask_for_addresses(bench)?;
    refuse(bench, &|call| bench.asking(call, address))?;
    ensure(bench.gets(address)?, format!("{address} is free"), "a container that asks for it does not get it")
}

fn passes_on(bench: Bench<'_>) -> Verdict {
    bench.since("0.3.0", "prevResult")?;
    if bench.subject.place > 0 {
        return chained(bench);
    }
    let pod = bench.pod()?;
    // As `loopback` leaves it when it is the first of a list.
    let earlier = json!({
        "cniVersion": bench.version,
        "interfaces": [{ "name": "lo", "mac": "00:00:00:00:00:00", "sandbox": pod.path }],
        "ips": [if at_least(bench.version, "1.0.0") {
            json!({ "interface": 0, "address": "127.0.0.1/8" })
        } else {
            json!({ "version": "4", "interface": 0, "address": "127.0.0.1/8" })
        }],
    });
    let reply = bench.run(bench.call_for("ADD", &pod).with("prevResult", earlier))?;
    let result = reply.result("an ADD with a prevResult")?;
    let addresses: Vec<_> = answer::ips(&result)?.iter().map(|ip| ip.address.to_string()).collect();
    ensure(
        addresses.iter().any(|it| it == "127.0.0.1/8"),
        "127.0.0.1/8 of prevResult in ips",
        format!("{addresses:?}"),
    )?;
    let names: Vec<_> = answer::interfaces(&result)?.into_iter().map(|interface| interface.name).collect();
    ensure(names.iter().any(|name| name == "lo"), "lo of prevResult in interfaces", format!("{names:?}"))
}

/// Behind another plugin of the list: what that one made must be in the end's result.
fn chained(bench: Bench<'_>) -> Verdict {
    let attached = bench.attached()?;
    attached.ips()?;
    attached.ensure_intact("the list's ADD")
}

fn twice(bench: Bench<'_>) -> Verdict {
    let attached = bench.attached()?;
    let before = attached.pod.link()?;
    bench.add(&attached.pod)?.error("a second ADD for the same container and interface")?;
    ensure(attached.pod.link()? == before, "the interface of the first ADD", "another one")?;
    attached.ensure_intact("the second ADD")
}

fn unknown_arguments(bench: Bench<'_>) -> Verdict {
    let pod = bench.pod()?;
    let reply =
        bench.add_with(&pod, &|call| call.env("CNI_ARGS", "IgnoreUnknown=1;CONFORM=1;K8S_POD_NAME=a"))?;
    reply.result("an ADD with IgnoreUnknown=1 and an unknown key")?;
    pod.link().map(drop)
}
