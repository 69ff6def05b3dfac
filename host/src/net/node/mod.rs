//! What holds on the node as a whole: its bridges, its VXLAN device, its routes to pods elsewhere, its masquerade, and
//! forwarding.
//!
//! Declarative: what is there is read, compared with the plan, and only the difference is carried out. What
//! podwire made earlier and no plan names goes; what others made is never touched. Who knows what the kernel holds
//! already, as the agent does, has only two plans compared ([`Step`]).

mod advance;
mod carry;
mod change;
mod compare;
mod target;
mod uplinks;
mod ways;

use std::fmt::{self, Display};

use ipnet::IpNet;

use crate::plan::NodePlan;

use super::inspect::Difference;
use super::socket::Socket;
use super::{Error, link, rules};

pub use advance::{Step, advance};
pub use change::Change;
pub(super) use compare::{Place, is_of_the_node, place};
pub use target::Target;
pub use uplinks::uplinks;
pub(super) use ways::Ways;

use compare::{Comparison, compare};

/// What became of a node's plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was done, in order; empty if all was as planned.
    pub changes: Vec<Change>,
    /// What ought to go and stays, because it is in use.
    pub kept: Vec<Difference>,
    /// What could not be put right, or was in the way.
    pub failed: Vec<Failed>,
}

/// Something of a plan that did not become true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What it is about: "route 10.244.2.0/24 via 192.168.1.12". None: the reason says.
    pub what: Option<String>,
    /// A sentence for the operator.
    pub why: String,
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Some(what) => write!(f, "{what}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl Failed {
    fn conflict(error: &Error) -> Self {
        Self { what: None, why: error.to_string() }
    }
}

/// Makes a plan true, and has packets of the cluster's families forwarded. What cannot be put right, or is in the way
/// of what others made, is handed over; the rest becomes true.
pub fn apply(plan: &NodePlan, cluster: &[IpNet]) -> Result<Outcome, Error> {
    let mut socket = Socket::route()?;
    let comparison = compare(&mut socket, plan, cluster)?;
    put_right(&mut socket, plan, cluster, comparison)
}

/// As [`apply`], but a conflict with what others made is an error before anything is changed.
pub fn apply_undisputed(plan: &NodePlan, cluster: &[IpNet]) -> Result<Outcome, Error> {
    let mut socket = Socket::route()?;
    let mut comparison = compare(&mut socket, plan, cluster)?;
    if !comparison.conflicts.is_empty() {
        return Err(comparison.conflicts.remove(0));
    }
    put_right(&mut socket, plan, cluster, comparison)
}

fn put_right(
    socket: &mut Socket,
    plan: &NodePlan,
    cluster: &[IpNet],
    comparison: Comparison,
) -> Result<Outcome, Error> {
    let Comparison { changes, kept, conflicts, .. } = comparison;
    let (changes, refused) = carry::out(socket, plan, cluster, changes)?;
    let failed = conflicts.iter().map(Failed::conflict).chain(refused).collect();
    Ok(Outcome { changes, kept, failed })
}

/// Takes away what podwire made on the node: its routes, its VXLAN device, its bridges unless they have ports, its
/// masquerade, and its other rules unless there are pods. Forwarding stays, for others may count on it.
pub fn remove() -> Result<Outcome, Error> {
    let outcome = apply(&NodePlan::nothing(), &[])?;
    if link::own(&mut Socket::route()?)?.is_empty() {
        rules::remove_all()?;
    }
    Ok(outcome)
}

/// How the node differs from a plan.
#[derive(Debug)]
pub struct Report {
    /// What [`apply`] would put right, and what it would keep though no plan names it.
    pub differences: Vec<Difference>,
    /// What others made stands in the way of the plan: [`apply`] would leave it, [`apply_undisputed`] change nothing.
    pub conflicts: Vec<Error>,
}

/// Compares the node with a plan. Changes nothing.
pub fn inspect(plan: &NodePlan, cluster: &[IpNet]) -> Result<Report, Error> {
    let Comparison { changes, kept, conflicts, .. } = compare(&mut Socket::route()?, plan, cluster)?;
    let differences = changes.iter().map(Change::difference).chain(kept).collect();
    Ok(Report { differences, conflicts })
}
