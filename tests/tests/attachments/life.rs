//! ADD and DEL, for every version of the specification and every address family.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use podwire_tests::network::{V4, V6, VERSIONS};
use podwire_tests::{Network, Pod, assert_reaches, kernel};
use serde_json::{Value, json};

use crate::{Bench, ips};

const FAMILIES: [&[&str]; 3] = [&[V4], &[V6], &[V4, V6]];

/// Runs a property on a node of its own for each version that the plugin speaks and each family.
fn for_every_version_and_family(property: impl Fn(&Bench, &str, &Network)) {
    for version in VERSIONS {
        for pools in FAMILIES {
            let Some(bench) = Bench::new() else { return };
            if bench.plugin.speaks(version) {
                property(&bench, version, &Network::new(version, pools));
            }
        }
    }
}

#[test]
fn all_versions_are_spoken() {
    let Some(bench) = Bench::new() else { return };
    let spoken = bench.plugin.version();
    assert!(spoken["cniVersion"].is_string(), "{spoken}");
    let newest = if bench.plugin.is_reference() { "1.0.0" } else { "1.1.0" };
    for version in VERSIONS.into_iter().filter(|&version| version <= newest) {
        assert!(bench.plugin.speaks(version), "{version} is not in {spoken}");
    }
}

#[test]
fn a_result_says_what_the_kernel_has() {
    for_every_version_and_family(|bench, version, network| {
        let (pod, result) = bench.wired(network, "a");
        assert_eq!(result["cniVersion"], version);
        let interfaces = result["interfaces"].as_array().expect("a result has interfaces");
        let index = assert_container_interface(interfaces, &pod, version);
        assert_host_interfaces(interfaces, index);
        assert_addresses(&result, index, network, version, &pod);
    });
}

/// Panics unless exactly one interface is in the container and is as the kernel has it; returns its index.
fn assert_container_interface(interfaces: &[Value], pod: &Pod, version: &str) -> usize {
    let sandbox = json!(pod.namespace.path());
    let inside = (0..interfaces.len()).filter(|&i| interfaces[i]["sandbox"] == sandbox).collect::<Vec<_>>();
    let [index] = inside[..] else { panic!("not one interface in {sandbox}: {interfaces:?}") };
    let link = pod.namespace.run(|| kernel::link("eth0")).expect("the container has its interface");
    assert!(link.up && link.kind == "veth", "{link:?}");
    assert_eq!(interfaces[index]["name"], "eth0");
    assert_eq!(interfaces[index]["mac"], json!(link.mac));
    let expected = if version == "1.1.0" { json!(link.mtu) } else { Value::Null };
    assert_eq!(interfaces[index]["mtu"], expected, "mtu is of version 1.1.0");
    index
}

/// Panics unless every other interface is on the node, as the kernel has it, and one of them is the bridge's port.
fn assert_host_interfaces(interfaces: &[Value], inside: usize) {
    let mut ports = 0;
    for (_, interface) in interfaces.iter().enumerate().filter(|&(i, _)| i != inside) {
        assert!(interface["sandbox"].as_str().unwrap_or_default().is_empty(), "{interface}");
        let name = interface["name"].as_str().expect("an interface has a name");
        let link = kernel::link(name).unwrap_or_else(|| panic!("{name} is not on the node"));
        assert_eq!(interface["mac"], json!(link.mac), "{name}");
        ports += usize::from(link.master == "cni0");
    }
    assert_eq!(ports, 1, "{interfaces:?}");
}

fn assert_addresses(result: &Value, inside: usize, network: &Network, version: &str, pod: &Pod) {
    let in_kernel = pod.namespace.run(|| kernel::addresses_of("eth0"));
    let default_routes = pod.namespace.run(kernel::routes);
    assert_eq!(ips(result).len(), network.pools().len(), "{result}");
    for (ip, prefix) in result["ips"].as_array().expect("a list").iter().zip(ips(result)) {
        let pool = network.pools().iter().find(|pool| pool.contains(&prefix)).expect("of a pool");
        assert_eq!(ip["interface"], json!(inside));
        assert_eq!(ip["gateway"], json!(network.gateway(pool)));
        assert!(in_kernel.contains(&prefix), "{prefix} is not in {in_kernel:?}");
        let way_out = format!("gateway \"{}\" dev \"eth0\"", network.gateway(pool));
        let is_default = |route: &String| route.starts_with("default") && route.contains(&way_out);
        assert!(default_routes.iter().any(is_default), "no default route by {way_out}: {default_routes:?}");
        let family = if prefix.addr().is_ipv4() { "4" } else { "6" };
        let expected = if version.starts_with("0.") { json!(family) } else { Value::Null };
        assert_eq!(ip["version"], expected, "ips[].version is of versions before 1.0.0");
    }
}

#[test]
fn pods_reach_each_other_and_the_gateway_with_their_own_address() {
    for_every_version_and_family(|bench, _, network| {
        let (a, result_a) = bench.wired(network, "a");
        let (b, result_b) = bench.wired(network, "b");
        for (from, to) in ips(&result_a).into_iter().zip(ips(&result_b)) {
            let (from, to) = (from.addr(), to.addr());
            assert_reaches(&a.namespace, &b.namespace, to, from);
            assert_reaches(&b.namespace, &a.namespace, from, to);
            let gateway = gateway_of(network, from);
            assert_reaches(&a.namespace, &bench.node.namespace, gateway, from);
            assert_reaches(&bench.node.namespace, &b.namespace, to, gateway);
        }
    });
}

fn gateway_of(network: &Network, address: IpAddr) -> IpAddr {
    let pool = network.pools().iter().find(|pool| pool.contains(&address)).expect("of a pool");
    network.gateway(pool)
}

#[test]
fn a_pod_without_ipv6_has_no_link_local_address() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("an interface without an IPv6 link-local address") {
        return;
    }
    let (pod, _) = bench.wired(&Network::new("1.0.0", &[V4]), "a");
    let printed = pod.namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/if_inet6"));
    let all = printed.unwrap_or_default();
    assert!(!all.contains("eth0"), "{all}");
}

#[test]
fn a_delete_removes_everything_and_can_be_repeated() {
    for_every_version_and_family(|bench, _, network| {
        let (first, _) = bench.wired(network, "first");
        let before = kernel::Snapshot::take(&[]);
        let (pod, result) = bench.wired(network, "a");
        assert_eq!(kernel::veths(), 2);
        let after = network.after(&result);
        bench.plugin.del(&after, &pod).done();
        before.assert_unchanged();
        assert_eq!(pod.namespace.run(|| kernel::link("eth0")), None);
        bench.plugin.del(&after, &pod).done();
        bench.plugin.del(network, &pod).done();
        let gone = bench.plugin.call("DEL", network, &pod);
        bench.plugin.run(&gone.clone().env("CNI_NETNS", "")).done();
        bench.plugin.run(&gone.without("CNI_NETNS")).done();
        before.assert_unchanged();
        assert!(first.namespace.run(|| kernel::link("eth0")).is_some());
    });
}

#[test]
fn a_delete_waits_until_the_link_is_gone_and_no_longer() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("a DEL that is quicker than the kernel's memory management") {
        return;
    }
    let network = Network::new("1.0.0", &[V4]);
    let pod = bench.node.pod("a");
    let (mut own, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..11 {
        // Into the same namespace, under the same names, at once.
        bench.plugin.add(&network, &pod).result();
        // Until standard output ends: whoever is still at work must not hold it open.
        own.push(took(|| bench.plugin.del(&network, &pod).done()));
        assert_eq!(kernel::veths(), 0);
        assert_eq!(pod.namespace.run(|| kernel::link("eth0")), None);
        kernel::ip("link add pw-plain type veth peer name pw-peer");
        plain.push(took(|| kernel::ip("link delete pw-plain")));
    }
    let (own, plain) = (median(own), median(plain));
    assert!(own < plain, "a DEL takes {own:?}, removing a veth with ip {plain:?}");
}

fn took(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn a_delete_without_a_namespace_cuts_the_link_before_the_address_is_free() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("to cut a link whose namespace it is not told") {
        return;
    }
    let network = Network::new("1.0.0", &[V4]);
    let (pod, _) = bench.wired(&network, "a");
    bench.plugin.run(&bench.plugin.call("DEL", &network, &pod).env("CNI_NETNS", "")).done();
    kernel::eventually("the pod's link is gone", || kernel::veths() == 0);
}

#[test]
fn a_delete_succeeds_after_the_namespace_is_gone() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[crate::SMALL]);
    let (pod, result) = bench.wired(&network, "a");
    pod.namespace.remove();
    bench.plugin.del(&network.after(&result), &pod).done();
    kernel::eventually("the pod's link is gone", || kernel::veths() == 0);
    bench.assert_all_free(&network);
}

#[test]
fn a_delete_of_what_was_never_added_succeeds() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[V4]);
    let pod = bench.node.pod("never");
    bench.plugin.del(&network, &pod).done();
    assert_eq!(kernel::link("cni0"), None);
}

#[test]
fn a_delete_needs_no_right_configuration() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("a DEL with a broken configuration") {
        return;
    }
    let network = Network::new("1.0.0", &[crate::SMALL]);
    let broken = [
        ("pools", json!("nonsense")),
        ("unknown-key", json!(1)),
        ("policy", json!("no-such-policy")),
        ("config", json!(["not", "an", "object"])),
    ];
    for (i, (key, value)) in broken.into_iter().enumerate() {
        let (pod, _) = bench.wired(&network, &format!("pod-{i}"));
        bench.plugin.del(&network.clone().with(key, value), &pod).done();
        assert_eq!(kernel::veths(), 0, "{key}");
    }
    bench.assert_all_free(&network);
}
