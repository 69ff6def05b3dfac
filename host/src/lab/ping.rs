//! ICMP echo between pods, with both ends watched: that a request arrives, from which address it arrives
//! at the other pod (its own, or somebody translates), and that the answer comes back.

use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// How long a pair may take before it counts as unreachable.
const PATIENCE: Duration = Duration::from_secs(2);

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;

/// A pod's end: raw ICMP, opened inside its network namespace, where it stays.
pub(super) struct Endpoint {
    socket: Socket,
    address: Ipv4Addr,
}

/// What became of one echo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The answer came.
    Answered {
        /// From the request's sending to the answer's arrival.
        round_trip: Duration,
        /// The source address of the request, as the other pod saw it.
        seen_from: IpAddr,
    },
    /// The request did not arrive at the other pod.
    Lost,
    /// The request arrived, the answer did not come back.
    Unanswered,
    /// It could not even be sent.
    Unsent(String),
}

impl Endpoint {
    /// Opens it in the calling thread's network namespace.
    pub(super) fn open(address: Ipv4Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(address, 0)).into())?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { socket, address })
    }

    /// The pod's address.
    pub(super) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Sends an echo request to `other` and follows it there and back. `number` tells it from others.
    pub(super) fn ping(&self, other: &Endpoint, number: u32) -> Outcome {
        let sent = Instant::now();
        let target = SocketAddr::V4(SocketAddrV4::new(other.address, 0));
        if let Err(error) = self.socket.send_to(&echo(ECHO_REQUEST, number), &target.into()) {
            return Outcome::Unsent(error.to_string());
        }
        let Some(seen_from) = other.expect(ECHO_REQUEST, number, sent) else { return Outcome::Lost };
        match self.expect(ECHO_REPLY, number, sent) {
            Some(_) => Outcome::Answered { round_trip: sent.elapsed(), seen_from: seen_from.into() },
            None => Outcome::Unanswered,
        }
    }

    /// Reads until the message is there, and says whence it came.
    fn expect(&self, kind: u8, number: u32, since: Instant) -> Option<Ipv4Addr> {
        let wanted = echo(kind, number);
        while since.elapsed() < PATIENCE {
            let mut buffer = [0; 256];
            let Ok(length) = (&self.socket).read(&mut buffer) else { continue };
            if let Some((source, message)) = split(&buffer[..length])
                && message[0] == kind
                && message.get(4..) == wanted.get(4..)
            {
                return Some(source);
            }
        }
        None
    }
}

/// An ICMP echo message (RFC 792): type, code, checksum, identifier, sequence number, payload.
fn echo(kind: u8, number: u32) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    // Identifier and sequence number: what an answer repeats.
    message.extend(number.to_be_bytes());
    message.extend(b"podwire lab");
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// The internet checksum (RFC 1071).
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A raw socket's packet begins with the IP header: the source address, and the ICMP message behind it.
fn split(packet: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let message = packet.get(header..).filter(|m| m.len() >= 8)?;
    Some((source.into(), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_its_checksum_sums_to_nothing() {
        for number in [0, 1, 0xffff, u32::MAX] {
            assert_eq!(checksum(&echo(ECHO_REQUEST, number)), 0);
        }
    }

    #[test]
    fn packets_are_split_behind_their_header() {
        let mut packet = vec![0; 24];
        packet[0] = 0x46;
        packet[12..16].copy_from_slice(&[10, 244, 1, 2]);
        packet.extend(echo(ECHO_REPLY, 7));
        let (source, message) = split(&packet).expect("a packet");
        assert_eq!((source, message), (Ipv4Addr::new(10, 244, 1, 2), echo(ECHO_REPLY, 7).as_slice()));
        assert_eq!(split(&packet[..20]), None);
    }
}
