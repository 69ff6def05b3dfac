//! What the kernel has in the calling thread's network namespace, and what files hold.
//!
//! Asks iproute2 and nft, not podwire's own netlink code: a test must not believe the one it tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::Value;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// `veth`, `bridge`, …; empty for lo.
    pub kind: String,
    /// The bridge it is a port of; empty if none.
    pub master: String,
    /// Its hardware address.
    pub mac: String,
    /// In bytes.
    pub mtu: u64,
    /// Whether it was set up, which it may be without a carrier.
    pub up: bool,
}

/// Runs iproute2 with these arguments, split at blanks; panics if it fails.
pub fn ip(arguments: &str) {
    run("ip", arguments);
}

/// All links.
pub fn links() -> Vec<Link> {
    let link = |value: &Value| Link {
        name: text(&value["ifname"]),
        kind: text(&value["linkinfo"]["info_kind"]),
        master: text(&value["master"]),
        mac: text(&value["address"]),
        mtu: value["mtu"].as_u64().unwrap_or_default(),
        up: value["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "UP")),
    };
    json("-details link show").iter().map(link).collect()
}

/// The link of this name.
pub fn link(name: &str) -> Option<Link> {
    links().into_iter().find(|link| link.name == name)
}

/// How many veth ends there are.
pub fn veths() -> usize {
    links().iter().filter(|link| link.kind == "veth").count()
}

/// Interface and address of every address, without IPv6 link-local ones: those come and go by themselves.
pub fn addresses() -> Vec<(String, IpNet)> {
    let mut all = Vec::new();
    for link in json("address show") {
        for address in link["addr_info"].as_array().into_iter().flatten() {
            if address["family"] == "inet6" && address["scope"] == "link" {
                continue;
            }
            let prefix = format!("{}/{}", text(&address["local"]), address["prefixlen"]);
            all.push((text(&link["ifname"]), prefix.parse().expect("ip prints addresses")));
        }
    }
    all
}

/// Every route of every table, in words, without those that come with IPv6 link-local addresses.
pub fn routes() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for route in json("-4 route show table all").iter().chain(&json("-6 route show table all")) {
        let destination = text(&route["dst"]);
        if destination.starts_with("fe80") || destination.starts_with("ff00") {
            continue;
        }
        let fields = ["type", "gateway", "dev", "protocol", "table", "metric"];
        let words = fields.iter().filter_map(|field| Some(format!(" {field} {}", route.get(field)?)));
        all.insert(destination + &words.collect::<String>());
    }
    all
}

/// What must not change when a call fails. Compared with `==`; its `Debug` form tells what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    links: BTreeSet<Link>,
    addresses: Vec<(String, IpNet)>,
    routes: BTreeSet<String>,
    rules: String,
    files: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

impl Snapshot {
    /// Of the calling thread's network namespace and the files under these directories.
    pub fn take(directories: &[&str]) -> Self {
        let mut files = BTreeMap::new();
        for directory in directories {
            read_tree(Path::new(directory), &mut files);
        }
        let links = links().into_iter().collect();
        let rules = run("nft", "list ruleset");
        Self { links, addresses: addresses(), routes: routes(), rules, files }
    }
}

/// Content by path; none for what cannot be read as a file, such as a directory or a namespace.
fn read_tree(directory: &Path, files: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for entry in fs::read_dir(directory).expect("the directory is the test's own").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("the file system tells file types");
        if kind.is_dir() {
            read_tree(&path, files);
        }
        let content = kind.is_file().then(|| fs::read(&path).ok()).flatten();
        files.insert(path, content);
    }
}

/// Waits until something that the kernel does in its own time has happened; panics if it does not.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "did not come true within 20 seconds: {what}");
        std::thread::yield_now();
    }
}

fn json(arguments: &str) -> Vec<Value> {
    let printed = run("ip", &format!("-json {arguments}"));
    if printed.trim().is_empty() {
        return Vec::new();
    }
    serde_json::from_str(&printed).expect("ip -json prints a JSON array")
}

#[track_caller]
fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_ascii_whitespace()).output();
    let Output { status, stdout, stderr } =
        output.unwrap_or_else(|e| panic!("{program}: {e}: scripts/setup installs it"));
    assert!(status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("iproute2 and nft print text")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
