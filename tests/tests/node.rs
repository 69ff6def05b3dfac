//! `podwire node`: what is as it should be is left alone, and so is what others made.

use std::net::IpAddr;

use podwire_tests::command::Podwire;
use podwire_tests::kernel::{Snapshot, addresses_of, ip, link, routes, uplink};
use podwire_tests::{Namespace, Network, Node, Plugin, Pod, assert_reaches, reach};
use serde_json::{Value, json};

/// What `node status` ends with if that helps.
const HINT: &str = "`podwire node up` makes it as it should be";

/// Three nodes' worth of peers, node-1 itself among them: one file serves all.
fn peers() -> Value {
    json!({ "peers": [
        { "name": "node-1", "addresses": ["192.168.1.11"], "pools": ["10.244.1.0/24"] },
        { "name": "node-2", "addresses": ["192.168.1.12"], "pools": ["10.244.2.0/24"] },
        { "name": "node-3", "addresses": ["192.168.1.13"], "pools": ["10.244.3.0/24"] },
    ] })
}

/// node-1 of the lecture, with an interface in the network between nodes.
struct Bench {
    node: Node,
    podwire: Podwire,
}

impl Bench {
    fn new() -> Option<Self> {
        let node = Node::enter()?;
        uplink("192.168.1.11/24");
        let podwire = Podwire::on(&node);
        podwire.configure(
            "node.json",
            &json!({ "name": "node-1", "addresses": ["192.168.1.11"], "pools": ["10.244.1.0/24"], "cluster": ["10.244.0.0/16"] }),
        );
        podwire.configure("peers.json", &peers());
        Some(Self { node, podwire })
    }

    fn up(&self) -> Vec<String> {
        lines(&self.podwire.run(&["node", "up"]).done())
    }

    fn down(&self) -> Vec<String> {
        lines(&self.podwire.run(&["node", "down"]).done())
    }

    /// What `node status` finds wrong.
    fn wrong(&self) -> Vec<String> {
        lines(&self.podwire.run(&["node", "status"]).no())
    }

    fn assert_well(&self, what: &str) {
        assert_eq!(self.podwire.run(&["node", "status"]).done(), format!("as it should be: {what}\n"));
    }

    /// The node's links, addresses, routes and rules, without podwire's files.
    fn kernel(&self) -> Snapshot {
        Snapshot::take(&[])
    }

    /// A pod wired by the plugin.
    fn pod(&self, name: &str) -> (Pod, IpAddr) {
        let pod = self.node.pod(name);
        let plugin = Plugin::under_test(&self.node);
        let result = plugin.add(&Network::new("1.0.0", &["10.244.1.0/24"]), &pod).result();
        let address = result["ips"][0]["address"].as_str().and_then(|text| text.split('/').next());
        (pod, address.and_then(|text| text.parse().ok()).expect("a result has an address"))
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// podwire's routes on the node.
fn ours() -> Vec<String> {
    let ours = routes().into_iter().filter(|route| route.contains("protocol \"112\""));
    ours.map(|route| route.split(" protocol").next().unwrap_or_default().replace('"', "")).collect()
}

#[test]
fn up_makes_bridge_forwarding_and_routes_once() {
    let Some(bench) = Bench::new() else { return };
    let made = [
        "net.ipv4.ip_forward set to 1",
        "bridge cni0 created",
        "address 10.244.1.1/24 added to cni0",
        "route 10.244.2.0/24 via 192.168.1.12 added",
        "route 10.244.3.0/24 via 192.168.1.13 added",
    ];
    let wrong = bench.wrong();
    assert_eq!(wrong.iter().filter(|line| line.starts_with("differs: ")).count(), made.len(), "{wrong:?}");
    assert_eq!(wrong.last().map(String::as_str), Some(HINT));
    assert_eq!(bench.up(), made);
    assert_eq!(addresses_of("cni0"), ["10.244.1.1/24".parse().expect("an address")]);
    assert!(link("cni0").expect("it was made").up);
    let expected = ["192.168.1.12", "192.168.1.13"];
    assert_eq!(ours(), [2, 3].map(|n| format!("10.244.{n}.0/24 gateway {} dev eth0", expected[n - 2])));
    bench.assert_well("1 bridge, 2 routes");

    let kernel = bench.kernel();
    assert_eq!(bench.up(), ["nothing to change"]);
    kernel.assert_unchanged();
}

#[test]
fn routes_follow_the_peers() {
    let Some(bench) = Bench::new() else { return };
    bench.up();
    let mut fewer = peers();
    fewer["peers"].as_array_mut().expect("a list").remove(1);
    fewer["peers"][1]["addresses"] = json!(["192.168.1.99"]);
    bench.podwire.configure("peers.json", &fewer);
    assert_eq!(bench.wrong().len(), 3, "{:?}", bench.wrong());
    assert_eq!(
        bench.up(),
        [
            "route 10.244.3.0/24 via 192.168.1.99 put in place of 10.244.3.0/24 via 192.168.1.13 proto 112",
            "route 10.244.2.0/24 via 192.168.1.12 removed",
        ]
    );
    assert_eq!(ours(), ["10.244.3.0/24 gateway 192.168.1.99 dev eth0"]);
    bench.assert_well("1 bridge, 1 route");
    bench.podwire.configure("peers.json", &json!({ "peers": [] }));
    assert_eq!(bench.up(), ["route 10.244.3.0/24 via 192.168.1.99 removed"]);
    bench.assert_well("1 bridge, 0 routes");
}

#[test]
fn routes_of_others_stay() {
    let Some(bench) = Bench::new() else { return };
    ip("route add 10.244.9.0/24 via 192.168.1.19 proto static");
    ip("route add 10.9.0.0/16 via 192.168.1.19");
    bench.up();
    bench.assert_well("1 bridge, 2 routes");
    bench.down();
    let left = routes();
    for theirs in ["10.244.9.0/24", "10.9.0.0/16"] {
        assert!(left.iter().any(|route| route.starts_with(theirs)), "{theirs}: {left:?}");
    }
}

#[test]
fn a_route_of_others_in_the_way_is_named_and_nothing_is_changed() {
    let Some(bench) = Bench::new() else { return };
    ip("route add 10.244.2.0/24 via 192.168.1.19 proto static");
    let before = bench.kernel();
    let said = bench.podwire.run(&["node", "up"]).failed();
    assert!(said.contains("10.244.2.0/24") && said.contains("192.168.1.19"), "{said}");
    before.assert_unchanged();
    let wrong = bench.wrong().join("\n");
    assert!(wrong.contains("in the way: route 10.244.2.0/24 exists already"), "{wrong}");
    assert!(!wrong.contains(HINT), "{wrong}");
    ip("route del 10.244.2.0/24");
    bench.up();
    bench.assert_well("1 bridge, 2 routes");
}

#[test]
fn a_bridge_of_others_is_not_taken() {
    let Some(bench) = Bench::new() else { return };
    ip("link add cni0 type bridge");
    let before = bench.kernel();
    let said = bench.podwire.run(&["node", "up"]).failed();
    assert!(said.contains("ip link set dev cni0 alias podwire"), "{said}");
    before.assert_unchanged();
    assert!(bench.wrong().join("\n").contains("in the way: bridge cni0 was not made by podwire"));
    bench.down();
    before.assert_unchanged();
    ip("link set dev cni0 alias podwire");
    bench.up();
    bench.assert_well("1 bridge, 2 routes");
}

#[test]
fn down_takes_what_podwire_made_and_keeps_a_bridge_in_use() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.kernel();
    bench.up();
    let (pod, address) = bench.pod("a");
    assert_eq!(
        bench.down(),
        [
            "route 10.244.2.0/24 via 192.168.1.12 removed",
            "route 10.244.3.0/24 via 192.168.1.13 removed",
            "in use, and kept: bridge cni0, one with 1 port",
        ]
    );
    assert_reaches(&pod.namespace, &bench.node.namespace, "10.244.1.1".parse().expect("an address"), address);
    Plugin::under_test(&bench.node).del(&Network::new("1.0.0", &["10.244.1.0/24"]), &pod).done();
    assert_eq!(bench.down(), ["bridge cni0 removed"]);
    before.assert_unchanged();
    assert_eq!(bench.down(), ["nothing to change"]);
}

#[test]
fn status_names_what_differs() {
    let Some(bench) = Bench::new() else { return };
    let spoilt = [
        ("link set cni0 down", "bridge cni0"),
        ("address del 10.244.1.1/24 dev cni0", "address 10.244.1.1/24 of cni0"),
        ("route del 10.244.2.0/24", "route 10.244.2.0/24 via 192.168.1.12"),
        ("route replace 10.244.2.0/24 via 192.168.1.19 proto 112", "via 192.168.1.19"),
        ("route add 10.244.7.0/24 via 192.168.1.19 proto 112", "route 10.244.7.0/24 via 192.168.1.19"),
    ];
    for (command, named) in spoilt {
        bench.up();
        bench.assert_well("1 bridge, 2 routes");
        ip(command);
        let wrong = bench.wrong();
        assert!(wrong[0].starts_with("differs: ") && wrong[0].contains(named), "{command}: {wrong:?}");
        assert_eq!(wrong.last().map(String::as_str), Some(HINT));
    }
    bench.up();
    std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/sys/net/ipv4/ip_forward")
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"0"))
        .expect("a node has its own switch");
    let wrong = bench.wrong().join("\n");
    assert!(wrong.contains("net.ipv4.ip_forward"), "{wrong}");
}

#[test]
fn a_firewall_as_docker_has_it_is_named_and_mended() {
    let Some(bench) = Bench::new() else { return };
    bench.up();
    let (a, from) = bench.pod("a");
    let (b, to) = bench.pod("b");
    // What dockerd does when it starts.
    sh("iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER; iptables -P FORWARD DROP");
    let wrong = bench.wrong();
    let [finding] = &wrong[..] else { panic!("{wrong:?}") };
    let remedy = "iptables -I DOCKER-USER -s 10.244.0.0/16 -j ACCEPT";
    assert!(finding.starts_with("in the way: ") && finding.contains("FORWARD"), "{finding}");
    assert!(finding.ends_with(&format!("; mend it with `{remedy}`")), "{finding}");
    // What is said is true: nothing passes from a pod to elsewhere, before the remedy.
    let elsewhere = Elsewhere::behind_node_2(&bench.node);
    reach::tcp_source(&a.namespace, &elsewhere.namespace, elsewhere.address).expect_err("Docker drops it");
    sh(remedy);
    bench.assert_well("1 bridge, 2 routes");
    assert_reaches(&a.namespace, &elsewhere.namespace, elsewhere.address, from);
    assert_reaches(&a.namespace, &b.namespace, to, from);
}

#[test]
fn pods_of_one_node_reach_each_other_beside_docker_or_status_says_why_not() {
    let Some(bench) = Bench::new() else { return };
    bench.up();
    let (a, from) = bench.pod("a");
    let (b, to) = bench.pod("b");
    sh("iptables -P FORWARD DROP");
    let reached = reach::tcp_source(&a.namespace, &b.namespace, to).is_ok_and(|source| source == from);
    let wrong = bench.wrong().join("\n");
    assert!(reached || wrong.contains("also between pods on one bridge"), "{wrong}");
}

/// A machine in the network between nodes that has a pod's address.
struct Elsewhere {
    namespace: Namespace,
    address: IpAddr,
}

impl Elsewhere {
    /// Has the far end of the node's interface.
    fn behind_node_2(node: &Node) -> Self {
        let namespace = node.pod("node-2").namespace;
        ip(&format!("link set wire netns {}", namespace.path().display()));
        namespace.run(|| {
            for command in [
                "link set lo up",
                "address add 192.168.1.12/24 dev wire",
                "link set wire up",
                "address add 10.244.2.2/32 dev lo",
                "route add 10.244.1.0/24 via 192.168.1.11",
            ] {
                ip(command);
            }
        });
        Self { namespace, address: IpAddr::from([10, 244, 2, 2]) }
    }
}

fn sh(script: &str) {
    let output = std::process::Command::new("sh").args(["-ec", script]).output().expect("sh is there");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn files_that_are_wrong_are_named_and_nothing_is_changed() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.kernel();
    let wrong = [
        ("node.json", r#"{"pool": []}"#, "node.json: unknown field `pool`"),
        ("node.json", r#"{"name": "node-1""#, "node.json: EOF"),
        ("node.json", r#"{"pools": ["10.244.1.7/24"]}"#, "node.json: pools[0] is 10.244.1.7/24"),
        ("node.json", r#"{"pools": ["10.244.1.0/33"]}"#, "node.json: "),
        ("node.json", r#"{"pools": []}"#, "node.json: pools is []"),
        ("node.json", r#"{"cluster": ["10.244.1.7/16"]}"#, "node.json: cluster[0] is 10.244.1.7/16"),
        ("node.json", r#"{"addresses": ["node-1"]}"#, "node.json: "),
        ("node.json", r#"{"policy": "../bridge"}"#, "policy name \"../bridge\""),
        ("node.json", r#"{"policy": "missing"}"#, "missing"),
        ("node.json", r#"{"config": {"bridge": "a/b"}}"#, "a/b"),
        ("node.json", r#"{"config": {"brigde": "cni0"}}"#, "brigde"),
        ("peers.json", r#"{"peer": []}"#, "peers.json: unknown field `peer`"),
        ("peers.json", "[]", "peers.json: "),
        ("peers.json", r#"{"peers": [{"addresses": []}]}"#, "peers.json: missing field `name`"),
        (
            "peers.json",
            r#"{"peers": [{"name": "n", "pools": ["10.244.2.9/24"]}]}"#,
            "peers.json: peers[0].pools[0] is 10.244.2.9/24",
        ),
    ];
    let (node, peers) = (file(&bench, "node.json"), file(&bench, "peers.json"));
    for (name, text, expected) in wrong {
        bench.podwire.write(name, text);
        for command in ["up", "status"] {
            let said = bench.podwire.run(&["node", command]).failed();
            assert!(said.contains(expected), "{name} {text}: {said}");
        }
        before.assert_unchanged();
        bench.podwire.write("node.json", &node);
        bench.podwire.write("peers.json", &peers);
    }
    bench.up();
}

fn file(bench: &Bench, name: &str) -> String {
    std::fs::read_to_string(bench.node.root().join("etc").join(name)).expect("it was written")
}

#[test]
fn a_node_that_nobody_configured_gets_the_defaults() {
    let Some(node) = Node::enter() else { return };
    let podwire = Podwire::on(&node);
    podwire.run(&["node", "up"]).done();
    assert_eq!(addresses_of("cni0"), ["10.244.0.1/24".parse().expect("an address")]);
    podwire.run(&["node", "status"]).done();
}

#[test]
fn a_user_without_privilege_changes_nothing() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.kernel();
    let nobody = bench.podwire.clone().as_nobody();
    let said = nobody.run(&["node", "up"]).failed();
    assert!(said.contains("ermi"), "{said}");
    before.assert_unchanged();
    bench.up();
    bench.assert_well("1 bridge, 2 routes");
}

#[test]
fn the_examples_for_a_node_work() {
    let Some(bench) = Bench::new() else { return };
    bench.podwire.write("node.json", include_str!("../../deploy/node.json"));
    bench.podwire.write("peers.json", include_str!("../../deploy/peers.json"));
    bench.up();
    bench.assert_well("1 bridge, 2 routes");
}

/// Two nodes on one wire; each with one pod of each of the families that it has.
struct Pair {
    nodes: [(Namespace, Podwire); 2],
    pods: [(Pod, Vec<IpAddr>); 2],
    _node: Node,
}

impl Pair {
    /// `{n}` stands for the node's number.
    fn new(addresses: &[&str], pools: &[&str], cluster: &[&str]) -> Option<Self> {
        let node = Node::enter()?;
        let namespaces = [1, 2].map(|n| node.pod(&format!("node-{n}")).namespace);
        let [one, two] = namespaces.each_ref().map(|namespace| namespace.path().display());
        ip(&format!("link add eth0 netns {one} type veth peer name eth0 netns {two}"));
        let of = |n: usize, list: &[&str]| {
            list.iter().map(|text| text.replace("{n}", &n.to_string())).collect::<Vec<_>>()
        };
        let peer = |n: usize| {
            let plain = of(n, addresses)
                .iter()
                .map(|text| text.split('/').next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>();
            json!({ "name": format!("node-{n}"), "addresses": plain, "pools": of(n, pools) })
        };
        let mut number = 0;
        let nodes = namespaces.map(|namespace| {
            number += 1;
            let podwire = Podwire::on(&node).with_root(&node.root().join(format!("node-{number}")));
            let mut this = peer(number);
            this["cluster"] = json!(cluster);
            podwire.configure("node.json", &this);
            podwire.configure("peers.json", &json!({ "peers": [peer(1), peer(2)] }));
            namespace.run(|| {
                ip("link set lo up");
                ip("link set eth0 up");
                of(number, addresses).iter().for_each(|address| {
                    ip(&format!(
                        "address add {address} dev eth0{}",
                        if address.contains(':') { " nodad" } else { "" }
                    ))
                });
                podwire.run(&["node", "up"]).done();
                podwire.run(&["node", "status"]).done();
            });
            (namespace, podwire)
        });
        let pods = nodes.each_ref().map(|(namespace, podwire)| {
            let pod = node.pod(&format!(
                "pod-{}",
                namespace.path().file_name().and_then(|name| name.to_str()).expect("text")
            ));
            let plugin = Plugin::under_test(&node);
            let call = plugin
                .call("ADD", &Network::new("1.0.0", &[]), &pod)
                .env("PODWIRE_ROOT", podwire.root().to_str().expect("text"))
                .stdin(json!({ "cniVersion": "1.0.0", "name": "pods", "type": "podwire" }).to_string());
            let result = namespace.run(|| plugin.run(&call)).result();
            let ips = result["ips"].as_array().expect("a list").iter();
            let plain = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
            (pod, ips.map(|ip| plain(ip).expect("an address")).collect())
        });
        Some(Self { nodes, pods, _node: node })
    }

    /// Every address of one pod is reached from the other, and arrives from its own.
    fn assert_reach(&self, families: usize) {
        let [one, two] = &self.pods;
        for ((from, sources), (to, targets)) in [(one, two), (two, one)] {
            assert_eq!((sources.len(), targets.len()), (families, families));
            for (source, target) in sources.iter().zip(targets) {
                assert_reaches(&from.namespace, &to.namespace, *target, *source);
            }
        }
    }
}

#[test]
fn pods_of_two_nodes_reach_each_other_over_ipv6() {
    let Some(pair) = Pair::new(&["fd01::1{n}/64"], &["fd00:10:244:{n}::/64"], &["fd00:10:244::/48"]) else {
        return;
    };
    pair.assert_reach(1);
}

#[test]
fn pods_of_two_nodes_reach_each_other_over_both_families() {
    let Some(pair) = Pair::new(
        &["192.168.1.1{n}/24", "fd01::1{n}/64"],
        &["10.244.{n}.0/24", "fd00:10:244:{n}::/64"],
        &["10.244.0.0/16", "fd00:10:244::/48"],
    ) else {
        return;
    };
    pair.assert_reach(2);
    for (namespace, podwire) in &pair.nodes {
        assert_eq!(namespace.run(|| podwire.run(&["node", "up"])).done(), "nothing to change\n");
    }
}
