//! What the kernel has in the calling thread's network namespace, and what files hold.
//!
//! Asks iproute2 and nft, not podwire's own netlink code: a test must not believe the one it tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The addresses of one interface.
pub fn addresses_of(interface: &str) -> Vec<IpNet> {
    addresses().into_iter().filter(|(name, _)| name == interface).map(|(_, address)| address).collect()
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

/// What limits interfaces (tc's token buckets), in bits a second.
pub fn limits() -> Vec<u64> {
    let all: Vec<Value> = serde_json::from_str(&run("tc", "-json qdisc show")).expect("JSON");
    let rate = |qdisc: &Value| Some(qdisc["options"]["rate"].as_u64()? * 8);
    let mut rates: Vec<u64> = all.iter().filter(|qdisc| qdisc["kind"] == "tbf").filter_map(rate).collect();
    rates.sort_unstable();
    rates
}

/// What must not change when a call fails: links, addresses, routes, rules and files, a line each.
#[derive(Debug, Clone)]
pub struct Snapshot {
    directories: Vec<PathBuf>,
    lines: BTreeSet<String>,
}

impl Snapshot {
    /// Of the calling thread's network namespace and the files under these directories.
    pub fn take(directories: &[&str]) -> Self {
        let directories = directories.iter().map(PathBuf::from).collect::<Vec<_>>();
        let mut lines = BTreeSet::new();
        lines.extend(links().iter().map(|link| format!("{link:?}")));
        lines.extend(addresses().iter().map(|(name, address)| format!("address {address} of {name}")));
        lines.extend(routes().iter().map(|route| format!("route {route}")));
        lines.extend(run("nft", "list ruleset").lines().map(|rule| format!("rule {rule}")));
        directories.iter().for_each(|directory| describe_tree(directory, &mut lines));
        Self { directories, lines }
    }

    /// What has come (`+`) and gone (`-`) since, in the calling thread's network namespace.
    pub fn changes(&self) -> Vec<String> {
        let directories =
            self.directories.iter().filter_map(|directory| directory.to_str()).collect::<Vec<_>>();
        let now = Self::take(&directories).lines;
        let gone = self.lines.difference(&now).map(|line| format!("- {line}"));
        gone.chain(now.difference(&self.lines).map(|line| format!("+ {line}"))).collect()
    }

    /// Panics if anything has changed.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        let changes = self.changes();
        assert!(changes.is_empty(), "this changed:\n{}", changes.join("\n"));
    }
}

/// Where podwire notes what it refused, and how often a policy failed: a call that changes nothing leaves a line there.
const RECORDS: [&str; 2] = ["faults", "journal"];

/// Path, size and digest of every file; of folders and of what cannot be read, such as a namespace, the path.
fn describe_tree(directory: &Path, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("the directory is the test's own").flatten() {
        let path = entry.path();
        if RECORDS.iter().any(|record| entry.file_name() == *record) {
            continue;
        }
        let kind = entry.file_type().expect("the file system tells file types");
        if kind.is_dir() {
            describe_tree(&path, lines);
        }
        let content = kind.is_file().then(|| fs::read(&path).ok()).flatten();
        let content = content.map(|bytes| (bytes.len(), Sha256::digest(&bytes)));
        lines.insert(format!("file {} {content:x?}", path.display()));
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

/// Gives the machine an interface `eth0` into the network between nodes, with this address and the length of its prefix;
/// the cable's other end is `wire`.
pub fn uplink(address: &str) {
    ip("link add eth0 type veth peer name wire");
    ip(&format!("address add {address} dev eth0"));
    ip("link set eth0 up");
    ip("link set wire up");
}

/// What `ip -json` prints for these arguments.
pub fn json(arguments: &str) -> Vec<Value> {
    let printed = run("ip", &format!("-json {arguments}"));
    if printed.trim().is_empty() {
        return Vec::new();
    }
    serde_json::from_str(&printed).expect("ip -json prints a JSON array")
}

/// What a program prints; panics if it fails. Its arguments are split at blanks.
#[track_caller]
pub fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_ascii_whitespace()).output();
    let Output { status, stdout, stderr } =
        output.unwrap_or_else(|e| panic!("{program}: {e}: scripts/setup installs it"));
    assert!(status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("iproute2 and nft print text")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
