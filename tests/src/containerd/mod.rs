//! A containerd of the test's own: Debian's, in the node's namespaces and a process namespace, with every
//! folder in the node's memory, and with a network that calls the plugin under test.
//!
//! This is how a kubelet reaches a plugin: kubelet → CRI → containerd → libcni → plugin.

mod cri;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command::write_file;
use crate::image;
use crate::kernel::eventually;
use crate::node::{Namespace, Node};
use crate::plugin::{Plugin, REFERENCE_PLUGINS};
use crate::supervisor::Supervisor;

pub use cri::{Client, Execution, Sandbox, Wishes};

/// Everything of this containerd lies here, in the node's private /run.
const HOME: &str = "/run/containerd-test";
/// The network configuration, in the home.
const LIST: &str = "conf/10-pods.conflist";
/// The reference plugins that lists of tests name, and the one that containerd calls by itself.
const NEIGHBOURS: [&str; 5] = ["loopback", "bridge", "host-local", "portmap", "bandwidth"];

/// A running containerd; dropped, it and all that it started are gone.
pub struct Containerd {
    supervisor: Supervisor,
}

impl Containerd {
    /// Starts it with this configuration list, imports the image and waits until it calls itself ready, network
    /// included.
    pub fn start(node: &Node, plugin: &Plugin, list: &Value) -> Self {
        prepare(plugin, list);
        let configuration = in_home("config.toml");
        let words = ["containerd".as_ref(), "--config".as_ref(), configuration.as_os_str()];
        let environment = [("PODWIRE_ROOT", node.root().as_os_str())];
        let mut containerd = Self { supervisor: Supervisor::start(&in_home("log"), &words, &environment) };
        containerd.wait_until_ready();
        containerd
    }

    /// A client of its CRI.
    pub fn client(&self) -> Client {
        Client::connect(&in_home("socket"), self.supervisor.cgroup())
    }

    /// Puts another list in its configuration's place, as an operator does while pods run, and waits until containerd
    /// has noticed by itself.
    pub fn change_list(&self, list: &Value) {
        let text = list.to_string();
        write_file(in_home("conf/new"), &text);
        fs::rename(in_home("conf/new"), in_home(LIST)).expect("/run is the test's own");
        let client = self.client();
        eventually("containerd has read the new list", || client.list().is_ok_and(|now| now == text));
    }

    /// A sandbox's network namespace, as seen from the test: containerd binds it in its own mount namespace.
    pub fn namespace(&self, sandbox: &Sandbox) -> Namespace {
        Namespace::at(self.supervisor.path(&sandbox.namespace))
    }

    fn wait_until_ready(&mut self) {
        eventually("containerd's socket answers", || {
            self.supervisor.assert_running();
            std::os::unix::net::UnixStream::connect(in_home("socket")).is_ok()
        });
        let client = self.client();
        eventually("containerd is ready, its network too", || {
            self.supervisor.assert_running();
            client.is_ready().unwrap_or(false)
        });
        import_image();
        eventually("the image is known to the CRI", || client.has_image(image::NAME).unwrap_or(false));
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            writeln!(io::stderr(), "containerd's log:\n{}", self.supervisor.log()).ok();
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
    for name in NEIGHBOURS.into_iter().filter(|name| *name != own) {
        link_plugin(&Path::new(REFERENCE_PLUGINS).join(name), name);
    }
    write_file(in_home(LIST), list.to_string());
    write_file(in_home("config.toml"), configuration());
    write_file(in_home("image.tar"), image::archive());
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

fn in_home(path: &str) -> PathBuf {
    Path::new(HOME).join(path)
}
