//! Masquerade, port mappings and limits: Debian's three plugins in a list, and podwire alone. The same assertions.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use podwire_tests::{Chain, Namespace, Node, Pod, kernel};
use serde_json::{Value, json};

use crate::{VERSION, address, with_each};

/// The node's address towards the outside, and that of somebody there.
const NODE: &str = "192.0.2.1";
const OUTSIDE: &str = "192.0.2.9";

/// Long enough for a first packet that is lost.
const PATIENCE: Duration = Duration::from_secs(5);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Somebody outside of the node, whose way back to pods is the node's own address alone.
fn outside(node: &Node) -> Pod {
    let outside = node.pod("outside");
    kernel::ip(&format!("link add up0 type veth peer name up1 netns {}", "outside"));
    kernel::ip(&format!("address add {NODE}/24 dev up0"));
    kernel::ip("link set up0 up");
    outside.namespace.run(|| {
        kernel::ip(&format!("address add {OUTSIDE}/24 dev up1"));
        kernel::ip("link set up1 up");
        kernel::ip("link set lo up");
    });
    outside
}

/// With the reference plugins a list of three, with podwire one of one.
fn list(node: &Node, kind: &str) -> Chain {
    let declared = json!({ "portMappings": true, "bandwidth": true });
    let mut first = crate::bridge(kind, &json!({ "ipMasq": true, "hairpinMode": true }));
    let mut list = Vec::new();
    if kind == "podwire" {
        first["capabilities"] = declared;
        list.push(first);
    } else {
        list.push(first);
        list.push(json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true }));
        list.push(json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } }));
    }
    Chain::new(node, VERSION, &list)
}

fn with_ports(chain: &Chain) -> Chain {
    let mappings = json!([
        { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
        { "hostPort": 5353, "containerPort": 53, "protocol": "udp" },
        { "hostPort": 9090, "containerPort": 80, "protocol": "tcp", "hostIP": NODE }
    ]);
    chain.clone().with_capability("portMappings", mappings)
}

/// Says hello to whoever comes, and from whom that came.
fn serve(pod: &Pod, port: u16) -> std::thread::JoinHandle<Vec<IpAddr>> {
    let listener = pod.namespace.run(|| TcpListener::bind(("0.0.0.0", port))).expect("a port is free");
    std::thread::spawn(move || {
        let mut sources = Vec::new();
        for connection in listener.incoming() {
            let mut connection = connection.expect("accepted");
            sources.push(connection.peer_addr().expect("connected").ip());
            let mut word = [0; 4];
            connection.read_exact(&mut word).expect("a word");
            connection.write_all(&word).expect("answered");
            if &word == b"last" {
                return sources;
            }
        }
        sources
    })
}

/// Whether a word comes back.
fn asks(from: &Namespace, to: (&str, u16), word: &[u8; 4]) -> bool {
    let target = SocketAddr::new(ip(to.0), to.1);
    from.run(|| {
        let Ok(mut connection) = TcpStream::connect_timeout(&target, PATIENCE) else { return false };
        connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut answer = [0; 4];
        connection.write_all(word).is_ok() && connection.read_exact(&mut answer).is_ok() && answer == *word
    })
}

#[test]
fn what_leaves_the_cluster_has_the_nodes_address() {
    with_each(|node, kind| {
        let outside = outside(node);
        let chain = list(node, kind);
        let (a, b) = (node.pod("a"), node.pod("b"));
        let (result, other) = (chain.add(&a), chain.add(&b));
        podwire_tests::assert_reaches(&a.namespace, &outside.namespace, ip(OUTSIDE), ip(NODE));
        podwire_tests::assert_reaches(&a.namespace, &b.namespace, address(&other, 0), address(&result, 0));
        chain.del(&a, &result);
        chain.del(&b, &other);
        let rules = kernel::run("nft", "list ruleset");
        assert!(!rules.contains(&address(&result, 0).to_string()), "{kind}: {rules}");
    });
}

#[test]
fn a_port_of_the_node_leads_to_the_pod_from_everywhere() {
    with_each(|node, kind| {
        let outside = outside(node);
        let chain = list(node, kind);
        let (a, b) = (node.pod("a"), node.pod("b"));
        let result = with_ports(&chain).add(&a);
        chain.add(&b);
        let server = serve(&a, 80);
        for (who, from, to) in [
            ("outside", &outside.namespace, (NODE, 8080)),
            ("outside, by address", &outside.namespace, (NODE, 9090)),
            ("the node", &node.namespace, (NODE, 8080)),
            ("the node, by loopback", &node.namespace, ("127.0.0.1", 8080)),
            ("a neighbour", &b.namespace, (NODE, 8080)),
            ("itself", &a.namespace, (NODE, 8080)),
        ] {
            assert!(asks(from, to, b"word"), "{kind}: {who} does not reach {to:?}");
        }
        assert!(asks(&outside.namespace, (NODE, 8080), b"last"));
        let sources = server.join().expect("served");
        assert_eq!(sources[0], ip(OUTSIDE), "{kind}: whoever comes from outside keeps its address");
        assert!(udp(&outside.namespace, &a), "{kind}: UDP");
        with_ports(&chain).del(&a, &result);
        assert!(!asks(&outside.namespace, (NODE, 8080), b"word"), "{kind}: the port is still mapped");
    });
}

fn udp(from: &Namespace, pod: &Pod) -> bool {
    let receiver = pod.namespace.run(|| UdpSocket::bind("0.0.0.0:53")).expect("a port is free");
    let sender = from.run(|| UdpSocket::bind("0.0.0.0:0")).expect("a port is free");
    for socket in [&receiver, &sender] {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }
    sender.send_to(b"ask", (NODE, 5353)).expect("sent");
    let Ok((_, source)) = podwire_tests::receive(&receiver, &mut [0; 8]) else { return false };
    receiver.send_to(b"answer", source).expect("sent");
    podwire_tests::receive(&sender, &mut [0; 8])
        .is_ok_and(|(_, answered)| answered == (ip(NODE), 5353).into())
}

#[test]
fn two_pods_cannot_have_one_port_of_the_node() {
    let Some(node) = Node::enter() else { return };
    let chain = with_ports(&list(&node, "podwire"));
    let (a, b) = (node.pod("a"), node.pod("b"));
    let result = chain.add(&a);
    let before = kernel::run("nft", "list ruleset");
    let error = chain.try_add(&b).expect_err("the ports are taken").error();
    assert!(error.message.contains("8080"), "{}", error.message);
    assert_eq!((kernel::run("nft", "list ruleset"), kernel::veths()), (before, 1));
    chain.check(&a, &result);
    chain.del(&a, &result);
    chain.add(&b);
}

#[test]
fn a_pods_traffic_is_limited_in_both_directions() {
    with_each(|node, kind| {
        let limits_asked = json!({ "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 800_000 });
        let chain = list(node, kind).with_capability("bandwidth", limits_asked);
        let before = kernel::links().len();
        let pod = node.pod("a");
        let result = chain.add(&pod);
        assert_eq!(kernel::limits(), [8_000_000, 16_000_000], "{kind}");
        if kind == "podwire" {
            chain.check(&pod, &result);
            let error = without_a_limit(&chain, &pod, &result);
            assert!(error.contains("limit of"), "{error}");
        }
        chain.del(&pod, &result);
        assert_eq!(kernel::limits(), [0; 0], "{kind}");
        // Only the bridge.
        assert_eq!(kernel::links().len(), before + 1, "{kind}: {:?}", kernel::links());
    });
}

fn without_a_limit(chain: &Chain, pod: &Pod, result: &Value) -> String {
    let limited = kernel::links().into_iter().find(|link| link.master == "br0").expect("the pod's end");
    kernel::run("tc", &format!("qdisc delete dev {} root", limited.name));
    chain.try_check(pod, result).expect_err("a limit is gone").error().message
}

#[test]
fn a_failed_add_leaves_no_rule_and_no_limit() {
    let Some(node) = Node::enter() else { return };
    let bandwidth = json!({ "egressRate": 16_000_000, "egressBurst": 800_000 });
    let chain = with_ports(&list(&node, "podwire")).with_capability("bandwidth", bandwidth);
    let (first, pod) = (node.pod("first"), node.pod("a"));
    // The bridge and the tables are the node's, and stay.
    let result = chain.add(&first);
    chain.del(&first, &result);
    let before = (kernel::run("nft", "list ruleset"), kernel::links());
    pod.namespace.run(|| kernel::ip("link add eth0 type veth peer name x"));
    chain.try_add(&pod).expect_err("the name is taken");
    assert_eq!((kernel::run("nft", "list ruleset"), kernel::links()), before);
}

/// Pain 15: a client that goes on sending from one port is led to the pod that was there before, for ever.
#[test]
fn a_client_that_goes_on_sending_reaches_the_next_pod() {
    let Some(node) = Node::enter() else { return };
    let outside = outside(&node);
    let chain = with_ports(&list(&node, "podwire"));
    let client = outside.namespace.run(|| UdpSocket::bind((OUTSIDE, 40_000))).expect("a port is free");
    for name in ["first", "second", "third"] {
        let pod = node.pod(name);
        let result = chain.add(&pod);
        let receiver = pod.namespace.run(|| UdpSocket::bind("0.0.0.0:53")).expect("a port is free");
        receiver.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        client.send_to(name.as_bytes(), (NODE, 5353)).expect("sent");
        let mut word = [0; 16];
        let (length, _) = podwire_tests::receive(&receiver, &mut word)
            .unwrap_or_else(|e| panic!("{name} hears nothing: {e}"));
        assert_eq!(&word[..length], name.as_bytes());
        chain.del(&pod, &result);
    }
}

#[test]
fn what_is_collected_leaves_no_rule_and_no_limit() {
    let Some(node) = Node::enter() else { return };
    let bandwidth = json!({ "egressRate": 16_000_000, "egressBurst": 800_000 });
    let chain = with_ports(&list(&node, "podwire")).with_capability("bandwidth", bandwidth);
    let (first, stays, goes) = (node.pod("first"), node.pod("stays"), node.pod("goes"));
    let result = chain.add(&first);
    chain.del(&first, &result);
    let kept = list(&node, "podwire");
    kept.add(&stays);
    let before = (kernel::run("nft", "list ruleset"), kernel::links().len());
    let gone = address(&chain.add(&goes), 0).to_string();
    goes.namespace.remove();
    kept.gc(&[&stays]).done();
    assert_eq!((kernel::run("nft", "list ruleset"), kernel::links().len()), before);
    assert!(!before.0.contains(&gone) && kernel::limits().is_empty());
}
