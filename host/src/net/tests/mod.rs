//! What needs a kernel: every test in network and mount namespaces of its own, which die with its thread.
#![allow(unsafe_code)]

mod bridge;
mod firewall;
mod impairment;
mod inspect;
mod interface;
mod namespace;
mod neighbour;
mod node;
mod overlay;
mod rules;
mod script;
mod shaping;
mod watch;
mod wiring;

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::thread::scope;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::names::{InterfaceName, MacAddress};
use crate::plan::{Address, Bridge, Checked, Route, Wiring};

use super::link::{self, Link};
use super::namespace::Namespace;
use super::socket::Socket;
use super::{address, route};

/// Runs a test on a thread of its own in new namespaces, or says why it cannot.
pub(crate) fn isolated(test: impl FnOnce() + Send) {
    let outcome = scope(|scope| {
        let isolate = || unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS).map(|()| test());
        scope.spawn(isolate).join()
    });
    match outcome {
        Ok(Ok(())) => (),
        Ok(Err(errno)) => {
            let line = format!("skipped, because namespaces need root: {errno}\n");
            std::io::stderr().write_all(line.as_bytes()).expect("written");
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the thread's file descriptors are not unshared.
    unsafe { unshare_unsafe(flags) }
}

/// Another network namespace; it lives as long as its file is open.
fn new_namespace() -> Namespace {
    let make = || {
        unshare(UnshareFlags::NEWNET).expect("root");
        Namespace::current().expect("just made")
    };
    scope(|scope| scope.spawn(make).join().expect("made"))
}

pub(super) fn wired(plan: &Checked) -> Namespace {
    let pod = new_namespace();
    let done = super::wire(&pod, plan).expect("wired");
    super::announce(&done, plan, &[]);
    // It goes up before the other, and the kernel notices its carrier in its own time: what is sent there before is
    // lost.
    let shown = || output(&format!("ip link show dev {}", plan.host_interface));
    eventually("the host's end has its carrier", || plan.interface_down || shown().contains("state UP"));
    pod
}

/// Runs an external command in this thread's namespace, to stand for what others do there.
pub(crate) fn run(command: &str) {
    output(command);
}

fn output(command: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output().expect("installed");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn name(text: &str) -> InterfaceName {
    text.parse().expect("valid")
}

fn mac(last: u8) -> MacAddress {
    MacAddress([0x0a, 0x58, 0x0a, 0xf4, 0x01, last])
}

/// The lecture's plan: a bridge with the first address of each prefix, a default route through it.
pub(super) fn bridged(number: u8, prefixes: &[&str]) -> Checked {
    let prefixes: Vec<ipnet::IpNet> = prefixes.iter().map(|p| p.parse().expect("valid")).collect();
    // IPv6 counts the network's own address among the hosts.
    let nth = |p: &ipnet::IpNet, n: u8| p.hosts().nth(usize::from(n) - usize::from(p.addr().is_ipv4()));
    let gateway = |p: &ipnet::IpNet| nth(p, 1).expect("not empty");
    let with_length = |address, p: &ipnet::IpNet| ipnet::IpNet::new(address, p.prefix_len()).expect("valid");
    let own = |p: &ipnet::IpNet| nth(p, number).expect("large enough");
    let carried = prefixes.iter().map(|p| with_length(gateway(p), p)).collect();
    let bridge = Bridge::plain(name("cni0"), carried);
    let address = |p| Address { prefix: with_length(own(p), p), gateway: Some(gateway(p)) };
    Checked {
        container_interface: name("eth0"),
        host_interface: name(&format!("pw{number}")),
        wiring: Wiring::Bridge { bridge, hairpin: false, isolated: false, vlans: None },
        addresses: prefixes.iter().map(address).collect(),
        routes: prefixes.iter().map(|p| default_route(gateway(p))).collect(),
        mac: mac(number),
        host_mac: mac(0x80 + number),
        mtu: None,
        dns: None,
        sysctls: Vec::new(),
        traffic: Default::default(),
        duplicate_address_detection: false,
        interface_down: false,
    }
}

fn bridge_of(plan: &mut Checked) -> &mut Bridge {
    match &mut plan.wiring {
        Wiring::Bridge { bridge, .. } => bridge,
        Wiring::Routed => panic!("the plan has a bridge"),
    }
}

/// Point to point, with a gateway that exists nowhere.
fn routed(number: u8, addresses: &[(&str, &str)]) -> Checked {
    let address = |(own, gateway): &(&str, &str)| Address {
        prefix: own.parse().expect("valid"),
        gateway: Some(gateway.parse().expect("valid")),
    };
    let routes = addresses.iter().map(|(_, gateway)| default_route(gateway.parse().expect("valid")));
    Checked {
        wiring: Wiring::Routed,
        addresses: addresses.iter().map(address).collect(),
        routes: routes.collect(),
        ..bridged(number, &[])
    }
}

fn default_route(via: IpAddr) -> Route {
    let destination = if via.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    Route::to(destination.parse().expect("valid"), Some(via))
}

pub(crate) fn link_named(text: &str) -> Option<Link> {
    link::find(&mut Socket::route().expect("socket"), &name(text)).expect("answer")
}

fn addresses_of(text: &str) -> Vec<String> {
    let index = link_named(text).expect("there").index;
    let found = address::of(&mut Socket::route().expect("socket"), index).expect("answer");
    found.iter().map(|found| found.prefix.to_string()).collect()
}

fn routes() -> Vec<String> {
    let found = route::all(&mut Socket::route().expect("socket")).expect("answer");
    found.iter().map(route::Found::to_string).collect()
}

fn inside<T>(pod: &Namespace, work: impl FnOnce() -> T) -> T {
    pod.run(work).expect("entered")
}

/// Waits until something that the kernel does in its own time has happened; panics if it does not.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "did not come true within 20 seconds: {what}");
        std::thread::yield_now();
    }
}

/// Whether a datagram from one namespace reaches an address in another, unchanged in its source.
fn reaches(from: &Namespace, source: &str, to: &Namespace, target: &str) -> bool {
    source_at(from, source, to, target) == Some(source.parse().expect("valid"))
}

/// Reads a datagram, however often a signal comes in between, such as that of another test's child: where there is a
/// timeout, the kernel does not go on by itself.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            received => return received,
        }
    }
}

/// From whom a datagram comes that reaches an address in another namespace, if it does.
fn source_at(from: &Namespace, source: &str, to: &Namespace, target: &str) -> Option<IpAddr> {
    let bind = |address: &str| {
        let address = SocketAddr::new(address.parse().expect("valid"), 0);
        UdpSocket::bind(address).expect("an address of this namespace")
    };
    let receiver = inside(to, || bind(target));
    let sender = inside(from, || bind(source));
    let port = receiver.local_addr().expect("bound").port();
    receiver.set_read_timeout(Some(Duration::from_secs(3))).expect("set");
    sender.send_to(b"ping", SocketAddr::new(target.parse().expect("valid"), port)).expect("a route");
    match receive(&receiver, &mut [0; 8]) {
        Ok((_, sender)) => Some(sender.ip()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}
