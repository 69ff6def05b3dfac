use super::*;
use crate::net::Error;

const POD4: &str = "10.244.1.2";
const POD6: &str = "fd00:244:1::2";
const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// A pod of both families, whose port 80 is the node's 8080, by TCP and UDP.
fn mapped(number: u8) -> Checked {
    let mut plan = bridged(number, &["10.244.1.0/24", "fd00:244:1::/64"]);
    plan.traffic.port_mappings = BOTH.map(|protocol| mapping(protocol, None, 8080, 80)).into();
    plan
}

/// The same without neighbours.
fn mapped_and_routed(number: u8) -> Checked {
    let own = [format!("10.244.1.{number}/32"), format!("fd00:244:1::{number}/128")];
    let traffic = mapped(number).traffic;
    Checked { traffic, ..routed(number, &[(&own[0], "169.254.1.1"), (&own[1], "fe80::1")]) }
}

fn here() -> Namespace {
    Namespace::current().expect("current")
}

/// Whom the pod sees when a client asks for a port of one of the node's addresses.
fn seen(protocol: Protocol, client: &Namespace, asked: &str, pod: &Namespace) -> Option<String> {
    let own = if asked.contains(':') { POD6 } else { POD4 };
    let server = (pod, socket_address(own, 80));
    served(protocol, client, socket_address(asked, 8080), server).map(|client| client.to_string())
}

/// A client by each way to a node's port, and as whom the pod sees it.
fn is_served_to(pod: &Namespace, client: &Namespace, seen_as: [(&str, &str); 2]) {
    for (asked, expected) in seen_as {
        for protocol in BOTH {
            assert_eq!(seen(protocol, client, asked, pod).as_deref(), Some(expected), "{protocol:?} {asked}");
        }
    }
}

/// Whether br_netfilter shows frames between a bridge's ports to the rules for packets, as kube-proxy has it.
fn frames_pass_rules_for_packets(pass: bool) {
    let value = u8::from(pass);
    ["iptables", "ip6tables"]
        .iter()
        .for_each(|rules| run(&format!("sysctl -qw net.bridge.bridge-nf-call-{rules}={value}")));
}

#[test]
fn a_port_of_the_node_leads_to_the_pod_for_everyone() {
    isolated(|| {
        frames_pass_rules_for_packets(false);
        let (outside, plan) = (outside(), mapped(2));
        let pod = treated(&plan);
        let neighbour = wired(&bridged(3, &["10.244.1.0/24", "fd00:244:1::/64"]));
        is_served_to(&pod, &outside, [(NODE4, OUTSIDE4), (NODE6, OUTSIDE6)]);
        is_served_to(&pod, &here(), [(NODE4, NODE4), (NODE6, NODE6)]);
        is_served_to(&pod, &here(), [("10.244.1.1", "10.244.1.1"), ("fd00:244:1::1", "fd00:244:1::1")]);
        for client in [&neighbour, &pod] {
            is_served_to(&pod, client, [(NODE4, "10.244.1.1"), (NODE6, "fd00:244:1::1")]);
            is_served_to(&pod, client, [("10.244.1.1", "10.244.1.1"), ("fd00:244:1::1", "fd00:244:1::1")]);
        }
        assert_eq!(differences(&plan), [""; 0]);
    });
}

#[test]
fn a_port_leads_to_a_routed_pod_for_everyone() {
    isolated(|| {
        run("ip link set lo up");
        let (outside, plan) = (outside(), mapped_and_routed(2));
        let pod = treated(&plan);
        rules::serve_loopback(&plan).expect("served");
        let other = wired(&routed(3, &[("10.244.1.3/32", "169.254.1.1"), ("fd00:244:1::3/128", "fe80::1")]));
        is_served_to(&pod, &outside, [(NODE4, OUTSIDE4), (NODE6, OUTSIDE6)]);
        is_served_to(&pod, &other, [(NODE4, "10.244.1.3"), (NODE6, "fd00:244:1::3")]);
        is_served_to(&pod, &here(), [(NODE4, NODE4), (NODE6, NODE6)]);
        for protocol in BOTH {
            for asked in [NODE4, NODE6, "127.0.0.1"] {
                let client = if asked == "127.0.0.1" { &here() } else { &pod };
                assert!(seen(protocol, client, asked, &pod).is_some(), "{protocol:?} {asked}");
            }
        }
    });
}

#[test]
fn so_it_does_where_frames_pass_rules_for_packets() {
    isolated(|| {
        frames_pass_rules_for_packets(true);
        let outside = outside();
        let mut plan = mapped(2);
        // The bridge sends a frame of such a connection back by the port that it came from.
        let Wiring::Bridge { hairpin, .. } = &mut plan.wiring else { panic!("bridged") };
        *hairpin = true;
        let pod = treated(&plan);
        let neighbour = wired(&bridged(3, &["10.244.1.0/24", "fd00:244:1::/64"]));
        is_served_to(&pod, &outside, [(NODE4, OUTSIDE4), (NODE6, OUTSIDE6)]);
        for client in [&neighbour, &pod] {
            is_served_to(&pod, client, [(NODE4, "10.244.1.1"), (NODE6, "fd00:244:1::1")]);
        }
    });
}

#[test]
fn the_nodes_own_processes_reach_it_at_127_0_0_1() {
    isolated(|| {
        let plan = mapped(2);
        run("ip link set lo up");
        let pod = treated(&plan);
        rules::serve_loopback(&plan).expect("served");
        for protocol in BOTH {
            let client = seen(protocol, &here(), "127.0.0.1", &pod);
            assert_eq!(client.as_deref(), Some("10.244.1.1"), "{protocol:?}");
            // The kernel takes no answer to ::1 from a link: whatever listens there is the node's.
            let own = (&here(), socket_address("::1", 8080));
            assert!(served(protocol, &here(), own.1, own).is_some(), "{protocol:?}");
        }
    });
}

#[test]
fn nobody_else_reaches_what_listens_at_127_0_0_1() {
    isolated(|| {
        let plan = mapped(2);
        run("ip link set lo up");
        let pod = treated(&plan);
        rules::serve_loopback(&plan).expect("served");
        let (local, all) = (bound(&here(), "127.0.0.1", 9000), bound(&here(), "10.244.1.1", 9000));
        inside(&pod, || {
            run("ip route add 127.0.0.1 via 10.244.1.1");
            run("sysctl -qw net.ipv4.conf.all.route_localnet=1");
        });
        let sender = bound(&pod, POD4, 0);
        sender.send_to(b"attack", socket_address("127.0.0.1", 9000)).expect("sent");
        sender.send_to(b"hello", socket_address("10.244.1.1", 9000)).expect("sent");
        receive(&all, &mut [0; 8]).expect("what was sent last has arrived");
        local.set_nonblocking(true).expect("set");
        assert!(local.recv_from(&mut [0; 8]).is_err(), "what was sent first has not");
    });
}

#[test]
fn a_port_of_one_address_is_none_of_the_others() {
    isolated(|| {
        let outside = outside();
        run("ip address add 192.168.1.21/24 dev uplink");
        let mut first = bridged(2, &["10.244.1.0/24"]);
        first.traffic.port_mappings = vec![mapping(Protocol::Udp, Some("192.168.1.21"), 8080, 80)];
        let mut second = bridged(3, &["10.244.1.0/24"]);
        second.traffic.port_mappings = vec![mapping(Protocol::Udp, Some("0.0.0.0"), 8080, 80)];
        let pods = [treated(&first), treated(&second)];
        for (asked, pod, own) in [("192.168.1.21", &pods[0], POD4), (NODE4, &pods[1], "10.244.1.3")] {
            let server = (pod, socket_address(own, 80));
            let client = served(Protocol::Udp, &outside, socket_address(asked, 8080), server);
            assert_eq!(client.map(|client| client.to_string()).as_deref(), Some(OUTSIDE4), "{asked}");
        }
        rules::remove(&first).expect("removed");
        assert_eq!((differences(&first).len(), differences(&second).len()), (2, 0));
    });
}

#[test]
fn other_ports_stay_the_nodes() {
    isolated(|| {
        let outside = outside();
        let _pod = treated(&mapped(2));
        for (node, client) in [(NODE4, OUTSIDE4), (NODE6, OUTSIDE6)] {
            let server = (&here(), socket_address(node, 8081));
            assert_eq!(
                served(Protocol::Tcp, &outside, server.1, server).map(|c| c.to_string()).as_deref(),
                Some(client)
            );
        }
    });
}

#[test]
fn a_port_that_another_pod_has_is_refused_and_nothing_is_changed() {
    isolated(|| {
        let first = mapped(2);
        rules::apply(&first).expect("applied");
        let before = ruleset();
        let mut second = mapped(3);
        second.traffic.masquerade = except(&[]);
        rules::apply(&second).expect_err("taken");
        second.traffic.masquerade = None;
        second.traffic.port_mappings.insert(0, mapping(Protocol::Sctp, None, 9, 9));
        let error = rules::apply(&second).expect_err("taken");
        assert!(matches!(error, Error::PortTaken { .. }), "{error:?}");
        let said =
            "tcp port 8080 of the node is taken, and leads to 10.244.1.2:80: give the pod another host port";
        assert!(error.to_string().starts_with(said), "{error}");
        rules::remove(&second).expect("what DEL does");
        assert_eq!(differences(&first), [""; 0]);
        let elements_of = |set: &[serde_json::Value]| {
            set.iter().filter(|o| !o["elem"].is_null()).cloned().collect::<Vec<_>>()
        };
        assert_eq!(elements_of(&ruleset()), elements_of(&before));
        rules::apply(&first).expect("what is so already is success");
    });
}
