//! `podwire doctor`: it says what would keep pods from each other, and the command that it names mends it.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use podwire_tests::command::{Podwire, program};
use podwire_tests::kernel::{ip, json, uplink};
use podwire_tests::{Network, Node, Plugin};
use serde_json::{Value, json};

const PLUGINS: &str = "/run/cni-bin";
const NETWORKS: &str = "/run/net.d";

/// A node of which nothing is wrong.
struct Bench {
    node: Node,
    podwire: Podwire,
}

impl Bench {
    fn new() -> Option<Self> {
        let node = Node::enter()?;
        uplink("192.168.1.11/24");
        let bench = Self { podwire: Podwire::on(&node), node };
        bench.configure(&json!({}));
        bench.podwire.configure("peers.json", &json!({ "peers": [peer(2), peer(3)] }));
        bench.podwire.run(&["node", "up"]).done();
        Plugin::under_test(&bench.node).folder_with_its_name();
        write(&format!("{PLUGINS}/loopback"), "");
        let network = json!({ "cniVersion": "1.1.0", "name": "pods", "plugins": [{ "type": "podwire" }] });
        write(&format!("{NETWORKS}/10-podwire.conflist"), &network.to_string());
        Some(bench)
    }

    /// Writes node.json, with these keys more or otherwise.
    fn configure(&self, more: &Value) {
        let mut settings = json!({
            "name": "node-1", "addresses": ["192.168.1.11"],
            "pools": ["10.244.1.0/24"], "cluster": ["10.244.0.0/16"],
        });
        let more = more.as_object().expect("an object").clone();
        settings.as_object_mut().expect("an object").extend(more);
        self.podwire.configure("node.json", &settings);
    }

    /// What is found, as JSON, after a look at the exit status.
    fn examine(&self) -> Vec<Value> {
        let printed =
            self.podwire.run(&["doctor", "--json", "--cni-bin-dir", PLUGINS, "--cni-conf-dir", NETWORKS]);
        let report: Value =
            serde_json::from_str(&printed.stdout).unwrap_or_else(|e| panic!("{e}: {printed}"));
        let wrong = report["verdict"] == "wrong";
        assert_eq!((printed.exit, printed.stderr.as_str()), (Some(i32::from(wrong)), ""), "{printed}");
        report["checks"].as_array().expect("a list").clone()
    }

    /// What is found that is not as it should be.
    fn problems(&self) -> Vec<Value> {
        let mut found = self.examine();
        found.retain(|finding| finding["verdict"] == "wrong" || finding["verdict"] == "warning");
        found
    }

    /// One thing is found wrong, and what is said to mend it does.
    #[track_caller]
    fn assert_mended(&self, check: &str, verdict: &str, words: &str) {
        let problems = self.problems();
        let [problem] = problems.as_slice() else { panic!("{problems:#?}") };
        assert_eq!((&problem["check"], &problem["verdict"]), (&json!(check), &json!(verdict)), "{problem}");
        let found = problem["found"].as_str().expect("a sentence");
        assert!(found.contains(words), "{found}");
        let commands = problem["commands"].as_array().expect("something mends it");
        commands.iter().for_each(|command| self.sh(command.as_str().expect("a command")));
        assert_eq!(self.problems(), [json!(null); 0]);
    }

    /// Has firewalls see what bridges carry, or not; whether the kernel can.
    fn bridged(&self, on: bool) -> bool {
        let switches = Path::new("/proc/sys/net/bridge");
        let value = u8::from(on);
        for tables in ["iptables", "ip6tables", "arptables"].iter().filter(|_| switches.exists()) {
            self.sh(&format!("sysctl -w net.bridge.bridge-nf-call-{tables}={value}"));
        }
        switches.exists()
    }

    #[track_caller]
    fn sh(&self, command: &str) {
        let here = program().parent().expect("a folder").display().to_string();
        let path = format!("{here}:/usr/sbin:/usr/bin:/sbin:/bin");
        let mut shell = Command::new("sh");
        let shell = shell.args(["-ec", command]).env("PATH", path).env("PODWIRE_ROOT", self.podwire.root());
        let output = shell.output().expect("there is a shell");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Not by `eprintln!`, whose output the test framework hides when a test passes.
fn skip(reason: &str) {
    writeln!(std::io::stderr(), "doctor: skipped, because {reason}").expect("standard error is open");
}

fn peer(n: u8) -> Value {
    json!({ "name": format!("node-{n}"), "addresses": [format!("192.168.1.1{n}")], "pools": [format!("10.244.{n}.0/24")] })
}

fn write(path: &str, text: &str) {
    let path = Path::new(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("/run is the test's own");
    let written = File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.expect("/run is the test's own");
}

/// The end of tunnels, as the agent makes it.
fn add_tunnel() {
    ip(
        "link add pwvxlan group 1886873970 mtu 1450 type vxlan id 1 dstport 4789 local 192.168.1.11 nolearning",
    );
    ip("link set dev pwvxlan up");
    ip("link set dev cni0 mtu 1450");
}

#[test]
fn a_sound_node_is_called_so_and_left_alone() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.node.snapshot();
    assert_eq!(bench.problems(), [json!(null); 0]);
    let said = bench.podwire.run(&["doctor", "--cni-bin-dir", PLUGINS, "--cni-conf-dir", NETWORKS]).done();
    assert!(said.contains("ok       forwarding: net.ipv4.ip_forward on\n"), "{said}");
    before.assert_unchanged();
}

#[test]
fn switches_of_the_kernel() {
    let Some(bench) = Bench::new() else { return };
    bench.sh("sysctl -w net.ipv4.ip_forward=0");
    bench.assert_mended("forwarding", "wrong", "net.ipv4.ip_forward is off");

    add_tunnel();
    bench.sh("sysctl -w net.ipv4.conf.all.rp_filter=1");
    bench.assert_mended("reverse-path filter", "wrong", "strict on pwvxlan");
    ip("link set dev pwvxlan down");
    bench.assert_mended("tunnels", "wrong", "pwvxlan is down");

    bench.configure(
        &json!({ "pools": ["10.244.1.0/24", "fd00:1::/64"], "cluster": ["10.244.0.0/16", "fd00::/16"] }),
    );
    bench.sh("sysctl -w net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.disable_ipv6=1");
    bench.assert_mended("IPv6", "wrong", "net.ipv6.conf.default.disable_ipv6 is 1");
}

#[test]
fn chains_that_drop_and_rules_that_refuse() {
    let Some(bench) = Bench::new() else { return };
    // Else each is told twice, once for pods on one bridge.
    bench.bridged(false);
    bench.sh("iptables -P FORWARD DROP; iptables -A FORWARD -j DROP");
    bench.assert_mended("firewall", "wrong", "nftables chain ip filter FORWARD drops");
    bench.sh("iptables -F; iptables -P FORWARD ACCEPT; iptables -A FORWARD -i wire -j ACCEPT; iptables -A FORWARD -j REJECT");
    bench.assert_mended("firewall", "wrong", "a rule of nftables chain ip filter FORWARD drops");
    bench.sh("iptables -F; iptables -A FORWARD -i lo -j REJECT");
    assert_eq!(bench.problems(), [json!(null); 0]);

    add_tunnel();
    bench.sh("nft 'add table inet guard; add chain inet guard in { type filter hook input priority 0; policy drop; }'");
    bench.sh("nft add rule inet guard in udp dport 4790 accept");
    bench.assert_mended(
        "tunnels",
        "wrong",
        "inet guard in drops what no rule accepts, datagrams to UDP port 4789",
    );
    bench.sh("iptables -A INPUT -p tcp --dport 22 -j ACCEPT; iptables -A INPUT -j DROP");
    bench.assert_mended("tunnels", "wrong", "ip filter INPUT drops");
}

#[test]
fn what_bridges_carry_passes_a_firewall_too() {
    let Some(bench) = Bench::new() else { return };
    if !bench.bridged(true) {
        return skip("this kernel has no br_netfilter");
    }
    bench.sh("iptables -P FORWARD DROP");
    let problems = bench.problems();
    let checks: Vec<&Value> = problems.iter().map(|problem| &problem["check"]).collect();
    assert_eq!(checks, ["firewall", "bridge-nf-call"]);
    bench.sh(problems[1]["commands"][0].as_str().expect("a command"));
    assert_eq!(bench.problems(), [json!(null); 0]);
}

#[test]
fn blocks_that_are_meant_for_two_things() {
    let Some(bench) = Bench::new() else { return };
    ip("link add docker0 type bridge");
    ip("address add 10.244.7.1/24 dev docker0");
    bench.assert_mended("addresses", "wrong", "docker0 has 10.244.7.1/24");
    ip("route add 10.244.9.0/24 via 192.168.1.99 metric 7");
    bench.assert_mended("routes", "wrong", "route 10.244.9.0/24 via 192.168.1.99");
    ip("address add 10.244.1.9/24 dev docker0");
    bench.assert_mended("addresses", "warning", "docker0, which podwire did not make, has 10.244.1.9/24");

    let twice = json!({ "name": "node-9", "addresses": ["192.168.1.19"], "pools": ["10.244.2.0/25"] });
    bench.podwire.configure("peers.json", &json!({ "peers": [peer(2), twice] }));
    let problems = bench.problems();
    assert_eq!((problems.len(), &problems[0]["check"]), (1, &json!("pools")), "{problems:#?}");
    let found = "10.244.2.0/25 of node-9 overlaps 10.244.2.0/24 of node-2";
    assert!(problems[0]["found"].as_str().is_some_and(|it| it.starts_with(found)), "{problems:#?}");
    bench.podwire.configure("peers.json", &json!({ "peers": [peer(2)] }));
    assert_eq!(bench.problems(), [json!(null); 0]);
}

#[test]
fn packets_that_are_too_large_on_their_way() {
    let Some(bench) = Bench::new() else { return };
    let pod = bench.node.pod("pod");
    Plugin::under_test(&bench.node).add(&Network::new("1.0.0", &["10.244.1.0/24"]), &pod).result();
    add_tunnel();
    ip("link set dev pwvxlan mtu 1480");
    ip("link set dev cni0 mtu 1500");
    let problems = bench.problems();
    let found: Vec<&str> = problems.iter().map(|problem| problem["found"].as_str().expect("text")).collect();
    let beginnings =
        ["pwvxlan takes 1480 bytes", "bridge cni0 has 1500 bytes", "1 pod on cni0 may send more"];
    assert!(
        found.len() == 3 && found.iter().zip(beginnings).all(|(found, it)| found.starts_with(it)),
        "{found:#?}"
    );
    bench.sh(problems[0]["commands"][0].as_str().expect("a command"));
    // Now that it is known what the tunnel carries.
    bench.sh(bench.problems()[0]["commands"][0].as_str().expect("a command"));
    let mtu = |name: &str| json(&format!("link show {name}"))[0]["mtu"].clone();
    assert_eq!((mtu("pwvxlan"), mtu("cni0")), (json!(1450), json!(1450)));
    Plugin::under_test(&bench.node).del(&Network::new("1.0.0", &["10.244.1.0/24"]), &pod).done();
    assert_eq!(bench.problems(), [json!(null); 0]);
}

#[test]
fn folders_and_what_lies_there() {
    let Some(bench) = Bench::new() else { return };
    let etc = bench.podwire.root().join("etc");
    fs::set_permissions(&etc, Permissions::from_mode(0o777)).expect("the folder is the test's own");
    bench.assert_mended("folders", "wrong", "can be written by others (mode 777)");
    std::os::unix::fs::chown(&etc, Some(12345), None).expect("the test is root");
    bench.assert_mended("folders", "wrong", "belongs to user 12345");
    fs::remove_dir_all(bench.podwire.root().join("lib")).expect("the folder is the test's own");
    bench.assert_mended("policy", "warning", "is not compiled for this podwire yet");

    for (file, words) in [("node.json", "EOF"), ("peers.json", "EOF"), ("agent.json", "EOF")] {
        let before = fs::read_to_string(etc.join(file)).ok();
        bench.podwire.write(file, "{");
        let problems = bench.problems();
        let told = problems.iter().any(|it| {
            let found = it["found"].as_str().expect("text");
            it["check"] == "settings" && found.contains(file) && found.contains(words)
        });
        assert!(told, "{problems:#?}");
        match before {
            Some(before) => bench.podwire.write(file, &before),
            None => fs::remove_file(etc.join(file)).expect("it was written"),
        }
    }
    assert_eq!(bench.problems(), [json!(null); 0]);
}

#[test]
fn what_runtimes_find() {
    let Some(bench) = Bench::new() else { return };
    write(
        &format!("{NETWORKS}/05-flannel.conflist"),
        r#"{"name": "cbr0", "plugins": [{"type": "flannel"}]}"#,
    );
    bench.assert_mended("networks", "wrong", "05-flannel.conflist (plugins flannel) before");
    write(&format!("{NETWORKS}/99-broken.conflist"), "{");
    bench.assert_mended("networks", "wrong", "99-broken.conflist cannot be used: it is no JSON");
    let network = json!({ "cniVersion": "1.1.0", "name": "pods", "plugins": [{ "type": "podwire" }] });
    write(&format!("{NETWORKS}/20-podwire.conflist"), &network.to_string());
    bench.assert_mended("networks", "wrong", "are both network pods");
    fs::rename(format!("{NETWORKS}/10-podwire.conflist"), format!("{NETWORKS}/10-podwire.off"))
        .expect("it is there");
    assert_eq!(bench.problems()[0]["check"], "networks");
    fs::rename(format!("{NETWORKS}/10-podwire.off"), format!("{NETWORKS}/10-podwire.conflist"))
        .expect("it is there");

    let plugin = format!("{PLUGINS}/podwire");
    let with = |script: &str, verdict: &str, words: &str| {
        fs::remove_file(&plugin).expect("it is there");
        write(&plugin, script);
        fs::set_permissions(&plugin, Permissions::from_mode(0o755)).expect("it is there");
        let problems = bench.problems();
        assert_eq!((problems.len(), &problems[0]["verdict"]), (1, &json!(verdict)), "{problems:#?}");
        assert!(problems[0]["found"].as_str().is_some_and(|found| found.contains(words)), "{problems:#?}");
        assert!(problems[0]["commands"][0].as_str().is_some_and(|it| it.ends_with("podwire install")));
    };
    with(
        "#!/bin/sh\necho '{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"1.0.0\"]}'\n",
        "warning",
        "different releases",
    );
    with("#!/bin/sh\nexec sleep 1000\n", "wrong", "no answer to VERSION within 5 s");
    with("#!/bin/sh\nexit 1\n", "wrong", "does not answer VERSION");
    fs::set_permissions(&plugin, Permissions::from_mode(0o777)).expect("it is there");
    assert!(bench.problems()[0]["found"].as_str().is_some_and(|found| found.contains("written by others")));
}

#[test]
fn managers_of_networks() {
    let Some(bench) = Bench::new() else { return };
    // What they are told goes where nobody reads it.
    bench.node.cover("/etc");
    for (state, words) in
        [("/run/systemd/netif", "systemd-networkd runs"), ("/run/NetworkManager", "NetworkManager runs")]
    {
        fs::create_dir_all(state).expect("/run is the test's own");
        let problems = bench.problems();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0]["found"].as_str().is_some_and(|found| found.starts_with(words)), "{problems:#?}");
        // The second one has the manager read it.
        bench.sh(problems[0]["commands"][0].as_str().expect("a command"));
        assert_eq!(bench.problems(), [json!(null); 0]);
    }
}
