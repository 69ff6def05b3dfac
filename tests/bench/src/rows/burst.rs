//! Many ADDs at once, of one variant at a time.

use anyhow::Result;

use super::{AT_ONCE, Scale, Trio};
use crate::lab::{Lab, Sample, each, wall};
use crate::statistics::{interleave, median, percentile};
use crate::table::{Figures, Line, Mark};

pub(super) fn measure(lab: &mut Lab, trio: &Trio, scale: &Scale) -> Result<Vec<Line>> {
    let variants = trio.all();
    let (pods, rounds) = scale.burst;
    let mut bursts = vec![Vec::new(); variants.len()];
    for (number, _) in interleave(variants.len(), rounds, &mut fastrand::Rng::with_seed(2)) {
        bursts[number].push(lab.burst(variants[number], pods, AT_ONCE)?);
    }
    let figures = |figure: fn(&Sample) -> Option<f64>| {
        let of = |number: usize| {
            let bursts = bursts.get(number).map_or(&[][..], Vec::as_slice);
            median(&bursts.iter().filter_map(figure).collect::<Vec<_>>())
        };
        Figures { podwire: of(0), floor: of(1), incumbent: of(2) }
    };
    let failed = |number: usize| {
        let bursts = bursts.get(number)?;
        let good = bursts.iter().map(|sample| sample.add.len()).sum::<usize>();
        Some((pods * bursts.len() - good) as f64)
    };
    let failed = Figures { podwire: failed(0), floor: failed(1), incumbent: failed(2) };
    let case = |what: &str| format!("{pods} ADDs, {AT_ONCE} at a time, {what}");
    let middle = figures(|sample| percentile(&each(&sample.add, wall), 0.5));
    let slow = figures(|sample| percentile(&each(&sample.add, wall), 0.99));
    let mark = Mark::Times { limit: 3.0, of: "its median", figure: middle.podwire };
    Ok(vec![
        Line::new(case("pods per second"), figures(per_second)).mark(Mark::TimesIncumbent(5.0)),
        Line::new(case("failed"), failed).mark(Mark::AtMost(0.0)),
        Line::new(case("wall ms"), middle),
        Line::new(case("wall ms, p99"), slow).mark(mark),
    ])
}

fn per_second(sample: &Sample) -> Option<f64> {
    Some(sample.add.len() as f64 / sample.adding.as_secs_f64())
}
