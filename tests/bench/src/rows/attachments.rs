//! One ADD or DEL at a time.

use anyhow::Result;

use super::{Row, Scale, Trio, figures, of_adds, of_dels};
use crate::lab::{Lab, cpu, each, wall};
use crate::statistics::{largest, median, percentile};
use crate::table::{Figures, Line, Mark};
use crate::variant::{Kind, Variant};

/// ADD and DEL with one address.
pub(super) fn single(
    lab: &mut Lab,
    trio: &Trio,
    wanted: impl Fn(Row) -> bool,
    scale: &Scale,
) -> Result<Vec<Line>> {
    let samples = lab.compare(&trio.all(), scale.calls)?;
    let p99 = figures(&samples, |sample| percentile(&each(&sample.add, wall), 0.99));
    let add = [
        Line::new("ADD IPv4, wall ms", of_adds(&samples, wall))
            .mark(Mark::TimesFloor(1.3))
            .mark(Mark::TimesFaster(6.0)),
        Line::new("ADD IPv4, wall ms, p99", p99),
        Line::new("ADD IPv4, CPU ms", of_adds(&samples, cpu)).mark(Mark::TimesFloor(1.3)),
    ];
    let del = [
        Line::new("DEL IPv4, wall ms", of_dels(&samples, wall)).mark(Mark::TimesFloor(1.1)),
        Line::new("DEL IPv4, CPU ms", of_dels(&samples, cpu)),
    ];
    let add = add.into_iter().filter(|_| wanted(Row::Add));
    Ok(add.chain(del.into_iter().filter(|_| wanted(Row::Del))).collect())
}

/// ADD with two addresses.
///
/// While `bridge` waits for DAD, the processor idles and its caches go cold, and who comes next pays for it, the larger
/// program more. So podwire and the floor are called by themselves too, as with one address: a node that was idle, and one
/// that is not, have the same mark.
pub(super) fn dual(lab: &mut Lab, trio: &Trio, scale: &Scale) -> Result<Vec<Line>> {
    let busy = lab.compare(&[&trio.podwire, &trio.floor], scale.calls)?;
    let idle = lab.compare(&trio.all(), scale.calls)?;
    let slowest = figures(&idle, |sample| largest(&each(&sample.add, wall)));
    Ok(vec![
        Line::new("ADD dual stack, wall ms", of_adds(&busy, wall)).mark(Mark::TimesFloor(1.3)),
        Line::new("ADD dual stack, CPU ms", of_adds(&busy, cpu)).mark(Mark::TimesFloor(1.3)),
        Line::new("ADD dual stack between waits, wall ms", of_adds(&idle, wall)).mark(Mark::TimesFloor(1.3)),
        Line::new("ADD dual stack between waits, CPU ms", of_adds(&idle, cpu)).mark(Mark::TimesFloor(1.3)),
        Line::new("ADD dual stack, wall ms, slowest (a wait for DAD takes 1000)", slowest)
            .mark(Mark::AtMost(1000.0)),
    ])
}

/// ADD and DEL with one address that is masqueraded. The floor does not masquerade: there is no C program for that.
pub(super) fn masquerade(lab: &mut Lab, plain: &Trio, scale: &Scale) -> Result<Vec<Line>> {
    let podwire = lab.masquerading("podwire-masquerade", Kind::Podwire)?;
    let incumbent =
        super::has_incumbent().then(|| lab.masquerading("bridge-masquerade", Kind::Incumbent)).transpose()?;
    // What podwire takes without comes last, for it is in no column.
    let variants: Vec<&Variant> =
        [&podwire, &plain.floor].into_iter().chain(&incumbent).chain([&plain.podwire]).collect();
    let mut samples = lab.compare(&variants, scale.calls)?;
    let without = samples.pop().and_then(|sample| median(&each(&sample.add, wall)));
    let own = Mark::Times { limit: 1.1, of: "without", figure: without };
    let unlike = |figures: Figures| Figures { floor: None, ..figures };
    Ok(vec![
        Line::new("ADD masqueraded, wall ms", unlike(of_adds(&samples, wall)))
            .mark(own)
            .mark(Mark::TimesFaster(15.0)),
        Line::new("ADD masqueraded, CPU ms", unlike(of_adds(&samples, cpu))),
        Line::new("DEL masqueraded, wall ms", of_dels(&samples, wall)).mark(Mark::TimesFloor(1.1)),
    ])
}
