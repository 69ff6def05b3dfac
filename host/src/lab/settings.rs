//! What an operator would write on each machine: node.json, peers.json, agent.json.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::layout::{Lab, Membership, Node, Shape};
use crate::state::{State, write_atomically};

/// How long an etcd remembers a node that is silent, in seconds: nobody wants to wait in a lab.
const LEASE: u32 = 5;

/// A machine with podwire on it.
pub(super) struct Machine<'a> {
    pub(super) name: &'a str,
    role: &'static str,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) pools: &'a [IpNet],
}

impl<'a> Machine<'a> {
    pub(super) fn node(node: &'a Node) -> Self {
        Self { name: &node.name, role: "host", addresses: node.addresses.clone(), pools: &node.pools }
    }

    /// The router, if an agent runs on it.
    pub(super) fn router(shape: &Shape) -> Option<Self> {
        let addresses = (1..=shape.sites).flat_map(|site| shape.router(site)).collect();
        let is_ours = shape.router && shape.agents.is_some();
        is_ours.then_some(Self { name: "router", role: "router", addresses, pools: &[] })
    }

    /// All of them that are switched on.
    pub(super) fn all(lab: &'a Lab) -> Vec<Self> {
        let nodes = lab.nodes.iter().filter(|node| !node.dead).map(Self::node);
        nodes.chain(Self::router(&lab.shape)).collect()
    }

    pub(super) fn is_router(&self) -> bool {
        self.role == "router"
    }

    pub(super) fn root(&self) -> PathBuf {
        super::root(self.name)
    }

    /// Its entry of peers.json.
    fn as_peer(&self) -> Value {
        json!({ "name": self.name, "role": self.role, "addresses": self.addresses, "pools": self.pools })
    }
}

/// Tells every machine of all others, where files say who belongs to the cluster.
pub(super) fn publish(lab: &Lab) -> Result<()> {
    let machines = Machine::all(lab);
    // Without agents, a router has all the routes, and nodes need none.
    let is_told = lab.shape.names_pools() && (lab.shape.agents.is_some() || !lab.shape.router);
    let peers: Vec<Value> = machines.iter().filter(|_| is_told).map(Machine::as_peer).collect();
    let peers = serde_json::to_vec_pretty(&json!({ "peers": peers }))?;
    for machine in &machines {
        let state = State::new(Some(&machine.root()));
        fs::create_dir_all(&state.etc)?;
        write_atomically(&state.peers(), &peers)?;
    }
    Ok(())
}

/// Writes what one machine says of itself.
pub(super) fn configure(machine: &Machine<'_>, shape: &Shape) -> Result<()> {
    let state = State::new(Some(&machine.root()));
    fs::create_dir_all(&state.etc)?;
    let mut node = json!({
        "name": machine.name, "addresses": machine.addresses, "cluster": shape.families.cluster(),
    });
    if !machine.pools.is_empty() {
        node["pools"] = json!(machine.pools);
    }
    if let Some(way) = shape.way {
        node["config"] = json!({ "ways": way });
    }
    write_atomically(&state.node_config(), &serde_json::to_vec_pretty(&node)?)?;
    let Some(membership) = &shape.agents else { return Ok(()) };
    let mut agent = json!({ "role": machine.role, "source": source(membership, shape) });
    if !machine.is_router() {
        let conflist = machine.root().join("net.d/10-podwire.conflist");
        fs::create_dir_all(machine.root().join("net.d"))?;
        agent["conflist"] = json!(conflist);
    }
    Ok(write_atomically(&state.etc.join("agent.json"), &serde_json::to_vec_pretty(&agent)?)?)
}

fn source(membership: &Membership, shape: &Shape) -> Value {
    match membership {
        Membership::Static => json!({ "static": {} }),
        Membership::Etcd => {
            json!({ "etcd": { "endpoints": [store_url(shape, 2379)], "leaseSeconds": LEASE } })
        }
        Membership::Other(source) => source.clone(),
    }
}

/// Where etcd listens in the lab.
pub(super) fn store_url(shape: &Shape, port: u16) -> String {
    match shape.store()[0] {
        IpAddr::V4(address) => format!("http://{address}:{port}"),
        IpAddr::V6(address) => format!("http://[{address}]:{port}"),
    }
}
