//! What is asserted of pods' packets, alike for every plugin and under every runtime: pods reach each other, the
//! world outside sees the node's address, and a port of the node leads to a pod. Must not know who wired the pods.

use std::net::{IpAddr, SocketAddr};

use crate::kernel;
use crate::node::{Namespace, Node, Pod};
use crate::reach::{assert_reaches, published_source};

/// The node's address towards the outside, and that of somebody there.
const NODE: &str = "192.0.2.1";
const OUTSIDE: &str = "192.0.2.9";

/// The port of a pod that ports of the node lead to.
pub const SERVED: u16 = 80;

/// A pod, as the tests see one that a runtime started.
#[derive(Debug, Clone)]
pub struct Wired {
    /// Its own network.
    pub namespace: Namespace,
    /// The address that its runtime reports.
    pub ip: IpAddr,
}

/// A node beside somebody outside, whose way back to pods is the node's own address alone.
pub struct Surroundings<'a> {
    node: &'a Node,
    outside: Pod,
}

impl<'a> Surroundings<'a> {
    /// Gives the node an interface to the outside.
    pub fn of(node: &'a Node) -> Self {
        let outside = node.pod("outside");
        kernel::ip("link add up0 type veth peer name up1 netns outside");
        kernel::ip(&format!("address add {NODE}/24 dev up0"));
        kernel::ip("link set up0 up");
        outside.namespace.run(|| {
            kernel::ip(&format!("address add {OUTSIDE}/24 dev up1"));
            kernel::ip("link set up1 up");
        });
        Self { node, outside }
    }

    /// Panics unless each of the pods reaches each other one, without a change of addresses.
    #[track_caller]
    pub fn assert_neighbours(&self, pods: &[&Wired]) {
        for from in pods {
            for to in pods.iter().filter(|to| to.ip != from.ip) {
                assert_reaches(&from.namespace, &to.namespace, to.ip, from.ip);
            }
        }
    }

    /// Panics unless the pod reaches the outside, where it has the node's address.
    #[track_caller]
    pub fn assert_masqueraded(&self, pod: &Wired) {
        assert_reaches(&pod.namespace, &self.outside.namespace, ip(OUTSIDE), ip(NODE));
    }

    /// Panics unless this port of the node leads to the pod: from outside, where the source stays what it is, from
    /// the node, from a neighbour and from the pod itself.
    #[track_caller]
    pub fn assert_published(&self, port: u16, pod: &Wired, neighbour: &Wired) {
        let source = |from| published_source(from, (ip(NODE), port).into(), &pod.namespace, SERVED);
        let outside = source(&self.outside.namespace).unwrap_or_else(|e| panic!("{port} from outside: {e}"));
        assert_eq!(outside, ip(OUTSIDE), "the pod behind {port} saw another source");
        for (who, from) in [
            ("the node", &self.node.namespace),
            ("a neighbour", &neighbour.namespace),
            ("the pod itself", &pod.namespace),
        ] {
            source(from).unwrap_or_else(|e| panic!("{port} from {who}: {e}"));
        }
    }

    /// Panics if anybody answers at this port of the node.
    #[track_caller]
    pub fn assert_closed(&self, port: u16) {
        let target = SocketAddr::new(ip(NODE), port);
        let refused =
            self.outside.namespace.run(|| std::net::TcpStream::connect(target)).map_err(|e| e.kind());
        assert_eq!(refused.err(), Some(std::io::ErrorKind::ConnectionRefused), "{port} is not closed");
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
