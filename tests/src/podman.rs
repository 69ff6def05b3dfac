//! A podman of the test's own: Debian's, without a daemon, in the node's namespaces and a process namespace, with every
//! folder in the node's memory, and with the CNI network `pods` in the place of its own.
//!
//! Way of a container to its plugin: podman → libcni → plugin.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::command::write_file;
use crate::image;
use crate::kernel::eventually;
use crate::node::{Namespace, Node};
use crate::plugin::{Plugin, REFERENCE_PLUGINS};
use crate::supervisor::Supervisor;
use crate::traffic::Wired;

/// Everything of this podman lies here, in the node's private /run.
const HOME: &str = "/run/podman-test";
/// Waits for orphans, as the first process of a machine does: podman asks whether those that it left have ended.
const FIRST: &str = "echo up; sleep infinity & wait";

/// Whatever it started is gone when it is dropped.
pub struct Podman {
    supervisor: Supervisor,
}

impl Podman {
    /// With this configuration list, and with the image.
    pub fn start(node: &Node, plugin: &Plugin, list: &Value) -> Self {
        for folder in ["net", "tmp"] {
            fs::create_dir_all(in_home(folder)).expect("/run is the test's own");
        }
        write_file(in_home("containers.conf"), configuration(node, plugin));
        write_file(in_home("image.tar"), image::archive());
        let mut supervisor = Supervisor::start(&in_home("log"), &["sh", "-c", FIRST].map(OsStr::new), &[]);
        eventually("the first process runs", || {
            supervisor.assert_running();
            supervisor.log().contains("up")
        });
        let podman = Self { supervisor };
        podman.change_list(list);
        podman.run(&["load", "--quiet", "--input", &in_home("image.tar").display().to_string()]);
        podman
    }

    /// Puts another list in its configuration's place: the next call reads it.
    pub fn change_list(&self, list: &Value) {
        write_file(in_home("net/pods.conflist"), list.to_string());
    }

    /// Starts a container, which does nothing but wait: here podman calls ADD.
    pub fn run_container(&self, name: &str, options: &[&str]) -> Wired {
        let cgroup = format!("/{}", self.supervisor.cgroup());
        let mut words =
            vec!["run", "--detach", "--name", name, "--network", "pods", "--cgroup-parent", &cgroup];
        words.extend(options);
        words.push(image::NAME);
        self.run(&words);
        let shown = "{{.NetworkSettings.Networks.pods.IPAddress}} {{.NetworkSettings.SandboxKey}}";
        let shown = self.run(&["inspect", "--format", shown, name]);
        let (ip, namespace) = shown.trim().split_once(' ').expect("a container has an address");
        let namespace = Namespace::at(self.supervisor.path(Path::new(namespace)));
        Wired { namespace, ip: ip.parse().unwrap_or_else(|e| panic!("{ip}: {e}")) }
    }

    /// What a busybox command in a container prints; panics if it fails.
    #[track_caller]
    pub fn exec(&self, name: &str, command: &str) -> String {
        let words: Vec<&str> =
            ["exec", name, "/bin/busybox"].into_iter().chain(command.split_ascii_whitespace()).collect();
        self.run(&words)
    }

    /// Wires a running container anew, with the address that it has: here podman calls DEL and ADD.
    #[track_caller]
    pub fn reload(&self, name: &str) {
        self.run(&["network", "reload", name]);
    }

    /// Ends and removes a container: here podman calls DEL.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        self.run(&["rm", "--force", "--time", "0", name]);
    }

    /// What podman prints; panics if it fails. Its folders are named in each call, because podman names them again to
    /// what it starts itself, which does not get every variable.
    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        let Output { status, stdout, stderr } = Command::new("nsenter")
            .args(["--pid", "--mount", "--target", &self.supervisor.first().to_string(), "podman"])
            .args(["--storage-driver", "vfs", "--log-level", "error"])
            .args([OsStr::new("--root"), in_home("root").as_ref()])
            .args([OsStr::new("--runroot"), in_home("runroot").as_ref()])
            .args(words)
            .env("CONTAINERS_CONF", in_home("containers.conf"))
            .env("TMPDIR", in_home("tmp"))
            .stdin(Stdio::null())
            .output()
            .expect("nsenter is there");
        assert!(status.success(), "podman {}: {}", words.join(" "), String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).expect("podman prints text")
    }
}

/// Nothing may lie where the machine's own podman looks for it: its locks, by default in /dev/shm, are files. What
/// needs systemd is left out. Without CAP_SYS_RESOURCE, which build machines often lack, a container's limits cannot
/// be above the test's own.
fn configuration(node: &Node, plugin: &Plugin) -> String {
    format!(
        r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "none"
[network]
network_backend = "cni"
cni_plugin_dirs = ["{own}", "{REFERENCE_PLUGINS}"]
network_config_dir = "{HOME}/net"
default_network = "pods"
[engine]
cgroup_manager = "cgroupfs"
env = ["PODWIRE_ROOT={root}"]
events_logger = "file"
lock_type = "file"
runtime = "runc"
tmp_dir = "{HOME}/libpod"
"#,
        own = plugin.folder_with_its_name().display(),
        root = node.root().display(),
    )
}

fn in_home(path: &str) -> PathBuf {
    Path::new(HOME).join(path)
}
