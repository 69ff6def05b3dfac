//! Membership from Kubernetes: what the Nodes' `spec.podCIDRs` and internal addresses say.
//!
//! Every Node is asked for once, then each change: a watch that begins with all that there is where the server has such
//! watches, pages of a list and a watch behind them where it has not. Nothing is posted before all Nodes are known.
//! What was learnt outlives a lost connection, and a watch is taken up at the version that it had come to.
//!
//! | part | owns | must not know |
//! | --- | --- | --- |
//! | `api` | the two requests, and how long an answer may take | what Nodes mean |
//! | `fault` | what went wrong, in words | what is done then |
//! | `node` | which fields of a Node count | other Nodes |
//! | `members` | all Nodes, and what follows from them | the API server |

mod api;
mod fault;
mod members;
mod node;

use std::future::ready;
use std::net::IpAddr;
use std::path::PathBuf;

use kube::core::WatchEvent;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub use api::Patience;

use super::{Board, Lost, Source};
use crate::agent::log::{Level, say};
use crate::plan::Role;
use api::{Api, Events, Since};
use fault::{Fault, Origin};
use members::Members;
use node::Node;

/// With this annotation a bookmark says that all that there is has been told.
const ALL_TOLD: &str = "k8s.io/initial-events-end";
/// A second list that is out of date before its watch begins is no accident.
const GONE_IN_A_ROW: u32 = 2;

/// What `agent.json` says of this source; everything may be left out.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KubernetesSettings {
    /// The API server's address and credentials. If it is left out: those of the pod's service account, and outside of
    /// pods KUBECONFIG or ~/.kube/config.
    kubeconfig: Option<PathBuf>,
    /// What this machine's Node is called. If it is left out: NODE_NAME, then the node's name in `node.json`, then the
    /// host name.
    node_name: Option<String>,
}

/// What the machine knows of itself, for what its Node does not say.
#[derive(Debug, Clone)]
pub struct OwnHint {
    /// As in `node.json`, or the host name.
    pub name: String,
    /// As in `agent.json`. A Node can be made a router by its label too.
    pub role: Role,
    /// As in `node.json`.
    pub addresses: Vec<IpAddr>,
}

/// The Nodes of a Kubernetes cluster.
pub struct Kubernetes {
    origin: Origin,
    own: OwnHint,
    patience: Patience,
    /// None before the first request and after a lost one: what an operator has mended meanwhile is then read.
    api: Option<Api>,
    place: String,
    can_stream: bool,
    /// Up to where `members` is true. None as long as nothing is known, or nothing that can be built upon.
    version: Option<String>,
    members: Members,
    has_news: bool,
    gone_in_a_row: u32,
    not_before: Option<Instant>,
    remarks: watch::Sender<Vec<String>>,
}

impl Kubernetes {
    /// Asks nobody yet.
    pub fn new(settings: KubernetesSettings, own: OwnHint) -> Self {
        let KubernetesSettings { kubeconfig, node_name } = settings;
        let origin = Origin::of(kubeconfig.as_deref());
        let named = node_name.or_else(|| std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty()));
        // As kubelet makes a Node's name of the host's.
        let name = named.unwrap_or_else(|| own.name.trim().to_lowercase());
        Self {
            place: format!("the address in {origin}"),
            origin,
            own: OwnHint { name, ..own },
            patience: Patience::default(),
            api: None,
            can_stream: true,
            version: None,
            members: Members::default(),
            has_news: false,
            gone_in_a_row: 0,
            not_before: None,
            remarks: watch::Sender::default(),
        }
    }

    /// Waits longer or shorter than by default.
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// What somebody has to mend before every Node takes part, as it is now and whenever it changes.
    pub fn remarks(&self) -> watch::Receiver<Vec<String>> {
        self.remarks.subscribe()
    }

    /// One watch, and whatever has to be asked before it.
    async fn round(&mut self, board: &Board) -> Result<(), Fault> {
        let api = self.api().await?;
        let Some(version) = self.version.clone() else { return self.learn(&api, board).await };
        let events = api.watch(Since::Version(&version)).await?;
        // The server is there again: whoever waits for that hears of it, even if nothing happens to Nodes.
        self.post(board);
        self.observe(events, board).await
    }

    async fn api(&mut self) -> Result<Api, Fault> {
        if let Some(api) = &self.api {
            return Ok(api.clone());
        }
        let api = Api::open(&self.origin, self.patience).await?;
        let place = api.url().to_owned();
        if place != self.place {
            // Another server's versions say nothing here.
            self.version = None;
        }
        (self.place, self.can_stream, self.api) = (place, true, Some(api.clone()));
        Ok(api)
    }

    async fn learn(&mut self, api: &Api, board: &Board) -> Result<(), Fault> {
        if !self.can_stream {
            return self.learn_in_pages(api, board).await;
        }
        match api.watch(Since::Beginning).await {
            Ok(events) => self.learn_by_watching(events, board).await,
            Err(Fault::NotStreaming) => {
                self.can_stream = false;
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    async fn learn_by_watching(&mut self, mut events: Events, board: &Board) -> Result<(), Fault> {
        let mut members = Members::default();
        loop {
            match events.next().await?.ok_or_else(|| events.incomplete())? {
                WatchEvent::Bookmark(bookmark) if bookmark.metadata.annotations.contains_key(ALL_TOLD) => {
                    self.accept(members, bookmark.metadata.resource_version, board);
                    return self.observe(events, board).await;
                }
                event => {
                    take(&mut members, event);
                }
            }
        }
    }

    async fn learn_in_pages(&mut self, api: &Api, board: &Board) -> Result<(), Fault> {
        let mut members = Members::default();
        let mut rest = None;
        loop {
            let page = api.page(rest).await?;
            for node in page.items.unwrap_or_default() {
                members.apply(node);
            }
            if page.metadata.rest.is_empty() {
                self.accept(members, page.metadata.resource_version, board);
                return Ok(());
            }
            rest = Some(page.metadata.rest);
        }
    }

    fn accept(&mut self, members: Members, version: String, board: &Board) {
        (self.members, self.version) = (members, Some(version));
        self.post(board);
    }

    /// Follows a watch to its end. News that came together are posted together.
    async fn observe(&mut self, mut events: Events, board: &Board) -> Result<(), Fault> {
        loop {
            let next = tokio::select! {
                biased;
                next = events.next() => next?,
                () = ready(()), if self.has_news => {
                    self.post(board);
                    continue;
                }
            };
            self.gone_in_a_row = 0;
            let Some(event) = next else { return events.ended() };
            if let Some(version) = version(&event) {
                self.version = Some(version.to_owned());
            }
            self.has_news |= take(&mut self.members, event);
        }
    }

    fn post(&mut self, board: &Board) {
        self.has_news = false;
        board.post(self.members.membership(&self.own));
        let remarks = self.members.remarks(&self.own);
        self.remarks.send_if_modified(|known| {
            remarks
                .iter()
                .filter(|remark| !known.contains(remark))
                .for_each(|remark| say(Level::Warning, remark));
            let is_news = *known != remarks;
            *known = remarks;
            is_news
        });
    }

    /// What a fault means for the next round. A loss, if the agent has to hear of it.
    fn bear(&mut self, fault: Fault) -> Option<Lost> {
        let (message, pause, start_over) = match fault {
            Fault::Lost { message, pause, start_over } => (message, pause, start_over),
            Fault::NotStreaming => return None,
            Fault::Gone => {
                self.version = None;
                self.gone_in_a_row += 1;
                if self.gone_in_a_row < GONE_IN_A_ROW {
                    return None;
                }
                let message =
                    "has forgotten what happened (410) whenever it is asked: see the API server's log";
                (format!("{} {message}", self.place), None, true)
            }
        };
        if start_over {
            self.version = None;
        }
        self.api = None;
        self.not_before = pause.map(|pause| Instant::now() + pause);
        Some(Lost(message))
    }
}

impl Source for Kubernetes {
    fn describe(&self) -> String {
        format!("Kubernetes at {}", self.place)
    }

    async fn follow(&mut self, board: &Board) -> Lost {
        if let Some(moment) = self.not_before.take() {
            sleep_until(moment).await;
        }
        loop {
            let outcome = self.round(board).await;
            if self.has_news {
                self.post(board);
            }
            if let Some(lost) = outcome.err().and_then(|fault| self.bear(fault)) {
                return lost;
            }
        }
    }
}

/// Takes what a watch tells: whether that is news.
fn take(members: &mut Members, event: WatchEvent<Node>) -> bool {
    match event {
        WatchEvent::Added(node) | WatchEvent::Modified(node) => members.apply(node),
        WatchEvent::Deleted(node) => members.remove(&node),
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => false,
    }
}

/// Up to where a watch has told everything. An object without one says nothing of it.
fn version(event: &WatchEvent<Node>) -> Option<&str> {
    let version = match event {
        WatchEvent::Added(node) | WatchEvent::Modified(node) | WatchEvent::Deleted(node) => {
            &node.metadata.resource_version
        }
        WatchEvent::Bookmark(bookmark) => &bookmark.metadata.resource_version,
        WatchEvent::Error(_) => return None,
    };
    (!version.is_empty()).then_some(version)
}
