//! The network configuration says what the source says.

use podwire_tests::command::write_file;
use podwire_tests::kernel::eventually;
use serde_json::{Value, json};

use crate::{Bench, peers};

const FILE: &str = "/run/podwire-test/10-podwire.conflist";

fn podwires() -> Option<Value> {
    let list: Value = serde_json::from_slice(&std::fs::read(FILE).ok()?).expect("never half a file");
    Some(list["plugins"][0].clone())
}

#[test]
fn pools_follow_the_source() {
    let Some(bench) = Bench::new() else { return };
    bench.podwire.configure("agent.json", &json!({ "conflist": FILE }));
    let _agent = bench.settled();
    let says = |pool: &str| podwires().is_some_and(|plugin| plugin["pools"] == json!([pool]));
    eventually("the file is made", || says("10.244.1.0/24"));
    assert_eq!(podwires().expect("it is there")["cluster"], json!(["10.244.0.0/16"]));
    let mut moved = peers(&[2, 3]);
    moved["peers"][0]["pools"] = json!(["10.244.8.0/24"]);
    bench.podwire.configure("peers.json", &moved);
    eventually("the pools follow", || says("10.244.8.0/24"));
    assert_eq!(podwires().expect("it is there")["policy"], "bridge", "the rest stays");
}

#[test]
fn a_file_that_is_not_podwires_is_left_alone_and_said() {
    let Some(bench) = Bench::new() else { return };
    bench.podwire.configure("agent.json", &json!({ "conflist": FILE }));
    write_file(FILE, r#"{"plugins": [{"type": "bridge"}]}"#);
    let _agent = bench.settled();
    bench.says("network configuration is not kept since");
    assert_eq!(podwires(), Some(json!({ "type": "bridge" })));
    assert_eq!(bench.status().exit, Some(1));
}
