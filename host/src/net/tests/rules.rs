//! Rules, seen by the packets that pass them; `nft` says what is there.

mod conntrack;
mod masquerade;
mod ports;
mod spoof;
mod table;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use super::super::link::{self, Veth};
use super::super::rules;
use super::*;
use crate::plan::{Masquerade, PortMapping, Protocol};

const NODE4: &str = "192.168.1.11";
const NODE6: &str = "fd00:192::11";
const OUTSIDE4: &str = "192.168.1.12";
const OUTSIDE6: &str = "fd00:192::12";
/// Of somebody who expects something: what is not to come is never waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A machine beside the node, which has its pods behind the node.
fn outside() -> Namespace {
    let outside = new_namespace();
    let (near, far) = (name("uplink"), name("eth0"));
    let veth = Veth { near: &near, near_mac: None, far: &far, far_mac: None, mtu: 1500, master: None };
    Socket::route().expect("socket").apply(&[link::create_veth(&veth, outside.as_fd())]).expect("made");
    give_addresses("uplink", [NODE4, NODE6]);
    inside(&outside, || {
        give_addresses("eth0", [OUTSIDE4, OUTSIDE6]);
        run(&format!("ip route add 10.244.0.0/16 via {NODE4}"));
        run(&format!("ip route add fd00:244::/32 via {NODE6}"));
        await_carrier("eth0");
    });
    await_carrier("uplink");
    outside
}

fn give_addresses(interface: &str, [four, six]: [&str; 2]) {
    run(&format!("ip address add {four}/24 dev {interface}"));
    run(&format!("ip address add {six}/64 dev {interface} nodad"));
    run(&format!("ip link set {interface} up"));
}

/// Waits until an interface that is up sends: the kernel sees to it a while after the other end is up, too.
fn await_carrier(interface: &str) {
    let until = Instant::now() + PATIENCE;
    while !output(&format!("ip -json link show dev {interface}")).contains(r#""operstate":"UP""#) {
        assert!(Instant::now() < until, "{interface} stays without a carrier");
        yield_now();
    }
}

/// Wires a pod that can be reached.
fn wired(plan: &Checked) -> Namespace {
    let pod = super::wired(plan);
    await_carrier(plan.host_interface.as_str());
    if let Wiring::Bridge { bridge, .. } = &plan.wiring {
        await_carrier(bridge.name.as_str());
    }
    inside(&pod, || await_carrier("eth0"));
    pod
}

/// Wires a pod and has the node treat its packets as planned.
fn treated(plan: &Checked) -> Namespace {
    rules::apply(plan).expect("applied");
    wired(plan)
}

fn except(blocks: &[&str]) -> Option<Masquerade> {
    Some(Masquerade { except: blocks.iter().map(|block| block.parse().expect("valid")).collect() })
}

fn mapping(protocol: Protocol, host_ip: Option<&str>, host_port: u16, container_port: u16) -> PortMapping {
    let host_ip = host_ip.map(|address| address.parse().expect("valid"));
    PortMapping { protocol, host_ip, host_port, container_port }
}

fn socket_address(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("valid"), port)
}

/// Binds a socket as soon as its port is free: one that another thread's child process has inherited is open until that
/// executes its program.
fn bound_at_last<T>(namespace: &Namespace, bind: impl Fn() -> std::io::Result<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match inside(namespace, &bind) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => yield_now(),
            outcome => return outcome.expect("an own address"),
        }
    }
}

fn bound(namespace: &Namespace, address: &str, port: u16) -> UdpSocket {
    let socket = bound_at_last(namespace, || UdpSocket::bind(socket_address(address, port)));
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket
}

/// Has a client ask, by the protocol, and says whom the server saw; none if it did not hear, or its answer went
/// astray.
fn served(
    protocol: Protocol,
    client: &Namespace,
    asked: SocketAddr,
    server: (&Namespace, SocketAddr),
) -> Option<IpAddr> {
    match protocol {
        Protocol::Tcp => served_by_tcp(client, asked, server),
        _ => served_by_udp(client, asked, server),
    }
}

fn served_by_udp(client: &Namespace, asked: SocketAddr, server: (&Namespace, SocketAddr)) -> Option<IpAddr> {
    let any = if asked.is_ipv4() { "0.0.0.0" } else { "::" };
    let listening = bound(server.0, &server.1.ip().to_string(), server.1.port());
    let asking = bound(client, any, 0);
    asking.connect(asked).expect("a route");
    asking.send(b"ping").expect("sent");
    let (_, seen) = receive(&listening, &mut [0; 8]).ok()?;
    listening.send_to(b"pong", seen).expect("sent");
    receive(&asking, &mut [0; 8]).ok()?;
    Some(seen.ip())
}

fn served_by_tcp(client: &Namespace, asked: SocketAddr, server: (&Namespace, SocketAddr)) -> Option<IpAddr> {
    let listening = bound_at_last(server.0, || TcpListener::bind(server.1));
    let mut asking = inside(client, || TcpStream::connect_timeout(&asked, PATIENCE)).ok()?;
    let (mut answering, seen) = listening.accept().ok()?;
    answering.write_all(b"pong").expect("sent");
    asking.read_exact(&mut [0; 4]).ok()?;
    Some(seen.ip())
}

/// What nft says of the tables called podwire.
fn ruleset() -> Vec<serde_json::Value> {
    let said: serde_json::Value = serde_json::from_str(&output("nft -j list ruleset")).expect("JSON");
    let objects = said["nftables"].as_array().expect("a list").iter().flat_map(|object| object.as_object());
    let ours = objects
        .flat_map(|object| object.values())
        .filter(|object| object["table"] == rules::TABLE || object["name"] == rules::TABLE);
    ours.cloned().collect()
}

/// How many elements all sets have together.
fn elements() -> usize {
    ruleset().iter().filter_map(|object| object["elem"].as_array()).map(Vec::len).sum()
}

fn differences(plan: &Checked) -> Vec<String> {
    rules::inspect(plan).expect("compared").iter().map(ToString::to_string).collect()
}
