//! Many calls at once.

use std::collections::BTreeSet;

use podwire_tests::network::V4;
use podwire_tests::{Network, kernel};

use crate::{Bench, SMALL, SMALL_HOLDS, ip};

const MANY: usize = 40;

#[test]
fn parallel_adds_get_distinct_addresses_and_parallel_deletes_leave_nothing() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[V4]);
    let pods = (0..MANY).map(|i| bench.node.pod(&format!("pod-{i}"))).collect::<Vec<_>>();
    let all = |command: &str| {
        let start = |pod| bench.plugin.start(&bench.plugin.call(command, &network, pod));
        let running = pods.iter().map(start).collect::<Vec<_>>();
        running.into_iter().map(|one| one.finish()).collect::<Vec<_>>()
    };
    let addresses = all("ADD").iter().map(|outcome| ip(&outcome.result())).collect::<BTreeSet<_>>();
    assert_eq!(addresses.len(), MANY);
    assert_eq!(kernel::links().iter().filter(|link| link.master == "cni0").count(), MANY);
    all("DEL").iter().for_each(|outcome| outcome.done());
    kernel::eventually("no link of a pod is left", || kernel::veths() == 0);
}

#[test]
fn parallel_adds_for_the_last_addresses_share_none() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.0.0", &[SMALL]);
    let pods = (0..2 * SMALL_HOLDS).map(|i| bench.node.pod(&format!("pod-{i}"))).collect::<Vec<_>>();
    let start = |pod| bench.plugin.start(&bench.plugin.call("ADD", &network, pod));
    let running = pods.iter().map(start).collect::<Vec<_>>();
    let outcomes = running.into_iter().map(|one| one.finish()).collect::<Vec<_>>();
    let (good, bad) = outcomes.iter().partition::<Vec<_>, _>(|outcome| outcome.exit == Some(0));
    let addresses = good.iter().map(|outcome| ip(&outcome.result())).collect::<BTreeSet<_>>();
    assert_eq!((good.len(), addresses.len()), (SMALL_HOLDS, SMALL_HOLDS));
    bad.iter().for_each(|outcome| drop(outcome.error()));
    if !bench.plugin.does_not_promise("to undo the wiring when no address is left") {
        assert_eq!(kernel::veths(), SMALL_HOLDS);
    }
}
