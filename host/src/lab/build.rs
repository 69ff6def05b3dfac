//! Building the lab, step by step, as the lecture does.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value, json};

use super::layout::{CLUSTER, Lab, Node, Pod};
use super::{namespace, namespaces, record};
use crate::names::{InterfaceName, MacAddress};
use crate::net::bridge::{self, Vlans};
use crate::net::link::{self, Interface, Veth};
use crate::net::namespace::Namespace;
use crate::net::route::{self, Hop, Route};
use crate::net::socket::{Request, Socket};
use crate::net::sysctl::Sysctl;
use crate::net::{DEFAULT_MTU, address};
use crate::state::{State, write_atomically};

/// The switch's bridge.
const SWITCH: &str = "br0";
/// A machine's interface in the network between nodes.
const UPLINK: &str = "eth0";

/// Builds everything, and writes down what it looks like.
pub(super) fn build(mut lab: Lab) -> Result<Lab> {
    say("switch", "a bridge that stands for the wire between the nodes");
    switch()?;
    if lab.router {
        router(&lab)?;
    }
    let router = lab.router;
    let peers: Vec<Value> = lab.nodes.iter().filter(|_| !router).map(as_peer).collect();
    for node in &mut lab.nodes {
        machine(&node.name, node.address)?;
        configure(node, &peers)?;
        if router {
            default_route(node)?;
        }
        node_up(node)?;
        for i in 0..node.pods.len() {
            let address = add(node, &node.pods[i])?;
            node.pods[i].address = Some(address.addr());
        }
    }
    keep(&lab)?;
    Ok(lab)
}

/// Writes down what the lab looks like.
pub(super) fn keep(lab: &Lab) -> Result<()> {
    Ok(write_atomically(&record(), &serde_json::to_vec(lab)?)?)
}

pub(super) fn say(who: &str, what: &str) {
    println!("{who:<8} {what}");
}

fn switch() -> Result<()> {
    let made = namespaces::make("switch")?;
    Namespace::open(&made)?.run(|| -> Result<()> {
        let mut socket = Socket::route()?;
        socket.apply(&[bridge::creation(
            &name(SWITCH)?,
            MacAddress([0x0a, 0x58, 0xc0, 0xa8, 0x01, 0x00]),
            Vlans::Ignored,
        )])?;
        let index = index_of(&socket, SWITCH)?;
        Ok(socket.apply(&[link::set_up(Interface { index, name: SWITCH })])?)
    })?
}

/// A machine on the switch, with its address.
fn machine(of: &str, address: Ipv4Addr) -> Result<()> {
    println!();
    say(of, &format!("a machine: {UPLINK} {} on the switch", Lab::on_underlay(address)));
    let machine = Namespace::open(&namespaces::make(of)?)?;
    plug_in(of, &machine)?;
    in_machine(&machine, |socket| {
        let uplink = Interface { index: index_of(socket, UPLINK)?, name: UPLINK };
        let loopback = Interface { index: index_of(socket, "lo")?, name: "lo" };
        let address = address::add(uplink, Lab::on_underlay(address));
        Ok(vec![link::set_up(loopback), link::set_up(uplink), address])
    })
}

/// The cable to the switch, whose port has the machine's name.
fn plug_in(of: &str, machine: &Namespace) -> Result<()> {
    Namespace::open(&namespace("switch"))?.run(|| -> Result<()> {
        let mut socket = Socket::route()?;
        let veth = Veth {
            near: &name(of)?,
            near_mac: None,
            far: &name(UPLINK)?,
            far_mac: None,
            mtu: DEFAULT_MTU,
            master: Some(index_of(&socket, SWITCH)?),
        };
        use std::os::fd::AsFd as _;
        socket.apply(&[link::create_veth(&veth, machine.as_fd())])?;
        let port = Interface { index: index_of(&socket, of)?, name: of };
        Ok(socket.apply(&[link::set_up(port)])?)
    })?
}

fn in_machine(machine: &Namespace, requests: impl FnOnce(&Socket) -> Result<Vec<Request>>) -> Result<()> {
    machine.run(|| -> Result<()> {
        let mut socket = Socket::route()?;
        let requests = requests(&socket)?;
        Ok(socket.apply(&requests)?)
    })?
}

/// The lecture's better way: the routes are on one router, and the nodes only know the router.
fn router(lab: &Lab) -> Result<()> {
    machine("router", Lab::router_address())?;
    let router = Namespace::open(&namespace("router"))?;
    in_machine(&router, |_| {
        Ok(lab.nodes.iter().map(|n| route::add_static(&via(n.pool, n.address))).collect())
    })?;
    for node in &lab.nodes {
        say("router", &format!("route {} via {}", node.pool, node.address));
    }
    // A router that sends packets out where they came in would tell the senders of a shorter way.
    let switches = [("net.ipv4.ip_forward", "1"), ("net.ipv4.conf.all.send_redirects", "0")];
    router.run(|| -> Result<()> {
        for (switch, value) in switches {
            Sysctl::named(switch).set(value)?;
        }
        Ok(Sysctl::of_interface("ipv4", UPLINK, "send_redirects").set("0")?)
    })?
}

fn default_route(node: &Node) -> Result<()> {
    let everything = Ipv4Net::default();
    say(&node.name, &format!("default route via {}", Lab::router_address()));
    let machine = Namespace::open(&namespace(&node.name))?;
    in_machine(&machine, |_| Ok(vec![route::add_static(&via(everything, Lab::router_address()))]))
}

fn via(destination: Ipv4Net, gateway: Ipv4Addr) -> Route {
    let hop = Hop::Via { gateway: gateway.into(), interface: None, onlink: false };
    Route::to(destination.into(), hop)
}

fn as_peer(node: &Node) -> Value {
    json!({ "name": node.name, "addresses": [node.address], "pools": [node.pool] })
}

fn configure(node: &Node, peers: &[Value]) -> Result<()> {
    let state = State::new(Some(&node.root()));
    fs::create_dir_all(&state.etc)?;
    let mut this = as_peer(node);
    this["cluster"] = json!([CLUSTER]);
    write_atomically(&state.node_config(), &serde_json::to_vec_pretty(&this)?)?;
    let peers = json!({ "peers": peers });
    Ok(write_atomically(&state.peers(), &serde_json::to_vec_pretty(&peers)?)?)
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

/// Runs this binary on a node, as its operator would.
pub(super) fn podwire(node: &Node, arguments: &[&str]) -> Result<Output> {
    let mut command = itself(node);
    Ok(Namespace::open(&namespace(&node.name))?.run(|| command.args(arguments).output())??)
}

fn itself(node: &Node) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env("PODWIRE_ROOT", node.root());
    command
}

/// What a runtime does for a pod: a network namespace, then the plugin, through CNI.
pub(super) fn add(node: &Node, pod: &Pod) -> Result<IpNet> {
    namespaces::make(&pod.name)?;
    let result = called("ADD", node, pod).inspect_err(|_| drop(namespaces::remove(&pod.name)))?;
    let result: Value = serde_json::from_slice(&result).context("the plugin's answer is no JSON")?;
    let address = result["ips"][0]["address"].as_str().context("the plugin's result has no address")?;
    say(&node.name, &format!("ADD {} → {address}", pod.name));
    Ok(address.parse()?)
}

/// And what it does when the pod ends.
pub(super) fn delete(node: &Node, pod: &Pod) -> Result<()> {
    called("DEL", node, pod)?;
    say(&node.name, &format!("DEL {}", pod.name));
    namespaces::remove(&pod.name)
}

fn called(command: &str, node: &Node, pod: &Pod) -> Result<Vec<u8>> {
    let Pod { name, namespace: of, .. } = pod;
    let mut plugin = itself(node);
    plugin
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", &pod.name)
        .env("CNI_NETNS", namespace(&pod.name))
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/opt/cni/bin")
        .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={of};K8S_POD_NAME={name}"));
    Namespace::open(&namespace(&node.name))?
        .run(|| call(&mut plugin, &serde_json::to_vec(&pod.configuration)?))?
}

fn call(plugin: &mut Command, configuration: &[u8]) -> Result<Vec<u8>> {
    let mut child = plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("it has a pipe")?;
    input.write_all(configuration)?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the plugin refused: {}", String::from_utf8_lossy(&output.stdout).trim_end());
    }
    Ok(output.stdout)
}

fn name(text: &str) -> Result<InterfaceName> {
    Ok(text.parse()?)
}

fn index_of(socket: &Socket, name: &str) -> Result<u32> {
    socket.index_of(name)?.with_context(|| format!("{name} is gone"))
}
