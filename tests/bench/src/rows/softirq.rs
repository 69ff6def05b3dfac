//! What the kernel does when an ADD has been answered, and charges to nobody: a pod's multicast is flooded to
//! every port of the bridge.
//!
//! Time is the machine's, and so is what else uses the network meanwhile: it is compared with as long a time of
//! idling. Frames are counted at another port.

use std::time::Instant;

use anyhow::{Context, Result};
use podwire_tests::{Namespace, kernel};

use super::Scale;
use super::crowd::Crowd;
use crate::lab::Lab;
use crate::table::{Figures, Line, Mark};
use crate::variant::{Kind, Variant};

/// ADDs whose work is added up: the kernel counts in hundredths of a second.
const ADDS: usize = 15;
/// In milliseconds, far below the 30 that flooding takes at a thousand ports: less is not told from nothing.
const MEASURABLE: f64 = 3.0;

/// What follows one ADD.
struct After {
    milliseconds: f64,
    frames: f64,
}

pub(super) fn measure(lab: &mut Lab, crowd: &Crowd, scale: &Scale) -> Result<Vec<Line>> {
    let idle = idle(scale)?;
    let without = crowd.floor.with_kind(Kind::FloorWithoutLinkLocal);
    let floor = after(lab, &without, &crowd.floor_others, scale, idle)?;
    let podwire = after(lab, &crowd.podwire, &crowd.others, scale, idle)?;
    let flooding = after(lab, &crowd.floor, &crowd.floor_others, scale, idle)?;
    let ports = scale.ports;
    let figures = |of: fn(&After) -> f64| Figures {
        podwire: Some(of(&podwire)),
        floor: Some(of(&floor)),
        incumbent: None,
    };
    let time = format!(
        "softirq ms after an ADD, {ports} ports (floor with link-local address: {:.1})",
        flooding.milliseconds
    );
    let frames = format!(
        "frames at another port after an ADD (floor with link-local address: {:.1})",
        flooding.frames
    );
    Ok(vec![
        Line::new(time, figures(|after| after.milliseconds)).mark(Mark::AtMost(MEASURABLE)),
        Line::new(frames, figures(|after| after.frames)),
    ])
}

fn idle(scale: &Scale) -> Result<f64> {
    let begin = softirq()?;
    std::thread::sleep(scale.window);
    Ok(softirq()? - begin)
}

fn after(lab: &mut Lab, variant: &Variant, others: &Namespace, scale: &Scale, idle: f64) -> Result<After> {
    let (frames, begin, start) = (received(others, scale.ports)?, softirq()?, Instant::now());
    let added = lab.add_all(&[variant], ADDS, 1)?;
    std::thread::sleep(scale.window.saturating_sub(start.elapsed()));
    let milliseconds = (softirq()? - begin - idle).max(0.0) / ADDS as f64;
    let frames = (received(others, scale.ports)? - frames) / ADDS as f64;
    lab.del_all(added)?;
    Ok(After { milliseconds, frames })
}

/// The machine's, in milliseconds since its start.
fn softirq() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let ticks = stat.split_ascii_whitespace().nth(7).context("/proc/stat has a column for softirq")?;
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    Ok(ticks.parse::<f64>()? * 1e3 / ticks_per_second)
}

/// Frames that came to the other end of the port that was made last. It gets them first: those for the last ones
/// of a thousand find the kernel's queue full.
fn received(others: &Namespace, ports: usize) -> Result<f64> {
    let link = others.run(|| kernel::json(&format!("-stats link show other{}", ports - 1)));
    let packets = link.first().and_then(|link| link["stats64"]["rx"]["packets"].as_f64());
    packets.context("ip tells what a link received")
}
