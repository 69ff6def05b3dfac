use super::*;

const POD: &str = "10.244.1.2";
const NEXT: &str = "10.244.1.3";

/// A pod whose port 53 is the node's, by UDP.
fn named(number: u8) -> Checked {
    let mut plan = bridged(number, &["10.244.1.0/24"]);
    plan.traffic.masquerade = except(&[]);
    plan.traffic.port_mappings = vec![mapping(Protocol::Udp, None, 5353, 53)];
    plan
}

/// Whether the kernel remembers anything of an address.
fn remembers(address: &str) -> bool {
    let said = std::fs::read_to_string("/proc/thread-self/net/nf_conntrack").expect("readable");
    said.lines().any(|line| line.contains(&format!("={address} ")))
}

/// Whether a client, which keeps its port, is heard by a pod.
fn is_heard(client: &UdpSocket, pod: &Namespace, own: &str) -> bool {
    let listening = bound(pod, own, 53);
    client.send_to(b"ping", socket_address(NODE4, 5353)).expect("sent");
    receive(&listening, &mut [0; 8]).is_ok()
}

/// Pain 15: datagrams that go on coming do not go where the last pod was.
#[test]
fn datagrams_that_go_on_coming_reach_the_next_pod() {
    isolated(|| {
        let outside = outside();
        let client = bound(&outside, OUTSIDE4, 4000);
        let (first, next) = (named(2), named(3));
        let old = treated(&first);
        assert!(is_heard(&client, &old, POD));
        rules::remove(&first).expect("removed");
        let pod = treated(&next);
        assert!(is_heard(&client, &pod, NEXT));
    });
}

#[test]
fn datagrams_that_came_before_the_pod_reach_it() {
    isolated(|| {
        let outside = outside();
        let client = bound(&outside, OUTSIDE4, 4000);
        // That connections are remembered at all.
        let _other = treated(&Checked { traffic: named(4).traffic, ..bridged(4, &["10.244.1.0/24"]) });
        rules::remove(&named(4)).expect("removed");
        client.send_to(b"ping", socket_address(NODE4, 5353)).expect("sent");
        let marker = bound(&Namespace::current().expect("current"), NODE4, 5354);
        client.send_to(b"ping", socket_address(NODE4, 5354)).expect("sent");
        receive(&marker, &mut [0; 8]).expect("what was sent last has arrived");
        let pod = treated(&named(2));
        assert!(is_heard(&client, &pod, POD));
    });
}

/// Pain 14.
#[test]
fn nothing_is_remembered_of_an_address_that_is_given_back() {
    isolated(|| {
        let outside = outside();
        let client = bound(&outside, OUTSIDE4, 4000);
        let (plan, other) = (named(2), bridged(3, &["10.244.1.0/24"]));
        let (pod, neighbour) = (treated(&plan), wired(&other));
        assert!(is_heard(&client, &pod, POD));
        for (pod, own) in [(&pod, POD), (&neighbour, NEXT)] {
            let listening = bound(&outside, OUTSIDE4, 9000);
            bound(pod, own, 0).send_to(b"ping", socket_address(OUTSIDE4, 9000)).expect("sent");
            receive(&listening, &mut [0; 8]).expect("heard");
        }
        for address in [POD, NEXT] {
            assert!(remembers(address), "{address}");
        }
        rules::remove(&plan).expect("removed");
        rules::forget(&[POD.parse().expect("valid"), "fd00::2".parse().expect("valid")]).expect("forgotten");
        assert_eq!([POD, NEXT].map(remembers), [false, true]);
    });
}

#[test]
fn where_nothing_is_remembered_there_is_nothing_to_forget() {
    isolated(|| {
        rules::forget(&[POD.parse().expect("valid")]).expect("nothing to do");
        rules::forget(&[]).expect("nothing to do");
    });
}
