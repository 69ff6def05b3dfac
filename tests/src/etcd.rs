//! A real etcd of the test's own: Debian's etcd-server on the node's loopback, its data in memory.
//!
//! Owns the process, its files and certificates. Knows nothing of what is kept there.

use std::ffi::OsStr;
use std::net::TcpStream;
use std::path::Path;

use crate::node::Node;
use crate::registry::certificate;
use crate::supervisor::Supervisor;

/// Everything of etcd's lies here: what it writes is no trace of podwire's.
const FOLDER: &str = "/mnt";

const PORT: u16 = 2379;

/// One member by itself elects itself at once.
const ALONE: &str = "etcd --name test --data-dir /mnt/etcd --heartbeat-interval 10 --election-timeout 100 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster test=http://127.0.0.1:2380";

/// Both sides show certificates.
const TLS: &str =
    "--cert-file /mnt/etcd.pem --key-file /mnt/etcd.key --client-cert-auth --trusted-ca-file /mnt/ca.pem";

/// An etcd that ends with the test.
pub struct Etcd {
    supervisor: Option<Supervisor>,
    words: Vec<String>,
    url: String,
}

impl Etcd {
    /// For everybody, without TLS.
    pub fn open(node: &Node) -> Self {
        node.cover(FOLDER);
        Self::new("http", "")
    }

    /// For those who have a certificate of its authority: `/mnt/node.pem`, made by `/mnt/ca.pem`. `/mnt/stranger.pem`
    /// vouches for nobody but itself.
    pub fn guarded(node: &Node) -> Self {
        node.cover(FOLDER);
        certify();
        Self::new("https", TLS)
    }

    fn new(scheme: &str, more: &str) -> Self {
        let url = format!("{scheme}://127.0.0.1:{PORT}");
        let clients = format!("--listen-client-urls {url} --advertise-client-urls {url}");
        let words = [ALONE, &clients, more].join(" ");
        let words = words.split_ascii_whitespace().map(str::to_owned).collect();
        let mut etcd = Self { supervisor: None, words, url };
        etcd.start();
        etcd
    }

    /// Starts it, with the data that it had.
    pub fn start(&mut self) {
        let words: Vec<_> = self.words.iter().map(OsStr::new).collect();
        let mut supervisor = Supervisor::start(Path::new("/mnt/log"), &words, &[]);
        while TcpStream::connect(("127.0.0.1", PORT)).is_err() {
            supervisor.assert_running();
            std::thread::yield_now();
        }
        self.supervisor = Some(supervisor);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.supervisor = None;
    }

    /// Where it is asked.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// An authority with certificates for etcd and a node, and a stranger's.
fn certify() {
    certificate(&["-keyout", "/mnt/ca.key", "-out", "/mnt/ca.pem", "-subj", "/CN=test authority"]);
    certificate(&["-keyout", "/mnt/stranger.key", "-out", "/mnt/stranger.pem", "-subj", "/CN=stranger"]);
    for name in ["etcd", "node"] {
        let (key, file, subject) =
            (format!("/mnt/{name}.key"), format!("/mnt/{name}.pem"), format!("/CN={name}"));
        let leaf = [
            "-keyout",
            &key,
            "-out",
            &file,
            "-subj",
            &subject,
            "-CA",
            "/mnt/ca.pem",
            "-CAkey",
            "/mnt/ca.key",
        ];
        let of = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
        certificate(&[&leaf[..], &of].concat());
    }
}
