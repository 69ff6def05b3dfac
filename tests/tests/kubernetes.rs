//! Membership from Kubernetes, against an API server of the test's own: who is a peer, and what the source asks for when
//! connections break, versions are forgotten, credentials change, or the server says no.
//!
//! No test waits for a while: each waits for what has to come, and fails if it has not come after a minute.

use std::fs;
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podwire::agent::source::kubernetes::{Kubernetes, KubernetesSettings, OwnHint, Patience};
use podwire::agent::source::{Board, Membership, Source};
use podwire::plan::Role;
use podwire_tests::command::{kill, write_file};
use podwire_tests::kernel::{self, eventually};
use podwire_tests::kubernetes::{Answer, ApiServer, Asked, KubeNode, TOKEN};
use podwire_tests::{Node, Podwire};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::sync::{mpsc, watch};

/// Longer than anything takes that works.
const ENOUGH: Duration = Duration::from_secs(60);
/// Shorter than anybody would wait for a server that is silent, longer than one needs that is not.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// A source at work as the agent has it work, but asked again only when the test has heard why it was lost.
struct Following {
    memberships: watch::Receiver<Option<Membership>>,
    remarks: watch::Receiver<Vec<String>>,
    losses: mpsc::Receiver<String>,
    go_on: mpsc::Sender<()>,
}

impl Following {
    fn start(mut source: Kubernetes) -> Self {
        let (board, memberships) = Board::new();
        let (lose, losses) = mpsc::channel(1);
        let (go_on, mut may_go_on) = mpsc::channel(1);
        let remarks = source.remarks();
        tokio::spawn(async move {
            loop {
                let lost = source.follow(&board).await;
                let heard = lose.send(lost.to_string()).await.is_ok();
                if !heard || may_go_on.recv().await.is_none() {
                    return;
                }
            }
        });
        Self { memberships, remarks, losses, go_on }
    }

    async fn until(&mut self, is_so: impl Fn(&Membership) -> bool) -> Membership {
        let found = self.memberships.wait_for(|known| known.as_ref().is_some_and(&is_so));
        soon("such a membership", found).await.expect("the source is at work").clone().expect("some")
    }

    async fn until_peers(&mut self, names: &[&str]) -> Membership {
        self.until(|known| known.peers.iter().map(|peer| peer.name.as_str()).eq(names.iter().copied())).await
    }

    /// Why the source is lost, which is not asked again yet.
    async fn lost(&mut self) -> String {
        soon("a loss", self.losses.recv()).await.expect("the source is at work")
    }

    fn ask_again(&self) {
        self.go_on.try_send(()).expect("it waits");
    }

    fn assert_not_lost(&mut self) {
        assert_eq!(self.losses.try_recv().ok(), None);
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(found) = tokio::time::timeout(ENOUGH, future).await else { panic!("{what} has not come") };
    found
}

fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes").join(test);
    // Of a test that was killed.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("it can be made");
    folder
}

fn server(test: &str) -> ApiServer {
    let server = ApiServer::start(&folder(test));
    server.put_all([1, 2, 3].map(KubeNode::nth));
    server
}

fn source_of(kubeconfig: &Path) -> Kubernetes {
    let settings = json!({"kubeconfig": kubeconfig, "nodeName": "n1"});
    let settings: KubernetesSettings = serde_json::from_value(settings).expect("well-formed");
    Kubernetes::new(settings, OwnHint { name: "other".into(), role: Role::Host, addresses: Vec::new() })
}

fn follow(server: &ApiServer) -> Following {
    Following::start(source_of(&server.kubeconfig()))
}

async fn request(server: &ApiServer, n: usize) -> Asked {
    soon("that request", server.nth_request(n)).await
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

fn failure(code: u16, reason: &'static str, message: &'static str, pause: Option<u32>) -> Answer {
    Answer::Status { code, reason, message, pause }
}

#[tokio::test]
async fn all_nodes_are_asked_for_in_one_watch() {
    let server = server("initial");
    server.put(
        KubeNode::nth(2)
            .with_blocks(&["10.100.2.0/24", "fd00:0:0:2::/64"])
            .with_addresses(&["192.168.0.2", "fd01::2"]),
    );
    server.put(KubeNode::nth(3).with_label("podwire.dev/role", "router"));
    let mut source = follow(&server);
    let known = source.until_peers(&["n2", "n3"]).await;
    assert_eq!((known.own.name.as_str(), known.own.role), ("n1", Role::Host));
    assert_eq!(texts(&known.own.pools), ["10.100.1.0/24"]);
    assert_eq!(texts(&known.own.addresses), ["192.168.0.1"]);
    assert_eq!(texts(&known.peers[0].pools), ["10.100.2.0/24", "fd00:0:0:2::/64"]);
    assert_eq!(texts(&known.peers[0].addresses), ["192.168.0.2", "fd01::2"]);
    assert_eq!(known.peers[1].role, Role::Router);

    let asked = request(&server, 0).await;
    for (key, value) in [
        ("watch", "true"),
        ("sendInitialEvents", "true"),
        ("resourceVersionMatch", "NotOlderThan"),
        ("allowWatchBookmarks", "true"),
        ("resourceVersion", ""),
    ] {
        assert_eq!(asked.get(key), Some(value), "{key}");
    }
    assert!(asked.get("timeoutSeconds").is_some() && asked.get("labelSelector").is_none());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn joins_leaves_and_changes_are_followed() {
    let server = server("changes");
    let mut source = follow(&server);
    source.until_peers(&["n2", "n3"]).await;
    server.put(KubeNode::nth(4));
    source.until_peers(&["n2", "n3", "n4"]).await;
    server.delete("n3");
    source.until_peers(&["n2", "n4"]).await;
    server.put(KubeNode::nth(2).with_addresses(&["192.168.7.7"]));
    source.until(|known| texts(&known.peers[0].addresses) == ["192.168.7.7"]).await;
    server.put(KubeNode::nth(1).with_blocks(&["10.100.99.0/24"]));
    source.until(|known| texts(&known.own.pools) == ["10.100.99.0/24"]).await;
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_node_that_waits_for_its_addresses_says_so() {
    let server = ApiServer::start(&folder("waits"));
    server.put_all([KubeNode::nth(2).leaving(), KubeNode::unassigned("n3")]);
    let mut source = follow(&server);
    let known = source.until_peers(&[]).await;
    assert!(known.own.pools.is_empty());
    let remarks = source.remarks.borrow_and_update().clone();
    let expected =
        ["no Node is called n1", "n2 is no peer: it is being deleted", "n3 is no peer: its status.addresses"];
    assert_eq!(remarks.len(), expected.len(), "{remarks:?}");
    assert!(remarks.iter().zip(expected).all(|(remark, expected)| remark.contains(expected)), "{remarks:?}");

    server.put(KubeNode::unassigned("n1").with_addresses(&["192.168.0.1"]));
    server.put(KubeNode::nth(3));
    let known = source.until_peers(&["n3"]).await;
    assert!(known.own.pools.is_empty());
    assert!(source.remarks.borrow()[0].contains("--allocate-node-cidrs"));
    server.put(KubeNode::nth(1));
    source.until(|known| texts(&known.own.pools) == ["10.100.1.0/24"]).await;
    assert_eq!(source.remarks.borrow().len(), 1);
}

#[tokio::test]
async fn a_server_without_such_watches_is_asked_for_pages() {
    let server = ApiServer::start(&folder("pages"));
    server.without_streaming();
    server.put_all((1..=1200).map(KubeNode::nth));
    let version = server.version();
    let mut source = follow(&server);
    let first = source.until(|_| true).await;
    assert_eq!(first.peers.len(), 1199);
    let pages = [request(&server, 1).await, request(&server, 2).await, request(&server, 3).await];
    assert!(pages.iter().all(|page| page.is("limit", "500") && page.get("watch").is_none()));
    assert_eq!(pages.map(|page| page.get("continue").is_some()), [false, true, true]);
    assert!(request(&server, 4).await.is("resourceVersion", &version));
    server.delete("n7");
    source.until(|known| known.peers.len() == 1198).await;
    source.assert_not_lost();
}

#[tokio::test]
async fn pages_that_are_forgotten_are_asked_for_anew() {
    let server = server("forgotten_pages");
    server.without_streaming();
    server.put_all((4..=600).map(KubeNode::nth));
    // The refusal of a watch, the first page, and instead of the second:
    server.answer_next([
        Answer::Proper,
        Answer::Proper,
        failure(410, "Expired", "the token is too old", None),
    ]);
    let mut source = follow(&server);
    assert_eq!(source.until(|_| true).await.peers.len(), 599);
    assert!(request(&server, 2).await.get("continue").is_some());
    assert!(request(&server, 3).await.get("continue").is_none());
    source.assert_not_lost();
}

#[tokio::test]
async fn a_watch_is_taken_up_at_the_last_bookmark() {
    let server = server("bookmark");
    let mut source = follow(&server);
    source.until_peers(&["n2", "n3"]).await;
    for n in 1..=3 {
        server.bookmark();
        let version = server.version();
        server.end_watches();
        let asked = request(&server, n).await;
        assert_eq!(asked.get("resourceVersion"), Some(version.as_str()));
        assert!(asked.is("allowWatchBookmarks", "true") && asked.get("sendInitialEvents").is_none());
    }
    source.assert_not_lost();
}

#[tokio::test]
async fn a_broken_connection_loses_nothing() {
    let server = server("broken");
    let mut source = follow(&server);
    source.until_peers(&["n2", "n3"]).await;
    server.put(KubeNode::nth(4));
    source.until_peers(&["n2", "n3", "n4"]).await;
    let version = server.version();
    server.break_watches();
    server.put(KubeNode::nth(5));
    source.until_peers(&["n2", "n3", "n4", "n5"]).await;
    assert_eq!(request(&server, 1).await.get("resourceVersion"), Some(version.as_str()));
    source.assert_not_lost();
}

#[tokio::test]
async fn a_silent_connection_is_given_up() {
    let server = server("silent");
    let patience = Patience { silence: IMPATIENCE, ..Patience::default() };
    let mut source = Following::start(source_of(&server.kubeconfig()).with_patience(patience));
    source.until_peers(&["n2", "n3"]).await;
    server.silence_watches();
    server.put(KubeNode::nth(4));
    source.until_peers(&["n2", "n3", "n4"]).await;
    source.assert_not_lost();
}

#[tokio::test]
async fn forgotten_versions_are_learnt_anew() {
    let server = server("gone");
    let mut source = follow(&server);
    source.until_peers(&["n2", "n3"]).await;
    // Told to the watch under way.
    server.forget_and_tell();
    server.delete("n2");
    source.until_peers(&["n3"]).await;
    assert!(request(&server, 1).await.is("sendInitialEvents", "true"));
    // Told to the next watch, as an event and in HTTP: what left meanwhile is no event any more.
    for (in_http, leaves, joins, name) in [(false, "n3", 4, "n4"), (true, "n4", 5, "n5")] {
        server.exchange_unseen(leaves, KubeNode::nth(joins), in_http);
        source.until_peers(&[name]).await;
    }
    let anew: Vec<_> = server.asked().iter().map(|asked| asked.is("sendInitialEvents", "true")).collect();
    assert_eq!(anew, [true, true, false, true, false, true]);
    source.assert_not_lost();
}

#[tokio::test]
async fn a_server_that_only_forgets_is_a_loss() {
    let server = server("forgets");
    server.answer_always(failure(410, "Expired", "too old resource version", None));
    let mut source = follow(&server);
    assert!(source.lost().await.contains("(410)"));
    server.answer_always(Answer::Proper);
    source.ask_again();
    source.until_peers(&["n2", "n3"]).await;
}

#[tokio::test]
async fn a_new_token_is_read_when_the_old_one_is_refused() {
    let server = server("token");
    let mut source = follow(&server);
    source.until_peers(&["n2", "n3"]).await;
    let version = server.version();
    server.accept_token("second-token");
    server.end_watches();
    let why = source.lost().await;
    assert!(why.contains("(401)") && why.contains("kubeconfig"), "{why}");
    assert_ne!(TOKEN, "second-token");
    server.write_token("second-token");
    source.ask_again();
    // Two were refused or answered before: what was learnt is still good.
    assert_eq!(request(&server, 2).await.get("resourceVersion"), Some(version.as_str()));
    server.put(KubeNode::nth(4));
    source.until_peers(&["n2", "n3", "n4"]).await;
}

#[tokio::test]
async fn a_loss_says_what_to_do() {
    let server = server("losses");
    let mut source = follow(&server);
    source.until_peers(&["n2", "n3"]).await;
    let forbidden =
        r#"nodes is forbidden: User \"system:serviceaccount:kube-system:podwire\" cannot list resource"#;
    let cases = [
        (
            failure(403, "Forbidden", forbidden, None),
            &["(403: nodes is forbidden", "resources [nodes], verbs [get, list, watch]"][..],
        ),
        (failure(404, "NotFound", "no such page", None), &["it is no API server; correct `server` in "]),
        (failure(429, "TooManyRequests", "please try again later", None), &["overloaded (429: please try"]),
        (
            failure(500, "InternalError", "etcdserver: no leader", None),
            &["failed (500: etcdserver: no leader)"],
        ),
        (Answer::Text(""), &["ends every watch at once"]),
        (Answer::Text("<html>\n"), &["answers what is no list or event of Nodes"]),
    ];
    server.answer_always(failure(503, "ServiceUnavailable", "starting", None));
    server.end_watches();
    for (answer, says) in cases {
        source.lost().await;
        server.answer_next([answer]);
        source.ask_again();
        let why = source.lost().await;
        assert!(why.starts_with(&server.url()) && says.iter().all(|words| why.contains(words)), "{why}");
        source.ask_again();
    }
    source.lost().await;
    let known = source.memberships.borrow().clone().expect("nothing was taken back");
    assert_eq!(known.peers.len(), 2);
    server.answer_always(Answer::Proper);
    server.put(KubeNode::nth(4));
    source.ask_again();
    source.until_peers(&["n2", "n3", "n4"]).await;
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let server = server("pause");
    server.answer_next([failure(429, "TooManyRequests", "please try again later", Some(1))]);
    let mut source = follow(&server);
    source.lost().await;
    let refused = std::time::Instant::now();
    source.ask_again();
    request(&server, 1).await;
    assert!(refused.elapsed() >= Duration::from_millis(900), "{:?}", refused.elapsed());
    source.until_peers(&["n2", "n3"]).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_loss() {
    let server = server("never");
    server.answer_always(Answer::Never);
    let patience = Patience { answer: IMPATIENCE, ..Patience::default() };
    let mut source = Following::start(source_of(&server.kubeconfig()).with_patience(patience));
    let why = source.lost().await;
    assert!(why.contains("has not answered for 1 s"), "{why}");
    assert_eq!(*source.memberships.borrow(), None);
}

#[tokio::test]
async fn a_list_that_breaks_off_is_not_posted() {
    let server = server("half_list");
    let half = r#"{"type":"ADDED","object":{"kind":"Node","metadata":{"name":"n2"},"spec":{"podCIDRs":["10.100.2.0/24"]}}}
"#;
    server.answer_next([Answer::Text(half)]);
    let mut source = follow(&server);
    let why = source.lost().await;
    assert!(why.contains("ended its list of Nodes in the middle"), "{why}");
    assert_eq!(*source.memberships.borrow(), None);
    source.ask_again();
    source.until_peers(&["n2", "n3"]).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let path = folder("absent").join("kubeconfig");
    let config = |server: &str| {
        json!({"clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": {}}],
               "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"})
    };
    write_file(&path, config(&format!("http://{free}")).to_string());
    let mut source = Following::start(source_of(&path));
    let why = source.lost().await;
    assert!(why.contains(&format!("http://{free} refuses connections")), "{why}");
    assert!(why.contains(&format!("`server` in {}", path.display())), "{why}");
    // A certificate of an authority that the kubeconfig does not name.
    let server = ApiServer::start(&folder("stranger"));
    write_file(&path, config(&server.url()).to_string());
    source.ask_again();
    let why = source.lost().await;
    assert!(why.contains("no TLS connection") && why.contains("`certificate-authority` in"), "{why}");
    fs::remove_file(&path).expect("it is there");
    source.ask_again();
    let why = source.lost().await;
    assert!(why.contains("cannot be used") && why.contains("kubeconfig"), "{why}");
}

#[test]
fn settings_are_checked() {
    let read = |text: &str| {
        serde_json::from_str::<KubernetesSettings>(text).map(drop).map_err(|error| error.to_string())
    };
    read(r#"{"kubeconfig": "/etc/kubernetes/kubelet.conf", "nodeName": "n1"}"#).expect("well-formed");
    assert!(read(r#"{"kubeConfig": "x"}"#).expect_err("no such key").contains("`kubeconfig`"));
}

/// What it costs is said, not judged: machines differ.
#[allow(clippy::print_stderr)]
#[tokio::test]
async fn heartbeats_of_5000_nodes_are_no_news() {
    let server = ApiServer::start(&folder("many"));
    server.put_all((1..=5000).map(KubeNode::nth));
    let mut source = follow(&server);
    let (all, learning) = cpu(source.until(|_| true)).await;
    assert_eq!(all.peers.len(), 4999);
    source.memberships.mark_unchanged();
    server.put_all((1..=5000).map(|n| KubeNode::nth(n).beat()));
    server.bookmark();
    let ((), beating) = cpu(async {
        server.end_watches();
        request(&server, 1).await;
    })
    .await;
    assert_eq!(request(&server, 1).await.get("resourceVersion"), Some(server.version().as_str()));
    assert!(!source.memberships.has_changed().expect("the source is at work"));
    server.delete("n77");
    let (_, leaving) = cpu(source.until(|known| known.peers.len() == 4998)).await;
    eprintln!(
        "5,000 Nodes: learnt in {learning:?}, 5,000 heartbeats in {beating:?}, one leaves in {leaving:?} of CPU time"
    );
}

/// What this thread, the source's, spends meanwhile.
async fn cpu<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("after its start");
    let before = now();
    let outcome = work.await;
    (outcome, now() - before)
}

/// Destinations of podwire's routes on the node.
fn routes_of_pods() -> Vec<String> {
    let ours = kernel::routes().into_iter().filter(|route| route.contains("protocol \"112\""));
    ours.filter_map(|route| route.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn the_agent_keeps_what_the_nodes_say() {
    let Some(node) = Node::enter() else { return };
    kernel::uplink("192.168.0.1/24");
    let server = server("agent");
    let conflist = folder("agent_conflist").join("10-podwire.conflist");
    let podwire = Podwire::on(&node);
    podwire.configure("node.json", &json!({"name": "N1", "cluster": ["10.100.0.0/16"]}));
    let source = json!({"kubernetes": {"kubeconfig": server.kubeconfig()}});
    podwire.configure("agent.json", &json!({"source": source, "conflist": conflist}));
    let agent = podwire.clone().by(["setpriv", "--pdeathsig", "KILL"]).start(&["node", "run"]);
    let says = |what: &str| {
        eventually(&format!("podwire status says {what:?}"), || {
            podwire.run(&["status"]).stdout.contains(what)
        });
    };
    let routes = |wanted: &[&str]| eventually(&format!("routes {wanted:?}"), || routes_of_pods() == wanted);

    routes(&["10.100.2.0/24", "10.100.3.0/24"]);
    eventually("the pools follow the Node", || {
        fs::read_to_string(&conflist).is_ok_and(|text| text.contains("10.100.1.0/24"))
    });
    server.delete("n3");
    server.put(KubeNode::nth(4));
    routes(&["10.100.2.0/24", "10.100.4.0/24"]);

    server.answer_always(failure(403, "Forbidden", "nodes is forbidden", None));
    server.end_watches();
    says("resources [nodes], verbs [get, list, watch]");
    server.delete("n2");
    server.answer_always(Answer::Proper);
    routes(&["10.100.4.0/24"]);
    says("heard since");
    kill(agent.id());
    agent.finish();
}
