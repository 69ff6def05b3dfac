//! GC: what is not valid goes, what is valid stays.

use podwire_tests::network::V4;
use podwire_tests::{Network, assert_reaches, kernel};

use crate::{Bench, SMALL, SMALL_HOLDS, ip};

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
