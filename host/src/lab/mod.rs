//! The lecture on one machine: nodes that are network namespaces, joined by a switch, each with its own
//! state and pods, wired by this very binary called through CNI.
//!
//! Everything lives in namespaces that one process holds ([`holder`]): when it ends, nothing is left.
//! For people to see, and to try policies on; the plugin has no part in it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod build;
pub mod holder;
pub mod layout;
pub(crate) mod namespaces;
mod ping;

use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context as _, Result, bail};

use crate::net::namespace::Namespace;
use layout::{Lab, Node, Pod};
use ping::{Endpoint, Outcome};

/// Builds a lab, and says what it does. If a step fails, or this is killed, nothing is left.
pub fn up(lab: Lab) -> Result<ExitCode> {
    let building = holder::start()?;
    holder::enter()?;
    let lab = build::build(lab)?;
    println!("\n{}", layout::picture(&lab));
    println!("  podwire lab ping | exec pod1-1 -- ip address | add NAMESPACE/NAME | status | down");
    building.keep()?;
    Ok(ExitCode::SUCCESS)
}

/// Sends an echo from every pod to every other. Succeeds if all are answered, from unchanged addresses.
pub fn ping_all() -> Result<ExitCode> {
    let lab = entered()?;
    let ends = lab.pods().map(|(_, pod, address)| Ok((pod.name.as_str(), endpoint(&pod.name, address)?)));
    let ends = ends.collect::<Result<Vec<_>>>()?;
    if ends.len() < 2 {
        bail!("a ping needs two pods, and the lab has {}", ends.len());
    }
    let (mut pairs, mut bad, mut times) = (0u32, 0u32, Vec::new());
    for (from, sender) in &ends {
        println!("{from} {}", sender.address());
        for (to, receiver) in ends.iter().filter(|(to, _)| to != from) {
            pairs += 1;
            let (line, well) = describe(sender, &sender.ping(receiver, pairs), &mut times);
            bad += u32::from(!well);
            println!("  → {to:<10} {:<15} {line}", receiver.address().to_string());
        }
    }
    times.sort_unstable();
    let median =
        times.get(times.len() / 2).map(|median| format!(", median {}", show(*median))).unwrap_or_default();
    println!(
        "\n{} of {pairs} pairs answered, with the sender's own address as the source{median}",
        pairs - bad
    );
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn endpoint(name: &str, address: IpAddr) -> Result<Endpoint> {
    let IpAddr::V4(address) = address else { bail!("{name} has {address}; the lab's pods have IPv4") };
    let opened = Namespace::open(&namespace(name))?.run(|| Endpoint::open(address))?;
    opened.with_context(|| format!("no ICMP socket in {name}"))
}

fn describe(sender: &Endpoint, outcome: &Outcome, times: &mut Vec<Duration>) -> (String, bool) {
    match outcome {
        Outcome::Answered { round_trip, seen_from } if *seen_from == IpAddr::from(sender.address()) => {
            times.push(*round_trip);
            (show(*round_trip), true)
        }
        Outcome::Answered { seen_from, .. } => (format!("TRANSLATED: arrives from {seen_from}"), false),
        Outcome::Lost => ("LOST: the request does not arrive".to_owned(), false),
        Outcome::Unanswered => ("UNANSWERED: the request arrives, the answer does not".to_owned(), false),
        Outcome::Unsent(why) => (format!("NOT SENT: {why}"), false),
    }
}

fn show(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// Becomes a command in a namespace of the lab. Returns if it cannot.
pub fn exec(name: &str, command: &[String]) -> Result<ExitCode> {
    let here = std::env::current_dir();
    let lab = entered()?;
    let names = lab.names();
    if !names.contains(&name) {
        bail!("the lab has no {name:?}: it has {}", names.join(", "));
    }
    let (program, arguments) = command.split_first().context("no command was given")?;
    let mut command = Command::new(program);
    command.args(arguments);
    // The same folders are there, by the same names.
    if let Some(here) = here.ok().filter(|here| here.is_dir()) {
        command.current_dir(here);
    }
    if let Some(node) = lab.nodes.iter().find(|node| node.name == name) {
        command.env("PODWIRE_ROOT", node.root());
    }
    let error = Namespace::open(&namespace(name))?.run(|| command.exec())?;
    Err(error).with_context(|| format!("{program} cannot be run"))
}

/// Adds pods to a node, each with an ADD.
pub fn add(to: &str, pods: Vec<Pod>) -> Result<ExitCode> {
    let mut lab = entered()?;
    for mut pod in pods {
        if lab.names().contains(&pod.name.as_str()) {
            bail!("the lab has a {} already", pod.name);
        }
        let nodes: Vec<_> = lab.nodes.iter().map(|node| node.name.clone()).collect();
        let node = lab.nodes.iter_mut().find(|node| node.name == to);
        let node =
            node.with_context(|| format!("the lab has no node {to:?}: it has {}", nodes.join(", ")))?;
        pod.address = Some(build::add(node, &pod)?.addr());
        node.pods.push(pod);
        build::keep(&lab)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes a pod away, with a DEL.
pub fn delete(name: &str) -> Result<ExitCode> {
    let mut lab = entered()?;
    let pods = |node: &Node| node.pods.iter().position(|pod| pod.name == name);
    let found = lab.nodes.iter_mut().find_map(|node| pods(node).map(|at| (node, at)));
    let (node, at) = found.with_context(|| format!("the lab has no pod {name:?}"))?;
    build::delete(node, &node.pods[at])?;
    node.pods.remove(at);
    build::keep(&lab)?;
    Ok(ExitCode::SUCCESS)
}

/// Draws the lab, and asks each node whether it is as it should be.
pub fn status() -> Result<ExitCode> {
    let lab = entered()?;
    println!("{}", layout::picture(&lab));
    let mut well = true;
    for node in &lab.nodes {
        let answer = build::podwire(node, &["node", "status"])?;
        well &= answer.status.success();
        let said = String::from_utf8_lossy(&answer.stdout) + String::from_utf8_lossy(&answer.stderr);
        said.lines().for_each(|line| build::say(&node.name, line));
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes everything away.
pub fn down() -> Result<ExitCode> {
    match holder::stop()? {
        true => println!("lab down: its process is gone, and its namespaces with it"),
        false => println!("no lab is running"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a namespace of the lab has its name.
fn namespace(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

fn record() -> PathBuf {
    Path::new(holder::DIRECTORY).join("lab.json")
}

/// Enters the lab, and reads what it looks like.
fn entered() -> Result<Lab> {
    holder::enter()?;
    let text = fs::read(record()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            anyhow::anyhow!("the lab is being built: try again when `lab up` has ended")
        }
        _ => error.into(),
    })?;
    serde_json::from_slice(&text).context("the lab's own record is damaged: `podwire lab down` ends it")
}
