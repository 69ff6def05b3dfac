//! What a runtime finds: the plugin, the one for lo, and which network it takes.

use std::path::Path;

use super::super::facts::{Answer, Facts, NetworkFile, quoted};
use super::super::finding::Finding;
use super::or_ok;
use crate::cni::Version;

const PLUGIN: &str = "plugin";
const LOOPBACK: &str = "loopback";
const NETWORKS: &str = "networks";

/// The command and the plugin are of one release if they speak the same versions of the specification.
pub(super) fn plugin(facts: &Facts) -> Vec<Finding> {
    let install = format!("{} install", facts.podwire);
    let found = facts.folders.iter().filter(|folder| folder.podwire != Answer::Absent);
    let judge = |folder: &super::super::facts::Folder| match &folder.podwire {
        Answer::Versions(versions) if *versions == Version::ALL.map(Version::as_str) => Finding::ok(
            PLUGIN,
            format!("{} answers, and speaks {}", folder.path.join("podwire").display(), versions.join(", ")),
        ),
        Answer::Versions(versions) => {
            let found = format!(
                "{} speaks {}, which is not what this command speaks: they are of different releases",
                folder.path.join("podwire").display(),
                versions.join(", ")
            );
            Finding::warning(PLUGIN, found).mended_by(install.clone())
        }
        Answer::Unusable(why) => Finding::wrong(PLUGIN, why.clone()).mended_by(install.clone()),
        Answer::Absent => Finding::not_applicable(PLUGIN, "it is not there"),
    };
    let findings: Vec<Finding> = found.map(judge).collect();
    or_ok(findings, || {
        Finding::wrong(PLUGIN, "no folder of plugins has podwire: no runtime can call it").mended_by(install)
    })
}

pub(super) fn loopback(facts: &Facts) -> Vec<Finding> {
    let has = facts.folders.iter().find(|folder| folder.has_loopback);
    vec![match (has, facts.folders.is_empty()) {
        (Some(folder), _) => Finding::ok(LOOPBACK, format!("{} has the plugin", folder.path.display())),
        (None, true) => Finding::not_applicable(LOOPBACK, "there is no folder of plugins"),
        (None, false) => Finding::warning(
            LOOPBACK,
            "no folder of plugins has it, and containerd before 2.1 and CRI-O call it for every pod",
        )
        .mended_by("apt-get install containernetworking-plugins"),
    }]
}

pub(super) fn files(facts: &Facts) -> Vec<Finding> {
    let folder = facts.networks.display();
    let (sound, broken): (Vec<&NetworkFile>, Vec<&NetworkFile>) =
        facts.network_files.iter().partition(|file| file.problem.is_none());
    let mut findings: Vec<Finding> = broken.into_iter().map(unreadable).collect();
    let Some(first) = sound.first() else {
        let found = format!("{folder} has no network that a runtime could use: it makes no pods");
        let none = Finding::wrong(NETWORKS, found).mended_by(format!("{} install", facts.podwire));
        return findings.into_iter().chain([none]).collect();
    };
    let ours: Vec<&NetworkFile> = sound.iter().copied().filter(|file| file.is_podwire()).collect();
    findings.extend(not_first(first, &ours, &facts.podwire));
    findings.extend(ours.iter().filter(|file| file.single).map(|file| single(file)));
    findings.extend(ours.windows(2).filter_map(|pair| contradiction(pair[0], pair[1])));
    or_ok(findings, || {
        Finding::ok(NETWORKS, format!("runtimes take {} first: network {}", first.path.display(), first.name))
    })
}

fn unreadable(file: &NetworkFile) -> Finding {
    let why = file.problem.as_deref().unwrap_or_default();
    let found = format!("{} cannot be used: {why}", file.path.display());
    Finding::wrong(NETWORKS, found).mended_by(aside(&file.path))
}

/// Runtimes take the first file in the order of names.
fn not_first(first: &NetworkFile, ours: &[&NetworkFile], podwire: &str) -> Option<Finding> {
    if first.is_podwire() {
        return None;
    }
    let plugins = first.plugins.join(", ");
    let name = first.path.display();
    Some(match ours.first() {
        None => Finding::wrong(
            NETWORKS,
            format!("runtimes take {name} (plugins {plugins}), and none has podwire"),
        )
        .mended_by(aside(&first.path))
        .mended_by(format!("{podwire} install")),
        Some(own) => {
            let found = format!("runtimes take {name} (plugins {plugins}) before {}", own.path.display());
            Finding::wrong(NETWORKS, found).mended_by(aside(&first.path))
        }
    })
}

fn single(file: &NetworkFile) -> Finding {
    let found = format!("{} is no list (.conflist): no other plugin can be added to it", file.path.display());
    Finding::warning(NETWORKS, found)
        .advised("put it into `\"plugins\": […]` of a file that ends in .conflist")
}

fn contradiction(one: &NetworkFile, other: &NetworkFile) -> Option<Finding> {
    let files = format!("{} and {}", one.path.display(), other.path.display());
    if one.name == other.name {
        let found = format!("{files} are both network {}: only the first is ever used", one.name);
        return Some(Finding::wrong(NETWORKS, found).mended_by(aside(&other.path)));
    }
    (one.pools != other.pools).then(|| {
        Finding::warning(NETWORKS, format!("{files} give addresses from different pools"))
            .advised("peers know one set of pools for each node: check that theirs holds both")
    })
}

/// Runtimes look at what ends in .conf, .conflist or .json.
fn aside(path: &Path) -> String {
    format!("mv {0} {0}.disabled", quoted(path))
}
