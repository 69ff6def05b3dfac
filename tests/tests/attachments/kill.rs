//! SIGKILL at any moment of a call: after the runtime's DEL nothing is left.

use std::time::{Duration, Instant};

use podwire_tests::plugin::Running;
use podwire_tests::{Network, Pod, kernel};

use crate::{Bench, SMALL};

/// Moments in the length of one call.
const MOMENTS: u32 = 40;

/// How long a call lasts here and now.
fn length_of(call: impl FnOnce()) -> Duration {
    let start = Instant::now();
    call();
    start.elapsed()
}

/// Kills a call that began at `start` when it has lasted for so long, unless it ended before.
fn kill_after(mut running: Running, start: Instant, lasted: Duration) {
    while start.elapsed() < lasted && !running.has_ended() {
        std::thread::yield_now();
    }
    running.kill();
}

/// Kills a command at moments spread over a little more than its length, each time for another pod, and has the
/// runtime's DEL follow.
fn kill_at_every_moment(bench: &Bench, network: &Network, command: &str, prepare: impl Fn(&Pod)) {
    let sample = bench.node.pod("sample");
    prepare(&sample);
    let length = length_of(|| drop(bench.plugin.run(&bench.plugin.call(command, network, &sample))));
    bench.plugin.del(network, &sample).done();
    for moment in 0..MOMENTS {
        let pod = bench.node.pod(&format!("killed-{moment}"));
        prepare(&pod);
        let start = Instant::now();
        let running = bench.plugin.start(&bench.plugin.call(command, network, &pod));
        kill_after(running, start, length * moment * 6 / MOMENTS / 5);
        bench.plugin.del(network, &pod).done();
        kernel::eventually("the killed call's link is gone", || kernel::veths() == 0);
        assert_eq!(pod.namespace.run(|| kernel::link("eth0")), None);
    }
    bench.assert_all_free(network);
}

#[test]
fn a_killed_add_leaves_nothing_after_del() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("to leave no address behind when killed") {
        return;
    }
    kill_at_every_moment(&bench, &Network::new("1.0.0", &[SMALL]), "ADD", |_| {});
}

#[test]
fn a_killed_delete_leaves_nothing_after_the_next() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("to leave no address behind when killed") {
        return;
    }
    let network = Network::new("1.0.0", &[SMALL]);
    kill_at_every_moment(&bench, &network, "DEL", |pod| drop(bench.plugin.add(&network, pod).result()));
}
