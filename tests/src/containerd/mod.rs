//! A containerd of the test's own: Debian's, in the node's namespaces and a process namespace, with every
//! folder in the node's memory, and with a network that calls the plugin under test.
//!
//! This is how a kubelet reaches a plugin: kubelet → CRI → containerd → libcni → plugin.

mod cri;
mod image;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::kernel::eventually;
use crate::node::{Namespace, Node};
use crate::plugin::{Plugin, REFERENCE_PLUGINS};

pub use cri::{Client, Execution, Sandbox};

/// Everything of this containerd lies here, in the node's private /run.
const HOME: &str = "/run/containerd-test";
const SUPERVISOR: &str = include_str!("supervise.sh");

/// Control groups are the one thing that no namespace keeps apart: each containerd has its own.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running containerd; dropped, it and all that it started are gone.
pub struct Containerd {
    supervisor: Child,
    cgroup: String,
}

impl Containerd {
    /// Starts it with this configuration list, imports the image and waits until it calls itself ready, network
    /// included.
    pub fn start(node: &Node, plugin: &Plugin, list: &Value) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("podwire-test-{}-{number}", std::process::id());
        prepare(plugin, list);
        let log = File::create(in_home("log")).expect("/run is the test's own");
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervise", &cgroup, "containerd", "--config"])
            .arg(in_home("config.toml"))
            .env("PODWIRE_ROOT", node.root())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("sh is there");
        let mut containerd = Self { supervisor, cgroup };
        containerd.wait_until_ready();
        containerd
    }

    /// A client of its CRI.
    pub fn client(&self) -> Client {
        Client::connect(&in_home("socket"), &self.cgroup)
    }

    /// A sandbox's network namespace, as seen from the test: containerd binds it in its own mount namespace.
    pub fn namespace(&self, sandbox: &Sandbox) -> Namespace {
        let init = first_child(first_child(self.supervisor.id()));
        let inside = sandbox.namespace.strip_prefix("/").expect("containerd gives absolute paths");
        Namespace::at(Path::new("/proc").join(init.to_string()).join("root").join(inside))
    }

    fn wait_until_ready(&mut self) {
        eventually("containerd's socket answers", || {
            self.assert_running();
            std::os::unix::net::UnixStream::connect(in_home("socket")).is_ok()
        });
        let client = self.client();
        eventually("containerd is ready, its network too", || {
            self.assert_running();
            client.is_ready().unwrap_or(false)
        });
        import_image();
        eventually("the image is known to the CRI", || client.has_image(image::NAME).unwrap_or(false));
    }

    fn assert_running(&mut self) {
        let ended = self.supervisor.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "containerd ended:\n{}", log());
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        self.supervisor.wait().ok();
        if std::thread::panicking() {
            writeln!(io::stderr(), "containerd's log:\n{}", log()).ok();
        }
    }
}

/// Folders, configuration, network configuration, plugins and image.
fn prepare(plugin: &Plugin, list: &Value) {
    for folder in ["bin", "conf"] {
        fs::create_dir_all(in_home(folder)).expect("/run is the test's own");
    }
    let own = if plugin.is_reference() { "bridge" } else { "podwire" };
    link_plugin(plugin.path(), own);
    for name in ["loopback", "host-local"] {
        link_plugin(&Path::new(REFERENCE_PLUGINS).join(name), name);
    }
    write(&in_home("conf/10-pods.conflist"), list.to_string().as_bytes());
    write(&in_home("config.toml"), configuration().as_bytes());
    write(&in_home("image.tar"), &image::archive());
}

/// Linked, not copied: what a plugin finds beside its own file stays beside it.
fn link_plugin(file: &Path, name: &str) {
    symlink(file, in_home("bin").join(name)).expect("/run is the test's own");
}

/// Every path moved into the home. Without CAP_SYS_RESOURCE, which build machines often lack, a container's
/// chance to be killed cannot be set below containerd's own. The plugins left out need devices or file systems
/// that a test does not have, or write outside the home. Namespaces are not to lie in /var/run: that link would
/// lead from /proc/PID/root back into the test's own mounts.
fn configuration() -> String {
    format!(
        r#"
version = 2
root = "{HOME}/root"
state = "{HOME}/state"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[debug]
level = "warn"
[grpc]
address = "{HOME}/socket"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
sandbox_image = "{image}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{HOME}/bin"
conf_dir = "{HOME}/conf"
"#,
        image = image::NAME
    )
}

fn import_image() {
    let output = Command::new("ctr")
        .args(["--namespace", "k8s.io", "--address"])
        .arg(in_home("socket"))
        .args(["images", "import", "--snapshotter", "native"])
        .arg(in_home("image.tar"))
        .output()
        .expect("ctr comes with containerd");
    assert!(output.status.success(), "ctr: {}", String::from_utf8_lossy(&output.stderr));
}

/// The child that a process started first: the supervisor's is unshare, unshare's is containerd.
fn first_child(process: u32) -> u32 {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let first = children.split_ascii_whitespace().next().and_then(|child| child.parse().ok());
    first.unwrap_or_else(|| panic!("{path}: no child in {children:?}"))
}

fn in_home(path: &str) -> PathBuf {
    Path::new(HOME).join(path)
}

fn log() -> String {
    fs::read_to_string(in_home("log")).unwrap_or_default()
}

fn write(path: &Path, bytes: &[u8]) {
    let written = File::create(path).and_then(|mut file| file.write_all(bytes));
    written.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
