//! A small Kubernetes API server of the test's own: list and watch of Nodes, as the published API concepts have them,
//! over TLS, for who knows its token.
//!
//! | part | owns |
//! | --- | --- |
//! | `node` | Nodes as they are written |
//! | `cluster` | Nodes, versions, what is remembered of changes, what a test has it do |
//! | `serve` | requests, answers, watches under way |
//!
//! It does what a test says, when the test says it: bookmarks, 410 Gone as event and in HTTP, watches that end, break
//! or fall silent, requests that are refused or never answered. It knows nothing of podwire.

mod cluster;
mod node;
mod serve;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use crate::command::write_file;
use crate::registry::openssl;
use cluster::{Cluster, Entry};
pub use node::KubeNode;

/// The token that is good at first.
pub const TOKEN: &str = "first-token";

/// How a request is answered.
#[derive(Debug, Clone, Default)]
pub enum Answer {
    /// As it should be.
    #[default]
    Proper,
    /// With a failure.
    Status {
        /// Of HTTP.
        code: u16,
        /// In a word of the API.
        reason: &'static str,
        /// For people.
        message: &'static str,
        /// After how many seconds it may be tried again.
        pause: Option<u32>,
    },
    /// With this, and success.
    Text(&'static str),
    /// Not at all, on a connection that stays.
    Never,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    path: String,
    query: BTreeMap<String, String>,
    authorization: String,
}

impl Asked {
    fn of<B>(request: &hyper::Request<B>) -> Self {
        let pairs =
            request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        Self {
            path: request.uri().path().into(),
            query: pairs.map(|(key, value)| (key.into(), value.into())).collect(),
            authorization: authorization.unwrap_or_default().into(),
        }
    }

    /// A parameter, if it was given.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    /// Whether a parameter has a value.
    pub fn is(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }
}

/// What the server's thread and the test have in common.
struct Shared {
    cluster: Mutex<Cluster>,
    tick: watch::Sender<()>,
}

impl Shared {
    /// For all to see.
    fn change<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        let outcome = self.change_unseen(change);
        self.tick.send_replace(());
        outcome
    }

    fn change_unseen<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        change(&mut self.cluster.lock().expect("no thread panicked"))
    }
}

/// An API server that ends with the test.
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    folder: PathBuf,
    /// Dropped first: the thread ends.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// On the loopback, with its files in a folder.
    pub fn start(folder: &Path) -> Self {
        certify(folder);
        let cluster = Mutex::new(Cluster::new(TOKEN));
        let shared = Arc::new(Shared { cluster, tick: watch::Sender::default() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let (tls, served) = (acceptor(folder), shared.clone());
        let thread = std::thread::spawn(move || run(listener, tls, served, stopped));
        Self { shared, address, folder: folder.into(), stop: Some(stop), thread: Some(thread) }
    }

    /// `https://ADDRESS`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Writes a kubeconfig that names the server, its authority, and a file with the token.
    pub fn kubeconfig(&self) -> PathBuf {
        self.write_token(TOKEN);
        let file = |name: &str| self.folder.join(name);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test",
                          "cluster": {"server": self.url(), "certificate-authority": file("ca.pem")}}],
            "users": [{"name": "test", "user": {"tokenFile": file("token")}}],
        });
        let path = file("kubeconfig");
        write_file(&path, config.to_string());
        path
    }

    /// What the client's token file holds.
    pub fn write_token(&self, token: &str) {
        write_file(self.folder.join("token"), token);
    }

    /// Which token is good from now on.
    pub fn accept_token(&self, token: &str) {
        self.shared.change(|cluster| cluster.token = token.into());
    }

    /// Makes a Node, or changes it.
    pub fn put(&self, node: KubeNode) {
        self.shared.change(|cluster| cluster.put(node));
    }

    /// Makes or changes many at once.
    pub fn put_all(&self, nodes: impl IntoIterator<Item = KubeNode>) {
        self.shared.change(|cluster| nodes.into_iter().for_each(|node| cluster.put(node)));
    }

    /// Deletes a Node.
    pub fn delete(&self, name: &str) {
        self.shared.change(|cluster| cluster.delete(name));
    }

    /// The newest version, as it is written.
    pub fn version(&self) -> String {
        self.shared.change_unseen(|cluster| cluster.version.to_string())
    }

    /// Something other than a Node changes, and watches hear of the version.
    pub fn bookmark(&self) {
        self.shared.change(|cluster| {
            cluster.version += 1;
            cluster.entries.push(Entry::Bookmark(cluster.version));
        });
    }

    /// Ends all watches, as when their time is over.
    pub fn end_watches(&self) {
        self.shared.change(|cluster| cluster.entries.push(Entry::End));
    }

    /// Breaks all watches in the middle of an event.
    pub fn break_watches(&self) {
        self.shared.change(|cluster| cluster.entries.push(Entry::Break));
    }

    /// Nothing more comes from the watches that there are.
    pub fn silence_watches(&self) {
        self.shared.change(|cluster| cluster.entries.push(Entry::Silence));
    }

    /// Forgets all that happened so far, and tells watches so.
    pub fn forget_and_tell(&self) {
        self.shared.change(|cluster| {
            cluster.forget();
            cluster.entries.push(Entry::Gone);
        });
    }

    /// Ends all watches, and before anybody asks for another, one Node leaves, one joins, and all of that is forgotten.
    /// Who asks for it hears that in an event, or in HTTP.
    pub fn exchange_unseen(&self, leaves: &str, joins: KubeNode, in_http: bool) {
        self.shared.change(|cluster| {
            cluster.entries.push(Entry::End);
            cluster.delete(leaves);
            cluster.put(joins);
            cluster.forget();
            cluster.says_gone_in_http = in_http;
        });
    }

    /// Has no watches that begin with all that there is.
    pub fn without_streaming(&self) {
        self.shared.change(|cluster| cluster.streams = false);
    }

    /// Answers the next requests so, one each.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.change(|cluster| cluster.answers.extend(answers));
    }

    /// Answers so from now on.
    pub fn answer_always(&self, answer: Answer) {
        self.shared.change(|cluster| cluster.usual = answer);
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.change_unseen(|cluster| cluster.asked.clone())
    }

    /// The nth request, from 0, once it has come.
    pub async fn nth_request(&self, n: usize) -> Asked {
        let mut ticks = self.shared.tick.subscribe();
        loop {
            if let Some(asked) = self.shared.change_unseen(|cluster| cluster.asked.get(n).cloned()) {
                return asked;
            }
            ticks.changed().await.expect("the server runs as long as its handle");
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    listener: std::net::TcpListener,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
        tokio::select! {
            () = serve::serve(listener, tls, shared) => {}
            _ = stopped => {}
        }
    });
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_file(folder.join("tls.pem")).expect("made by openssl");
    let key = PrivateKeyDer::from_pem_file(folder.join("tls.key")).expect("made by openssl");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("they belong together");
    TlsAcceptor::from(Arc::new(config))
}

/// An authority, and what it signed for the loopback address.
fn certify(folder: &Path) {
    let [ca_key, ca, key, leaf] = ["ca.key", "ca.pem", "tls.key", "tls.pem"]
        .map(|name| folder.join(name).to_str().expect("UTF-8").to_owned());
    let kind =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"];
    openssl(&[&kind[..], &["-keyout", &ca_key, "-out", &ca, "-subj", "/CN=test authority"]].concat());
    let made_by = ["-CA", &ca, "-CAkey", &ca_key, "-addext", "subjectAltName=IP:127.0.0.1"];
    let made =
        ["-keyout", &key, "-out", &leaf, "-subj", "/CN=api", "-addext", "basicConstraints=critical,CA:FALSE"];
    openssl(&[&kind[..], &made_by, &made].concat());
}
