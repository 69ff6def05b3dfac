//! What the agent says of itself, for whoever asks without it: `/run/podwire/agent.json`, and beside it the plan that
//! it keeps true, which a new agent begins with.
//!
//! Both are replaced in one step; only root writes there. The plan is MessagePack: as text, addresses by the ten thousand
//! were a quarter of all that one more peer gave the agent to do.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::log::line;
use super::source::Standing;
use crate::journal::Time;
use crate::net::node::Failed;
use crate::node::Decided;
use crate::plan::{Node, NodePlan, Peer, Role};
use crate::state::{self, State};

/// How many deeds are remembered.
const DEEDS: usize = 32;

/// A plan, and all that is needed to keep it true without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// This node.
    pub node: Node,
    /// What it does for the cluster.
    pub role: Role,
    /// The others, for whoever asks who they are.
    pub peers: Arc<[Peer]>,
    /// The policy that decided, with its digest.
    pub policy: String,
    /// What it decided.
    pub plan: NodePlan,
}

impl From<Decided> for Kept {
    fn from(decided: Decided) -> Self {
        let Decided { node, role, peers, plan, policy } = decided;
        Self { node, role, peers, policy: policy.to_string(), plan }
    }
}

impl Kept {
    /// What an agent left; none if there was none, or it cannot be read any more.
    pub fn read(state: &State) -> Option<Self> {
        rmp_serde::from_slice(&state::read_trusted(&state.agent_plan()).ok()??).ok()
    }

    /// Leaves it to the next agent.
    pub fn write(&self, state: &State) -> Result<(), state::Error> {
        let bytes = rmp_serde::to_vec_named(self).unwrap_or_default();
        state::write_atomically(&state.agent_plan(), &bytes)
    }
}

/// Something that does not work, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// A sentence for the operator.
    pub why: String,
    /// When it began.
    pub since: Time,
}

impl Trouble {
    /// As it is now; trouble that was there before has lasted since then.
    fn now(before: Option<Self>, why: impl Display) -> Self {
        let why = line(why);
        let since = before.filter(|before| before.why == why).map_or_else(Time::now, |before| before.since);
        Self { why, since }
    }
}

/// Something that was put right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// When.
    pub at: Time,
    /// What was done.
    pub what: String,
}

/// The plan in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The policy that decided, with its digest.
    pub policy: String,
    /// Since when it is this one.
    pub since: Time,
    /// How many bridges it has.
    pub bridges: usize,
    /// How many routes.
    pub routes: usize,
    /// Whether it has tunnels.
    pub tunnels: bool,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was started.
    pub started: Time,
    /// Of podwire.
    pub version: String,
    /// Who tells of members.
    pub source: String,
    /// How it stands with that.
    pub standing: Standing,
    /// This node's name; none before the source was heard.
    pub name: Option<String>,
    /// How many other nodes there are.
    pub peers: usize,
    /// What is kept true.
    pub plan: Option<Summary>,
    /// Why the policy has no new answer.
    pub undecided: Option<Trouble>,
    /// What of the plan is not true, though it was tried.
    pub failures: Vec<Trouble>,
    /// Why the network configuration is not kept.
    pub conflist: Option<Trouble>,
    /// When the plan was last compared with the kernel as a whole.
    pub compared: Option<Time>,
    /// What others changed and was put right, the latest last.
    pub restored: VecDeque<Deed>,
    /// When it ended; none while it runs, and if it was killed.
    pub ended: Option<Time>,
}

impl Record {
    /// Of an agent that has just started.
    pub fn new(source: String, standing: Standing) -> Self {
        Self {
            started: Time::now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            source,
            standing,
            name: None,
            peers: 0,
            plan: None,
            undecided: None,
            failures: Vec::new(),
            conflist: None,
            compared: None,
            restored: VecDeque::new(),
            ended: None,
        }
    }

    /// What the node's agent said last; none if there never was one.
    pub fn read(state: &State) -> Result<Option<Self>, state::Error> {
        let Some(text) = state::read_trusted(&state.agent_record())? else { return Ok(None) };
        let malformed =
            |error: serde_json::Error| state::Error::io(&state.agent_record(), "read")(error.into());
        serde_json::from_slice(&text).map(Some).map_err(malformed)
    }

    /// For whoever asks.
    pub fn write(&self, state: &State) -> Result<(), state::Error> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        state::write_atomically(&state.agent_record(), &text)
    }

    /// Another plan holds.
    pub fn planned(&mut self, kept: &Kept) {
        let plan = &kept.plan;
        self.plan = Some(Summary {
            policy: kept.policy.clone(),
            since: Time::now(),
            bridges: plan.bridges.len(),
            routes: plan.routes.len(),
            tunnels: plan.vxlan.is_some(),
        });
    }

    /// The policy has no answer. Returns whether that is news.
    pub fn undecided(&mut self, why: impl Display) -> bool {
        let before = self.undecided.take();
        self.undecided = Some(Trouble::now(before.clone(), why));
        self.undecided != before
    }

    /// The network configuration is kept, or not. Returns whether that is news.
    pub fn conflist(&mut self, outcome: Result<(), impl Display>) -> bool {
        let before = self.conflist.take();
        self.conflist = outcome.err().map(|why| Trouble::now(before.clone(), why));
        self.conflist != before
    }

    /// Of a plan that was carried out, what did not become true: there may be thousands. Returns what of that is new.
    pub fn failed(&mut self, failed: &[Failed]) -> Vec<String> {
        let before: HashMap<String, Trouble> =
            self.failures.drain(..).map(|trouble| (trouble.why.clone(), trouble)).collect();
        self.failures = failed
            .iter()
            .map(|failed| {
                let why = line(failed);
                Trouble::now(before.get(&why).cloned(), why)
            })
            .collect();
        let new = self.failures.iter().filter(|trouble| !before.contains_key(&trouble.why));
        new.map(|trouble| trouble.why.clone()).collect()
    }

    /// Others had changed these, and they were put right.
    pub fn restored(&mut self, changes: &[impl Display]) {
        let at = Time::now();
        let deeds = changes.iter().map(|change| Deed { at, what: change.to_string() });
        self.restored.extend(deeds.skip(changes.len().saturating_sub(DEEDS)));
        let excess = self.restored.len().saturating_sub(DEEDS);
        self.restored.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::new("static".to_owned(), Standing::Asked { since: Time::now() })
    }

    #[test]
    fn what_is_written_is_read() {
        let root = tempfile::tempdir().expect("a folder");
        let state = State::new(Some(root.path()));
        std::fs::create_dir(&state.run).expect("a folder");
        assert_eq!(Record::read(&state).expect("none"), None);
        let mut record = record();
        record.undecided("no");
        record.restored(&["route added"]);
        record.write(&state).expect("room");
        assert_eq!(Record::read(&state).expect("readable"), Some(record));
    }

    #[test]
    fn the_next_agent_finds_the_plan_as_it_was() {
        let root = tempfile::tempdir().expect("a folder");
        let state = State::new(Some(root.path()));
        std::fs::create_dir(&state.run).expect("a folder");
        let kept: Kept = serde_json::from_value(serde_json::json!({
            "node": { "name": "n1", "addresses": ["192.0.2.1", "fd01::1"], "pools": ["fd00:1::/64"], "cluster": [] },
            "role": "router",
            "peers": [{ "name": "n2", "role": "host", "addresses": [], "pools": ["10.1.2.0/24"] }],
            "policy": "bridge",
            "plan": {
                "bridges": [],
                "routes": [
                    { "destination": "10.1.2.0/24", "next_hop": { "tunnel": "192.0.2.2" }, "metric": null },
                    { "destination": "fd00:2::/64", "next_hop": "blackhole", "metric": 9 },
                ],
                "vxlan": { "name": "pwvx", "id": 1, "port": 4789, "local": "192.0.2.1", "mtu": 1450 },
            },
        }))
        .expect("well-formed");
        kept.write(&state).expect("room");
        assert_eq!(Kept::read(&state), Some(kept));
        state::write_atomically(&state.agent_plan(), b"{}").expect("room");
        assert_eq!(Kept::read(&state), None);
    }

    #[test]
    fn trouble_lasts_since_it_began() {
        let mut record = record();
        let failed = |what: &str| Failed { what: Some(what.to_owned()), why: "no".to_owned() };
        record.failed(&[failed("a")]);
        let since = record.failures[0].since;
        assert_eq!(record.failed(&[failed("b"), failed("a")]), ["b: no"]);
        assert_eq!(record.failures[1].since, since);
        assert!(record.failures[0].since > since);
        record.failed(&[]);
        assert!(record.failures.is_empty());
        assert!(record.undecided("no") && !record.undecided("no"));
        assert!(record.conflist(Err("no")) && !record.conflist(Err("no")));
        assert!(record.conflist(Ok::<_, String>(())) && !record.conflist(Ok::<_, String>(())));
    }

    #[test]
    fn only_the_latest_deeds_are_remembered() {
        let mut record = record();
        record.restored(&["first"]);
        let many: Vec<_> = (0..100).collect();
        record.restored(&many);
        assert_eq!(record.restored.len(), DEEDS);
        assert_eq!(
            (record.restored[0].what.as_str(), record.restored[DEEDS - 1].what.as_str()),
            ("68", "99")
        );
    }
}
