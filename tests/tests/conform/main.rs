//! `podwire conform`: what it says of podwire and of Debian's plugins, that each of its checks can fail, and that
//! nothing of it stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use podwire_tests::command::{Podwire, Printed, Processes, children, kill};
use podwire_tests::kernel::eventually;
use podwire_tests::network::V4;
use podwire_tests::plugin::REFERENCE_PLUGINS;
use podwire_tests::{Network, Node, Plugin};
use serde_json::Value;

mod faults;

/// A machine on which the suite is run.
struct Bench {
    podwire: Podwire,
    plugin: PathBuf,
    node: Node,
}

/// A report: what became of each check.
struct Report {
    outcomes: BTreeMap<String, (String, String)>,
    exit: Option<i32>,
}

impl Bench {
    fn new() -> Option<Self> {
        let node = Node::enter()?;
        // The plugins of a list are also looked for here.
        let podwire = Podwire::on(&node).by(["env", &format!("CNI_PATH={REFERENCE_PLUGINS}")]);
        let plugin = Plugin::under_test(&node);
        // Compiles the policy, which each check's node would do anew: what is written there is forgotten.
        let network = Network::new("1.1.0", &[V4]);
        plugin.run(&plugin.verb("STATUS").stdin(network.configuration(&plugin).to_string())).done();
        Some(Self { podwire, plugin: plugin.path().to_owned(), node })
    }

    /// Under the name by which configurations call it.
    fn own_plugin(&self) -> PathBuf {
        let path = folder("own").join("podwire");
        fs::remove_file(&path).ok();
        symlink(&self.plugin, &path).expect("the folder is the test's own");
        path
    }

    fn conform(&self, plugin: &Path, list: &str, more: &[&str]) -> Printed {
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conform").join(list);
        let (plugin, list) = (plugin.to_str().expect("text"), list.to_str().expect("text").to_owned());
        self.podwire.run(&[&["conform", "--plugin", plugin, "--config", &list], more].concat())
    }

    fn report(&self, plugin: &Path, list: &str, only: &str) -> Report {
        let more: &[&str] = if only.is_empty() { &[] } else { &["--only", only] };
        let printed = self.conform(plugin, list, &[&["--report", "json"], more].concat());
        let report: Value =
            serde_json::from_str(&printed.stdout).unwrap_or_else(|e| panic!("{e}: {printed}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let rows = report["checks"].as_array().expect("a report has checks").iter();
        let outcomes = rows.map(|row| (text(&row["id"]), (text(&row["outcome"]), row.to_string())));
        Report { outcomes: outcomes.collect(), exit: printed.exit }
    }
}

/// A folder of the test's own that the suite can see, as it cannot see /run.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conform").join(name);
    fs::create_dir_all(&path).expect("the target folder is writable");
    path
}

impl Report {
    fn of(&self, outcome: &str) -> BTreeSet<&str> {
        self.outcomes.iter().filter(|(_, (it, _))| it == outcome).map(|(id, _)| id.as_str()).collect()
    }

    /// Panics unless exactly these checks failed, and those that did not apply say one of these reasons.
    #[track_caller]
    fn assert_fails(&self, expected: &BTreeSet<&str>, reasons: &[&str]) {
        assert_eq!(&self.of("failed"), expected, "{:#?}", self.outcomes);
        assert_eq!(self.of("broken"), BTreeSet::new(), "{:#?}", self.outcomes);
        for id in self.of("not-applicable") {
            let (_, row) = &self.outcomes[id];
            assert!(reasons.iter().any(|reason| row.contains(reason)), "{row}");
        }
    }
}

/// docs/conformance.md.
fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The first cells of the tables below a heading of that page, up to the next one.
fn numbers_below<'a>(page: &'a str, heading: &str) -> BTreeSet<&'a str> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the page has that heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.filter(|cell| cell.contains('.')).collect()
}

#[test]
fn podwire_fails_what_its_page_says() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.node.snapshot();
    let report = bench.report(&bench.own_plugin(), "podwire.conflist", "");
    before.assert_unchanged();
    report.assert_fails(&numbers_below(&page(), "podwire"), &[]);
    assert_eq!(report.exit, Some(0), "no requirement of the level \"must\" is broken");
}

#[test]
fn debians_bridge_fails_what_its_page_says() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.node.snapshot();
    let report = bench.report(&Path::new(REFERENCE_PLUGINS).join("bridge"), "bridge.conflist", "");
    before.assert_unchanged();
    let reasons = ["came with 1.1.0", "the plugin does not speak 1.1.0"];
    report.assert_fails(&numbers_below(&page(), "Debian's `bridge` and `host-local`"), &reasons);
    assert_eq!(report.exit, Some(1), "a requirement of the level \"must\" is broken");
}

#[test]
fn the_page_lists_every_check() {
    let Some(bench) = Bench::new() else { return };
    let listed = bench.podwire.clone().as_nobody().run(&["conform", "--list", "--report", "json"]).done();
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    let page = page();
    for check in &listed {
        let cell = |key: &str| check[key].as_str().expect("text").to_owned();
        let row = format!("| {} | {} | {} |", cell("id"), cell("level"), cell("title"));
        assert!(page.contains(&row), "{row}");
    }
    assert_eq!(numbers_below(&page, "The checks").len(), listed.len(), "the page lists others too");
}

/// Installs a plugin that hands its calls to another one, after a script that may answer otherwise.
fn broken_plugin(number: usize, real: &Path, fault: &str) -> PathBuf {
    let path = folder(&format!("fault{number}")).join("podwire");
    let script = faults::PREAMBLE.replace("REAL", real.to_str().expect("text")) + fault + faults::END;
    // Another test's child may hold it open for writing while it forks, and it could not be executed then.
    let new = path.with_extension("new");
    File::create(&new)
        .and_then(|mut file| file.write_all(script.as_bytes()))
        .expect("the folder is writable");
    fs::set_permissions(&new, Permissions::from_mode(0o755)).expect("it is the test's own");
    fs::rename(&new, &path).expect("it is the test's own");
    path
}

#[test]
fn every_check_can_fail() {
    let Some(bench) = Bench::new() else { return };
    // Most of the time is the kernel's, which takes namespaces apart.
    std::thread::scope(|scope| {
        for (turn, faults) in faults::FAULTS.chunks(8).enumerate() {
            scope.spawn(move || {
                let Some(bench) = Bench::new() else { return };
                for (number, (fault, expected)) in faults.iter().enumerate() {
                    let plugin = broken_plugin(8 * turn + number, &bench.plugin, fault);
                    assert_only_these_fail(&bench, &plugin, expected, fault);
                }
            });
        }
    });
    let shown: BTreeSet<_> = faults::FAULTS.iter().flat_map(|(_, expected)| expected.split(',')).collect();
    let whole = bench.report(&broken_plugin(300, &bench.plugin, ""), "podwire.conflist", "");
    let never: Vec<_> = whole.of("passed").difference(&shown).copied().map(str::to_owned).collect();
    assert!(never.is_empty(), "no fault shows that these can fail: {never:?}");
}

#[track_caller]
fn assert_only_these_fail(bench: &Bench, plugin: &Path, expected: &str, fault: &str) {
    let report = bench.report(plugin, "podwire.conflist", expected);
    let expected: BTreeSet<_> = expected.split(',').collect();
    assert_eq!(report.of("failed"), expected, "{fault}\n{:#?}", report.outcomes);
}

#[test]
fn reports_are_well_formed_and_exit_codes_follow_the_level() {
    let Some(bench) = Bench::new() else { return };
    // A recommendation is not kept, and a check does not apply; the calls in the report have what XML must not.
    let fault = r#"
is CHECK && exit
is VERSION && { echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}'; exit; }"#;
    let plugin = broken_plugin(200, &bench.plugin, fault);
    let of = |more: &[&str]| {
        bench.conform(&plugin, "podwire.conflist", &[&["--only", "S2-10.1,S2-6,S5-1.1"], more].concat())
    };
    let table = of(&[]);
    assert_eq!(table.exit, Some(0), "{table}");
    assert!(table.stdout.contains("FAILED  S2-10.1"), "{table}");
    assert!(
        table
            .stdout
            .ends_with("6 passed; failed: 0 must, 1 should, 0 convention; 1 not applicable; 0 broken\n")
    );
    let strict = of(&["--strict", "--report", "junit"]);
    assert_eq!(strict.exit, Some(1), "{strict}");
    let names = elements(&strict.stdout);
    let count = |name: &str| names.iter().filter(|it| *it == name).count();
    assert_eq!(
        (count("testcase"), count("failure"), count("skipped"), count("error")),
        (8, 1, 1, 0),
        "{strict}"
    );
}

/// The names of a document's elements; panics unless every one is closed in its place and every `&` is a reference.
fn elements(document: &str) -> Vec<String> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let body = document.split_once("?>").expect("an XML declaration").1;
    for part in body.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag has an end");
        let bare = |text: &str| {
            text.split('&').skip(1).any(|it| !it.split_once(';').is_some_and(|(name, _)| is_reference(name)))
        };
        assert!(!bare(tag) && !bare(text), "{part}");
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).expect("a tag has a name").to_owned();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{part}");
            continue;
        }
        all.push(name.clone());
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    all
}

fn is_reference(name: &str) -> bool {
    ["amp", "lt", "gt", "quot", "#10", "#9"].contains(&name)
}

#[test]
fn a_plugin_that_does_not_end_is_killed_and_fails() {
    let Some(bench) = Bench::new() else { return };
    let fault = "is DEL && exec sleep 1000";
    let plugin = broken_plugin(201, &bench.plugin, fault);
    let printed = bench.conform(&plugin, "podwire.conflist", &["--only", "S2-6.2", "--timeout", "1"]);
    assert_eq!(printed.exit, Some(1), "{printed}");
    assert!(printed.stdout.contains("it did not end within 1 s"), "{printed}");
}

#[test]
fn a_plugin_may_write_where_state_lies_and_nowhere_else_and_none_of_it_stays() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.node.snapshot();
    let written = ["/run/podwire-test-trace", "/etc/podwire-test-trace", "/var/lib/cni/podwire-test-trace"];
    let written = [&written[..], &["/var/podwire-test-trace", "/tmp/podwire-test-trace"]].concat();
    bench.node.cover("/mnt");
    let elsewhere = Path::new("/mnt/podwire-test-trace");
    let fault = format!(
        "for file in {}; do touch \"$file\" || refuse 5; done\ntouch {} 2>&- && refuse 6\nanother_link\n",
        written.join(" "),
        elsewhere.display()
    );
    let plugin = broken_plugin(203, &bench.plugin, &fault);
    let report = bench.report(&plugin, "podwire.conflist", "S2-6.2");
    assert_eq!(report.of("passed").len(), 1, "{:#?}", report.outcomes);
    before.assert_unchanged();
    let stays = written.iter().map(Path::new).chain([elsewhere]).find(|path| path.exists());
    assert_eq!(stays, None);
}

#[test]
fn nothing_is_left_when_the_suite_is_killed() {
    let Some(bench) = Bench::new() else { return };
    let processes = Processes::new();
    let before = bench.node.snapshot();
    let fault = "is DEL && exec sleep 1000";
    let plugin = broken_plugin(202, &bench.plugin, fault);
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conform/podwire.conflist");
    let (plugin, list) = (plugin.to_str().expect("text"), list.to_str().expect("text"));
    let podwire = Podwire::on(&bench.node).inside(&processes);
    let started = podwire.start(&["conform", "--plugin", plugin, "--config", list, "--only", "S2-6.2"]);
    // nsenter starts podwire in the other process namespace.
    let command = || children(started.id()).first().copied();
    let hangs = || processes_below(command()).iter().any(|process| name_of(*process) == "sleep");
    eventually("the plugin hangs", hangs);
    // They are in a process namespace of the suite's own.
    let below = processes_below(command());
    kill(command().expect("it runs"));
    eventually("no process is left", || !below.iter().any(|process| is_alive(*process)));
    assert_eq!(processes.others(), Vec::<u32>::new());
    started.finish();
    before.assert_unchanged();
}

/// Those that a process's threads started, and theirs. Any may end while it is looked at.
fn processes_below(process: Option<u32>) -> Vec<u32> {
    let threads = process.and_then(|process| fs::read_dir(format!("/proc/{process}/task")).ok());
    let children = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let texts: Vec<String> = threads.into_iter().flatten().flatten().filter_map(children).collect();
    let own = texts.iter().flat_map(|text| text.split_ascii_whitespace()).filter_map(|pid| pid.parse().ok());
    own.flat_map(|child| [vec![child], processes_below(Some(child))].concat()).collect()
}

/// One that has ended stays visible until its parent asks how, which a namespace's first process need not.
fn is_alive(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn name_of(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim_end().to_owned()
}

#[test]
fn what_cannot_be_checked_is_told() {
    let Some(bench) = Bench::new() else { return };
    let own = bench.own_plugin();
    let unknown = bench.conform(&own, "podwire.conflist", &["--only", "S2-6.1,S9-9"]).failed();
    assert!(unknown.contains(r#""S9-9""#) && unknown.contains("--list"), "{unknown}");
    let other = bench.conform(&own, "bridge.conflist", &[]).failed();
    assert!(other.contains(r#"no plugin of the type "podwire""#), "{other}");
    let missing = bench.conform(Path::new("/nowhere/podwire"), "podwire.conflist", &[]).failed();
    assert!(missing.contains("/nowhere/podwire is not there"), "{missing}");
    let nobody = bench.podwire.clone().as_nobody();
    let refused = nobody.run(&["conform", "--plugin", "/bin/true", "--config", "/dev/null"]).failed();
    assert!(refused.contains("run this as root"), "{refused}");
}
