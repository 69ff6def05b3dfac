//! ICMP echo between pods, with both ends watched: that a request arrives, from which address it arrives
//! at the other pod (its own, or somebody translates), and that the answer comes back.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use super::{entered, namespace};
use crate::net::namespace::Namespace;

/// How long a pair may take before it counts as unreachable: a second longer than the kernel asks for a neighbour.
const PATIENCE: Duration = Duration::from_secs(4);

/// Echo request and reply (RFC 792, RFC 4443).
const ICMP: (u8, u8) = (8, 0);
const ICMPV6: (u8, u8) = (128, 129);

/// A pod's end: raw ICMP, opened inside its network namespace, where it stays.
struct Endpoint {
    socket: Socket,
    address: IpAddr,
}

/// What became of one echo.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
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
    fn open(address: IpAddr) -> io::Result<Self> {
        let (domain, protocol) = match address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.bind(&SocketAddr::new(address, 0).into())?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { socket, address })
    }

    /// Sends an echo request to `other` and follows it there and back. `number` tells it from others.
    fn ping(&self, other: &Endpoint, number: u32) -> Outcome {
        let sent = Instant::now();
        let (request, reply) = if self.address.is_ipv4() { ICMP } else { ICMPV6 };
        let target = SocketAddr::new(other.address, 0);
        if let Err(error) = self.socket.send_to(&echo(request, number), &target.into()) {
            return Outcome::Unsent(error.to_string());
        }
        let Some(seen_from) = other.expect(request, number, sent) else { return Outcome::Lost };
        match self.expect(reply, number, sent) {
            Some(_) => Outcome::Answered { round_trip: sent.elapsed(), seen_from },
            None => Outcome::Unanswered,
        }
    }

    /// Reads until the message is there, and says whence it came.
    fn expect(&self, kind: u8, number: u32, since: Instant) -> Option<IpAddr> {
        let wanted = echo(kind, number);
        while since.elapsed() < PATIENCE {
            let mut buffer = [0; 256];
            let received = recvfrom(&self.socket, &mut buffer[..], RecvFlags::empty());
            let Ok((length, _, Some(source))) = received else { continue };
            let packet = &buffer[..length];
            let message = if self.address.is_ipv4() { behind_header(packet) } else { Some(packet) };
            if message.is_some_and(|m| m.first() == Some(&kind) && m.get(4..) == wanted.get(4..)) {
                return SocketAddr::try_from(source).ok().map(|source| source.ip());
            }
        }
        None
    }
}

/// An ICMP echo message: type, code, checksum, identifier, sequence number, payload. The kernel fills the checksum of
/// ICMPv6 in.
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

/// A raw IPv4 socket's packet begins with the IP header; what is behind it.
fn behind_header(packet: &[u8]) -> Option<&[u8]> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    packet.get(header..)
}

/// Sends an echo from every pod to every other. Succeeds if all are answered, from unchanged addresses.
pub fn ping_all() -> Result<ExitCode> {
    let ends = endpoints()?;
    let (mut pairs, mut bad, mut times) = (0u32, 0u32, Vec::new());
    for (from, sender) in &ends {
        println!("{from} {}", sender.address);
        for (to, receiver) in others(&ends, from, sender) {
            pairs += 1;
            let (line, well) = describe(sender, &sender.ping(receiver, pairs), &mut times);
            bad += u32::from(!well);
            println!("  → {to:<10} {:<15} {line}", receiver.address.to_string());
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

/// Has every pod talk to every other, over and over, until a line is typed. Succeeds if nothing was lost.
pub fn traffic() -> Result<ExitCode> {
    let ends = endpoints()?;
    println!("every pod talks to every other; Enter ends it");
    let (mut sent, mut lost) = (0u32, BTreeMap::<String, u32>::new());
    let mut rounds = 0;
    while rounds == 0 || !is_over() {
        for (from, sender) in &ends {
            for (to, receiver) in others(&ends, from, sender) {
                sent += 1;
                let (line, well) = describe(sender, &sender.ping(receiver, sent), &mut Vec::new());
                if !well {
                    println!("{from} → {to} {}: {line}", receiver.address);
                    *lost.entry(format!("{from} → {to}")).or_default() += 1;
                }
            }
        }
        rounds += 1;
        if rounds == 1 {
            println!("every pod has talked to every other");
        }
    }
    lost.iter().for_each(|(pair, count)| println!("{pair}: {count} lost"));
    println!("{} of {sent} packets answered in {rounds} rounds", sent - lost.values().sum::<u32>());
    Ok(if lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a line was typed, or nobody can type any more.
fn is_over() -> bool {
    let stdin = io::stdin();
    let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
    poll(&mut ready, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

fn endpoints() -> Result<Vec<(String, Endpoint)>> {
    let lab = entered()?;
    let ends = lab.pods().map(|(pod, address)| Ok((pod.name.clone(), endpoint(&pod.name, address)?)));
    let ends = ends.collect::<Result<Vec<_>>>()?;
    let pods: std::collections::BTreeSet<_> = ends.iter().map(|(name, _)| name).collect();
    if pods.len() < 2 {
        bail!("a ping needs two pods, and the lab has {}", pods.len());
    }
    Ok(ends)
}

fn endpoint(name: &str, address: IpAddr) -> Result<Endpoint> {
    let opened = Namespace::open(&namespace(name))?.run(|| Endpoint::open(address))?;
    opened.with_context(|| format!("no ICMP socket in {name}"))
}

/// Those of other pods, of the sender's family.
fn others<'a>(
    ends: &'a [(String, Endpoint)],
    from: &'a str,
    sender: &'a Endpoint,
) -> impl Iterator<Item = (&'a str, &'a Endpoint)> {
    let family = sender.address.is_ipv4();
    let others = ends.iter().filter(move |(to, end)| to != from && end.address.is_ipv4() == family);
    others.map(|(to, end)| (to.as_str(), end))
}

fn describe(sender: &Endpoint, outcome: &Outcome, times: &mut Vec<Duration>) -> (String, bool) {
    match outcome {
        Outcome::Answered { round_trip, seen_from } if *seen_from == sender.address => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_its_checksum_sums_to_nothing() {
        for number in [0, 1, 0xffff, u32::MAX] {
            assert_eq!(checksum(&echo(ICMP.0, number)), 0);
        }
    }

    #[test]
    fn messages_lie_behind_a_header_of_any_length() {
        let mut packet = vec![0; 24];
        packet[0] = 0x46;
        packet.extend(echo(ICMP.1, 7));
        assert_eq!(behind_header(&packet), Some(echo(ICMP.1, 7).as_slice()));
        assert_eq!(behind_header(&packet[..20]), None);
    }
}
