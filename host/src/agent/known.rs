//! Who belongs to the cluster, as far as this node knows without asking a source: what its files say, or what its agent
//! heard last.

use std::sync::Arc;

use super::record::Kept;
use super::settings::{Error, Settings};
use crate::node::{Membership, config};
use crate::plan::{Node, NodeRequest, Peer, Role};
use crate::state::State;

/// This node among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// This node.
    pub node: Node,
    /// What it does for the cluster.
    pub role: Role,
    /// The others.
    pub peers: Arc<[Peer]>,
}

impl Known {
    /// Of files, if these are the source, or if no agent has heard another one yet.
    pub fn read(state: &State) -> Result<Self, Error> {
        let agent = Settings::read(&state.agent_config())?;
        let heard = if agent.source.is_files() { None } else { Kept::read(state) };
        match heard {
            Some(Kept { node, role, peers, .. }) => Ok(Self { node, role, peers }),
            None => Ok(Self::of_files(state, agent.role)?),
        }
    }

    fn of_files(state: &State, role: Role) -> Result<Self, config::Error> {
        let settings = config::Settings::read(&state.node_config())?;
        let membership = Membership::read(state, &settings, role)?;
        let NodeRequest { node, role, peers, .. } = membership.request(&settings, &[], Vec::new())?;
        Ok(Self { node, role, peers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::NodePlan;
    use crate::state::write_atomically;

    fn state(root: &tempfile::TempDir, source: &str) -> State {
        let state = State::new(Some(root.path()));
        for folder in [&state.etc, &state.run] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        let peers = r#"{"peers": [{"name": "n1", "pools": ["10.244.1.0/24"]}, {"name": "n2"}]}"#;
        let agent = format!(r#"{{"source": {source}}}"#);
        write_atomically(&state.node_config(), br#"{"name": "n1"}"#).expect("room");
        write_atomically(&state.peers(), peers.as_bytes()).expect("room");
        write_atomically(&state.agent_config(), agent.as_bytes()).expect("room");
        state
    }

    fn heard(state: &State) {
        let peer =
            Peer { name: "n7".to_owned(), role: Role::Router, addresses: Vec::new(), pools: Vec::new() };
        let node =
            Node { name: "n1".to_owned(), addresses: Vec::new(), pools: Vec::new(), cluster: Vec::new() };
        let plan = NodePlan {
            bridges: Vec::new(),
            routes: Vec::new(),
            extra: Vec::new(),
            vxlan: None,
            masquerade: Vec::new(),
        };
        let kept = Kept { node, role: Role::Host, peers: [peer].into(), policy: "bridge".to_owned(), plan };
        kept.write(state).expect("room");
    }

    fn names(state: &State) -> Vec<String> {
        Known::read(state).expect("well-formed").peers.iter().map(|peer| peer.name.clone()).collect()
    }

    #[test]
    fn files_are_believed_where_they_are_the_source() {
        let root = tempfile::tempdir().expect("a folder");
        let state = state(&root, r#"{"static": {}}"#);
        heard(&state);
        assert_eq!(names(&state), ["n2"]);
        let node = Known::read(&state).expect("well-formed").node;
        assert_eq!(node.pools, ["10.244.1.0/24".parse().expect("a block")]);
    }

    #[test]
    fn another_source_is_believed_once_it_was_heard() {
        let root = tempfile::tempdir().expect("a folder");
        let state = state(&root, r#"{"kubernetes": {}}"#);
        assert_eq!(names(&state), ["n2"]);
        heard(&state);
        assert_eq!(names(&state), ["n7"]);
    }
}
