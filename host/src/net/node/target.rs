//! A node's plan, with what it needs of the kernel worked out once for all who ask.

use ipnet::IpNet;

use super::Ways;
use crate::plan::NodePlan;

/// What shall be true on a node.
#[derive(Debug)]
pub struct Target {
    /// The plan.
    pub plan: NodePlan,
    /// Blocks that together hold every pod: their families are forwarded, and inside them nothing is masqueraded.
    pub cluster: Vec<IpNet>,
    pub(in crate::net) ways: Ways,
}

impl Target {
    /// With the ways that the plan's routes take.
    pub fn of(plan: &NodePlan, cluster: &[IpNet]) -> Self {
        Self { plan: plan.clone(), cluster: cluster.to_vec(), ways: Ways::of(plan) }
    }
}
