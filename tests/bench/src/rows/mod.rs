//! The rows of the table, one module for each kind of measurement.

mod attachments;
mod burst;
mod cost;
mod crowd;
mod held;
mod nodes;
pub(crate) mod share;
mod softirq;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use podwire_tests::plugin::REFERENCE_PLUGINS;

use crate::lab::{Lab, Sample, each};
use crate::spawner::Measured;
use crate::statistics::median;
use crate::table::{Figures, Line};
use crate::variant::{Kind, Stack, Variant};

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Row {
    /// ADD with an IPv4 address
    Add,
    /// ADD with an address of each family
    Dual,
    /// DEL
    Del,
    /// ADD and DEL of a pod that is masqueraded
    Masquerade,
    /// ADD and DEL on a node that is nearly full
    Held,
    /// Many ADDs at once
    Burst,
    /// Memory, page faults and system calls of an ADD
    Cost,
    /// The policy's part of an ADD
    Share,
    /// What the kernel does after an ADD
    Softirq,
    /// The agent of a node in a large cluster
    Nodes,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Calls of each variant.
    pub(crate) calls: usize,
    /// Leases held on the full node.
    pub(crate) leases: usize,
    /// Ports on the full node's bridge.
    pub(crate) ports: usize,
    /// ADDs in a burst, and bursts of each variant.
    pub(crate) burst: (usize, usize),
    /// How long the kernel's work after the ADDs is watched.
    pub(crate) window: Duration,
    /// Peers of the agent's node.
    pub(crate) peers: usize,
    /// How often one more joins, and leaves.
    pub(crate) joins: usize,
}

impl Scale {
    /// What the marks are about.
    pub(crate) fn whole(calls: usize) -> Self {
        let window = Duration::from_secs(8);
        Self { calls, leases: 60_000, ports: 1000, burst: (200, 3), window, peers: 5_000, joins: 20 }
    }

    /// Every row, with figures that only show that they can be had.
    pub(crate) fn quick(calls: usize) -> Self {
        let window = Duration::from_millis(500);
        Self { calls, leases: 5_000, ports: 100, burst: (64, 1), window, peers: 200, joins: 3 }
    }
}

/// How many calls of a burst are under way at any time.
const AT_ONCE: usize = 32;

/// Measures the rows.
pub(crate) fn measure(lab: &mut Lab, wanted: impl Fn(Row) -> bool, scale: &Scale) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let trio = Trio::new(lab, "v4", Stack::V4)?;
    if wanted(Row::Add) || wanted(Row::Del) {
        lines.extend(attachments::single(lab, &trio, &wanted, scale)?);
    }
    if wanted(Row::Dual) {
        let trio = Trio::new(lab, "dual", Stack::Dual)?;
        lines.extend(attachments::dual(lab, &trio, scale)?);
    }
    if wanted(Row::Masquerade) {
        lines.extend(attachments::masquerade(lab, &trio, scale)?);
    }
    if wanted(Row::Burst) {
        lines.extend(burst::measure(lab, &trio, scale)?);
    }
    if wanted(Row::Cost) {
        lines.extend(cost::measure(lab, &trio, scale)?);
    }
    if wanted(Row::Share) {
        lines.extend(share::measure(lab, &trio.podwire, scale)?);
    }
    if wanted(Row::Held) || wanted(Row::Softirq) {
        let crowd = crowd::Crowd::new(lab, scale)?;
        if wanted(Row::Held) {
            lines.extend(held::measure(lab, &trio, &crowd, scale)?);
        }
        if wanted(Row::Softirq) {
            lines.extend(softirq::measure(lab, &crowd, scale)?);
        }
    }
    if wanted(Row::Nodes) {
        lines.extend(nodes::measure(lab, scale)?);
    }
    Ok(lines)
}

/// Whether Debian's plugins are there.
pub(crate) fn has_incumbent() -> bool {
    ["bridge", "host-local"].iter().all(|program| Path::new(REFERENCE_PLUGINS).join(program).exists())
}

/// The three that are compared.
struct Trio {
    podwire: Variant,
    floor: Variant,
    incumbent: Option<Variant>,
}

impl Trio {
    fn new(lab: &mut Lab, name: &str, stack: Stack) -> Result<Self> {
        let mut variant = |of: &str, kind| lab.variant(&format!("{of}-{name}"), kind, stack);
        Ok(Self {
            podwire: variant("podwire", Kind::Podwire)?,
            floor: variant("floor", Kind::Floor)?,
            incumbent: has_incumbent().then(|| variant("bridge", Kind::Incumbent)).transpose()?,
        })
    }

    fn all(&self) -> Vec<&Variant> {
        [&self.podwire, &self.floor].into_iter().chain(&self.incumbent).collect()
    }
}

/// One figure of each sample, in the order of [`Trio::all`].
fn figures(samples: &[Sample], figure: impl Fn(&Sample) -> Option<f64>) -> Figures {
    let of = |number: usize| samples.get(number).and_then(&figure);
    Figures { podwire: of(0), floor: of(1), incumbent: of(2) }
}

/// The median of one thing of every ADD.
fn of_adds(samples: &[Sample], of: fn(&Measured) -> f64) -> Figures {
    figures(samples, |sample| median(&each(&sample.add, of)))
}

/// The median of one thing of every DEL.
fn of_dels(samples: &[Sample], of: fn(&Measured) -> f64) -> Figures {
    figures(samples, |sample| median(&each(&sample.del, of)))
}
