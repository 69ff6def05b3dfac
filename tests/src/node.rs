//! A node of the test's own: private network, mount and host name namespaces on the test's thread.
//!
//! Everything that a test makes hangs on these namespaces, so it goes with the thread, also when the test is
//! killed. Processes started from the thread live in them too.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::kernel;

/// Where iproute2 and runtimes keep the names of network namespaces.
const NAMESPACES: &str = "/run/netns";

/// The test's thread, turned into a node with an empty network and empty /run and /var/lib.
pub struct Node {
    /// The node's own network namespace.
    pub namespace: Namespace,
    /// Namespaces belong to a thread: a node cannot be handed to another.
    thread_bound: PhantomData<*const ()>,
}

impl Node {
    /// Makes the calling thread a node. May be called again for a fresh one. None if the privilege is missing:
    /// then it has said so, past the test framework's capture, and the test returns.
    pub fn enter() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("this test makes namespaces and bridges: run it as root");
            return None;
        }
        if let Err(error) = unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS) {
            skip(&format!("this machine allows no new network and mount namespaces: {error}"));
            return None;
        }
        make_mounts_private();
        kernel::ip("link set lo up");
        let namespace = Namespace::name_own("node");
        Some(Self { namespace, thread_bound: PhantomData })
    }

    /// Where podwire keeps its state on this node (`PODWIRE_ROOT`).
    pub fn root(&self) -> &Path {
        Path::new("/run/podwire-test")
    }

    /// Has an empty folder of the node's own in the place of one of the machine's.
    pub fn cover(&self, directory: &str) {
        cover(directory);
    }

    /// A pod without any interface but lo.
    pub fn pod(&self, name: &str) -> Pod {
        let namespace = std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                unshare(UnshareFlags::NEWNET).expect("a node may make network namespaces");
                Namespace::name_own(name)
            });
            made.join().expect("a network namespace gets its name")
        });
        Pod { container_id: format!("container-{name}"), ifname: "eth0".to_owned(), namespace }
    }

    /// Everything that a call which fails must leave as it was: the node's links, addresses, routes and rules,
    /// and every file under /run and /var/lib, podwire's state among them.
    pub fn snapshot(&self) -> kernel::Snapshot {
        kernel::Snapshot::take(&["/run", "/var/lib"])
    }
}

/// A container, as far as a network plugin cares.
#[derive(Debug, Clone)]
pub struct Pod {
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_IFNAME.
    pub ifname: String,
    /// CNI_NETNS.
    pub namespace: Namespace,
}

/// A network namespace that has a path.
#[derive(Debug, Clone)]
pub struct Namespace {
    path: PathBuf,
}

impl Namespace {
    /// The one that somebody else made and that lies at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Gives the calling thread's own namespace a path.
    fn name_own(name: &str) -> Self {
        let path = Path::new(NAMESPACES).join(name);
        fs::create_dir_all(NAMESPACES).expect("/run is the test's own");
        File::create(&path).expect("/run is the test's own");
        mount_bind("/proc/thread-self/ns/net", &path).expect("the kernel binds namespaces to files");
        Self { path }
    }

    /// What CNI_NETNS says.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does something inside the namespace; processes started there stay in it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(&self.path).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
        let inside = || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("the path is a network namespace");
            work()
        };
        let outcome = std::thread::scope(|scope| scope.spawn(inside).join());
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Takes the name away; with nobody inside, the namespace ends.
    pub fn remove(&self) {
        unmount(&self.path, UnmountFlags::DETACH).expect("the namespace is mounted at its path");
        fs::remove_file(&self.path).expect("/run is the test's own");
    }
}

fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: unsharing is unsafe for the table of file descriptors only (CLONE_FILES), which no caller here
    // names; other threads keep seeing the descriptors that they own.
    unsafe { unshare_unsafe(flags) }
}

/// No mount reaches the machine from here on, and what plugins and runtimes write by default goes to memory.
fn make_mounts_private() {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .expect("a new mount namespace can be made private");
    ["/run", "/var/lib"].into_iter().for_each(cover);
}

fn cover(directory: &str) {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", directory, "tmpfs", flags, c"mode=0755").expect("the kernel has tmpfs");
}

/// Says that a test did not run. Not by `eprintln!`, whose output the test framework hides when a test passes.
fn skip(reason: &str) {
    use std::io::Write;
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    writeln!(std::io::stderr(), "{test}: skipped, because {reason}").expect("standard error is open");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_sees_nothing_of_a_node() {
        let Some(node) = Node::enter() else { return };
        kernel::ip("link add br0 type bridge");
        assert!(node.namespace.run(kernel::links).iter().any(|l| l.name == "br0"));
        let outside = Namespace::at(format!("/proc/{}/ns/net", std::process::id()));
        assert!(!outside.run(kernel::links).iter().any(|l| l.name == "br0"));
    }

    #[test]
    fn a_snapshot_notices_links_addresses_routes_and_files() {
        let Some(node) = Node::enter() else { return };
        node.snapshot().assert_unchanged();
        let changes: [fn(); 5] = [
            || kernel::ip("link add br0 type bridge"),
            || kernel::ip("addr add 10.0.0.1/24 dev br0"),
            || kernel::ip("link set br0 up"),
            || kernel::ip("route add 10.1.0.0/24 dev br0"),
            || drop(File::create("/run/left-behind")),
        ];
        for change in changes {
            let before = node.snapshot();
            change();
            assert_ne!(before.changes(), [""; 0]);
        }
    }
}
