use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::super::examine;
use super::super::facts::{
    Answer, Directory, Facts, Folder, Kind, Manager, NetworkFile, Policy, Settings, Switches,
};
use super::super::finding::{Finding, Verdict};
use crate::cni::Version;
use crate::net::firewall::Finding as Obstacle;
use crate::net::route::{Found, Hop};
use crate::net::survey::{Interface, Survey, Tunnels};
use crate::plan::marks::PROTOCOL;
use crate::plan::{Peer, Role};

/// Of the node of [`sound`].
const UPLINK: u32 = 2;
const BRIDGE: u32 = 3;
const TUNNEL: u32 = 4;

fn interface(index: u32, name: &str, addresses: &[&str]) -> Interface {
    let addresses = addresses.iter().map(|prefix| prefix.parse().expect("a prefix")).collect();
    Interface { index, name: name.to_owned(), mtu: 1500, up: true, addresses, ..Interface::default() }
}

fn ours(interface: Interface, kind: &str) -> Interface {
    Interface { ours: true, kind: Some(kind.to_owned()), ..interface }
}

/// A node of which no check has anything to say.
fn sound() -> Facts {
    let tunnel = ours(interface(TUNNEL, "pwvxlan", &[]), "vxlan");
    let tunnel = Interface { vxlan: Some(Tunnels { id: 1, port: 4789 }), mtu: 1450, ..tunnel };
    let bridge = Interface {
        mtu: 1450,
        ..ours(interface(BRIDGE, "cni0", &["10.244.1.1/24", "fd00:1::1/64"]), "bridge")
    };
    Facts {
        podwire: "podwire".to_owned(),
        settings: Settings {
            name: "node-1".to_owned(),
            addresses: vec!["192.168.1.11".parse().expect("an address")],
            pools: blocks(&["10.244.1.0/24", "fd00:1::/64"]),
            cluster: blocks(&["10.244.0.0/16", "fd00::/16"]),
            peers: vec![peer("node-2", &["10.244.2.0/24"]), peer("node-3", &["10.244.3.0/24"])],
            sound: vec![PathBuf::from("/etc/podwire/node.json")],
            ..Settings::default()
        },
        policy: Policy { name: "default".to_owned(), problem: None, compiled: true },
        survey: Survey {
            interfaces: vec![interface(UPLINK, "eth0", &["192.168.1.11/24"]), bridge, tunnel],
            routes: vec![route("10.244.2.0/24", PROTOCOL), route("0.0.0.0/0", 3)],
        },
        switches: Switches(switches()),
        directories: vec![Directory {
            path: PathBuf::from("/run/podwire"),
            exists: true,
            distrusted: None,
            in_memory: true,
            volatile: true,
        }],
        folders: vec![Folder {
            path: PathBuf::from("/opt/cni/bin"),
            podwire: Answer::Versions(Version::ALL.map(|version| version.as_str().to_owned()).into()),
            has_loopback: true,
        }],
        networks: PathBuf::from("/etc/cni/net.d"),
        network_files: vec![network("10-podwire.conflist", "pods")],
        ..Facts::default()
    }
}

fn switches() -> BTreeMap<String, String> {
    let all = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv6.conf.all.forwarding", "1"),
        ("net.ipv6.conf.all.disable_ipv6", "0"),
        ("net.ipv6.conf.default.disable_ipv6", "0"),
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.netfilter.nf_conntrack_count", "100"),
        ("net.netfilter.nf_conntrack_max", "1000"),
        ("net.ipv4.neigh.default.gc_thresh3", "1024"),
        ("net.ipv6.neigh.default.gc_thresh3", "1024"),
    ];
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn blocks(blocks: &[&str]) -> Vec<ipnet::IpNet> {
    blocks.iter().map(|block| block.parse().expect("a block")).collect()
}

fn peer(name: &str, pools: &[&str]) -> Peer {
    Peer { name: name.to_owned(), role: Role::Host, addresses: Vec::new(), pools: blocks(pools) }
}

fn route(destination: &str, protocol: u8) -> Found {
    let hop = Hop::Via {
        gateway: "192.168.1.12".parse().expect("an address"),
        interface: Some(UPLINK),
        onlink: false,
    };
    let destination = destination.parse().expect("a block");
    Found {
        destination,
        hop: Some(hop),
        metric: 0,
        protocol,
        mtu: None,
        advmss: None,
        table: 254,
        scope: 0,
        source: None,
    }
}

fn network(file: &str, name: &str) -> NetworkFile {
    NetworkFile {
        path: PathBuf::from("/etc/cni/net.d").join(file),
        problem: None,
        name: name.to_owned(),
        plugins: vec!["podwire".to_owned()],
        pools: json!(["10.244.1.0/24"]),
        single: file.ends_with(".conf"),
    }
}

/// What is found wrong, or warned of, when one thing of a sound node is otherwise.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = sound();
    change(&mut facts);
    examine(&facts).into_iter().filter(|finding| finding.verdict >= Verdict::Warning).collect()
}

/// The same where it is one thing: its check, verdict and first command.
#[track_caller]
fn only(change: impl FnOnce(&mut Facts)) -> (&'static str, Verdict, String) {
    let found = found(change);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    (finding.check, finding.verdict, finding.commands.first().cloned().unwrap_or_default())
}

fn set(facts: &mut Facts, name: &str, value: &str) {
    facts.switches.0.insert(name.to_owned(), value.to_owned());
}

#[test]
fn a_sound_node_is_called_so() {
    assert_eq!(found(|_| ()), []);
    assert_eq!(examine(&sound()).len(), super::ALL.len());
}

#[test]
fn forwarding_is_asked_for_the_families_of_the_pods() {
    let off = |facts: &mut Facts| set(facts, "net.ipv6.conf.all.forwarding", "0");
    let command = "sysctl -w net.ipv6.conf.all.forwarding=1".to_owned();
    assert_eq!(only(off), ("forwarding", Verdict::Wrong, command));
    let without_ipv6 = |facts: &mut Facts| {
        off(facts);
        set(facts, "net.ipv6.conf.all.disable_ipv6", "1");
        facts.settings.cluster.pop();
    };
    assert_eq!(found(without_ipv6), []);
    let disabled = only(|facts| set(facts, "net.ipv6.conf.all.disable_ipv6", "1"));
    assert_eq!(disabled, ("IPv6", Verdict::Wrong, "sysctl -w net.ipv6.conf.all.disable_ipv6=0".to_owned()));
}

#[test]
fn the_greater_value_of_a_filter_counts() {
    let strict = |facts: &mut Facts| set(facts, "net.ipv4.conf.all.rp_filter", "1");
    let command = "sysctl -w net/ipv4/conf/pwvxlan/rp_filter=2".to_owned();
    assert_eq!(only(strict), ("reverse-path filter", Verdict::Wrong, command));
    let loose = |facts: &mut Facts| {
        strict(facts);
        set(facts, "net/ipv4/conf/pwvxlan/rp_filter", "2");
    };
    assert_eq!(found(loose), []);
    let second = |facts: &mut Facts| {
        loose(facts);
        facts.settings.addresses.push("192.168.2.11".parse().expect("an address"));
        facts.survey.interfaces.push(interface(9, "eth1.7", &["192.168.2.11/24"]));
        set(facts, "net/ipv4/conf/eth0/rp_filter", "2");
    };
    let command = "sysctl -w net/ipv4/conf/eth1.7/rp_filter=2".to_owned();
    assert_eq!(only(second), ("reverse-path filter", Verdict::Warning, command));
}

#[test]
fn a_firewall_that_sees_bridged_frames_is_told_twice() {
    let dropping = |facts: &mut Facts| {
        let remedy = Some("iptables -I FORWARD -s 10.244.0.0/16 -j ACCEPT".to_owned());
        facts.dropped.push(Obstacle { problem: "a chain drops".to_owned(), remedy });
    };
    assert_eq!(only(dropping).0, "firewall");
    let bridged = found(|facts| {
        dropping(facts);
        set(facts, "net.bridge.bridge-nf-call-iptables", "1");
    });
    assert_eq!(
        bridged.iter().map(|finding| finding.check).collect::<Vec<_>>(),
        ["firewall", "bridge-nf-call"]
    );
    assert_eq!(bridged[0].commands, bridged[1].commands);
    assert_eq!(found(|facts| set(facts, "net.bridge.bridge-nf-call-iptables", "1")), []);
}

#[test]
fn tunnels_need_their_port_and_a_device_that_is_up() {
    let port = |port| {
        move |facts: &mut Facts| {
            facts.taken_ports.push(port);
            facts.survey.interfaces[2].up = false;
        }
    };
    assert_eq!(only(port(4789)), ("tunnels", Verdict::Wrong, String::new()));
    assert_eq!(only(port(4790)).2, "ip link set dev pwvxlan up");
    assert_eq!(found(|facts| facts.taken_ports.push(4789)), []);
    let down = only(|facts| facts.survey.interfaces[2].up = false);
    assert_eq!(down, ("tunnels", Verdict::Wrong, "ip link set dev pwvxlan up".to_owned()));
    let obstacle = Obstacle { problem: "closed".to_owned(), remedy: Some("open".to_owned()) };
    assert_eq!(only(|facts| facts.closed.push(obstacle)), ("tunnels", Verdict::Wrong, "open".to_owned()));
}

#[test]
fn nothing_may_be_wider_than_what_carries_it() {
    let tunnel = only(|facts| facts.survey.interfaces[2].mtu = 1451);
    assert_eq!(tunnel, ("MTU", Verdict::Wrong, "ip link set dev pwvxlan mtu 1450".to_owned()));
    let bridge = only(|facts| facts.survey.interfaces[1].mtu = 1500);
    assert_eq!(bridge, ("MTU", Verdict::Warning, "ip link set dev cni0 mtu 1450".to_owned()));
    let pod = |mtu| {
        move |facts: &mut Facts| {
            let pod = ours(interface(7, "veth7", &[]), "veth");
            facts.survey.interfaces.push(Interface { mtu, master: Some(BRIDGE), ..pod });
        }
    };
    assert_eq!(only(pod(1500)), ("MTU", Verdict::Warning, String::new()));
    assert_eq!(found(pod(1450)), []);
}

#[test]
fn blocks_belong_to_one_node() {
    let peers =
        |pools: &'static [&str]| move |facts: &mut Facts| facts.settings.peers.push(peer("node-9", pools));
    for (pools, overlaps) in [
        (["10.244.3.0/24"].as_slice(), 1),
        (&["10.244.2.128/25"], 1),
        (&["10.244.0.0/22"], 3),
        (&["10.244.4.0/24"], 0),
        (&["fd00:1::/64"], 1),
    ] {
        let found = found(peers(pools));
        assert_eq!(found.len(), overlaps, "{found:?}");
        assert!(found.iter().all(|finding| finding.check == "pools" && finding.verdict == Verdict::Wrong));
    }
}

#[test]
fn addresses_and_routes_of_others_stay_out_of_the_cluster() {
    let docker = |prefix: &'static str| {
        move |facts: &mut Facts| {
            let docker = interface(8, "docker0", &[prefix]);
            facts.survey.interfaces.push(Interface { kind: Some("bridge".to_owned()), ..docker });
        }
    };
    assert_eq!(found(docker("172.17.0.1/16")), []);
    let (check, verdict, command) = only(docker("10.244.7.1/24"));
    assert_eq!((check, verdict), ("addresses", Verdict::Wrong));
    assert_eq!(command, "ip address del 10.244.7.1/24 dev docker0");
    assert_eq!(only(docker("10.0.0.1/8")).1, Verdict::Wrong);
    assert_eq!(only(docker("10.244.1.1/24")).1, Verdict::Warning);

    let routed = |destination: &'static str, protocol| {
        move |facts: &mut Facts| facts.survey.routes.push(route(destination, protocol))
    };
    let (check, verdict, command) = only(routed("10.244.7.0/24", 4));
    assert_eq!(
        (check, verdict, command.as_str()),
        ("routes", Verdict::Wrong, "ip route del 10.244.7.0/24 metric 0")
    );
    assert_eq!(only(routed("fd00:7::/64", 4)).2, "ip -6 route del fd00:7::/64 metric 0");
    for (destination, protocol) in [("10.244.7.0/24", PROTOCOL), ("10.0.0.0/8", 4), ("192.168.7.0/24", 4)] {
        assert_eq!(found(routed(destination, protocol)), []);
    }
}

#[test]
fn tables_are_judged_before_they_are_full() {
    let connections =
        |count: &'static str| move |facts: &mut Facts| set(facts, "net.netfilter.nf_conntrack_count", count);
    let more = "sysctl -w net.netfilter.nf_conntrack_max=2000".to_owned();
    assert_eq!(found(connections("749")), []);
    assert_eq!(only(connections("750")), ("connections", Verdict::Warning, more.clone()));
    assert_eq!(only(connections("900")), ("connections", Verdict::Wrong, more));
    let neighbours = |peers: usize| {
        move |facts: &mut Facts| {
            facts.settings.cluster.pop();
            facts.settings.peers = vec![peer("many", &[]); peers];
        }
    };
    assert_eq!(found(neighbours(512)), []);
    let more = |most: u32| format!("sysctl -w net.ipv4.neigh.default.gc_thresh3={most}");
    assert_eq!(only(neighbours(513)), ("neighbours", Verdict::Warning, more(4096)));
    assert_eq!(only(neighbours(1025)), ("neighbours", Verdict::Wrong, more(8192)));
}

#[test]
fn what_is_not_trusted_or_cannot_be_used_is_told() {
    assert_eq!(only(|facts| facts.directories[0].in_memory = false).1, Verdict::Warning);
    assert_eq!(
        found(|facts| (facts.directories[0].in_memory, facts.directories[0].volatile) = (false, false)),
        []
    );
    assert_eq!(only(|facts| facts.settings.problems.push("no".to_owned())).0, "settings");
    assert_eq!(only(|facts| facts.settings.sound.clear()), ("settings", Verdict::Warning, String::new()));
    assert_eq!(only(|facts| facts.policy.compiled = false).2, "podwire node plan >/dev/null");
    assert_eq!(only(|facts| facts.policy.problem = Some("no".to_owned())).1, Verdict::Wrong);
}

#[test]
fn the_plugin_is_there_and_of_this_release() {
    let answer = |answer: Answer| move |facts: &mut Facts| facts.folders[0].podwire = answer;
    let install = "podwire install".to_owned();
    assert_eq!(only(answer(Answer::Absent)), ("plugin", Verdict::Wrong, install.clone()));
    assert_eq!(only(answer(Answer::Unusable("no".to_owned()))), ("plugin", Verdict::Wrong, install.clone()));
    assert_eq!(
        only(answer(Answer::Versions(vec!["1.0.0".to_owned()]))),
        ("plugin", Verdict::Warning, install)
    );
    assert_eq!(only(|facts| facts.folders[0].has_loopback = false).0, "loopback");
}

#[test]
fn the_first_network_wins() {
    let before = |file: NetworkFile| move |facts: &mut Facts| facts.network_files.insert(0, file);
    let after = |file: NetworkFile| move |facts: &mut Facts| facts.network_files.push(file);
    let flannel = |file: &str| NetworkFile { plugins: vec!["flannel".to_owned()], ..network(file, "cbr0") };
    let (check, verdict, command) = only(before(flannel("05-flannel.conflist")));
    assert_eq!((check, verdict), ("networks", Verdict::Wrong));
    assert_eq!(command, "mv /etc/cni/net.d/05-flannel.conflist /etc/cni/net.d/05-flannel.conflist.disabled");
    assert_eq!(found(after(flannel("90-flannel.conflist"))), []);

    let broken = NetworkFile { problem: Some("it is no JSON".to_owned()), ..network("05 a.conf", "") };
    let command = only(before(broken)).2;
    assert_eq!(command, "mv '/etc/cni/net.d/05 a.conf' '/etc/cni/net.d/05 a.conf'.disabled");
    assert_eq!(only(|facts| facts.network_files.clear()).2, "podwire install");
    assert_eq!(only(before(network("05-podwire.conf", "others"))).1, Verdict::Warning);
    assert_eq!(only(after(network("20-podwire.conflist", "pods"))).1, Verdict::Wrong);
    let elsewhere = NetworkFile { pools: json!(["10.9.0.0/24"]), ..network("20-podwire.conflist", "others") };
    assert_eq!(only(after(elsewhere)).1, Verdict::Warning);
}

#[test]
fn managers_are_to_leave_podwires_alone() {
    let manager =
        |kind, restrained| move |facts: &mut Facts| facts.managers.push(Manager { kind, restrained });
    for kind in [Kind::Networkd, Kind::NetworkManager] {
        let (check, verdict, command) = only(manager(kind, false));
        assert_eq!((check, verdict), ("network managers", Verdict::Warning));
        assert!(command.contains("podwire.conf"), "{command}");
        assert_eq!(found(manager(kind, true)), []);
    }
}
