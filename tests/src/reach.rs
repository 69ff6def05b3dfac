//! Whether packets arrive, and from whom: real sockets in two namespaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::node::Namespace;

/// Long enough for duplicate address detection on a bridge, which the kernel gives a second or two.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two datagrams: the first ones may be lost while a port comes up.
const RETRY: Duration = Duration::from_millis(100);

/// Panics unless UDP and TCP from `from` reach `address` in `to`, and arrive with the source `source`.
#[track_caller]
pub fn assert_reaches(from: &Namespace, to: &Namespace, address: IpAddr, source: IpAddr) {
    let way = format!("from {source} in {} to {address} in {}", from.path().display(), to.path().display());
    let seen = udp_source(from, to, address).unwrap_or_else(|e| panic!("UDP {way}: {e}"));
    assert_eq!(seen, source, "UDP {way}: the receiver saw another source");
    let seen = tcp_source(from, to, address).unwrap_or_else(|e| panic!("TCP {way}: {e}"));
    assert_eq!(seen, source, "TCP {way}: the receiver saw another source");
}

/// The source address with which a datagram arrives.
pub fn udp_source(from: &Namespace, to: &Namespace, address: IpAddr) -> io::Result<IpAddr> {
    let receiver = to.run(|| UdpSocket::bind((unspecified(address), 0)))?;
    let sender = from.run(|| UdpSocket::bind((unspecified(address), 0)))?;
    let target = SocketAddr::new(address, receiver.local_addr()?.port());
    receiver.set_read_timeout(Some(RETRY))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let sent = sender.send_to(b"podwire", target);
        match receiver.recv_from(&mut [0; 16]) {
            Ok((_, source)) => return Ok(source.ip()),
            Err(silence) if Instant::now() > deadline => return Err(sent.err().unwrap_or(silence)),
            Err(_) => {}
        }
    }
}

/// Reads a datagram, however often a signal comes in between, such as that of another test's child: where there is a
/// timeout, the kernel does not go on by itself.
///
/// # Errors
///
/// Nothing came within the socket's timeout, or the kernel refuses.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

/// The source address of a connection, as the accepting side sees it.
pub fn tcp_source(from: &Namespace, to: &Namespace, address: IpAddr) -> io::Result<IpAddr> {
    let listener = to.run(|| TcpListener::bind((unspecified(address), 0)))?;
    let target = SocketAddr::new(address, listener.local_addr()?.port());
    let connection = from.run(|| TcpStream::connect_timeout(&target, PATIENCE))?;
    let (_, source) = listener.accept()?;
    drop(connection);
    Ok(source.ip())
}

/// The source address with which a connection to `target` arrives at this port in `to`, to which somebody leads it.
pub fn published_source(
    from: &Namespace,
    target: SocketAddr,
    to: &Namespace,
    port: u16,
) -> io::Result<IpAddr> {
    let listener = to.run(|| listen(SocketAddr::new(unspecified(target.ip()), port)))?;
    let connection = from.run(|| TcpStream::connect_timeout(&target, PATIENCE))?;
    let patience = Timespec::try_from(PATIENCE).expect("seconds");
    // A runtime may keep the port itself: then the connection stands, but nobody in `to` sees it.
    if poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&patience))? == 0 {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "somebody else answers there"));
    }
    let (_, source) = listener.accept()?;
    drop(connection);
    Ok(source.ip())
}

/// A process that another test starts has this one's sockets until it executes its program: also one that was closed
/// here.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {}
            bound => return bound,
        }
    }
}

/// Binding to any address, not to `address`: an address that is still tentative cannot be bound to.
fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
