//! A plugin that is not the first of its list: what came before is passed on.

use podwire_tests::network::V4;
use podwire_tests::{Network, kernel};
use serde_json::json;

use crate::Bench;

#[test]
fn a_previous_result_is_passed_on_and_added_to() {
    let Some(bench) = Bench::new() else { return };
    if bench.plugin.does_not_promise("to pass on a previous result") {
        return;
    }
    let previous = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "before0", "mac": "02:00:00:00:00:01" }],
        "ips": [{ "interface": 0, "address": "192.0.2.7/24", "gateway": "192.0.2.1" }],
        "routes": [{ "dst": "198.51.100.0/24", "gw": "192.0.2.1" }],
        "dns": { "nameservers": ["192.0.2.53"] },
    });
    let network = Network::new("1.0.0", &[V4]).with("prevResult", previous.clone());
    let (pod, result) = bench.wired(&network, "a");
    assert!(result["interfaces"].as_array().is_some_and(|all| all.contains(&previous["interfaces"][0])));
    assert!(result["routes"].as_array().is_some_and(|all| all.contains(&previous["routes"][0])));
    assert_eq!(result["dns"]["nameservers"][0], "192.0.2.53");
    let name_of = |address: &str| {
        let ip = result["ips"].as_array()?.iter().find(|ip| ip["address"].as_str() == Some(address))?;
        result["interfaces"][usize::try_from(ip["interface"].as_u64()?).ok()?]["name"].as_str()
    };
    assert_eq!(name_of("192.0.2.7/24"), Some("before0"), "{result}");
    let own = pod.namespace.run(|| kernel::addresses_of("eth0"))[0].to_string();
    assert_eq!(name_of(&own), Some("eth0"), "{result}");
    bench.plugin.check(&network.after(&result), &pod).done();
    bench.plugin.del(&network.after(&result), &pod).done();
}
