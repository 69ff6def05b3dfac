//! The battery: every situation, for each configuration, until the policy has failed too often or cost too much.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::decision::{self, Decision, Said};
use super::report::{Cost, Report, Row, Stopped};
use super::situations::{SITUATIONS, STRAINS};
use crate::leases::{self, Ledger};
use crate::names::AttachmentId;
use crate::plan::check::{OUTSIDE_POOLS, OUTSIDE_RANGES, Violation};
use crate::plan::{AddRequest, Checked, Node, NodeRequest};
use crate::policy::{Policy, Spent};

/// A policy that failed so often has shown what it is.
const MOST_FAULTS: u32 = 5;

/// Units of fuel that all situations of a configuration may take together: a hundred decisions that take all they may.
/// Fuel and not time, so that the same policy is asked the same on every machine.
const MOST_FUEL: u64 = 5_000_000_000;

/// What a network would have the policy decide with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The policy's own configuration, a JSON object.
    pub config: String,
    /// Where most of the situations take place.
    pub pools: Vec<IpNet>,
    /// The blocks that hold every pod.
    pub cluster: Vec<IpNet>,
}

impl Setting {
    /// With this configuration, on a node as in the README.
    pub fn of(config: impl Into<String>) -> Self {
        let block = |text: &str| text.parse().expect("a block");
        Self {
            config: config.into(),
            pools: vec![block("10.244.1.0/24")],
            cluster: vec![block("10.244.0.0/16")],
        }
    }

    /// Its node.
    pub(super) fn node(&self) -> Node {
        Node {
            name: "node1".into(),
            addresses: vec!["192.168.1.11".parse().expect("an address")],
            pools: self.pools.clone(),
            cluster: self.cluster.clone(),
        }
    }
}

impl Default for Setting {
    fn default() -> Self {
        Self::of("{}")
    }
}

/// Asks the policy in every situation, with each of the settings, or with the configuration `{}` if there are none.
///
/// Bounded by what the policy may cost: a policy that answers quickly is done in a second, and none takes longer than
/// some ten seconds for each setting.
pub fn battery(policy: &Policy, settings: &[Setting]) -> Report {
    battery_within(MOST_FUEL, policy, settings)
}

pub(super) fn battery_within(fuel: u64, policy: &Policy, settings: &[Setting]) -> Report {
    let default = [Setting::default()];
    let settings = if settings.is_empty() { &default } else { settings };
    let mut report = Report::default();
    let mut spent = BTreeMap::new();
    for setting in settings {
        let mut exam = Exam { policy, setting, fuel, report: &mut report, spent: &mut spent };
        exam.run();
    }
    report.costs = spent.into_iter().map(|(export, spent)| Cost::of(export, &spent)).collect();
    report
}

/// What was spent, by export.
type SpentIn = BTreeMap<&'static str, Vec<Spent>>;

/// A policy that is being asked, with one setting.
pub(super) struct Exam<'a> {
    policy: &'a Policy,
    pub(super) setting: &'a Setting,
    /// What is left of [`MOST_FUEL`].
    fuel: u64,
    report: &'a mut Report,
    spent: &'a mut SpentIn,
}

impl Exam<'_> {
    fn run(&mut self) {
        for (name, ask) in SITUATIONS {
            if self.is_over() {
                break;
            }
            self.report.rows.push(Row::new(name, &self.setting.config));
            ask(self);
        }
    }

    /// Asks for an ADD; the ledger has what is planned.
    pub(super) fn add(&mut self, request: &AddRequest, leases: &Ledger) -> Option<Checked> {
        if self.is_over() {
            return None;
        }
        let decided = decision::add(self.policy, request, leases);
        self.pay("add", decided.spent);
        let is_foreign = self.is_foreign(&request.node);
        let row = self.row();
        match decided.decision {
            Decision::Plan(plan) => {
                row.planned();
                return Some(*plan);
            }
            Decision::Refusal(refusal) => row.refused(&refusal.message),
            Decision::Broken(broken) if is_foreign && is_outside(&broken) => row.refused_by_host(&broken),
            Decision::Broken(broken) if is_as_asked(request, &broken) => row.refused_by_host(&broken),
            // Who had it before the policy came.
            Decision::Leased(error) if matches!(*error, leases::Error::GatewayHeld { .. }) => {
                row.refused_by_host(&error);
            }
            fault => row.failed(&fault),
        }
        None
    }

    /// Tells of a DEL: the ledger is rid of it.
    pub(super) fn del(&mut self, request: &AddRequest, leases: &Ledger) {
        if leases.plan_of(&request.attachment).is_none() {
            return;
        }
        let told = decision::del_request(request, leases);
        let said = self.ask("del", |policy| decision::del(policy, &told, leases));
        if let Some(seconds) = said {
            self.row().planned();
            leases.release(&request.attachment, seconds > 0);
        }
    }

    /// Asks what shall hold on the node.
    pub(super) fn node(&mut self, request: &NodeRequest) {
        match self.ask("node", |policy| decision::node(policy, request)) {
            None => {}
            Some(Ok(Ok(_))) => self.row().planned(),
            Some(Ok(Err(broken))) if self.is_foreign(&request.node) && is_outside(&broken) => {
                self.row().refused_by_host(&broken);
            }
            Some(Ok(Err(broken))) => self.row().failed(&Decision::Broken(broken)),
            Some(Err(refusal)) => self.row().refused(&refusal.message),
        }
    }

    /// Asks whether the policy can work with a configuration.
    pub(super) fn check_config(&mut self, config: &str) {
        match self.ask("check-config", |policy| decision::check_config(policy, config)) {
            None => {}
            Some(Ok(())) => self.row().planned(),
            Some(Err(refusal)) => self.row().refused(&refusal.message),
        }
    }

    fn ask<T>(&mut self, export: &'static str, question: impl FnOnce(&Policy) -> Said<T>) -> Option<T> {
        if self.is_over() {
            return None;
        }
        let said = question(self.policy);
        self.pay(export, said.spent);
        match said.answer {
            Ok(answer) => return Some(answer),
            // Told, but no fault: most nodes have less to ask.
            Err(none) if self.is_strain() && none.is_out_of_fuel() => self.row().refused_by_host(&none),
            Err(none) => self.row().failed(&none),
        }
        None
    }

    /// Whether more is asked than any policy must be able to do.
    fn is_strain(&self) -> bool {
        self.report.rows.last().is_some_and(|row| STRAINS.contains(&row.situation))
    }

    /// A configuration that names addresses cannot fit pools that the network does not have: then the host refuses,
    /// and that is nobody's fault.
    fn is_foreign(&self, node: &Node) -> bool {
        self.setting.config != "{}" && node.pools != self.setting.pools
    }

    fn row(&mut self) -> &mut Row {
        self.report.rows.last_mut().expect("each situation begins with its row")
    }

    fn pay(&mut self, export: &'static str, spent: Option<Spent>) {
        let Some(spent) = spent else { return };
        // Each question is put twice.
        self.fuel = self.fuel.saturating_sub(2 * spent.fuel);
        self.spent.entry(export).or_default().push(spent);
    }

    fn is_over(&mut self) -> bool {
        let faults: u32 = self.report.rows.iter().map(|row| row.faults).sum();
        self.report.stopped = match (faults >= MOST_FAULTS, self.fuel == 0) {
            (true, _) => Some(Stopped::Faults),
            (_, true) => Some(Stopped::Fuel),
            (false, false) => return false,
        };
        true
    }
}

fn is_outside(broken: &Violation) -> bool {
    broken.rule.starts_with(OUTSIDE_POOLS)
}

/// Somebody asked for just that address, and is told by the host why he cannot have it; or the network has ranges, which
/// most policies do not know: that keeps nobody from using them in networks without.
fn is_as_asked(request: &AddRequest, broken: &Violation) -> bool {
    let address = broken.value.parse::<IpNet>().map(|prefix| prefix.addr());
    let is_asked_for = |address| request.requested_addresses.iter().any(|asked| asked.addr() == address);
    broken.rule == OUTSIDE_RANGES || address.is_ok_and(is_asked_for)
}

/// An attachment of a trial.
pub(super) fn attachment(container: &str) -> AttachmentId {
    AttachmentId {
        container_id: container.parse().expect("a trial's container ID is one"),
        ifname: "eth0".parse().expect("an interface name"),
    }
}
