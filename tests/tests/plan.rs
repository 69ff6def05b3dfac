//! `podwire plan`: its script does what the plugin does, its JSON says the same, and it does nothing itself.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use podwire_tests::command::{Podwire, program};
use podwire_tests::{Namespace, Node, Plugin, Pod, kernel};
use serde_json::{Value, json};

const HOSTILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/built/hostile.wasm");

/// The network `pods`, with these keys of podwire's.
fn network(keys: Value) -> Value {
    let mut network = json!({ "cniVersion": "1.0.0", "name": "pods", "type": "podwire" });
    let Value::Object(keys) = keys else { unreachable!("keys and values") };
    network.as_object_mut().expect("an object").extend(keys);
    network
}

/// A network whose policy answers with this plan.
fn planned(plan: Value) -> Value {
    network(json!({
        "policy": "hostile",
        "pools": ["10.244.1.0/24", "fd00:10:244:1::/64"], "cluster": ["10.244.0.0/16", "fd00:10:244::/48"],
        "config": { "plan": plan },
    }))
}

/// A fresh node with one pod, and the guest that answers what it is told.
struct Bench {
    node: Node,
    pod: Pod,
    podwire: Podwire,
}

impl Bench {
    fn new() -> Option<Self> {
        let node = Node::enter()?;
        let podwire = Podwire::on(&node);
        podwire.put_into_use("hostile", Path::new(HOSTILE));
        Some(Self { pod: node.pod("a"), node, podwire })
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = Path::new("/run/network.conf").to_owned();
        let mut file = File::create(&path).expect("/run is the test's own");
        file.write_all(text.as_bytes()).expect("/run is the test's own");
        path
    }

    fn plan(&self, network: &Value, more: &[&str]) -> podwire_tests::command::Printed {
        let file = self.file(&network.to_string());
        let arguments =
            ["plan", file.to_str().expect("text"), "--pod", "test/container-a", "--ifname", &self.pod.ifname];
        self.podwire.run(&[&arguments, more].concat())
    }

    /// The plugin wires the pod.
    fn add(&self, network: &Value) {
        let plugin = Plugin::under_test(&self.node);
        let call = plugin.call("ADD", &podwire_tests::Network::new("1.0.0", &[]), &self.pod);
        plugin.run(&call.stdin(network.to_string())).result();
        self.settle();
    }

    /// The script wires the pod.
    fn run_script(&self, network: &Value) {
        let script = self.plan(network, &[]).done();
        run_script(&script, &["a"]);
        self.settle();
    }

    /// Waits for the carriers, which the kernel notices in its own time, and with them what it does then.
    fn settle(&self) {
        let shown = ["link show", "-4 route show", "-6 route show"];
        let is_dark = |entry: &Value| {
            let flags = entry["flags"].to_string();
            flags.contains("NO-CARRIER") || flags.contains("linkdown")
        };
        let dark = || shown.iter().any(|what| kernel::json(what).iter().any(is_dark));
        for namespace in [&self.node.namespace, &self.pod.namespace] {
            kernel::eventually("every link has its carrier", || !namespace.run(dark));
        }
    }

    /// Everything about node and pod that a plan decides.
    fn state(&self) -> BTreeSet<String> {
        let node = self.node.namespace.run(wiring).into_iter().map(|line| format!("node: {line}"));
        node.chain(self.pod.namespace.run(wiring).into_iter().map(|line| format!("pod: {line}"))).collect()
    }
}

fn run_script(script: &str, arguments: &[&str]) {
    let path = Path::new("/run/script");
    File::create(path)
        .and_then(|mut file| file.write_all(script.as_bytes()))
        .expect("/run is the test's own");
    let checked = Command::new("sh").arg("-n").arg(path).output().expect("sh is there");
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}\n{script}");
    let done = Command::new("sh").arg("-e").arg(path).args(arguments).output().expect("sh is there");
    assert!(done.status.success(), "{}\n{script}", String::from_utf8_lossy(&done.stderr));
}

/// Of the calling thread's network namespace.
fn wiring() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for link in kernel::json("-details link show") {
        let keys =
            ["mtu", "address", "master", "group", "ifalias", "inet6_addr_gen_mode", "flags", "promiscuity"];
        let plain = keys.iter().map(|key| format!(" {key} {}", link[key])).collect::<String>();
        let port = ["hairpin", "isolated"].map(|key| link["linkinfo"]["info_slave_data"][key].to_string());
        lines.insert(format!("link {}{plain} {} {port:?}", link["ifname"], link["linkinfo"]["info_kind"]));
    }
    for link in kernel::json("address show") {
        for address in link["addr_info"].as_array().into_iter().flatten() {
            let [local, length, scope, nodad] =
                ["local", "prefixlen", "scope", "nodad"].map(|key| address[key].to_string());
            lines.insert(format!(
                "address {local}/{length} scope {scope} nodad {nodad} of {}",
                link["ifname"]
            ));
        }
    }
    for family in ["-4", "-6"] {
        // Of the local table the kernel takes care, and for IPv6 in its own time.
        let routes = kernel::json(&format!("{family} route show table all"));
        let routes = routes.iter().filter(|route| route["table"] != "local");
        lines.extend(routes.map(|route| format!("route {route}")));
    }
    let switches =
        ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/ping_group_range", "ipv4/tcp_keepalive_time"];
    for switch in switches.map(str::to_owned).into_iter().chain(interface_switches()) {
        let value = fs::read_to_string(format!("/proc/sys/net/{switch}")).unwrap_or_default();
        lines.insert(format!("{switch} {}", value.trim()));
    }
    lines
}

fn interface_switches() -> Vec<String> {
    let of = |link: &Value| {
        let name = link["ifname"].as_str().unwrap_or_default();
        ["ipv6/conf/{}/disable_ipv6", "ipv4/conf/{}/rp_filter", "ipv4/conf/{}/arp_notify"]
            .map(|key| key.replace("{}", name))
    };
    kernel::json("link show").iter().flat_map(of).collect()
}

/// The script does in one node what the plugin does in another.
#[track_caller]
fn assert_same(network: &Value, prepare: impl Fn(&mut Bench)) {
    let Some(mut one) = Bench::new() else { return };
    prepare(&mut one);
    let before = one.state();
    one.add(network);
    let by_plugin = one.state();
    assert_ne!(before, by_plugin);
    drop(one);

    let Some(mut other) = Bench::new() else { return };
    prepare(&mut other);
    assert_eq!(before, other.state(), "two fresh nodes differ");
    other.run_script(network);
    let by_script = other.state();
    let only = |here: &BTreeSet<String>, there: &BTreeSet<String>| {
        here.difference(there).cloned().collect::<Vec<_>>().join("\n")
    };
    let (plugin, script) = (only(&by_plugin, &by_script), only(&by_script, &by_plugin));
    assert!(by_plugin == by_script, "only the plugin:\n{plugin}\nonly the script:\n{script}");
}

/// Nothing that plugin and script could find in their way.
fn plain(_: &mut Bench) {}

#[test]
fn a_bridged_pod_is_as_the_script_says() {
    assert_same(&network(json!({ "pools": ["10.244.1.0/24"], "cluster": ["10.244.0.0/16"] })), plain);
}

#[test]
fn a_bridged_pod_with_ipv6_is_as_the_script_says() {
    assert_same(&network(json!({ "pools": ["fd00:10:244:1::/64"] })), plain);
}

#[test]
fn a_bridged_pod_with_both_families_is_as_the_script_says() {
    let pools = json!(["10.244.1.0/24", "fd00:10:244:1::/64"]);
    let config = json!({ "bridge": "pods0", "mtu": 1400, "hairpinMode": false, "portIsolation": true });
    assert_same(&network(json!({ "pools": pools, "config": config })), plain);
}

#[test]
fn where_ipv6_is_off_by_default_the_script_switches_it_on() {
    let off = |bench: &mut Bench| {
        for namespace in [&bench.node.namespace, &bench.pod.namespace] {
            set(namespace, "net/ipv6/conf/default/disable_ipv6", "1");
        }
    };
    assert_same(&network(json!({ "pools": ["fd00:10:244:1::/64"] })), off);
    assert_same(&planned(routed()), off);
}

#[test]
fn a_bridge_that_is_there_keeps_its_mtu_and_gives_it_to_the_veth() {
    assert_same(&network(json!({ "pools": ["10.244.1.0/24"] })), |_| {
        kernel::ip("link add cni0 mtu 1420 address 0a:58:0a:f4:01:01 type bridge");
        kernel::ip("link set cni0 alias podwire");
    });
}

fn set(namespace: &Namespace, switch: &str, value: &str) {
    let written = namespace.run(|| {
        fs::OpenOptions::new().write(true).open(format!("/proc/sys/{switch}"))?.write_all(value.as_bytes())
    });
    written.unwrap_or_else(|e| panic!("{switch}: {e}"));
}

/// Point to point with both families: gateways that exist nowhere else, routes with everything.
fn routed() -> Value {
    json!({
        "wiring": "routed",
        "host_interface": "lxc-a.5",
        "addresses": [
            { "prefix": "10.244.1.7/32", "gateway": "169.254.1.1" },
            { "prefix": "fd00:10:244:1::7/128", "gateway": "fe80::1" },
        ],
        "routes": [
            { "destination": "169.254.1.1/32" },
            { "destination": "0.0.0.0/0", "via": "169.254.1.1", "mtu": 1380 },
            { "destination": "::/0", "via": "fe80::1", "metric": 77 },
            { "destination": "10.99.0.0/16", "via": "169.254.1.1", "metric": 5 },
        ],
        "mac": "02:00:00:00:00:07",
        "mtu": 1400,
        "sysctls": [["net.ipv4.ping_group_range", "0 1000"], ["net.ipv4.conf.eth0.rp_filter", "2"]],
    })
}

#[test]
fn a_routed_pod_is_as_the_script_says() {
    assert_same(&planned(routed()), plain);
}

#[test]
fn an_interface_with_a_dot_in_its_name_has_its_sysctls() {
    let mut plan = routed();
    plan["sysctls"] = json!([["net.ipv4.conf.net1.5.rp_filter", "2"]]);
    assert_same(&planned(plan), |bench| bench.pod.ifname = "net1.5".to_owned());
}

#[test]
fn a_routed_pod_of_one_family_is_as_the_script_says() {
    let four = json!({ "addresses": [{ "prefix": "10.244.1.7/32", "gateway": "10.244.1.1" }],
        "routes": [{ "destination": "10.244.1.1/32" }, { "destination": "0.0.0.0/0", "via": "10.244.1.1" }] });
    assert_same(&planned(four), plain);
    let six = json!({ "addresses": [{ "prefix": "fd00:10:244:1::7/128", "gateway": "fd00:10:244:1::1" }],
        "routes": [{ "destination": "::/0", "via": "fd00:10:244:1::1" }] });
    assert_same(&planned(six), plain);
}

#[test]
fn a_pod_without_addresses_is_as_the_script_says() {
    assert_same(&planned(json!({ "mtu": 9000 })), plain);
}

#[test]
fn what_else_a_plan_may_say_is_as_the_script_says() {
    let bridged = json!({
        "wiring": { "bridge": { "bridge": { "name": "cni0", "addresses": ["10.244.1.1/24", "fd00:10:244:1::1/64"],
            "promiscuous": true, "exclusive": true } } },
        "addresses": [{ "prefix": "10.244.1.7/24", "gateway": "10.244.1.1" },
                      { "prefix": "fd00:10:244:1::7/64", "gateway": "fd00:10:244:1::1" }],
        "routes": [{ "destination": "0.0.0.0/0", "via": "10.244.1.1", "advmss": 1340, "table": 70_000 },
                   { "destination": "10.99.0.0/16", "via": "10.244.1.1", "scope": 200 },
                   { "destination": "::/0", "via": "fd00:10:244:1::1", "advmss": 1320, "table": 100 }],
        "mac": "02:00:00:00:00:07",
        "duplicate_address_detection": true,
    });
    assert_same(&planned(bridged), |_| {
        kernel::ip("link add cni0 address 0a:58:0a:f4:01:01 type bridge");
        kernel::ip("link set cni0 alias podwire addrgenmode none up");
        kernel::ip("address add 10.244.1.254/24 dev cni0");
        kernel::ip("address add fd00:10:244:1::fe/64 dev cni0 nodad");
    });
}

#[test]
fn a_pod_whose_interface_stays_down_is_as_the_script_says() {
    let Some(bench) = Bench::new() else { return };
    let down = json!({ "wiring": { "bridge": { "bridge": { "name": "cni0" } } }, "interface_down": true });
    let script = bench.plan(&planned(down), &[]).done();
    assert!(!script.contains("dev eth0 up"), "{script}");
    run_script(&script, &["a"]);
    let flags = bench.pod.namespace.run(|| kernel::json("link show eth0"))[0]["flags"].to_string();
    assert!(!flags.contains("\"UP\""), "{flags}");
}

#[test]
fn no_text_of_a_policy_is_a_command() {
    let Some(bench) = Bench::new() else { return };
    let name = "$(>evil)";
    let plan = json!({
        "host_interface": ";>evil;'a",
        "wiring": { "bridge": { "bridge": { "name": name } } },
    });
    let script = bench.plan(&planned(plan), &[]).done();
    let path = bench.file(&script);
    Command::new("sh").arg("-e").arg(path).arg("a").current_dir("/run").output().expect("sh is there");
    assert!(!Path::new("/run/evil").exists(), "{script}");
    assert!(kernel::link(name).is_some(), "{script}");
}

#[test]
fn json_is_the_same_plan() {
    let Some(bench) = Bench::new() else { return };
    let printed = bench.plan(&planned(routed()), &["--json"]).done();
    let plan: Value = serde_json::from_str(&printed).expect("JSON");
    for key in ["wiring", "host_interface", "mac", "mtu", "addresses"] {
        assert_eq!(plan[key], routed()[key], "{key}");
    }
    assert_eq!(plan["container_interface"], "eth0");
    assert_eq!(plan["routes"][1]["mtu"], 1380);
    let script = bench.plan(&planned(routed()), &[]).done();
    for key in ["host_interface", "container_interface", "mac", "host_mac"] {
        assert!(script.contains(plan[key].as_str().expect("text")), "{key}");
    }
}

#[test]
fn nothing_is_written_and_no_privilege_is_needed() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.node.snapshot();
    let file = bench.file(&network(json!({ "pools": ["10.244.1.0/24"] })).to_string());
    let arguments = ["plan", file.to_str().expect("text"), "--pod", "test/a"];
    let by_root = bench.podwire.run(&arguments).done();
    let nobody = bench.podwire.clone().as_nobody();
    assert_eq!(nobody.run(&arguments).done(), by_root);
    // An installed policy has no compiled code that this user may write.
    bench.file(&planned(routed()).to_string());
    assert_eq!(nobody.run(&arguments).done(), bench.podwire.run(&arguments).done());
    let nowhere = nobody.with_root(Path::new("/proc/nothing"));
    bench.file(&network(json!({ "pools": ["10.244.1.0/24"] })).to_string());
    assert_eq!(nowhere.run(&arguments).done(), by_root);
    fs::remove_file(file).expect("/run is the test's own");
    before.assert_unchanged();
}

#[test]
fn a_list_is_as_good_as_a_configuration() {
    let Some(bench) = Bench::new() else { return };
    let alone = network(json!({ "pools": ["10.244.1.0/24"] }));
    let mut inner = alone.clone();
    let keys = inner.as_object_mut().expect("an object");
    keys.remove("name");
    keys.remove("cniVersion");
    let list = json!({ "cniVersion": "1.0.0", "name": "pods", "disableCheck": true,
        "plugins": [{ "type": "bandwidth" }, inner, { "type": "portmap" }] });
    assert_eq!(bench.plan(&list, &[]).done(), bench.plan(&alone, &[]).done());
}

#[test]
fn what_a_pod_asks_for_counts() {
    let Some(bench) = Bench::new() else { return };
    let network = network(json!({ "pools": ["10.244.1.0/24"] }));
    let script = bench.plan(&network, &["--ip", "10.244.1.99"]).done();
    assert!(script.contains("address add 10.244.1.99/24 dev eth0"), "{script}");
}

#[test]
fn mistakes_are_named() {
    let Some(bench) = Bench::new() else { return };
    let right = network(json!({ "pools": ["10.244.1.0/24"] }));
    let other = json!({ "cniVersion": "1.0.0", "name": "pods", "type": "bridge" });
    let list = json!({ "cniVersion": "1.0.0", "name": "pods", "plugins": [{ "type": "bridge" }] });
    let refused =
        network(json!({ "policy": "hostile", "config": { "do": "refuse", "message": "not on Sundays" } }));
    let broken = planned(json!({ "addresses": [{ "prefix": "192.168.7.7/32" }] }));
    let cases: [(&Value, &[&str], &[&str]); 9] = [
        (&other, &[], &["/run/network.conf", "bridge", "podwire"]),
        (&list, &[], &["/run/network.conf has no plugin of type podwire"]),
        (&json!([]), &[], &["/run/network.conf is no JSON object"]),
        (&network(json!({ "pool": [] })), &[], &["pool", "pools"]),
        (&right, &["--annotation", "tenant"], &["\"tenant\" is not KEY=VALUE"]),
        (&right, &["--ip", "10.9.9.9"], &["10.9.9.9", "10.244.1.0/24"]),
        (&right, &["--ip", "ten"], &["\"ten\""]),
        (&refused, &[], &["not on Sundays", "hostile"]),
        (&broken, &[], &["addresses[0]", "192.168.7.7"]),
    ];
    for (network, more, expected) in cases {
        let said = bench.plan(network, more).failed();
        assert!(expected.iter().all(|part| said.contains(part)), "{network}: {said}");
    }
    let missing = bench.podwire.run(&["plan", "/run/missing", "--pod", "a"]).failed();
    assert!(missing.contains("/run/missing cannot be read: No such file"), "{missing}");
}

#[test]
fn a_pods_name_that_is_none_is_not_understood() {
    let Some(bench) = Bench::new() else { return };
    let file = bench.file(&network(json!({ "pools": ["10.244.1.0/24"] })).to_string());
    for pod in ["", "/a", "a/", "a/b/c", "a;IP=10.244.1.9", "a/b;IP=10.244.1.9", "A b"] {
        let printed = bench.podwire.run(&["plan", file.to_str().expect("text"), "--pod", pod]);
        assert!(printed.exit == Some(2) && printed.stderr.contains("NAMESPACE/NAME"), "{pod:?}: {printed}");
    }
}

#[test]
fn a_nodes_plan_is_as_node_up_does_it() {
    let configure = |podwire: &Podwire| {
        podwire.configure("node.json", &json!({ "name": "node-1",
            "pools": ["10.244.1.0/24", "fd00:10:244:1::/64"], "cluster": ["10.244.0.0/16", "fd00:10:244::/48"],
            "policy": "hostile", "config": { "node_plan": {
                "bridges": [{ "name": "cni0", "addresses": ["10.244.1.1/24", "fd00:10:244:1::1/64"], "mtu": 1400 },
                            { "name": "cni1" }],
                "routes": [{ "destination": "10.244.2.0/24", "next_hop": { "via": "192.168.1.12" }, "metric": 9 },
                           { "destination": "fd00:10:244:9::/64", "next_hop": "blackhole" }] } } }));
        kernel::ip("link add eth0 type veth peer name wire");
        kernel::ip("link set wire address 0a:00:00:00:00:02 addrgenmode none up");
        kernel::ip("link set eth0 address 0a:00:00:00:00:01 addrgenmode none up");
        kernel::ip("address add 192.168.1.11/24 dev eth0");
    };
    let Some(one) = Bench::new() else { return };
    configure(&one.podwire);
    one.podwire.run(&["node", "up"]).done();
    let by_command = one.state();
    drop(one);
    let Some(other) = Bench::new() else { return };
    configure(&other.podwire);
    let script = other.podwire.run(&["node", "plan"]).done();
    run_script(&script, &[]);
    assert_eq!(by_command, other.state(), "{script}");
    assert_eq!(other.podwire.run(&["node", "up"]).done(), "nothing to change\n");
}

#[test]
fn whoever_stops_reading_ends_it_without_a_word() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut podwire = Command::new(program());
    let output = podwire.args(["conform", "--list"]).stdout(writer).output().expect("it starts");
    assert_eq!(output.status.signal(), Some(13), "SIGPIPE (signal(7))");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
