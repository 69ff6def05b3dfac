//! CHECK and STATUS: what is wrong is noticed, what is right passes.

use std::path::Path;

use podwire_tests::network::{V4, V6, VERSIONS};
use podwire_tests::{Network, kernel, network};

use crate::{Bench, SMALL, SMALL_HOLDS, ips};

#[test]
fn check_passes_right_after_add() {
    for version in VERSIONS.into_iter().filter(|version| !version.starts_with("0.3")) {
        let Some(bench) = Bench::new() else { return };
        if bench.plugin.speaks(version) {
            let network = Network::new(version, &[V4, V6]);
            let (pod, result) = bench.wired(&network, "a");
            bench.plugin.check(&network.after(&result), &pod).done();
        }
    }
}

/// Wires a pod, spoils something inside it, and panics unless CHECK then fails.
fn assert_noticed(spoil: impl FnOnce(&str) + Send) {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[V4]);
    let (pod, result) = bench.wired(&network, "a");
    let network = network.after(&result);
    bench.plugin.check(&network, &pod).done();
    let address = ips(&result)[0].to_string();
    pod.namespace.run(|| spoil(&address));
    bench.plugin.check(&network, &pod).error();
}

#[test]
fn check_notices_a_removed_route() {
    assert_noticed(|_| kernel::ip("route delete default"));
}

#[test]
fn check_notices_a_removed_address() {
    assert_noticed(|address| {
        kernel::ip(&format!("address delete {address} dev eth0"));
        // The default route went with it: put back, the address alone is missing.
        kernel::ip("address add 10.244.1.77/24 dev eth0");
        kernel::ip("route replace default via 10.244.1.1 dev eth0");
    });
}

#[test]
fn check_notices_a_removed_interface() {
    assert_noticed(|_| kernel::ip("link delete eth0"));
}

#[test]
fn check_notices_a_replaced_interface() {
    assert_noticed(|_| {
        kernel::ip("link delete eth0");
        kernel::ip("link add eth0 type veth peer name eth1");
    });
}

#[test]
fn check_expects_the_hardware_address_of_the_whole_chains_result() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[V4]);
    let (pod, mut result) = bench.wired(&network, "a");
    pod.namespace.run(|| kernel::ip("link set eth0 address 0a:58:00:00:00:99"));
    bench.plugin.check(&network.after(&result), &pod).error();
    // As the plugin `tuning`, later in the chain, changes it and reports it.
    let interfaces = result["interfaces"].as_array_mut().expect("a list");
    let container = interfaces.iter_mut().find(|interface| interface["name"] == "eth0").expect("there");
    container["mac"] = "0a:58:00:00:00:99".into();
    bench.plugin.check(&network.after(&result), &pod).done();
}

#[test]
fn check_notices_that_the_port_left_its_bridge() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[V4]);
    let (pod, result) = bench.wired(&network, "a");
    let port = kernel::links().into_iter().find(|link| link.master == "cni0").expect("the pod's port");
    kernel::ip(&format!("link set {} nomaster", port.name));
    bench.plugin.check(&network.after(&result), &pod).error();
}

/// None of which the reference plugin looks at.
#[test]
fn check_notices_what_keeps_packets_from_the_pod() {
    // The reference plugin's configuration has it off.
    let hairpin = if network::is_drop_in() { "on" } else { "off" };
    for harm in [
        "ip link set PORT mtu 1300",
        "ip link set cni0 address 02:00:00:00:00:99",
        &format!("ip link set PORT type bridge_slave hairpin {hairpin}"),
        "ip link set PORT type bridge_slave isolated on",
        "sysctl -qw net.ipv4.ip_forward=0",
    ] {
        let Some(bench) = Bench::new() else { return };
        if bench.plugin.is_reference() {
            return;
        }
        let network = Network::new("1.0.0", &[V4]);
        let (pod, result) = bench.wired(&network, "a");
        let network = network.after(&result);
        bench.plugin.check(&network, &pod).done();
        let port = kernel::links().into_iter().find(|link| link.master == "cni0").expect("the pod's port");
        let (program, arguments) = harm.split_once(' ').expect("a command");
        kernel::run(program, &arguments.replace("PORT", &port.name));
        bench.plugin.check(&network, &pod).error();
    }
}

#[test]
fn check_notices_that_the_lease_is_gone() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[V4]);
    let (pod, result) = bench.wired(&network, "a");
    let kept_by_reference = Path::new("/var/lib/cni/networks");
    let state = if bench.plugin.is_reference() { kept_by_reference } else { bench.node.root() };
    std::fs::remove_dir_all(state).expect("a plugin that handed out an address has state");
    bench.plugin.check(&network.after(&result), &pod).error();
}

#[test]
fn status_turns_red_when_the_pool_is_full() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("STATUS") {
        return;
    }
    let network = Network::new("1.1.0", &[SMALL]);
    bench.plugin.status(&network).done();
    let pods = bench.wired_all(&network, (0..SMALL_HOLDS).map(|i| format!("pod-{i}")));
    assert_eq!(bench.plugin.status(&network).error().code, 50);
    bench.plugin.del(&network, &pods[0]).done();
    bench.plugin.status(&network).done();
}

#[test]
fn status_tells_when_pods_are_cut_off() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("STATUS") {
        return;
    }
    let network = Network::new("1.1.0", &[V4]);
    let _pod = bench.wired(&network, "a");
    for (harm, remedy) in
        [("link set cni0 down", "ip link set dev cni0 up"), ("link delete cni0", "bridge cni0 is gone")]
    {
        bench.plugin.status(&network).done();
        kernel::ip(harm);
        let error = bench.plugin.status(&network).error();
        assert!(error.code == 51 && error.message.contains(remedy), "{error:?}");
        let _another = bench.wired(&network, &format!("after-{}", harm.len()));
    }
    kernel::run("sysctl", "-w net.ipv4.ip_forward=0");
    let error = bench.plugin.status(&network).error();
    assert!(error.code == 51 && error.message.contains("sysctl -w net.ipv4.ip_forward=1"), "{error:?}");
}

#[test]
fn status_changes_nothing() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("STATUS") {
        return;
    }
    let network = Network::new("1.1.0", &[V4]);
    let _pod = bench.wired(&network, "a");
    let before = kernel::Snapshot::take(&[]);
    bench.plugin.status(&network).done();
    before.assert_unchanged();
}
