//! The agent's etcd source against a real etcd: no two nodes ever get blocks that overlap, and each keeps its own.
//!
//! Agents are tasks of the test; one that is dropped sends nothing more, as one that is killed.

mod access;
mod claims;
mod losses;
mod members;

use std::net::IpAddr;
use std::time::Duration;

use etcd_client::{Client, GetOptions};
use podwire::agent::source::etcd::{Etcd, EtcdSettings, OwnHint};
use podwire::agent::source::{Board, Membership, Source};
use podwire::plan::Role;
use podwire_tests::{Node, etcd};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// No bound on speed: what never comes would otherwise be waited for without end.
const NEVER: Duration = Duration::from_secs(60);

/// A node with an etcd, and a runtime in its namespaces.
struct Bench {
    runtime: tokio::runtime::Runtime,
    server: etcd::Etcd,
    _node: Node,
}

impl Bench {
    fn new(server: fn(&Node) -> etcd::Etcd) -> Option<Self> {
        let node = Node::enter()?;
        let server = server(&node);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Some(Self { runtime, server, _node: node })
    }

    /// Runs the test, as a story on a runtime.
    fn run(&self, story: impl Future<Output = ()>) {
        self.runtime
            .block_on(async { tokio::time::timeout(NEVER, story).await.expect("it is done in time") });
    }

    /// How nodes ask it.
    fn settings(&self) -> Value {
        json!({ "endpoints": [self.server.url()] })
    }
}

/// The node of that number.
fn hint(number: u8, cluster: &[&str]) -> OwnHint {
    OwnHint {
        name: format!("node{number}"),
        role: Role::Host,
        addresses: vec![address(number)],
        cluster: cluster.iter().map(|text| text.parse().expect("a block")).collect(),
    }
}

fn address(number: u8) -> IpAddr {
    IpAddr::from([192, 168, 1, number])
}

fn source(settings: &Value, own: OwnHint) -> Etcd {
    let settings: EtcdSettings =
        serde_json::from_value(settings.clone()).expect("a test writes settings right");
    Etcd::new(settings, own).expect("a test writes settings right")
}

/// A node's agent, as far as its source.
struct Agent {
    task: JoinHandle<(Etcd, Option<String>)>,
    stop: Option<oneshot::Sender<()>>,
    posted: watch::Receiver<Option<Membership>>,
    remarks: watch::Receiver<Vec<String>>,
}

impl Agent {
    /// Follows until the source is lost, once.
    fn start(mut source: Etcd) -> Self {
        let (board, posted) = Board::new();
        let (stop, stopped) = oneshot::channel();
        let remarks = source.remarks();
        let task = tokio::spawn(async move {
            let lost = tokio::select! {
                lost = source.follow(&board) => Some(lost.to_string()),
                _ = stopped => None,
            };
            (source, lost)
        });
        Self { task, stop: Some(stop), posted, remarks }
    }

    /// The first membership of which this holds.
    async fn sees(&mut self, what: impl Fn(&Membership) -> bool) -> Membership {
        let found = self.posted.wait_for(|posted| posted.as_ref().is_some_and(&what)).await;
        found.expect("the agent runs").clone().expect("it is there")
    }

    /// The node's blocks.
    async fn pools(&mut self) -> Vec<String> {
        self.sees(|_| true).await.own.pools.iter().map(ToString::to_string).collect()
    }

    /// Waits until exactly these nodes are its peers.
    async fn has_peers(&mut self, names: &[&str]) {
        self.sees(|seen| seen.peers.iter().map(|peer| peer.name.as_str()).eq(names.iter().copied())).await;
    }

    /// Drops it without a word to etcd.
    async fn stop(mut self) -> Etcd {
        self.stop.take().expect("it was not stopped before").send(()).expect("the agent runs");
        let (source, lost) = self.task.await.expect("it did not panic");
        assert_eq!(lost, None);
        source
    }

    /// Waits until the source is lost: why.
    async fn lost(self) -> (Etcd, String) {
        let (source, lost) = self.task.await.expect("it did not panic");
        (source, lost.expect("it was not stopped"))
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.borrow().clone()
    }
}

/// Somebody else who reads and writes there.
async fn client(bench: &Bench) -> Client {
    Client::connect([bench.server.url()], None).await.expect("etcd runs")
}

/// Ends a node's lease, as time would.
async fn expire(client: &mut Client, name: &str) {
    let found = client.get(format!("/podwire/nodes/{name}"), None).await.expect("etcd answers");
    let lease = found.kvs().first().expect("it is a member").lease();
    client.lease_revoke(lease).await.expect("etcd answers");
}

/// What is reserved, and for whom.
async fn reservations(client: &mut Client) -> Vec<(String, String)> {
    let found =
        client.get("/podwire/blocks/", Some(GetOptions::new().with_prefix())).await.expect("etcd answers");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let reservation =
        |found: &etcd_client::KeyValue| (text(&found.key()["/podwire/blocks/".len()..]), text(found.value()));
    found.kvs().iter().map(reservation).collect()
}
