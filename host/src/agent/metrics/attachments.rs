//! What ADDs leave: leases in their database, and decisions in the journal.

use std::net::IpAddr;

use ipnet::IpNet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::{Label, Seconds};
use crate::journal::{Decision, Entry, Journal, Outcome, Tail};
use crate::leases::{self, Steps, Store, View};
use crate::policy::limits::{FUEL, LEASE_STEPS};
use crate::state::State;

/// Figures, and from where they are read.
#[derive(Debug)]
pub(super) struct Attachments {
    leases: std::path::PathBuf,
    journal: Tail,
    pools: Vec<IpNet>,
    held: Gauge,
    used: Family<Label, Gauge>,
    size: Family<Label, Seconds>,
    decisions: Family<Label, Counter>,
    releases: Counter,
    fuel: Histogram,
    duration: Histogram,
}

impl Attachments {
    /// Counts what happens from now on.
    pub(super) fn new(state: &State, registry: &mut Registry) -> Self {
        let this = Self {
            leases: state.leases_dir(),
            journal: Journal::open(state).tail(),
            pools: Vec::new(),
            held: Gauge::default(),
            used: Family::default(),
            size: Family::default(),
            decisions: Family::default(),
            releases: Counter::default(),
            // Up to all that a call may cost.
            fuel: Histogram::new(exponential_buckets(FUEL as f64 / f64::from(1 << 13), 2.0, 14)),
            duration: Histogram::new(exponential_buckets(0.000_01, 2.0, 16)),
        };
        this.register(registry);
        this
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("leases", "Addresses that attachments hold or that rest", self.held.clone());
        let help = "Addresses of a pool that attachments hold or that rest";
        registry.register("pool_used_addresses", help, self.used.clone());
        let help = "Addresses of a pool that a pod or a gateway can have";
        registry.register("pool_addresses", help, self.size.clone());
        let help = "Decisions of policies about ADDs since the agent started, by what came of them";
        registry.register("decisions", help, self.decisions.clone());
        let help = "Attachments that gave their addresses back since the agent started";
        registry.register("releases", help, self.releases.clone());
        let help = "Fuel that a policy's decision took, about one unit for each instruction";
        registry.register("decision_fuel", help, self.fuel.clone());
        let help = "How long a policy's decision took";
        registry.register_with_unit("decision_duration", help, Unit::Seconds, self.duration.clone());
        for outcome in ["plan", "refused", "failed"] {
            drop(self.decisions.get_or_create(&[("outcome", outcome.to_owned())]));
        }
    }

    /// These are the node's pools from now on.
    pub(super) fn watch(&mut self, pools: Vec<IpNet>) {
        self.used.clear();
        self.size.clear();
        for pool in &pools {
            self.size.get_or_create(&label(pool)).set(usable(pool));
        }
        self.pools = pools;
    }

    /// Reads what has happened. What cannot be read stays as it was: STATUS and `podwire status` say why.
    pub(super) fn look(&mut self) {
        for entry in self.journal.read().unwrap_or_default() {
            match entry {
                Entry::Decision(decision) => self.decided(&decision),
                Entry::Release(_) => _ = self.releases.inc(),
                Entry::Change(_) => {}
            }
        }
        // Nobody is kept from an address because somebody counts.
        let _ = self.count();
    }

    fn decided(&self, decision: &Decision<'_>) {
        let outcome = match decision.outcome {
            Outcome::Plan(_) => "plan",
            Outcome::Refused(_) => "refused",
            Outcome::Failed(_) => "failed",
        };
        self.decisions.get_or_create(&[("outcome", outcome.to_owned())]).inc();
        self.fuel.observe(decision.fuel as f64);
        self.duration.observe(decision.microseconds as f64 / 1e6);
    }

    fn count(&self) -> Result<(), leases::Error> {
        let Some(store) = Store::open_existing(&self.leases)? else { return Ok(()) };
        let snapshot = store.snapshot()?;
        let taken = |block: IpNet| snapshot.taken(block, &mut Steps(LEASE_STEPS)).map(|taken| taken as i64);
        let all = ["0.0.0.0/0", "::/0"].map(|block| block.parse::<IpNet>().expect("a block"));
        self.held.set(taken(all[0])? + taken(all[1])?);
        for pool in &self.pools {
            self.used.get_or_create(&label(pool)).set(taken(*pool)?);
        }
        Ok(())
    }
}

fn label(pool: &IpNet) -> Label {
    [("pool", pool.to_string())]
}

/// Without the network's own address, and in IPv4 the broadcast address (RFC 3021, RFC 6164).
fn usable(pool: &IpNet) -> f64 {
    let bits = pool.max_prefix_len() - pool.prefix_len();
    let kept = match pool.addr() {
        _ if bits < 2 => 0.0,
        IpAddr::V4(_) => 2.0,
        IpAddr::V6(_) => 1.0,
    };
    f64::from(bits).exp2() - kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_have_as_many_addresses_as_machines_can_have() {
        for (pool, size) in [
            ("10.0.0.0/24", 254.0),
            ("10.0.0.0/31", 2.0),
            ("10.0.0.0/32", 1.0),
            ("fd00::/64", 18446744073709551615.0),
        ] {
            assert_eq!(usable(&pool.parse().expect("a block")), size, "{pool}");
        }
    }
}
