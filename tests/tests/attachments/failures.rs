//! An ADD that must fail: it leaves everything as it was, and other pods alone.

use podwire_tests::network::V4;
use podwire_tests::{Network, assert_reaches, kernel, network};

use crate::{Bench, SMALL, SMALL_HOLDS, ip, ips};

#[test]
fn a_second_add_is_refused_and_the_first_still_works() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[V4]);
    let (a, result_a) = bench.wired(&network, "a");
    let (b, result_b) = bench.wired(&network, "b");
    let before = kernel::Snapshot::take(&[]);
    bench.plugin.add(&network, &a).error();
    before.assert_unchanged();
    assert_reaches(&a.namespace, &b.namespace, ip(&result_b), ip(&result_a));
    bench.plugin.check(&network.after(&result_a), &a).done();
}

#[test]
fn an_interface_name_that_is_taken_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[SMALL]);
    let (other, _) = bench.wired(&network, "other");
    let pod = bench.node.pod("a");
    pod.namespace.run(|| kernel::ip("link add eth0 type bridge"));
    let (on_node, in_pod) = (kernel::Snapshot::take(&[]), pod.namespace.run(|| kernel::Snapshot::take(&[])));
    bench.plugin.add(&network, &pod).error();
    on_node.assert_unchanged();
    pod.namespace.run(|| in_pod.assert_unchanged());
    bench.plugin.del(&network, &other).done();
    bench.assert_all_free(&network);
}

#[test]
fn a_delete_after_a_refused_add_leaves_a_foreign_interface_alone() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("to leave interfaces alone that it did not make") {
        return;
    }
    let network = Network::new("1.0.0", &[V4]);
    let pod = bench.node.pod("a");
    pod.namespace.run(|| kernel::ip("link add eth0 type bridge"));
    bench.plugin.add(&network, &pod).error();
    bench.plugin.del(&network, &pod).done();
    assert!(pod.namespace.run(|| kernel::link("eth0")).is_some());
}

#[test]
fn a_full_pool_is_told_and_an_address_that_comes_back_is_used() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[SMALL]);
    let pods = bench.wired_all(&network, (0..SMALL_HOLDS).map(|i| format!("pod-{i}")));
    let before = kernel::Snapshot::take(&[]);
    let waiting = bench.node.pod("waiting");
    let error = bench.plugin.add(&network, &waiting).error();
    if !bench.plugin.does_not_promise("code 11 and nothing left when its pool is full") {
        assert_eq!(error.code, 11, "{error:?}");
        before.assert_unchanged();
    }
    bench.plugin.del(&network, &waiting).done();
    let given_back = pods[2].namespace.run(|| kernel::addresses_of("eth0"));
    bench.plugin.del(&network, &pods[2]).done();
    assert_eq!(ips(&bench.plugin.add(&network, &waiting).result()), given_back);
}

#[test]
fn a_bridge_of_somebody_else_is_refused_and_left_alone() {
    let Some(bench) = Bench::new() else { return };
    // In the reference plugin's form it is the operator who names the bridge.
    if bench.plugin.does_not_promise("to refuse a bridge that it did not make") || network::is_drop_in() {
        return;
    }
    kernel::ip("link add br9 type bridge");
    kernel::ip("address add 192.0.2.1/24 dev br9");
    let network = Network::new("1.0.0", &[SMALL]);
    let before = kernel::Snapshot::take(&[]);
    let pod = bench.node.pod("a");
    let error = bench.plugin.add(&network.clone().on_bridge("br9"), &pod).error();
    assert!(error.message.contains("br9"), "{error:?}");
    before.assert_unchanged();
    bench.plugin.del(&network.clone().on_bridge("br9"), &pod).done();
    before.assert_unchanged();
    bench.assert_all_free(&network);
}

#[test]
fn a_link_that_is_no_bridge_is_refused_and_left_alone() {
    let Some(bench) = Bench::new() else { return };
    kernel::ip("link add cni0 type veth peer name elsewhere");
    let before = kernel::Snapshot::take(&[]);
    let pod = bench.node.pod("a");
    let error = bench.plugin.add(&Network::new("1.0.0", &[V4]), &pod).error();
    assert!(error.message.contains("cni0"), "{error:?}");
    before.assert_unchanged();
    assert_eq!(pod.namespace.run(|| kernel::link("eth0")), None);
}

#[test]
fn what_is_said_to_closed_standard_files_is_written_nowhere() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("to leave other files alone when standard files are closed") {
        return;
    }
    let network = Network::new("1.0.0", &[crate::SMALL]);
    let pod = bench.node.pod("a");
    let closed = bench.plugin.by(&["sh", "-c", r#"exec "$0" >&- 2>&-"#]);
    for _ in 0..2 {
        // Whatever file had taken their numbers could not have been written to, or would be damaged by it.
        assert_eq!(closed.add(&network, &pod).exit, Some(0));
        assert_eq!(closed.del(&network, &pod).exit, Some(0));
    }
    bench.assert_all_free(&network);
}
