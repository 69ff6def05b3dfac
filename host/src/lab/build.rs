//! Building the lab, step by step, as the lecture does.

use std::net::IpAddr;

use anyhow::{Result, bail};

use super::layout::{Lab, Membership, Node, Shape};
use super::settings::{self, Machine};
use super::{agents, pods, podwire, record, say, underlay};
use crate::state::write_atomically;

/// Builds everything, and writes down what it looks like.
pub(super) fn build(mut lab: Lab) -> Result<Lab> {
    underlay::switch(lab.shape.sites)?;
    if lab.shape.has_router() {
        underlay::router(&lab)?;
    }
    match &lab.shape.agents {
        Some(Membership::Etcd) => {
            machine("store", 1, &lab.shape.store(), &lab.shape)?;
            agents::start_store(&lab.shape)?;
        }
        Some(Membership::Other(_)) => machine("store", 1, &lab.shape.store(), &lab.shape)?,
        _ if lab.shape.router && lab.shape.agents.is_none() => underlay::routes_of_router(&lab)?,
        _ => (),
    }
    if let Some(router) = Machine::router(&lab.shape) {
        settings::configure(&router, &lab.shape)?;
        agents::start(router.name)?;
    }
    settings::publish(&lab)?;
    for i in 0..lab.nodes.len() {
        switch_on(&mut lab, i)?;
    }
    settle(&mut lab)?;
    Ok(lab)
}

/// A node's machine and what runs on it; its pods too, unless an agent has to learn their addresses first.
pub(super) fn switch_on(lab: &mut Lab, at: usize) -> Result<()> {
    let (shape, node) = (&lab.shape, &mut lab.nodes[at]);
    machine(&node.name, node.site, &node.addresses, shape)?;
    settings::configure(&Machine::node(node), shape)?;
    match shape.agents {
        Some(_) => agents::start(&node.name),
        None => {
            node_up(node)?;
            wire(node)
        }
    }
}

/// A machine on the switch, that reaches those of other sites too.
fn machine(name: &str, site: u8, addresses: &[IpAddr], shape: &Shape) -> Result<()> {
    underlay::machine(name, site, addresses)?;
    if shape.has_router() {
        underlay::default_routes(name, site, shape)?;
    }
    Ok(())
}

/// With agents: waits until they know each other, and adds the pods that are still to be wired.
pub(super) fn settle(lab: &mut Lab) -> Result<()> {
    if lab.shape.agents.is_some() {
        agents::wait(&Machine::all(lab))?;
        for node in lab.nodes.iter_mut().filter(|node| !node.dead) {
            node.pools = agents::pools(node)?;
            wire(node)?;
        }
    }
    keep(lab)
}

fn wire(node: &mut Node) -> Result<()> {
    for i in 0..node.pods.len() {
        let mut pod = node.pods[i].clone();
        if pod.addresses.is_empty() {
            pods::add(node, &mut pod)?;
            node.pods[i] = pod;
        }
    }
    Ok(())
}

/// Writes down what the lab looks like.
pub(super) fn keep(lab: &Lab) -> Result<()> {
    Ok(write_atomically(&record(), &serde_json::to_vec(lab)?)?)
}

fn node_up(node: &Node) -> Result<()> {
    let answer = podwire(node, &["node", "up"])?;
    for line in String::from_utf8_lossy(&answer.stdout).lines() {
        say(&node.name, line);
    }
    if !answer.status.success() {
        bail!("podwire node up on {}: {}", node.name, String::from_utf8_lossy(&answer.stderr).trim_end());
    }
    Ok(())
}
