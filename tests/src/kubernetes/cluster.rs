//! What the API server knows: Nodes, every change of them since it last forgot, and what a test has it do.
//!
//! Knows nothing of HTTP.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::{Answer, Asked, KubeNode};

/// What happens to watches, in order.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// To be told to all, now and later.
    Event { version: u64, line: Arc<str> },
    /// To those that ask for bookmarks.
    Bookmark(u64),
    /// Their version is forgotten.
    Gone,
    /// They end as when their time is over.
    End,
    /// Their connection breaks, in the middle of a line.
    Break,
    /// Nothing comes any more, and the connection stays.
    Silence,
}

#[derive(Default)]
pub(super) struct Cluster {
    pub(super) version: u64,
    /// Changes up to here are forgotten.
    pub(super) forgotten: u64,
    nodes: BTreeMap<String, (KubeNode, Arc<str>)>,
    pub(super) entries: Vec<Entry>,
    /// Lists of which pages were asked for, by version.
    snapshots: HashMap<u64, Arc<Vec<Arc<str>>>>,
    pub(super) token: String,
    pub(super) asked: Vec<Asked>,
    pub(super) answers: VecDeque<Answer>,
    pub(super) usual: Answer,
    pub(super) streams: bool,
    pub(super) says_gone_in_http: bool,
}

impl Cluster {
    /// Without Nodes, at a version that is not the first.
    pub(super) fn new(token: &str) -> Self {
        Self { version: 1000, streams: true, token: token.into(), ..Self::default() }
    }

    pub(super) fn put(&mut self, node: KubeNode) {
        self.version += 1;
        let kind = if self.nodes.contains_key(&node.name) { "MODIFIED" } else { "ADDED" };
        let members: Arc<str> = node.members(self.version).into();
        self.entries.push(self.event(kind, &members));
        self.nodes.insert(node.name.clone(), (node, members));
    }

    pub(super) fn delete(&mut self, name: &str) {
        let (node, _) = self.nodes.remove(name).expect("a Node of that name");
        self.version += 1;
        self.entries.push(self.event("DELETED", &node.members(self.version)));
    }

    fn event(&self, kind: &str, members: &str) -> Entry {
        Entry::Event { version: self.version, line: line(kind, members) }
    }

    /// Every Node as if it had just been made.
    pub(super) fn as_added(&self) -> Vec<Arc<str>> {
        self.nodes.values().map(|(_, members)| line("ADDED", members)).collect()
    }

    /// Changes after a version.
    pub(super) fn since(&self, from: u64) -> Vec<Arc<str>> {
        let told = |entry: &Entry| match entry {
            Entry::Event { version, line } if *version > from => Some(line.clone()),
            _ => None,
        };
        self.entries.iter().filter_map(told).collect()
    }

    /// Forgets what happened, and the lists of which pages are still to come.
    pub(super) fn forget(&mut self) {
        self.version += 1;
        self.forgotten = self.version;
        self.snapshots.clear();
    }

    /// A page of the Nodes as they were at a version, and how many come behind it. None if that is forgotten.
    pub(super) fn page(&mut self, version: u64, start: usize, limit: usize) -> Option<(String, usize)> {
        if start == 0 {
            let all = self.nodes.values().map(|(_, members)| members.clone()).collect();
            self.snapshots.insert(version, Arc::new(all));
        }
        let all = self.snapshots.get(&version)?;
        let end = all.len().min(start + limit);
        let items = all[start..end].iter().map(|members| format!("{{{members}}}"));
        Some((items.collect::<Vec<_>>().join(","), all.len() - end))
    }
}

fn line(kind: &str, members: &str) -> Arc<str> {
    format!("{{\"type\":\"{kind}\",\"object\":{{\"kind\":\"Node\",\"apiVersion\":\"v1\",{members}}}}}\n")
        .into()
}
