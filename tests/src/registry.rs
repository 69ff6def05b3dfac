//! A real registry of the test's own: Debian's docker-registry on the node's loopback.
//!
//! Owns the process, its files and its certificate; speaks just enough HTTP to put there what podwire would not.
//! Knows nothing of policies.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::mount_bind;
use serde_json::Value;

use crate::command::write_file;
use crate::node::Node;
use crate::supervisor::Supervisor;

/// Everything of the registry's lies here: what it writes is no trace of podwire's.
const FOLDER: &str = "/mnt";

/// A name that stands for the loopback address on this node, and is no address: so it is asked with TLS.
const NAME: &str = "registry.test";

const PORT: u16 = 5000;

/// Whom a guarded registry lets in.
pub const USER: &str = "pusher";
/// With this password.
pub const PASSWORD: &str = "sesame";
/// Its line of htpasswd: bcrypt, the only form that the registry reads.
const HTPASSWD: &str = "pusher:$2y$04$N.WE564jJzpvsYnK/vSfkeoKocpfOA64gB23fGPA/bzHewoE0t1ru\n";

/// Without a name and a log of its own in other places than this.
const CONFIG: &str =
    "version: 0.1\nlog: { level: warn }\nstorage:\n  filesystem: { rootdirectory: /mnt/registry }\n";

/// A registry that ends with the test.
pub struct Registry {
    _supervisor: Supervisor,
    host: String,
}

impl Registry {
    /// For everybody, without TLS, at a loopback address.
    pub fn open(node: &Node) -> Self {
        node.cover(FOLDER);
        Self::start("127.0.0.1", &format!("{CONFIG}http: {{ addr: \"127.0.0.1:{PORT}\" }}\n"))
    }

    /// For one user, with TLS, by a name.
    pub fn guarded(node: &Node) -> Self {
        node.cover(FOLDER);
        write_file("/mnt/hosts", format!("127.0.0.1 localhost {NAME}\n"));
        mount_bind("/mnt/hosts", "/etc/hosts").expect("the node's mounts are its own");
        write_file("/mnt/htpasswd", HTPASSWD);
        certify();
        let tls = "tls: { certificate: /mnt/tls.pem, key: /mnt/tls.key }";
        let auth = "auth:\n  htpasswd: { realm: test, path: /mnt/htpasswd }\n";
        Self::start(NAME, &format!("{CONFIG}http:\n  addr: \"127.0.0.1:{PORT}\"\n  {tls}\n{auth}"))
    }

    fn start(host: &str, config: &str) -> Self {
        write_file("/mnt/config.yml", config);
        let words = ["docker-registry", "serve", "/mnt/config.yml"].map(OsStr::new);
        let mut supervisor = Supervisor::start(Path::new("/mnt/log"), &words, &[]);
        while TcpStream::connect(("127.0.0.1", PORT)).is_err() {
            supervisor.assert_running();
            std::thread::yield_now();
        }
        Self { _supervisor: supervisor, host: format!("{host}:{PORT}") }
    }

    /// `HOST:PORT`
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What names an artifact of this registry.
    pub fn reference(&self, artifact: &str) -> String {
        format!("oci://{}/{artifact}", self.host)
    }

    /// Who made the certificate of a guarded registry.
    pub fn authority(&self) -> &str {
        "/mnt/ca.pem"
    }

    /// A manifest of an open registry.
    pub fn manifest(&self, repository: &str, tag: &str) -> Value {
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json\r\n";
        let answer = ask(&format!("GET /v2/{repository}/manifests/{tag}"), accept, "");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }

    /// Makes a tag of an open registry stand for this manifest.
    #[track_caller]
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &Value) {
        let media_type = manifest["mediaType"].as_str().expect("a test writes manifests with their type");
        let header = format!("Content-Type: {media_type}\r\n");
        let answer = ask(&format!("PUT /v2/{repository}/manifests/{tag}"), &header, &manifest.to_string());
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }

    /// The file in which the registry keeps a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a test writes digests right");
        let blobs = Path::new(FOLDER).join("registry/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

fn ask(what: &str, header: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", PORT)).expect("the registry runs");
    let length = body.len();
    let fixed = format!("Host: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n");
    write!(stream, "{what} HTTP/1.1\r\n{fixed}{header}\r\n{body}").expect("the registry reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the registry answers in text");
    answer
}

/// An authority, and a certificate of it for the registry's name.
fn certify() {
    let authority = ["-keyout", "/mnt/ca.key", "-out", "/mnt/ca.pem", "-subj", "/CN=test authority"];
    certificate(&authority);
    let name = format!("subjectAltName=DNS:{NAME}");
    let leaf = ["-keyout", "/mnt/tls.key", "-out", "/mnt/tls.pem", "-subj", "/CN=registry"];
    let made_by = ["-CA", "/mnt/ca.pem", "-CAkey", "/mnt/ca.key", "-addext", &name];
    certificate(&[&leaf[..], &made_by, &["-addext", "basicConstraints=critical,CA:FALSE"]].concat());
}

/// A certificate that its own key signs, or what the arguments say.
pub(crate) fn certificate(arguments: &[&str]) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"];
    openssl(&[&["req", "-x509"], &key[..], arguments].concat());
}

/// Runs openssl: standard output.
#[track_caller]
pub fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Makes a key that signs, as openssl makes them, and its public key in PEM.
pub fn key(path: &str, kind: &[&str]) -> String {
    openssl(&[&["genpkey", "-out", path, "-algorithm"], kind].concat());
    let public = openssl(&["pkey", "-in", path, "-pubout"]);
    String::from_utf8(public).expect("PEM is text")
}
