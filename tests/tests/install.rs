//! `podwire install` and `podwire uninstall`, below folders of the tests' own; and that what deploy/ gives podwire is
//! enough for it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use podwire_tests::command::{Podwire, Printed, write_file};
use podwire_tests::kernel;
use podwire_tests::network::V4;
use podwire_tests::plugin::REFERENCE_PLUGINS;
use podwire_tests::{Network, Node, Plugin};
use serde_json::{Value, json};

const DAEMON_SET: &str = include_str!("../../deploy/kubernetes/daemonset.yaml");
const UNIT: &str = include_str!("../../deploy/systemd/podwire-node.service");

/// A node, as far as files go.
struct Ground {
    folder: PathBuf,
    podwire: Podwire,
}

impl Ground {
    /// An empty one, with a plugin to install beside it.
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("install").join(test);
        Self::in_folder(folder)
    }

    fn in_folder(folder: PathBuf) -> Self {
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(folder.join("new")).expect("the folder is the test's own");
        write_file(folder.join("new/podwire-compile"), "compiler");
        let podwire = Podwire::in_folder(&folder.join("node"));
        let ground = Self { folder, podwire };
        ground.offer("one", "");
        ground
    }

    /// Has another plugin to install, which does this before it answers.
    fn offer(&self, version: &str, before: &str) {
        let answer = json!({ "cniVersion": "1.1.0", "supportedVersions": ["0.1.0", "1.1.0"] });
        self.offer_program(format!("#!/bin/sh\n# {version}\n{before}\necho '{answer}'\n").as_bytes());
    }

    /// By another process: a program cannot be run as long as one that this process starts has it open for writing.
    fn offer_program(&self, program: &[u8]) {
        write_file(self.folder.join("new/program"), program);
        kernel::run(
            "install",
            &format!("--mode=755 {} {}", self.path("new/program"), self.path("new/podwire-cni")),
        );
    }

    fn path(&self, path: &str) -> String {
        self.folder.join(path).to_str().expect("the workspace's path is text").to_owned()
    }

    /// The words of a command about this node.
    fn words(&self, verb: &str, more: &[&str]) -> Vec<String> {
        let plugin = (verb == "install").then(|| format!("--plugin={}", self.path("new/podwire-cni")));
        let places =
            [format!("--cni-bin-dir={}", self.path("bin")), format!("--cni-conf-dir={}", self.path("net.d"))];
        let more = more.iter().map(|&word| word.to_owned());
        [verb.to_owned()].into_iter().chain(plugin).chain(places).chain(more).collect()
    }

    fn run(&self, verb: &str, more: &[&str]) -> Printed {
        let words = self.words(verb, more);
        self.podwire.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn install(&self) -> String {
        self.run("install", &[]).done()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.folder.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    fn has(&self, path: &str) -> bool {
        self.folder.join(path).exists()
    }

    fn mode(&self, path: &str) -> u32 {
        let found = fs::metadata(self.folder.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        found.permissions().mode() & 0o7777
    }

    /// Every file of the node's and what it holds, hidden ones too.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = ["bin", "net.d", "node"].map(|name| self.folder.join(name)).to_vec();
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = fs::read(&path).expect("the file is the test's own");
                    files.push((path, content));
                }
            }
        }
        files.sort();
        files
    }
}

const CONFLIST: &str = "net.d/10-podwire.conflist";

#[test]
fn a_second_installation_finds_nothing_to_do() {
    let ground = Ground::new("twice");
    let would = ground.run("install", &["--dry-run"]).done();
    assert_eq!(would.matches("would be done: ").count(), 8, "{would}");
    assert!(!ground.has("bin") && !ground.has("node"), "a dry run makes nothing");

    let said = ground.install();
    assert_eq!(would.replace("would be done: ", ""), said);
    for (path, mode) in [
        ("bin/podwire", 0o755),
        ("bin/podwire-compile", 0o755),
        (CONFLIST, 0o644),
        ("node/run", 0o700),
        ("node/lib", 0o755),
    ] {
        assert_eq!(ground.mode(path), mode, "{path}");
    }
    let list: Value = serde_json::from_str(&ground.text(CONFLIST)).expect("JSON");
    assert_eq!(list["plugins"][0]["type"], "podwire");

    let before = ground.files();
    assert!(ground.install().ends_with("nothing to change\n"));
    ground.offer("two", "");
    let would = ground.run("install", &["--dry-run"]).done();
    assert!(would.contains("(CNI 0.1.0 to 1.1.0) → "), "{would}");
    ground.run("uninstall", &["--dry-run", "--purge"]).done();
    assert_eq!(ground.files(), before);

    ground.run("uninstall", &["--purge"]).done();
    assert_eq!(ground.files(), []);
    assert!(!ground.has("node/lib") && !ground.has("node/run") && !ground.has("node/etc"));
    assert!(ground.run("uninstall", &[]).done().ends_with("nothing to change\n"));
}

#[test]
fn a_node_that_is_mounted_elsewhere_is_found_by_its_runtimes_configuration() {
    let ground = Ground::new("mounted");
    let host = ground.path("host");
    let config = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/usr/lib/cni\"\n";
    fs::create_dir_all(ground.path("host/etc/containerd")).expect("the folder is the test's own");
    write_file(ground.path("host/etc/containerd/config.toml"), config);
    let plugin = ground.path("new/podwire-cni");
    let said = ground.podwire.run(&["install", "--host-root", &host, "--plugin", &plugin]).done();
    assert!(said.contains("as /etc/containerd/config.toml says"), "{said}");
    assert!(ground.has("host/usr/lib/cni/podwire") && ground.has("host/etc/cni/net.d/10-podwire.conflist"));
    ground.podwire.run(&["uninstall", "--host-root", &host]).done();
    assert!(!ground.has("host/usr/lib/cni/podwire"));
}

#[test]
fn what_others_wrote_is_kept() {
    let ground = Ground::new("others");
    ground.install();
    let own = json!({ "name": "own", "plugins": [{ "type": "podwire", "policy": "routed" }] }).to_string();
    write_file(ground.folder.join(CONFLIST), &own);
    write_file(ground.folder.join("net.d/05-other.conflist"), "{}");
    write_file(ground.folder.join("net.d/20-later.conflist"), "{}");

    let refused = ground.run("install", &[]).failed();
    assert!(refused.contains("10-podwire.conflist is not as podwire put it there"), "{refused}");
    let said = ground.run("uninstall", &[]).done();
    assert!(said.contains("10-podwire.conflist was changed since podwire put it there, and stays"), "{said}");
    assert_eq!(ground.text(CONFLIST), own);
    assert!(!ground.has("bin/podwire"));

    let said = ground.run("install", &["--force"]).done();
    assert!(said.contains("05-other.conflist comes before") && !said.contains("20-later"), "{said}");
    assert_ne!(ground.text(CONFLIST), own);
    ground.run("uninstall", &[]).done();
    assert!(!ground.has(CONFLIST) && ground.has("net.d/05-other.conflist"));
}

#[test]
fn what_the_agent_keeps_is_left_to_it() {
    let ground = Ground::new("agent");
    let kept = ground.path("net.d/05-kept.conflist");
    fs::create_dir(ground.folder.join("settings")).expect("the folder is the test's own");
    write_file(ground.folder.join("settings/agent.json"), json!({ "conflist": kept }).to_string());
    let settings = format!("--settings={}", ground.path("settings"));
    ground.run("install", &[&settings]).done();
    assert!(ground.has("node/etc/agent.json") && !ground.has(CONFLIST));
    assert_eq!(ground.mode("node/etc/agent.json"), 0o600);

    let own = format!("--conflist={kept}");
    write_file(&kept, json!({ "name": "pods", "plugins": [{ "type": "podwire" }] }).to_string());
    let refused = ground.run("install", &[&own]).failed();
    assert!(refused.contains("leave one of the two out"), "{refused}");
    // Settings stay unless all shall go.
    ground.run("uninstall", &[]).done();
    assert!(!ground.has("net.d/05-kept.conflist") && ground.has("node/etc/agent.json"));
    ground.run("uninstall", &["--purge"]).done();
    assert!(!ground.has("node/etc"));
}

#[test]
fn a_plugin_that_does_not_answer_replaces_nothing() {
    let ground = Ground::new("unfit");
    ground.install();
    let before = ground.files();
    for problem in ["exit 1", "kill $$", "echo [; exit"] {
        ground.offer("two", problem);
        let refused = ground.run("install", &[]).failed();
        assert!(refused.contains("is no plugin that runs on this machine"), "{refused}");
        assert_eq!(ground.files(), before);
    }
}

#[test]
fn a_killed_installation_is_taken_up_again() {
    let ground = Ground::new("killed");
    let is_killed = |before: &str| {
        // When it is asked where it shall lie, the new one is written and not yet in its place.
        ground.offer("two", "case $0 in */.podwire.new) kill -9 $PPID; esac");
        assert_eq!(ground.run("install", &[]).exit, None);
        assert_eq!(ground.has("bin/podwire"), !before.is_empty());
        assert!(
            ground.has("bin/.podwire.new") && (before.is_empty() || ground.text("bin/podwire") == before)
        );
    };
    is_killed("");
    // On record and never there.
    ground.run("uninstall", &[]).done();
    assert!(!ground.has("bin/podwire-compile"));

    ground.offer("one", "");
    ground.install();
    is_killed(&ground.text("bin/podwire"));
    ground.offer("two", "");
    ground.install();
    assert!(ground.text("bin/podwire").contains("# two"));
    ground.run("uninstall", &["--purge"]).done();
    assert_eq!(ground.files(), []);
}

#[test]
fn calls_never_find_half_a_plugin() {
    let Some(_node) = Node::enter() else { return };
    // In memory: what is tested is not how fast a disk is. A program, not a script, which the kernel does not keep
    // anybody from writing to while it runs.
    let ground = Ground::in_folder("/run/install".into());
    let program = fs::read(Path::new(REFERENCE_PLUGINS).join("loopback")).expect("scripts/setup installs it");
    let offer = |version: u8| ground.offer_program(&[program.as_slice(), &[version]].concat());
    offer(0);
    ground.install();
    let is_over = AtomicBool::new(false);
    let call = || {
        let mut calls = 0;
        while !is_over.load(Ordering::Relaxed) {
            let mut command = Command::new("/run/install/bin/podwire");
            let answer = command.env("CNI_COMMAND", "VERSION").output().expect("it can always be run");
            let answer: Value = serde_json::from_slice(&answer.stdout).expect("it always answers");
            assert!(answer["supportedVersions"].is_array());
            calls += 1;
        }
        calls
    };
    let calls = std::thread::scope(|scope| {
        let callers = [(); 2].map(|()| scope.spawn(call));
        let replaced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for version in 1..8 {
                offer(version);
                assert!(ground.install().contains("bin/podwire: plugin "));
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        replaced.expect("it is replaced each time");
        callers.map(|caller| caller.join().expect("no call failed")).iter().sum::<u32>()
    });
    assert!(calls > 20, "{calls} calls are too few to meet a change");
}

#[test]
fn pods_keep_podwire_on_their_node() {
    let Some(node) = Node::enter() else { return };
    let plugin = Plugin::under_test(&node);
    if plugin.does_not_promise("leases that podwire reads") {
        return;
    }
    let mut ground = Ground::in_folder("/run/install".into());
    ground.podwire = Podwire::on(&node);
    ground.install();
    let (network, pod) = (Network::new("1.1.0", &[V4]), node.pod("web"));
    plugin.add(&network, &pod).result();

    let before = ground.files();
    let refused = ground.run("uninstall", &["--purge"]).failed();
    assert!(
        refused.contains("1 attachment is still wired") && refused.contains("test/container-web"),
        "{refused}"
    );
    assert_eq!(ground.files(), before);

    let said = ground.run("uninstall", &["--force"]).done();
    assert!(said.contains("without the plugin their runtime's DEL fails"), "{said}");
    assert!(!ground.has("bin/podwire") && !ground.has(CONFLIST));
    ground.install();
    plugin.del(&network, &pod).done();
    ground.run("uninstall", &["--purge"]).done();
    assert!(!node.root().join("run").exists() && !node.root().join("lib").exists());
}

/// As root in a container without capabilities but these; what it may not write, it may not.
fn confined<'a>(podwire: &Podwire, capabilities: &'a str) -> Podwire {
    let words: [&'a str; 5] =
        ["setpriv", "--bounding-set", capabilities, "--inh-caps=-all", "--no-new-privs"];
    podwire.clone().by(words)
}

#[test]
fn what_the_manifests_allow_is_enough_and_nothing_of_it_too_much() {
    let Some(node) = Node::enter() else { return };
    assert!(
        DAEMON_SET.contains("add: [NET_ADMIN]\n") && UNIT.contains("CapabilityBoundingSet=CAP_NET_ADMIN\n")
    );
    let (none, net_admin) = ("-all", "-all,+net_admin");
    let podwire = Podwire::on(&node);
    let mut ground = Ground::in_folder("/run/install".into());
    ground.podwire = confined(&podwire, none);
    ground.install();

    let family = ["10.244.0.0/16", "fd00:10:244::/48"];
    podwire.configure(
        "node.json",
        &json!({ "pools": ["10.244.1.0/24", "fd00:10:244:1::/64"], "cluster": family }),
    );
    let switches = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
    switches.iter().for_each(|switch| drop(kernel::run("sysctl", &format!("-qw {switch}=0"))));
    kernel::run("mount", "--bind /proc/sys /proc/sys");
    kernel::run("mount", "-o remount,ro,bind /proc/sys");
    let up = |capabilities| confined(&podwire, capabilities).run(&["node", "up"]);
    let refused = up(net_admin);
    assert!(refused.exit == Some(1) && refused.stderr.contains("Read-only file system"), "{refused}");
    confined(&podwire, net_admin).run(&["node", "down"]).done();

    // As the DaemonSet mounts it.
    fs::create_dir_all("/run/host/proc/sys/net").expect("/run is the test's own");
    kernel::run("mount", "--bind /proc/sys/net /run/host/proc/sys/net");
    kernel::run("mount", "-o remount,rw,bind /run/host/proc/sys/net");
    let refused = up(none);
    assert!(refused.exit == Some(1) && refused.stderr.contains("not permitted"), "{refused}");
    up(net_admin).done();
    assert!(switches.iter().all(|switch| kernel::run("sysctl", &format!("-n {switch}")).trim() == "1"));
    confined(&podwire, net_admin).run(&["node", "status"]).done();
    confined(&podwire, net_admin).run(&["node", "down"]).done();
}
