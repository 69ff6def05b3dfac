//! GC: what is not valid goes, what is valid stays.

use std::collections::BTreeSet;
use std::net::IpAddr;

use podwire_tests::network::{V4, V6};
use podwire_tests::{Network, Pod, assert_reaches, kernel, reach};

use crate::{Bench, SMALL, SMALL_HOLDS, ip, ips};

#[test]
fn gc_removes_what_is_not_valid_and_keeps_what_is() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("GC") {
        return;
    }
    let network = Network::new("1.1.0", &[SMALL]);
    let (a, result_a) = bench.wired(&network, "a");
    let (b, result_b) = bench.wired(&network, "b");
    let lost = bench.wired_all(&network, (2..SMALL_HOLDS).map(|i| format!("lost-{i}")));
    lost[0].namespace.remove();
    bench.plugin.gc(&network, &[&a, &b]).done();
    kernel::eventually("only the valid pods' links are left", || kernel::veths() == 2);
    assert_reaches(&a.namespace, &b.namespace, ip(&result_b), ip(&result_a));
    bench.plugin.check(&network.after(&result_a), &a).done();
    let again = bench.wired_all(&network, (2..SMALL_HOLDS).map(|i| format!("again-{i}")));
    assert_eq!(again.len(), SMALL_HOLDS - 2);
}

#[test]
fn gc_of_one_network_leaves_another_alone() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("GC") {
        return;
    }
    let (pod, result) = bench.wired(&Network::new("1.1.0", &[V4]), "a");
    let other = Network::new("1.1.0", &["10.244.2.0/24"]).on_bridge("cni1").with("name", "other".into());
    bench.plugin.gc(&other, &[]).done();
    bench.plugin.check(&Network::new("1.1.0", &[V4]).after(&result), &pod).done();
}

#[test]
fn gc_of_nothing_succeeds() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("GC") {
        return;
    }
    bench.plugin.gc(&Network::new("1.1.0", &[V4]), &[]).done();
}

/// Of which addresses the node remembers the owner.
fn remembered() -> BTreeSet<IpAddr> {
    let known = kernel::json("neighbour show dev cni0").into_iter().filter(|it| it["lladdr"].is_string());
    let known = known.map(|it| it["dst"].as_str().and_then(|text| text.parse().ok()).expect("an address"));
    // The kernels of both ends ask each other for more than a test has them send.
    known
        .filter(|address| !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()))
        .collect()
}

#[test]
fn the_node_forgets_who_had_an_address() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("to forget neighbours") {
        return;
    }
    let network = Network::new("1.1.0", &[V4, V6]);
    let pods = ["valid", "by-hand", "lost", "vanished", "deleted"].map(|name| {
        let (pod, result) = bench.wired(&network, name);
        let addresses: BTreeSet<IpAddr> = ips(&result).iter().map(|prefix| prefix.addr()).collect();
        for address in &addresses {
            reach::udp_source(&bench.node.namespace, &pod.namespace, *address).expect("the node reaches it");
        }
        (pod, addresses)
    });
    let of = |some: &[(Pod, BTreeSet<IpAddr>)]| some.iter().flat_map(|(_, own)| own.clone()).collect();
    assert_eq!(remembered(), of(&pods));
    for address in &pods[1].1 {
        kernel::ip(&format!("neighbour replace {address} lladdr 02:00:00:00:00:07 dev cni0 nud permanent"));
    }
    bench.plugin.del(&network, &pods[4].0).done();
    assert_eq!(remembered(), of(&pods[..4]));
    pods[3].0.namespace.remove();
    bench.plugin.gc(&network, &[&pods[0].0]).done();
    assert_eq!(remembered(), of(&pods[..2]), "those of the valid pod, and those that somebody wrote there");
}
