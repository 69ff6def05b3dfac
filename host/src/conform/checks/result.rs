//! What ADD answers: the format of each version, and that it is true.

use ipnet::IpNet;
use serde_json::Value;

use super::super::answer::{self, Interface};
use super::super::bench::{Attached, at_least};
use super::super::{Bench, Check, Stop, Verdict, ensure, failed, kernel, not_applicable};
use super::must;

pub(super) const CHECKS: &[Check] = &[
    must("S5-1.1", "Success", "ADD answers in the format of 0.1.0", |b| format(b, "0.1.0")),
    must("S5-1.2", "Success", "ADD answers in the format of 0.2.0", |b| format(b, "0.2.0")),
    must("S5-1.3", "Success", "ADD answers in the format of 0.3.0", |b| format(b, "0.3.0")),
    must("S5-1.4", "Success", "ADD answers in the format of 0.3.1", |b| format(b, "0.3.1")),
    must("S5-1.5", "Success", "ADD answers in the format of 0.4.0", |b| format(b, "0.4.0")),
    must("S5-1.6", "Success", "ADD answers in the format of 1.0.0", |b| format(b, "1.0.0")),
    must("S5-1.7", "Success", "ADD answers in the format of 1.1.0", |b| format(b, "1.1.0")),
    must("S5-1.8", "Success", "the container's interface is listed, its sandbox CNI_NETNS", sandbox),
    must("S5-1.9", "Success", "every listed interface is there, its hardware address too", interfaces_exist),
    must("S5-1.10", "Success", "every interface that ADD made on the node is listed", host_interfaces),
    must("S5-1.11", "Success", "ips[].interface is the place of the container's interface", indices),
    must("S5-1.12", "Success", "the container's interface has the listed addresses", addresses_are_there),
    must("S5-1.13", "Success", "the container has the listed routes", routes_are_there),
];

/// 0.3.0 replaced `ip4` and `ip6` by `interfaces`, `ips` and `routes`.
fn format(bench: Bench<'_>, version: &str) -> Verdict {
    let attached = bench.speaking(version)?.attached()?;
    let result = &attached.result;
    ensure(
        result["cniVersion"] == version,
        format!("cniVersion is {version}"),
        result["cniVersion"].to_string(),
    )?;
    let old = !at_least(version, "0.3.0");
    for key in if old { ["interfaces", "ips"] } else { ["ip4", "ip6"] } {
        ensure(result.get(key).is_none(), format!("no {key} in a result of {version}"), result.to_string())?;
    }
    for (key, since) in [("interfaces", "0.3.0"), ("ips", "0.3.0"), ("routes", "0.3.0")] {
        let fits = result.get(key).is_none_or(|value| value.is_array() || value.is_null());
        ensure(fits || !at_least(version, since), format!("{key} is a list"), result.to_string())?;
    }
    answer::ips(result)?;
    answer::routes(result)?;
    list(result, "ips").iter().try_for_each(|ip| address_version(ip, version))
}

fn list<'a>(result: &'a Value, key: &str) -> &'a [Value] {
    result[key].as_array().map_or(&[], Vec::as_slice)
}

/// `ips[].version` was taken away with 1.0.0.
fn address_version(ip: &Value, version: &str) -> Verdict {
    let prefix: Option<IpNet> = ip["address"].as_str().and_then(|text| text.parse().ok());
    let family = prefix.map(|prefix| if prefix.addr().is_ipv4() { "4" } else { "6" });
    let expected = family.filter(|_| !at_least(version, "1.0.0"));
    ensure(
        ip["version"].as_str() == expected,
        format!("ips[].version is {expected:?} in {version}"),
        ip.to_string(),
    )
}

/// Results have interfaces from this version on.
fn with_interfaces(bench: Bench<'_>) -> Result<(Attached, Vec<Interface>), Stop> {
    bench.since("0.3.0", "interfaces")?;
    let attached = bench.attached()?;
    let interfaces = answer::interfaces(&attached.result)?;
    Ok((attached, interfaces))
}

fn sandbox(bench: Bench<'_>) -> Verdict {
    let (Attached { pod, result }, interfaces) = with_interfaces(bench)?;
    let sandbox = pod.path.to_string_lossy();
    let listed =
        interfaces.iter().any(|interface| interface.name == pod.ifname && interface.sandbox == sandbox);
    let expected = format!("an interface {} with the sandbox {sandbox}", pod.ifname);
    ensure(listed, expected, result["interfaces"].to_string())
}

fn interfaces_exist(bench: Bench<'_>) -> Verdict {
    let (Attached { pod, .. }, interfaces) = with_interfaces(bench)?;
    for Interface { name, mac, sandbox } in interfaces {
        let found = if sandbox.is_empty() { kernel::link(&name)? } else { pod.run(|| kernel::link(&name))?? };
        let place = if sandbox.is_empty() { "on the node" } else { "in the container" };
        let Some(found) = found else {
            return failed(format!("the listed interface {name} {place}"), "none");
        };
        let same = mac.as_ref().is_none_or(|mac| mac.eq_ignore_ascii_case(&found.mac));
        ensure(same, format!("{name} {place} with {}", mac.unwrap_or_default()), found.mac)?;
    }
    Ok(())
}

fn host_interfaces(bench: Bench<'_>) -> Verdict {
    let before = kernel::links()?;
    let (_attached, interfaces) = with_interfaces(bench)?;
    for link in kernel::links()?.iter().filter(|link| !before.contains(link)) {
        let listed = interfaces.iter().any(|it| it.name == link.name && it.sandbox.is_empty());
        let names: Vec<_> = interfaces.iter().map(|interface| &interface.name).collect();
        ensure(
            listed,
            format!("{}, which ADD made on the node, in interfaces", link.name),
            format!("{names:?}"),
        )?;
    }
    Ok(())
}

fn indices(bench: Bench<'_>) -> Verdict {
    let (attached, interfaces) = with_interfaces(bench)?;
    if interfaces.is_empty() {
        return not_applicable("the result has no interfaces");
    }
    for ip in attached.ips()? {
        let Some(place) = ip.interface else { continue };
        let found = place.as_u64().and_then(|place| interfaces.get(usize::try_from(place).ok()?));
        let expected = format!("interface is a place among the {} interfaces", interfaces.len());
        let Some(found) = found else { return failed(expected, place.to_string()) };
        let expected = format!("{} is on {}, in the container", ip.address, attached.pod.ifname);
        ensure(
            found.name == attached.pod.ifname && !found.sandbox.is_empty(),
            expected,
            format!("{found:?}"),
        )?;
    }
    Ok(())
}

fn addresses_are_there(bench: Bench<'_>) -> Verdict {
    let attached = bench.attached()?;
    attached.ips()?;
    attached.ensure_intact("ADD")
}

fn routes_are_there(bench: Bench<'_>) -> Verdict {
    let attached = bench.attached()?;
    let listed = answer::routes(&attached.result)?;
    if listed.is_empty() {
        return not_applicable("the result has no routes");
    }
    let there = attached.pod.routes()?;
    for route in listed {
        let fits = |found: &kernel::Route| {
            found.destination == route.destination.trunc()
                && route.gateway.is_none_or(|gateway| found.gateway == Some(gateway))
        };
        let seen: Vec<_> = there.iter().map(|found| found.destination.to_string()).collect();
        ensure(
            there.iter().any(fits),
            format!("the listed route {route:?} in the container"),
            format!("{seen:?}"),
        )?;
    }
    Ok(())
}
