//! The lecture on one machine: nodes that are network namespaces, joined by a switch, each with its own
//! state and pods, wired by this very binary called through CNI.
//!
//! Everything lives in namespaces that one process holds ([`holder`]): when it ends, nothing is left.
//! For people to see, and to try policies on; the plugin has no part in it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod agents;
mod build;
mod events;
pub mod holder;
pub mod layout;
pub(crate) mod namespaces;
mod ping;
mod pods;
mod settings;
mod underlay;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::{fs, io};

use anyhow::{Context as _, Result, bail};

use crate::net::namespace::Namespace;
use crate::topology::{Topology, text};
use layout::{Lab, Node, Pod};

pub use events::Event;
pub use ping::{ping_all, traffic};

/// Builds a lab, and says what it does. If a step fails, or this is killed, nothing is left.
pub fn up(lab: Lab) -> Result<ExitCode> {
    let building = holder::start()?;
    holder::enter()?;
    let lab = build::build(lab)?;
    println!("\n{}", picture(&lab));
    println!(
        "  podwire lab ping | exec pod1-1 -- ip address | add NAMESPACE/NAME | status | topology | down"
    );
    building.keep()?;
    Ok(ExitCode::SUCCESS)
}

/// Has something happen to the cluster, and shows it.
pub fn happen(event: Event) -> Result<ExitCode> {
    let mut lab = entered()?;
    events::happen(&mut lab, event)?;
    println!("\n{}", picture(&lab));
    Ok(ExitCode::SUCCESS)
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
        let node = lab.node_mut(to)?;
        pods::add(node, &mut pod)?;
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
    pods::delete(node, &node.pods[at])?;
    node.pods.remove(at);
    build::keep(&lab)?;
    Ok(ExitCode::SUCCESS)
}

/// What the lab looks like.
pub fn topology() -> Result<Topology> {
    Ok(Topology::from(&entered()?))
}

/// Draws the lab, and asks each node whether it is as it should be.
pub fn status() -> Result<ExitCode> {
    let lab = entered()?;
    println!("{}", picture(&lab));
    let mut well = true;
    let question: &[&str] = if lab.shape.agents.is_some() { &["status"] } else { &["node", "status"] };
    for node in lab.nodes.iter().filter(|node| !node.dead) {
        let answer = podwire(node, question)?;
        well &= answer.status.success();
        let said = String::from_utf8_lossy(&answer.stdout) + String::from_utf8_lossy(&answer.stderr);
        said.lines().for_each(|line| say(&node.name, line));
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

fn picture(lab: &Lab) -> String {
    text::render(&Topology::from(lab))
}

fn say(who: &str, what: &str) {
    println!("{who:<8} {what}");
}

/// Runs this binary on a node, as its operator would.
fn podwire(node: &Node, arguments: &[&str]) -> Result<Output> {
    let mut command = itself(node);
    Ok(Namespace::open(&namespace(&node.name))?.run(|| command.args(arguments).output())??)
}

fn itself(node: &Node) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env("PODWIRE_ROOT", node.root());
    command
}

/// A machine's state: what is /run/podwire, /var/lib/podwire and /etc/podwire on a machine of one's own.
pub(crate) fn root(machine: &str) -> PathBuf {
    Path::new(holder::DIRECTORY).join(machine)
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
