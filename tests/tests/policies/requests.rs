//! Addresses that somebody asks for, which the built-in policy grants or refuses.

use podwire_tests::network::V4;
use podwire_tests::plugin::Call;
use podwire_tests::{Network, Outcome, Pod};

use crate::{Bench, NEVER, code, wording};

impl Bench {
    fn add_asking(&self, pod: &Pod, asked: &str) -> Outcome {
        let call: Call = self.plugin.call("ADD", &Network::new("1.1.0", &[V4]), pod);
        self.plugin.start(&call.env("CNI_ARGS", &format!("IgnoreUnknown=1;IP={asked}"))).finish_within(NEVER)
    }
}

#[test]
fn an_address_that_is_asked_for_is_granted_if_it_is_free() {
    let Some(bench) = Bench::empty() else { return };
    let network = Network::new("1.1.0", &[V4]);
    let pod = bench.node.pod("asking");
    let result = bench.add_asking(&pod, "10.244.1.77").result();
    assert_eq!(result["ips"][0]["address"], "10.244.1.77/24");
    let before = bench.snapshot();
    let late = bench.node.pod("late");
    for (asked, code, words) in [
        ("10.244.1.77", code::REFUSED, "requested address 10.244.1.77 is held by"),
        ("10.244.1.1", code::REFUSED, "requested address 10.244.1.1 is the gateway of 10.244.1.0/24"),
        ("10.244.9.9", code::REFUSED, "requested address 10.244.9.9 is not among the addresses"),
        ("10.244.1.0", code::PLAN_BROKE_RULE, "10.244.1.0/24, but that is the network address"),
        ("10.244.1.255", code::PLAN_BROKE_RULE, "10.244.1.255/24, but that is the broadcast address"),
        ("10.244.1.78/8", 0, ""),
    ] {
        let outcome = bench.add_asking(&late, asked);
        if code == 0 {
            // The length is the pool's, whatever was asked for: the policy says so, and the host checks.
            assert_eq!(outcome.result()["ips"][0]["address"], "10.244.1.78/24");
            bench.del(&network, &late);
            continue;
        }
        let error = outcome.error();
        wording::assert_helpful(&error.message);
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.message.contains(words), "{error:?}");
        before.assert_unchanged();
        bench.del(&network, &late);
    }
    bench.del(&network, &pod);
}
