//! The checks. Each is a function of the facts alone, and says at least one thing.

mod blocks;
mod firewall;
mod kernel;
mod managers;
mod mtu;
mod networks;
mod ours;
mod tables;
#[cfg(test)]
mod tests;
mod tunnel;

use super::facts::Facts;
use super::finding::Finding;

type Check = fn(&Facts) -> Vec<Finding>;

pub(super) const ALL: &[Check] = &[
    kernel::visible,
    kernel::forwarding,
    kernel::reverse_path,
    kernel::ipv6,
    firewall::forwarded,
    firewall::bridged,
    tunnel::port,
    mtu::check,
    blocks::members,
    blocks::addresses,
    blocks::routes,
    tables::connections,
    tables::neighbours,
    ours::directories,
    ours::settings,
    ours::policy,
    networks::plugin,
    networks::loopback,
    networks::files,
    managers::check,
];

/// What was found, or that nothing was.
fn or_ok(findings: Vec<Finding>, ok: impl FnOnce() -> Finding) -> Vec<Finding> {
    if findings.is_empty() { vec![ok()] } else { findings }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
