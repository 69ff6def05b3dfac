//! `podwire policy list`.

use std::process::ExitCode;

use anyhow::Result;

use super::hex12;
use crate::names::PolicyName;
use crate::registry::{Error, Installed, Registry, Rollout, Scope, Standing, Trial, Version};

pub(super) fn run(registry: &Registry) -> Result<ExitCode> {
    for name in names(registry)? {
        println!("{name}");
        let standing = registry.standing(&name)?;
        for line in in_use(registry, &name, &standing)? {
            println!("    {line}");
        }
        for version in standing.installed.iter().filter(|version| !standing.uses(&version.digest)) {
            println!("    installed {}, not in use", told(version));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every name that stands for something.
pub(in crate::cli) fn names(registry: &Registry) -> Result<Vec<PolicyName>, Error> {
    let mut names = registry.names()?;
    names.push(PolicyName::default());
    names.sort();
    names.dedup();
    Ok(names)
}

/// What decides, what is tried, and how often that failed; a line each.
pub(in crate::cli) fn in_use(
    registry: &Registry,
    name: &PolicyName,
    standing: &Standing,
) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for (scope, rollout) in standing.rollouts() {
        let place = scope.map_or_else(String::new, |network| format!(" in network {network}"));
        let told_of = described(registry, name, scope, rollout)?;
        lines.extend(told_of.into_iter().map(|(what, rest)| format!("{what}{place}: {rest}")));
    }
    Ok(lines)
}

/// The parts of one rollout: what they are, and which version.
fn described(
    registry: &Registry,
    name: &PolicyName,
    scope: Scope<'_>,
    rollout: &Rollout,
) -> Result<Vec<(String, String)>, Error> {
    let with_faults = |version: &Version| -> Result<String, Error> {
        Ok(format!("{}{}", told(version), faults(&registry.version(name, version.digest))?))
    };
    let mut parts = Vec::new();
    match (&rollout.active, registry.active(name)) {
        (Some(active), _) => parts.push(("active".to_owned(), with_faults(active)?)),
        (None, Ok(builtin)) if scope.is_none() => {
            let told = format!("{} built in{}", builtin.digest, faults(&builtin)?);
            parts.push(("active".to_owned(), told));
        }
        (None, _) => {}
    }
    if let Some(candidate) = &rollout.candidate {
        let what = match candidate.trial {
            Trial::Canary(percent) => format!("canary for {percent} % of the pods"),
            Trial::Shadow => "in the shadow".to_owned(),
        };
        parts.push((what, with_faults(&candidate.version)?));
    }
    if let Some(fell_back) = &rollout.fell_back {
        let (from, to) = (hex12(&fell_back.from), hex12(&fell_back.to));
        let (faults, at) = (fell_back.faults, fell_back.at.in_words());
        parts.push((
            "fell back".to_owned(),
            format!("from {from}, which failed {faults} times, to {to} at {at}"),
        ));
    }
    Ok(parts)
}

fn told(version: &Version) -> String {
    format!("{} since {} by {}", version.digest, version.at.in_words(), version.by)
}

fn faults(version: &Installed) -> Result<String, Error> {
    match (version.faults()?, version.last_fault()?) {
        (faults, Some(last)) if faults > 0 => Ok(format!(", failed {faults} times, the last time: {last}")),
        _ => Ok(String::new()),
    }
}
