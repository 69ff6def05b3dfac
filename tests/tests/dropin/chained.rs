//! podwire beside Debian's plugins in one list: before and after them.

use podwire_tests::{Chain, assert_reaches, kernel};
use serde_json::{Value, json};

use crate::{Node, VERSION, address, bridge, with_each};

#[test]
fn the_reference_plugins_work_after_podwire() {
    with_each(|node, kind| {
        let list = [
            bridge(kind, &json!({})),
            json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true }),
            json!({ "type": "tuning", "sysctl": { "net.ipv4.conf.eth0.arp_notify": "1" } }),
            json!({ "type": "firewall" }),
            json!({ "type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 8_000_000,
                    "egressRate": 8_000_000, "egressBurst": 8_000_000 }),
        ];
        let mappings = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
        let chain = Chain::new(node, VERSION, &list).with_capability("portMappings", mappings);
        let (a, b) = (node.pod("a"), node.pod("b"));
        let result = chain.add(&a);
        let own = address(&result, 0);
        assert!(kernel::run("iptables-save", "-t nat").contains("8080"), "{kind}: portmap has no rule");
        assert!(kernel::run("tc", "qdisc show").contains("tbf"), "{kind}: bandwidth has no limit");
        let other = Chain::new(node, VERSION, &list[..1]);
        let from = address(&other.add(&b), 0);
        assert_reaches(&b.namespace, &a.namespace, own, from);
        other.check(&a, &result);
        chain.del(&a, &result);
        assert!(!kernel::run("iptables-save", "-t nat").contains("8080"), "{kind}");
        assert!(a.namespace.run(|| kernel::link("eth0")).is_none());
    });
}

#[test]
fn podwire_is_second_in_a_list() {
    let Some(node) = Node::enter() else { return };
    // The one reference plugin that makes no interface of the name that the next one needs.
    let list = [
        json!({ "type": "loopback" }),
        bridge("podwire", &json!({ "dns": { "nameservers": ["10.88.0.53"] } })),
        json!({ "type": "tuning", "sysctl": { "net.ipv4.conf.eth0.arp_notify": "1" } }),
    ];
    let chain = Chain::new(&node, VERSION, &list);
    let pod = node.pod("a");
    let result = chain.add(&pod);
    let names: Vec<&Value> =
        result["interfaces"].as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert_eq!((names.len(), names[0], names[1], names[3]), (4, &json!("lo"), &json!("br0"), &json!("eth0")));
    let ips: Vec<(&Value, &Value)> = result["ips"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|ip| (&ip["address"], &ip["interface"]))
        .collect();
    let (loopback, own) = (json!("127.0.0.1/8"), json!("10.88.0.2/24"));
    assert!(ips.contains(&(&loopback, &json!(0))) && ips.contains(&(&own, &json!(3))), "{result}");
    assert_eq!(result["dns"], json!({ "nameservers": ["10.88.0.53"] }));
    assert_reaches(
        &pod.namespace,
        &node.namespace,
        "10.88.0.1".parse().expect("valid"),
        "10.88.0.2".parse().expect("valid"),
    );
    chain.check(&pod, &result);
    chain.del(&pod, &result);
    assert!(pod.namespace.run(|| kernel::link("eth0")).is_none());
}

#[test]
fn podwire_amends_what_comes_before_it() {
    let Some(node) = Node::enter() else { return };
    let first = json!({ "type": "ptp", "ipam": { "type": "host-local", "subnet": "10.66.0.0/24" } });
    let mut pod = node.pod("a");
    let result = Chain::new(&node, VERSION, &[first]).add(&pod);
    // The next plugin of a list has the same interface: another name shows both.
    pod.ifname = "net1".to_owned();
    let second = bridge("podwire", &json!({ "prevResult": result }));
    let both = Chain::new(&node, VERSION, &[second]).add(&pod);
    let addresses: Vec<&Value> =
        both["ips"].as_array().expect("a list").iter().map(|ip| &ip["address"]).collect();
    assert_eq!(addresses.len(), 2, "{both}");
    assert_eq!(both["ips"][0], result["ips"][0]);
    assert_eq!(
        both["interfaces"][both["ips"][1]["interface"].as_u64().expect("an index") as usize]["name"],
        "net1"
    );
}
