//! `podwire node run`: what the policy decides stays true, whatever members, others and the agent's own end do to it.

mod conflist;
mod ends;
mod metrics;
mod restores;
mod sources;

use std::io::Read as _;
use std::path::Path;

use podwire_tests::Node;
use podwire_tests::command::{Podwire, Printed, Started, kill};
use podwire_tests::kernel::{Snapshot, eventually, routes, uplink};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// node-1 of the lecture, in the network between nodes.
pub struct Bench {
    node: Node,
    podwire: Podwire,
}

/// Three nodes' worth of peers, node-1 itself among them.
fn peers(others: &[u8]) -> Value {
    let entry = |n: &u8| {
        json!({ "name": format!("node-{n}"), "addresses": [format!("192.168.1.1{n}")],
                "pools": [format!("10.244.{n}.0/24")] })
    };
    let all: Vec<Value> = [1].iter().chain(others).map(entry).collect();
    json!({ "peers": all })
}

impl Bench {
    fn new() -> Option<Self> {
        let node = Node::enter()?;
        uplink("192.168.1.11/24");
        let podwire = Podwire::on(&node);
        podwire.configure("node.json", &json!({ "name": "node-1", "cluster": ["10.244.0.0/16"] }));
        podwire.configure("peers.json", &peers(&[2, 3]));
        Some(Self { node, podwire })
    }

    /// An agent that ends with the test's thread, however that ends.
    fn agent(&self) -> Agent {
        let podwire = self.podwire.clone().by(["setpriv", "--pdeathsig", "KILL"]);
        Agent(Some(podwire.start(&["node", "run"])))
    }

    /// One that has done all there was to do.
    fn settled(&self) -> Agent {
        let agent = self.agent();
        self.becomes("heard since", &["10.244.2.0/24", "10.244.3.0/24"]);
        agent
    }

    /// Waits until podwire's routes are these, and `podwire status` says this.
    #[track_caller]
    fn becomes(&self, said: &str, destinations: &[&str]) {
        eventually(&format!("routes {destinations:?}"), || ours() == destinations);
        self.says(said);
    }

    /// Waits until `podwire status` says this.
    #[track_caller]
    fn says(&self, what: &str) {
        eventually(&format!("podwire status says {what:?}"), || self.status().stdout.contains(what));
    }

    fn status(&self) -> Printed {
        self.podwire.run(&["status"])
    }

    /// Waits until the node is as it was then.
    #[track_caller]
    fn becomes_as(&self, before: &Snapshot, after: &str) {
        eventually_or(
            || before.changes().is_empty(),
            || panic!("after {after}:\n{}", before.changes().join("\n")),
        );
    }

    /// The node's links, addresses, routes and rules.
    fn kernel(&self) -> Snapshot {
        Snapshot::take(&[])
    }

    fn root(&self) -> &Path {
        self.node.root()
    }
}

fn eventually_or(mut holds: impl FnMut() -> bool, otherwise: impl FnOnce()) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !holds() {
        if std::time::Instant::now() > deadline {
            return otherwise();
        }
        std::thread::yield_now();
    }
}

/// Destinations of podwire's routes on the node.
fn ours() -> Vec<String> {
    let ours = routes().into_iter().filter(|route| route.contains("protocol \"112\""));
    ours.filter_map(|route| route.split(' ').next().map(str::to_owned)).collect()
}

/// A running `podwire node run`.
pub struct Agent(Option<Started>);

impl Agent {
    fn id(&self) -> u32 {
        self.0.as_ref().expect("it runs").id()
    }

    /// Ends it as systemd does.
    #[track_caller]
    fn end(mut self, signal: Signal) -> Printed {
        let pid = Pid::from_raw(self.id().try_into().expect("process IDs are small"));
        kill_process(pid.expect("no process is number 0"), signal).expect("a child can be told");
        self.0.take().expect("it runs").finish()
    }

    fn kill(mut self) {
        let started = self.0.take().expect("it runs");
        kill(started.id());
        started.finish();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(started) = self.0.take() {
            kill(started.id());
            started.finish();
        }
    }
}

/// A page of the agent's.
fn page(path: &str) -> Option<(u16, String)> {
    ask(&format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n"))
}

fn ask(request: &str) -> Option<(u16, String)> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", 9473)).ok()?;
    std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
