//! Calls that must be refused, and how a refusal looks.

use serde_json::Value;

use super::super::bench::Pod;
use super::super::call::Call;
use super::super::{Bench, Check, Stop, Verdict, ensure};
use super::{convention, must, should};

pub(super) const CHECKS: &[Check] = &[
    must("S2-2.1", "Errors", "a refusal is an exit code other than 0 and one error object", object),
    should("S5-2.1", "Error", "an error object has cniVersion", has_version),
    must("S5-2.2", "Error", "an unknown cniVersion: code 1", unknown_version),
    must("S5-2.3", "Error", "ADD without a variable: code 4, and its name", |b| missing(b, "ADD")),
    must("S5-2.4", "Error", "DEL without a variable: code 4, and its name", |b| missing(b, "DEL")),
    must("S5-2.5", "Error", "CHECK without a variable: code 4, and its name", |b| missing(b, "CHECK")),
    must("S5-2.6", "Error", "an unknown CNI_COMMAND: code 4", unknown_command),
    must("S5-2.7", "Error", "what is no JSON object: code 6", undecodable),
    convention("C2.1", "Error", "a configuration without a name: code 7", nameless),
    convention("C2.2", "Error", "a malformed container ID: code 4", bad_container_id),
    convention("C2.3", "Error", "a malformed interface name: code 4", bad_ifname),
    convention("C2.4", "Error", "a malformed network name: code 7", bad_name),
    convention("C2.5", "Error", "all missing variables are told at once", all_missing),
    convention("C2.6", "Error", "CHECK before 0.4.0: code 1", |b| too_early(b, "CHECK", "0.3.1")),
    convention("C2.7", "Error", "GC before 1.1.0: code 1", |b| too_early(b, "GC", "1.0.0")),
    convention("C2.8", "Error", "STATUS before 1.1.0: code 1", |b| too_early(b, "STATUS", "1.0.0")),
    convention("C2.9", "Error", "ADD to the plugin's own namespace: one error object", own_namespace),
];

/// An ADD of the plugin alone, to be made wrong in one way.
fn add(bench: Bench<'_>) -> Result<(Pod, Call), Stop> {
    let pod = bench.pod()?;
    let call = bench.call_for("ADD", &pod);
    Ok((pod, call))
}

fn object(bench: Bench<'_>) -> Verdict {
    let (_pod, call) = add(bench)?;
    bench.run(call.clone().without("CNI_CONTAINERID"))?.error("an ADD without CNI_CONTAINERID")?;
    bench.run(call.clone().with_text("{"))?.error("an ADD with broken JSON")?;
    bench.run(call.with("cniVersion", "99.0.0"))?.error("an ADD of version 99.0.0")?;
    Ok(())
}

fn has_version(bench: Bench<'_>) -> Verdict {
    let (_pod, call) = add(bench)?;
    let error = bench.run(call.without("CNI_CONTAINERID"))?.error("an ADD without CNI_CONTAINERID")?;
    ensure(
        error.object["cniVersion"].is_string(),
        "an error object with cniVersion",
        error.object.to_string(),
    )
}

fn unknown_version(bench: Bench<'_>) -> Verdict {
    let (pod, call) = add(bench)?;
    for version in ["99.0.0", "1.0", "v1.0.0", "latest"] {
        let call = call.clone().with("cniVersion", version);
        bench.run(call)?.error_of(&format!("an ADD of version {version:?}"), &[1])?;
    }
    ensure(!pod.has_link()?, "nothing is made", format!("{} is there", pod.ifname))
}

/// What the specification requires; CNI_PATH is optional there.
fn missing(bench: Bench<'_>, command: &str) -> Verdict {
    if command == "CHECK" {
        bench.since("0.4.0", "CHECK")?;
    }
    let pod = bench.pod()?;
    let required = ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"];
    let optional = if command == "DEL" { 1 } else { 0 };
    for name in &required[..required.len() - optional] {
        let call = format!("{command} without {name}");
        let error = bench.run(bench.call_for(command, &pod).without(name))?.error_of(&call, &[4])?;
        ensure(error.text.contains(name), format!("the refusal of {call} names it"), error.text)?;
    }
    Ok(())
}

fn all_missing(bench: Bench<'_>) -> Verdict {
    let (_pod, call) = add(bench)?;
    let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];
    let bare = names.iter().fold(call, |call, name| call.without(name));
    let error = bench.run(bare)?.error_of("an ADD without variables", &[4])?;
    ensure(
        names.iter().all(|name| error.text.contains(name)),
        format!("{names:?} in the message"),
        error.text,
    )
}

fn unknown_command(bench: Bench<'_>) -> Verdict {
    let pod = bench.pod()?;
    for command in ["ATTACH", "add", "ADD "] {
        let reply = bench.run(bench.call_for(command, &pod))?;
        reply.error_of(&format!("CNI_COMMAND={command:?}"), &[4])?;
    }
    Ok(())
}

fn undecodable(bench: Bench<'_>) -> Verdict {
    let (_pod, call) = add(bench)?;
    for text in ["{", "", "cniVersion: 1.0.0", "[]"] {
        let reply = bench.run(call.clone().with_text(text))?;
        reply.error_of(&format!("an ADD with {text:?} on standard input"), &[6])?;
    }
    Ok(())
}

fn nameless(bench: Bench<'_>) -> Verdict {
    let (_pod, call) = add(bench)?;
    bench.run(call.without_key("name"))?.error_of("an ADD without a network's name", &[7]).map(drop)
}

fn bad_name(bench: Bench<'_>) -> Verdict {
    let (_pod, call) = add(bench)?;
    for name in ["-a", "a/b", "a b", ".."] {
        let reply = bench.run(call.clone().with("name", Value::from(name)))?;
        reply.error_of(&format!("an ADD to the network {name:?}"), &[7])?;
    }
    Ok(())
}

fn bad_container_id(bench: Bench<'_>) -> Verdict {
    let (_pod, call) = add(bench)?;
    for id in ["-a", "a/b", "a b", "../a", "ä"] {
        let reply = bench.run(call.clone().env("CNI_CONTAINERID", id))?;
        reply.error_of(&format!("an ADD of the container {id:?}"), &[4])?;
    }
    Ok(())
}

/// Names that the kernel does not take (`dev_valid_name`).
pub(super) const IMPOSSIBLE_NAMES: [&str; 6] = ["sixteencharacter", ".", "..", "a/b", "a:b", "a b"];

fn bad_ifname(bench: Bench<'_>) -> Verdict {
    let (_pod, call) = add(bench)?;
    for name in IMPOSSIBLE_NAMES {
        let reply = bench.run(call.clone().env("CNI_IFNAME", name))?;
        reply.error_of(&format!("an ADD of the interface {name:?}"), &[4])?;
    }
    Ok(())
}

fn too_early(bench: Bench<'_>, command: &str, version: &str) -> Verdict {
    let first = if command == "CHECK" { "0.4.0" } else { "1.1.0" };
    bench.since(first, command)?;
    let bench = bench.speaking(version)?;
    let pod = bench.pod()?;
    bench
        .run(bench.call_for(command, &pod))?
        .error_of(&format!("{command} of version {version}"), &[1])
        .map(drop)
}

fn own_namespace(bench: Bench<'_>) -> Verdict {
    let (_pod, call) = add(bench)?;
    let reply = bench.run(call.env("CNI_NETNS", "/proc/self/ns/net"))?;
    reply.error("an ADD to the namespace in which the plugin runs").map(drop)
}
