//! The printed script does what [`wire`] does, with what else a plan may say. That both do it through policy and
//! plugin, the black-box tests see.

use std::collections::BTreeSet;
use std::io::Write;

use crate::plan::script;

use super::super::sysctl::Sysctl;
use super::super::{announce, wire};
use super::bridge::{in_vlans, kernel_filters_by_vlan};
use super::*;

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:244:1::/64";

/// What a plan decides of the calling thread's namespace.
fn state() -> BTreeSet<String> {
    let shown = ["-details link show", "address show", "-4 route show table all", "-6 route show table all"];
    let all = shown.iter().flat_map(|what| entries(what)).chain(neighbours());
    let notify = Sysctl::of_interface("ipv6", "eth0", "ndisc_notify").get();
    let notify = notify.map(|value| format!("ndisc_notify of eth0 {value}"));
    all.chain(vlans()).chain(notify).filter(|line| !line.is_empty()).collect()
}

/// With the port's name in the first line of each.
fn vlans() -> Vec<String> {
    output("bridge vlan show")
        .split("\n\n")
        .map(|port| port.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn neighbours() -> Vec<String> {
    let known = link_named("cni0").map(|_| output("ip neighbour show dev cni0 nud all"));
    let of_pods = |line: &&str| line.contains("lladdr") && !line.contains("NOARP");
    known.iter().flat_map(|all| all.lines()).filter(of_pods).map(str::to_owned).collect()
}

/// What `ip` shows, without what is new each time, or what the kernel does in its own time.
fn entries(what: &str) -> Vec<String> {
    let shown: Vec<serde_json::Value> =
        serde_json::from_str(&output(&format!("ip -json {what}"))).expect("JSON");
    let keys: &[&str] = match what.split_whitespace().find(|word| !word.starts_with('-')) {
        Some("link") => {
            &["ifname", "mtu", "address", "master", "group", "ifalias", "promiscuity", "inet6_addr_gen_mode"]
        }
        Some("address") => &["ifname", "addr_info"],
        _ => &["dst", "gateway", "dev", "table", "scope", "metrics", "metric", "protocol"],
    };
    let is_the_kernels =
        |entry: &&serde_json::Value| entry["table"] == "local" || entry["protocol"] == "kernel";
    let line = |entry: &serde_json::Value| {
        let up = entry["flags"].to_string().contains("\"UP\"");
        let values = keys.iter().map(|key| format!("{key} {} ", entry[key])).collect::<String>();
        format!("{up} {values}")
    };
    let lines = shown.iter().filter(|entry| !is_the_kernels(entry)).map(line);
    // Which the script cannot give.
    lines.map(|line| line.replace(",\"protocol\":112", "")).collect()
}

/// Node and pod after `work`, which is given the pod's name below /run/netns.
fn after(prepare: &[&str], work: impl FnOnce(&Namespace, &str)) -> BTreeSet<String> {
    for command in prepare {
        run(command);
        // When the kernel notices that a bridge has no carrier, it forgets the neighbours there.
        let is_new = || output("ip link show type bridge up").contains("state UNKNOWN");
        eventually("the bridge's carrier is known", || !is_new());
        // It says so before it forgets; whoever changes a link waits until it has.
        run("ip link set lo up");
    }
    run("ip netns add pod");
    let pod = Namespace::open(std::path::Path::new("/run/netns/pod")).expect("just made");
    work(&pod, "pod");
    let settled = || {
        let shown = output("ip -details link show") + &output("ip address show");
        let dark = shown.contains("NO-CARRIER")
            && !inside(&pod, || output("ip link show eth0")).contains("state DOWN");
        !dark && !shown.contains("tentative")
    };
    eventually("every link has its carrier", || settled() && inside(&pod, settled));
    let node = state().into_iter().map(|line| format!("node: {line}"));
    let pod = inside(&pod, state).into_iter().map(|line| format!("pod: {line}"));
    node.chain(pod).collect()
}

/// A node of its own, with a /run of its own.
fn on_a_node(work: impl FnOnce() + Send) {
    isolated(|| {
        run("mount --make-rprivate /");
        run("mount -t tmpfs tmpfs /run");
        work();
    });
}

#[track_caller]
fn assert_same(prepare: &[&str], plan: &Checked) {
    let (mut by_wire, mut by_script) = (BTreeSet::new(), BTreeSet::new());
    let text = script::add(plan);
    let wired = |pod: &Namespace, _: &str| announce(&wire(pod, plan).expect("wired"), plan, &[]);
    on_a_node(|| by_wire = after(prepare, wired));
    on_a_node(|| {
        let script = |_: &Namespace, name: &str| {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(text.as_bytes()).expect("written");
            run(&format!("sh -e {} {name}", file.path().display()));
        };
        by_script = after(prepare, script);
    });
    let only = |here: &BTreeSet<String>, there: &BTreeSet<String>| {
        here.difference(there).cloned().collect::<Vec<_>>().join("\n")
    };
    let (wire, script) = (only(&by_wire, &by_script), only(&by_script, &by_wire));
    assert!(by_wire == by_script, "only wire:\n{wire}\nonly the script:\n{script}\n{text}");
}

fn with_bridge(change: impl FnOnce(&mut Bridge)) -> Checked {
    let mut plan = bridged(2, &[V4, V6]);
    change(bridge_of(&mut plan));
    plan
}

#[test]
fn routes_with_everything_are_as_the_script_says() {
    let mut plan = bridged(2, &[V4, V6]);
    let route = |destination: &str, via: Option<&str>| Route {
        mtu: Some(1300),
        metric: Some(7),
        advmss: Some(1240),
        table: Some(70_000),
        ..Route::to(destination.parse().expect("valid"), via.map(|via| via.parse().expect("valid")))
    };
    plan.routes.push(Route { scope: Some(200), ..route("192.0.2.0/24", Some("10.244.1.1")) });
    plan.routes.push(Route { scope: Some(254), table: Some(9), ..route("198.51.100.0/24", None) });
    plan.routes.push(route("2001:db8::/32", Some("fd00:244:1::1")));
    assert_same(&[], &plan);
}

#[test]
fn an_exclusive_promiscuous_bridge_is_as_the_script_says() {
    let prepare = [
        "ip link add cni0 address 0a:58:0a:f4:01:01 type bridge",
        "ip link set cni0 alias podwire up",
        "ip address add 10.244.1.77/24 dev cni0",
        "ip address add 10.244.1.1/24 dev cni0",
        "ip address add 192.0.2.1/24 dev cni0",
        "ip address add fd00:244:1::77/64 dev cni0",
        "ip address add fd00:999::1/64 dev cni0",
    ];
    let exclusive = |bridge: &mut Bridge| (bridge.exclusive, bridge.promiscuous) = (true, true);
    assert_same(&prepare, &with_bridge(exclusive));
    assert_same(&[], &with_bridge(exclusive));
}

#[test]
fn the_operators_bridge_is_as_the_script_says() {
    let prepare = ["ip link add cni0 mtu 1420 address 0a:58:0a:f4:01:01 type bridge"];
    assert_same(&prepare, &with_bridge(|bridge| bridge.operators = true));
}

#[test]
fn an_interface_that_is_left_down_is_as_the_script_says() {
    assert_same(&[], &Checked { interface_down: true, ..bridged(2, &[]) });
}

#[test]
fn duplicate_address_detection_is_as_the_script_says() {
    assert_same(&[], &Checked { duplicate_address_detection: true, ..bridged(2, &[V4, V6]) });
}

#[test]
fn what_the_node_remembers_of_an_address_is_as_the_script_says() {
    let prepare = [
        "ip link add cni0 address 0a:58:0a:f4:01:01 type bridge",
        "ip link set cni0 alias podwire up",
        "ip neighbour add 10.244.1.2 lladdr 02:00:00:00:00:99 dev cni0 nud stale",
        "ip neighbour add fd00:244:1::2 lladdr 02:00:00:00:00:99 dev cni0 nud stale",
    ];
    let plan = Checked { mac: MacAddress([0x02, 0, 0, 0, 0, 2]), ..bridged(2, &[V4, V6]) };
    assert_same(&prepare, &plan);
}

#[test]
fn vlans_are_as_the_script_says() {
    let plan = in_vlans(2, 100, &[(10, 20), (30, 30)]);
    let mut can = false;
    isolated(|| can = kernel_filters_by_vlan());
    if can {
        return assert_same(&[], &plan);
    }
    isolated(|| {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(script::add(&plan).as_bytes()).expect("written");
        let tried = Command::new("sh").arg("-e").arg(file.path()).arg("pod").output().expect("installed");
        assert!(!tried.status.success() && link_named("pw2").is_none(), "nor can the script: {tried:?}");
    });
}
