//! Figures about the node, in OpenMetrics' text (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), and its
//! health.
//!
//! What the agent does is counted when it does it. What ADDs do is not told to the agent: the lease database and the
//! journal are looked at when somebody asks.

mod attachments;
mod http;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::agenda::Way;
use crate::net::node::Outcome;
use crate::plan::{Node, NodePlan};
use crate::state::State;
use attachments::Attachments;

pub use http::serve;

/// Name and value.
type Label = [(&'static str, String); 1];

type Seconds = Gauge<f64, AtomicU64>;

/// All figures of one agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    members: Gauge,
    connected: Gauge,
    routes: Gauge,
    bridges: Gauge,
    planned: Seconds,
    changed: Seconds,
    applied: Family<Label, Counter>,
    changes: Family<Label, Counter>,
    undecided: Counter,
    failing: Gauge,
    duration: Family<Label, Histogram>,
    attachments: Mutex<Attachments>,
    is_heard: AtomicBool,
    is_applied: AtomicBool,
}

impl Metrics {
    /// All at nothing.
    pub fn new(state: &State) -> Self {
        let mut registry = Registry::with_prefix("podwire");
        let attachments = Mutex::new(Attachments::new(state, &mut registry));
        // A comparison of a small node takes about a millisecond, the first one of 5,000 peers a second.
        let duration = || Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let metrics = Self {
            registry,
            attachments,
            members: Gauge::default(),
            connected: Gauge::default(),
            routes: Gauge::default(),
            bridges: Gauge::default(),
            planned: Seconds::default(),
            changed: Seconds::default(),
            applied: Family::default(),
            changes: Family::default(),
            undecided: Counter::default(),
            failing: Gauge::default(),
            duration: Family::new_with_constructor(duration),
            is_heard: AtomicBool::new(false),
            is_applied: AtomicBool::new(false),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "build",
            "The agent's program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("members", "Nodes of the cluster, this one too", self.members.clone());
        let help = "Whether the source of members is heard";
        registry.register("source_connected", help, self.connected.clone());
        registry.register("routes", "Routes of the node's plan", self.routes.clone());
        registry.register("bridges", "Bridges of the node's plan", self.bridges.clone());
        let help = "When the policy's plan changed last, since 1970";
        registry.register_with_unit("plan_timestamp", help, Unit::Seconds, self.planned.clone());
        let help = "When something in the kernel was changed last, since 1970";
        registry.register_with_unit("change_timestamp", help, Unit::Seconds, self.changed.clone());
        let help = "Plans that were carried out, whole or by their difference";
        registry.register("applications", help, self.applied.clone());
        let help = "Changes of the kernel: planned ones, and what others had changed and was restored";
        registry.register("changes", help, self.changes.clone());
        let help = "Questions to which the policy had no plan of use";
        registry.register("undecided", help, self.undecided.clone());
        let help = "Parts of the plan that are not true, though it was tried";
        registry.register("failing", help, self.failing.clone());
        let help = "How long a plan took to be carried out";
        registry.register_with_unit("application_duration", help, Unit::Seconds, self.duration.clone());
        self
    }

    /// Whether the source is heard.
    pub fn source(&self, connected: bool) {
        self.connected.set(connected.into());
        self.is_heard.fetch_or(connected, Ordering::Relaxed);
    }

    /// How many nodes there are.
    pub fn members(&self, count: usize) {
        self.members.set(count as i64);
    }

    /// The policy had no plan.
    pub fn undecided(&self) {
        self.undecided.inc();
    }

    /// Another plan holds for the node.
    pub fn planned(&self, node: &Node, plan: &NodePlan) {
        self.routes.set(plan.routes.len() as i64);
        self.bridges.set(plan.bridges.len() as i64);
        self.planned.set(now());
        self.attachments().watch(node.pools.clone());
    }

    /// A plan was carried out.
    pub fn applied(&self, way: Way, done: &Outcome, restores: bool, took: Duration) {
        let way = match way {
            Way::Whole => "whole",
            Way::Difference => "difference",
        };
        let label = |name, value: &str| [(name, value.to_owned())];
        self.applied.get_or_create(&label("way", way)).inc();
        self.duration.get_or_create(&label("way", way)).observe(took.as_secs_f64());
        let cause = if restores { "restored" } else { "planned" };
        self.changes.get_or_create(&label("cause", cause)).inc_by(done.changes.len() as u64);
        if !done.changes.is_empty() {
            self.changed.set(now());
        }
        self.failing.set(done.failed.len() as i64);
        self.is_applied.store(true, Ordering::Relaxed);
    }

    /// Whether a plan was carried out, and the source has told of members.
    fn is_ready(&self) -> bool {
        self.is_heard.load(Ordering::Relaxed) && self.is_applied.load(Ordering::Relaxed)
    }

    /// All figures as they are now. Reads files.
    fn text(&self) -> Result<String, std::fmt::Error> {
        self.attachments().look();
        let mut text = String::new();
        encode(&mut text, &self.registry).map(|()| text)
    }

    fn attachments(&self) -> std::sync::MutexGuard<'_, Attachments> {
        self.attachments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
