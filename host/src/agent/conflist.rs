//! The network configuration that runtimes read: its pools and its cluster's blocks follow what the source says, so
//! that nobody configures a node by hand.
//!
//! The rest of the file is its operator's, and stays as it is, byte by byte.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::plan::Node;
use crate::state;

/// A file of a node where there was none.
const DEFAULT: &str = include_str!("../../../deploy/10-podwire.conflist");

/// Names of podwire's file in the runtime's folder of plugins.
const TYPE: &str = "podwire";

/// Why the file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] state::Error),
    /// It is no network configuration list.
    #[error("{}: is no list of plugins, and is left as it is: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// Nobody says that podwire shall be asked.
    #[error(
        "{}: names no plugin of the type {TYPE:?}, and is left as it is: add one, or name another file in `conflist`",
        path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
}

/// One file.
#[derive(Debug, Clone)]
pub struct Conflist(PathBuf);

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    plugins: Vec<&'a RawValue>,
}

impl Conflist {
    /// The one at this path.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Has it say what holds for this node; whether that was news. A router has no pods, and needs none.
    pub fn keep(&self, node: &Node) -> Result<bool, Error> {
        if node.pools.is_empty() {
            return Ok(false);
        }
        let (text, is_new) = self.read()?;
        let kept = self.with(&text, node)?;
        if !is_new && kept == text {
            return Ok(false);
        }
        state::write_atomically(&self.0, kept.as_bytes())?;
        Ok(true)
    }

    fn read(&self) -> Result<(String, bool), Error> {
        match std::fs::read_to_string(&self.0) {
            Ok(text) => Ok((text, false)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((DEFAULT.to_owned(), true)),
            Err(error) => Err(state::Error::io(&self.0, "read")(error).into()),
        }
    }

    fn with(&self, text: &str, node: &Node) -> Result<String, Error> {
        let malformed = |source| Error::Malformed { path: self.0.clone(), source };
        let list: List<'_> = serde_json::from_str(text).map_err(malformed)?;
        for plugin in list.plugins {
            let members: BTreeMap<String, &RawValue> =
                serde_json::from_str(plugin.get()).map_err(malformed)?;
            let kind = members.get("type").and_then(|kind| serde_json::from_str::<String>(kind.get()).ok());
            if kind.as_deref() == Some(TYPE) {
                return Ok(altered(text, &members, node));
            }
        }
        Err(Error::NotOurs { path: self.0.clone() })
    }
}

/// Puts the blocks where they stand, or behind the plugin's type; from behind, so that places stay what they are.
fn altered(text: &str, members: &BTreeMap<String, &RawValue>, node: &Node) -> String {
    let behind_type = members.get("type").map_or(0, |kind| place(text, kind).end);
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for (key, blocks) in [("pools", &node.pools), ("cluster", &node.cluster)] {
        match members.get(key) {
            Some(value) if says(value, blocks) => {}
            Some(value) => edits.push((place(text, value), json(blocks))),
            None => edits.push((behind_type..behind_type, format!(",\n      \"{key}\": {}", json(blocks)))),
        }
    }
    // Two insertions in one place: the later one comes to stand before.
    edits.reverse();
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut text = text.to_owned();
    edits.into_iter().for_each(|(range, new)| text.replace_range(range, &new));
    text
}

fn says(value: &RawValue, blocks: &[IpNet]) -> bool {
    serde_json::from_str::<Vec<IpNet>>(value.get()).is_ok_and(|said| said == blocks)
}

/// Where in the text a part of it stands.
fn place(text: &str, part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.get().len()
}

fn json(blocks: &[IpNet]) -> String {
    let quoted: Vec<String> = blocks.iter().map(|block| format!("\"{block}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn node(pools: &[&str]) -> Node {
        let blocks = |list: &[&str]| list.iter().map(|block| block.parse().expect("a block")).collect();
        Node {
            name: "n1".into(),
            addresses: Vec::new(),
            pools: blocks(pools),
            cluster: blocks(&["10.244.0.0/16"]),
        }
    }

    fn kept(text: &str) -> (String, bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("10-podwire.conflist");
        state::write_atomically(&path, text.as_bytes()).expect("room");
        let is_news = Conflist::at(path.clone()).keep(&node(&["10.244.7.0/24"])).expect("ours");
        (std::fs::read_to_string(path).expect("it is there"), is_news)
    }

    #[test]
    fn what_others_wrote_stays_byte_by_byte() {
        let before = r#"{ "name":"pods" ,"x": 1.50, "plugins": [{"type": "other", "pools": 7},
            {"zz": {"pools": 1}, "type": "podwire", "cluster" : [ "10.0.0.0/8" ], "a": 1 }, {"type":"tuning"} ] }"#;
        let after = r#"{ "name":"pods" ,"x": 1.50, "plugins": [{"type": "other", "pools": 7},
            {"zz": {"pools": 1}, "type": "podwire",
      "pools": ["10.244.7.0/24"], "cluster" : ["10.244.0.0/16"], "a": 1 }, {"type":"tuning"} ] }"#;
        assert_eq!(kept(before), (after.to_owned(), true));
        assert_eq!(kept(after), (after.to_owned(), false));
    }

    #[test]
    fn both_keys_are_added_in_their_order() {
        let (text, _) = kept(r#"{"plugins": [{"type": "podwire"}]}"#);
        let keys: Vec<_> =
            ["type", "pools", "cluster"].iter().map(|key| text.find(key).expect(key)).collect();
        assert!(keys.is_sorted(), "{text}");
        serde_json::from_str::<serde_json::Value>(&text).expect("still JSON");
    }

    #[test]
    fn a_missing_file_is_made_and_every_runtime_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("10-podwire.conflist");
        let conflist = Conflist::at(path.clone());
        assert!(!conflist.keep(&node(&[])).expect("nothing to do") && !path.exists(), "a router has no pods");
        assert!(conflist.keep(&node(&["10.244.7.0/24"])).expect("room"));
        let text = std::fs::read(&path).expect("it was made");
        let list: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(list["plugins"][0]["pools"][0], "10.244.7.0/24");
        assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn what_is_not_podwires_is_never_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.conflist");
        for (text, expected) in [
            ("{", "is no list of plugins"),
            (r#"{"type": "podwire"}"#, "missing field `plugins`"),
            (r#"{"plugins": [{"type": "bridge"}]}"#, "names no plugin of the type \"podwire\""),
            (r#"{"plugins": [7]}"#, "is no list of plugins"),
        ] {
            state::write_atomically(&path, text.as_bytes()).expect("room");
            let said =
                Conflist::at(path.clone()).keep(&node(&["10.244.7.0/24"])).expect_err(text).to_string();
            assert!(said.contains(expected), "{said}");
            assert_eq!(std::fs::read_to_string(&path).expect("it is there"), text);
        }
    }
}
