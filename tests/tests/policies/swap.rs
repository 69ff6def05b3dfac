//! Swapping a policy under load loses nothing, and every lease says which version decided it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fs, thread};

use podwire_tests::{Network, Plugin, Pod, Podwire, kernel};
use serde_json::{Value, json};

use crate::{Bench, built, version_of, write};

/// Calls at once.
const WORKERS: usize = 16;

const SWAPS: usize = 50;

/// Of the optimised plugin, which `PODWIRE_PLUGIN` names, as many as the design promises; any other is so slow that a
/// tenth has to do.
fn calls() -> usize {
    if std::env::var_os("PODWIRE_PLUGIN").is_some() { 10_000 } else { 1_000 }
}

/// Versions that decide, the two kinds in turn. What a lease of each looks like: `bridge` gives an address on the
/// pool's link, `hostile` one by itself.
fn versions(podwire: &Podwire) -> Vec<(String, &'static str)> {
    let bridge = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/bridge.wasm");
    let kinds = [(bridge, "/16"), (built("hostile"), "/32")];
    let install = |number: u8| {
        let (component, length) = &kinds[usize::from(number) % 2];
        let path = marked(component, number);
        let path = path.to_str().expect("text");
        podwire.run(&["policy", "install", path, "--name", "swapped"]).done();
        (version_of(path), *length)
    };
    (0..4).map(install).collect()
}

/// The same component with another digest: a section of that name at its end means nothing to anybody.
pub(crate) fn marked(component: &Path, mark: u8) -> PathBuf {
    let mut bytes = fs::read(component).expect("it is built");
    bytes.extend([0, 3, 1, b'm', mark]);
    let path = PathBuf::from(format!("/run/marked-{mark}.wasm"));
    write(&path, bytes);
    path
}

/// What goes on at once.
struct Load {
    plugin: Plugin,
    leases: PathBuf,
    versions: Vec<(String, &'static str)>,
    /// Pairs of calls that are done.
    done: AtomicUsize,
    pairs: usize,
    /// Swaps that have begun, and that have ended.
    begun: AtomicUsize,
    ended: AtomicUsize,
    failed: AtomicBool,
}

impl Load {
    /// Every swap has calls before and after it, however long it takes.
    fn is_over(&self) -> bool {
        let are_swapped = self.ended.load(Ordering::SeqCst) == SWAPS;
        self.failed.load(Ordering::SeqCst) || (are_swapped && self.done.load(Ordering::SeqCst) >= self.pairs)
    }

    /// Adds and deletes until there are enough, as fast as it goes.
    fn work(&self, worker: usize, pod: &Pod) {
        // One wires its pods; the others are asked for addresses only, so that the kernel is not what all wait for.
        let network = if worker == 0 { whole() } else { addresses_only() };
        for number in 0.. {
            if self.is_over() {
                return;
            }
            let pod = Pod { container_id: format!("c-{worker}-{number}."), ..pod.clone() };
            let since = self.ended.load(Ordering::SeqCst);
            let result = self.plugin.add(&network, &pod).result();
            let until = self.begun.load(Ordering::SeqCst);
            self.assert_recorded(&pod.container_id, &result, since..=until);
            self.plugin.del(&network, &pod).done();
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Panics unless the lease names a version that was active meanwhile, and that decides as was decided.
    fn assert_recorded(&self, container: &str, result: &Value, active: std::ops::RangeInclusive<usize>) {
        let address = result["ips"][0]["address"].as_str().expect("an address");
        let digest = digest_on_record(&self.leases, container, address);
        let mut meanwhile = active.clone().map(|swap| self.after(swap));
        let version = meanwhile.find(|(version, _)| *version == digest);
        let (_, length) =
            version.unwrap_or_else(|| panic!("{container}: {digest} was not active in {active:?}"));
        assert!(address.ends_with(length), "{container}: {address} is not of {digest}");
    }

    /// What decides after so many swaps: one version after the other, and after each the first one again.
    fn after(&self, swap: usize) -> &(String, &'static str) {
        let others = self.versions.len() - 1;
        if swap.is_multiple_of(2) { &self.versions[0] } else { &self.versions[1 + swap / 2 % others] }
    }

    /// Activates a version and takes it back, again and again, while the calls go on, evenly among them.
    fn swap(&self, podwire: &Podwire) {
        for swap in 1..=SWAPS {
            while !self.is_over() && self.done.load(Ordering::SeqCst) < self.pairs * swap / (SWAPS + 1) {
                thread::yield_now();
            }
            assert!(!self.is_over(), "a call failed before the swap number {swap}");
            self.begun.fetch_add(1, Ordering::SeqCst);
            if swap.is_multiple_of(2) {
                podwire.run(&["policy", "rollback", "swapped"]).done();
            } else {
                activate(podwire, &self.after(swap).0);
            }
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn activate(podwire: &Podwire, digest: &str) {
    let version = format!("swapped@{digest}");
    podwire.run(&["policy", "activate", &version, "--net-dir", "/nonexistent"]).done();
}

fn addresses_only() -> Network {
    let mut ipam = own_keys();
    ipam["type"] = json!("podwire");
    Network::new("1.1.0", &[]).with("type", json!("macvlan")).with("ipam", ipam)
}

fn whole() -> Network {
    let Value::Object(keys) = own_keys() else { unreachable!("it is an object") };
    keys.into_iter().fold(Network::new("1.1.0", &[]), |network, (key, value)| network.with(&key, value))
}

fn own_keys() -> Value {
    json!({ "policy": "swapped", "pools": ["10.244.0.0/16"], "cluster": ["10.244.0.0/16"], "config": {} })
}

/// As the database has it: its rows are JSON, which begin with the container and have the digest, then the address.
/// Others write meanwhile, and leave parts of rows: one that begins and ends as it should is whole.
pub(crate) fn digest_on_record(database: &Path, container: &str, address: &str) -> String {
    let begin = format!("\"container_id\":\"{container}\"");
    let end = format!("\"prefix\":\"{address}\"");
    let mut found = None;
    kernel::eventually("the lease is on record", || {
        let bytes = fs::read(database).expect("an ADD was there");
        let text = String::from_utf8_lossy(&bytes);
        let rows = text.split(&begin).skip(1).filter_map(|rest| rest.split("\"container_id\":").next());
        let mut whole = rows.filter_map(|row| row.split_once("\"digest\":\"")?.1.split_once(&end));
        found = whole.next().and_then(|(digest, _)| Some(digest.split_once('"')?.0.to_owned()));
        found.is_some()
    });
    found.expect("it was waited for")
}

#[test]
fn a_swap_under_load_loses_nothing() {
    let Some(bench) = Bench::empty() else { return };
    let versions = versions(&bench.podwire);
    activate(&bench.podwire, &versions[0].0);
    bench.plugin.add(&whole(), &bench.node.pod("first")).result();
    let load = Load {
        plugin: bench.plugin.clone(),
        leases: bench.database(),
        versions,
        done: AtomicUsize::new(0),
        pairs: calls() / 2,
        begun: AtomicUsize::new(0),
        ended: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
    };
    let pods: Vec<_> = (0..WORKERS).map(|worker| bench.node.pod(&format!("worker-{worker}"))).collect();
    thread::scope(|scope| {
        for (worker, pod) in pods.iter().enumerate() {
            let load = &load;
            scope.spawn(move || {
                let told = Told(&load.failed);
                load.work(worker, pod);
                std::mem::forget(told);
            });
        }
        let told = Told(&load.failed);
        load.swap(&bench.podwire);
        std::mem::forget(told);
    });
    assert_eq!(load.ended.into_inner(), SWAPS);
}

/// Tells the others to end if its thread panics.
struct Told<'a>(&'a AtomicBool);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
