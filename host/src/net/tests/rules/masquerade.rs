use super::*;

const CLUSTER: [&str; 2] = ["10.244.0.0/16", "fd00:244::/32"];

fn masqueraded(number: u8, blocks: &[&str]) -> Checked {
    let mut plan = bridged(number, &["10.244.1.0/24", "fd00:244:1::/64"]);
    plan.traffic.masquerade = except(blocks);
    plan
}

/// Who is seen by a machine outside to send from a pod's address.
fn seen(pod: &Namespace, own: &str, outside: &Namespace, target: &str) -> IpAddr {
    let receiver = bound(outside, target, 0);
    let port = receiver.local_addr().expect("bound").port();
    bound(pod, own, 0).send_to(b"ping", socket_address(target, port)).expect("a route");
    receive(&receiver, &mut [0; 8]).expect("heard").1.ip()
}

#[test]
fn masqueraded_pods_are_seen_as_the_node_but_within_the_blocks() {
    isolated(|| {
        let outside = outside();
        inside(&outside, || give_addresses("eth0", ["10.244.9.9", "fd00:244:9::9"]));
        for route in ["10.244.9.0/24 via 192.168.1.12", "fd00:244:9::/64 via fd00:192::12"] {
            run(&format!("ip route add {route}"));
        }
        let pod = treated(&masqueraded(2, &CLUSTER));
        let plain = wired(&bridged(3, &["10.244.1.0/24", "fd00:244:1::/64"]));
        for (own, neighbour, target, node, within) in [
            ("10.244.1.2", "10.244.1.3", OUTSIDE4, NODE4, "10.244.9.9"),
            ("fd00:244:1::2", "fd00:244:1::3", OUTSIDE6, NODE6, "fd00:244:9::9"),
        ] {
            assert_eq!(seen(&pod, own, &outside, target).to_string(), node);
            assert_eq!(seen(&pod, own, &outside, within).to_string(), own);
            assert_eq!(seen(&plain, neighbour, &outside, target).to_string(), neighbour, "not asked for");
        }
    });
}

#[test]
fn a_masqueraded_pod_is_answered() {
    isolated(|| {
        let outside = outside();
        let pod = treated(&masqueraded(2, &CLUSTER));
        for (target, node) in [(OUTSIDE4, NODE4), (OUTSIDE6, NODE6)] {
            let server = (&outside, socket_address(target, 8080));
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let client = served(protocol, &pod, server.1, server).expect("answered");
                assert_eq!(client.to_string(), node);
            }
        }
    });
}

#[test]
fn blocks_of_one_network_are_none_of_anothers() {
    isolated(|| {
        let outside = outside();
        let narrow = treated(&masqueraded(2, &["10.244.0.0/16"]));
        let wide = treated(&masqueraded(3, &["10.0.0.0/8", "10.244.0.0/16", "192.168.1.0/24"]));
        assert_eq!(seen(&narrow, "10.244.1.2", &outside, OUTSIDE4).to_string(), NODE4);
        assert_eq!(seen(&wide, "10.244.1.3", &outside, OUTSIDE4).to_string(), "10.244.1.3");
    });
}

#[test]
fn others_masquerade_goes_on() {
    isolated(|| {
        let outside = outside();
        run("nft add table ip nat");
        run("nft add chain ip nat POSTROUTING { type nat hook postrouting priority srcnat; }");
        run("nft add rule ip nat POSTROUTING ip saddr 10.244.1.3 masquerade");
        let before = output("nft list table ip nat");
        let plan = masqueraded(2, &CLUSTER);
        let (ours, theirs) = (treated(&plan), wired(&bridged(3, &["10.244.1.0/24"])));
        for (pod, own) in [(&ours, "10.244.1.2"), (&theirs, "10.244.1.3")] {
            assert_eq!(seen(pod, own, &outside, OUTSIDE4).to_string(), NODE4);
        }
        rules::remove(&plan).expect("removed");
        rules::remove_all().expect("removed");
        assert_eq!(output("nft list table ip nat"), before);
    });
}
