//! Figures and health are told to whoever asks, and to nobody who does not.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;

use podwire_tests::kernel::{eventually, ip};
use podwire_tests::{Network, Plugin};
use serde_json::json;

use crate::{Agent, Bench, ask, page};

impl Bench {
    fn listening(&self) -> Agent {
        self.podwire.configure("agent.json", &json!({ "listen": "127.0.0.1:9473" }));
        let agent = self.agent();
        eventually("it is ready", || page("/readyz").is_some_and(|(status, _)| status == 200));
        agent
    }
}

/// Each sample with its labels, as a monitoring system takes it in; panics at what is not OpenMetrics' text.
fn samples() -> BTreeMap<String, f64> {
    let (status, text) = page("/metrics").expect("it listens");
    assert_eq!(status, 200);
    let body = text.strip_suffix("# EOF\n").expect("the text ends as the format demands");
    let is_comment =
        |line: &&str| ["# HELP ", "# TYPE ", "# UNIT "].iter().any(|start| line.starts_with(start));
    let lines = body.lines().filter(|line| !is_comment(line));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(name.starts_with("podwire_"), "{line}");
        (name.to_owned(), value.parse().unwrap_or_else(|e| panic!("{line}: {e}")))
    };
    lines.map(sample).collect()
}

#[test]
fn what_happens_is_counted() {
    let Some(bench) = Bench::new() else { return };
    let _agent = bench.listening();
    let plugin = Plugin::under_test(&bench.node);
    let network = Network::new("1.0.0", &["10.244.1.0/24"]);
    let pods = ["a", "b"].map(|name| bench.node.pod(name));
    pods.iter().for_each(|pod| drop(plugin.add(&network, pod).result()));
    plugin.del(&network, &pods[0]).done();
    ip("route del 10.244.2.0/24");
    let restored = "podwire_changes_total{cause=\"restored\"}";
    eventually("the route is restored", || samples().get(restored).is_some_and(|count| *count >= 1.0));
    let samples = samples();
    for (name, value) in [
        ("podwire_members", 3.0),
        ("podwire_source_connected", 1.0),
        ("podwire_routes", 2.0),
        ("podwire_bridges", 1.0),
        ("podwire_failing", 0.0),
        ("podwire_leases", 1.0),
        ("podwire_pool_addresses{pool=\"10.244.1.0/24\"}", 254.0),
        ("podwire_pool_used_addresses{pool=\"10.244.1.0/24\"}", 1.0),
        ("podwire_decisions_total{outcome=\"plan\"}", 2.0),
        ("podwire_decisions_total{outcome=\"refused\"}", 0.0),
        ("podwire_releases_total", 1.0),
        ("podwire_decision_fuel_count", 2.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} of {samples:#?}");
    }
}

#[test]
fn only_questions_are_answered() {
    let Some(bench) = Bench::new() else { return };
    let _agent = bench.listening();
    assert_eq!(page("/healthz").map(|(status, _)| status), Some(200));
    assert_eq!(page("/").map(|(status, _)| status), Some(404));
    let head = ask("HEAD /metrics HTTP/1.1\r\nHost: node\r\n\r\n");
    assert_eq!(head, Some((200, String::new())));
    assert_eq!(ask("POST /metrics HTTP/1.1\r\nHost: node\r\n\r\n").map(|(status, _)| status), Some(405));
    // Those who say nothing do not keep others from being answered for long.
    let mut silent: Vec<_> = (0..32).filter_map(|_| TcpStream::connect(("127.0.0.1", 9473)).ok()).collect();
    silent.iter_mut().for_each(|stream| drop(stream.write_all(b"GET /")));
    eventually("somebody is answered", || page("/healthz").is_some_and(|(status, _)| status == 200));
}

#[test]
fn without_an_address_nobody_listens() {
    let Some(bench) = Bench::new() else { return };
    let _agent = bench.settled();
    assert_eq!(page("/healthz"), None);
}
