//! A machine on which labs are started: by a test's own processes, which end with it.

use crate::command::{Podwire, Printed, Processes, Started, nobody_gets_namespaces};
use crate::kernel::{Snapshot, eventually};
use crate::node::Node;

/// A machine on which labs are started.
pub struct Bench {
    /// What runs on it.
    pub processes: Processes,
    /// The command, as the lab's user calls it.
    pub podwire: Podwire,
    /// The machine itself.
    pub node: Node,
    before: Snapshot,
    mounts: String,
}

impl Bench {
    /// Labs are started by root; none without privilege.
    pub fn new() -> Option<Self> {
        let node = Node::enter()?;
        Some(Self::on(node, |podwire| podwire))
    }

    /// Labs are started by a user without privilege; none if there are no namespaces for such.
    pub fn for_nobody() -> Option<Self> {
        let node = Node::enter()?;
        nobody_gets_namespaces(&node).then(|| Self::on(node, Podwire::as_nobody))
    }

    fn on(node: Node, user: impl FnOnce(Podwire) -> Podwire) -> Self {
        let processes = Processes::new();
        let podwire = user(Podwire::on(&node)).inside(&processes);
        Self { mounts: processes.mounts(), before: node.snapshot(), processes, podwire, node }
    }

    /// `podwire lab` with these arguments, to its end.
    pub fn lab(&self, arguments: &[&str]) -> Printed {
        self.podwire.run(&[&["lab"], arguments].concat())
    }

    /// The same, under way.
    pub fn start(&self, arguments: &[&str]) -> Started {
        self.podwire.start(&[&["lab"], arguments].concat())
    }

    /// Begins a lab; what it said.
    #[track_caller]
    pub fn up(&self, arguments: &[&str]) -> String {
        self.lab(&[&["up"], arguments].concat()).done()
    }

    /// What a shell command prints in a pod or node.
    #[track_caller]
    pub fn sh(&self, name: &str, script: &str) -> String {
        self.lab(&["exec", name, "--", "sh", "-c", script]).done()
    }

    /// Panics unless the machine outside of labs is as it was in the beginning.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        self.before.assert_unchanged();
    }

    /// Panics unless nothing is left of labs.
    #[track_caller]
    pub fn assert_nothing_is_left(&self) {
        eventually("no process is left", || self.processes.others().is_empty());
        self.before.assert_unchanged();
        assert_eq!(self.mounts, self.processes.mounts());
    }
}
