//! A nearly full node against an empty one, in one run.
//!
//! The floor gives its pods no IPv6 link-local address here: the kernel would flood their multicast to all the
//! ports for as long as the run lasts, and every call in it would wait for that.

use anyhow::Result;

use super::crowd::Crowd;
use super::{Scale, Trio, of_adds, of_dels};
use crate::lab::{Lab, Sample, cpu, wall};
use crate::spawner::Measured;
use crate::statistics::ratio;
use crate::table::{Figures, Line, Mark, number};
use crate::variant::{Kind, Variant};

/// Pods beside the ports that are there: the kernel gives a bridge no more than 1,023.
const ROOM: usize = 20;

/// A figure of each, in milliseconds.
type OfSamples = fn(&[Sample], fn(&Measured) -> f64) -> Figures;

pub(super) fn measure(lab: &mut Lab, empty: &Trio, crowd: &Crowd, scale: &Scale) -> Result<Vec<Line>> {
    let quiet = |floor: &Variant| floor.with_kind(Kind::FloorWithoutLinkLocal);
    let (full_floor, empty_floor) = (quiet(&crowd.floor), quiet(&empty.floor));
    let variants = [&crowd.podwire, &full_floor, &empty.podwire, &empty_floor];
    let mut samples = vec![Sample::default(); variants.len()];
    for done in (0..scale.calls).step_by(ROOM) {
        let some = lab.compare(&variants, ROOM.min(scale.calls - done))?;
        samples.iter_mut().zip(some).for_each(|(all, some)| all.extend(some));
    }
    let (full, empty) = samples.split_at(2);
    let line = |what: &str, figures: OfSamples, of| {
        let (full, empty) = (figures(full, of), figures(empty, of));
        let floor = number(ratio(full.floor, empty.floor));
        let case = format!("{what}, {} leases, {} ports (floor: {floor} × empty)", scale.leases, scale.ports);
        Line::new(case, full).mark(Mark::Times { limit: 1.2, of: "empty", figure: empty.podwire })
    };
    Ok(vec![
        line("ADD, wall ms", of_adds, wall),
        line("ADD, CPU ms", of_adds, cpu),
        line("DEL, wall ms", of_dels, wall),
        line("DEL, CPU ms", of_dels, cpu),
    ])
}
