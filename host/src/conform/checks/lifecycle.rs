//! Several containers, and several calls: in parallel, and one after the other.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::Value;

use super::super::bench::Attached;
use super::super::call::Reply;
use super::super::{Bench, Check, Stop, Verdict, ensure};
use super::{convention, must};

/// How many containers are started at once.
const AT_ONCE: usize = 16;
/// Between two datagrams: the first may be lost while a port comes up.
const RETRY: Duration = Duration::from_millis(100);

pub(super) const CHECKS: &[Check] = &[
    must("S3-1.1", "Lifecycle", "16 ADDs of different containers at once succeed", at_once),
    must("S3-1.2", "Lifecycle", "no two containers added at once share an address", unique),
    must("S3-1.3", "Lifecycle", "16 DELs of different containers at once succeed", deleted_at_once),
    must("S3-3.1", "Lifecycle", "ADD succeeds again after DEL", again),
    convention("C5.1", "Lifecycle", "containers reach each other, with their own addresses", reach),
];

/// Calls of one plugin of the list for all containers at once.
fn beside(bench: Bench<'_>, command: &str, place: usize, all: &[Attached]) -> Result<Vec<Reply>, Stop> {
    let start = |Attached { pod, result }: &Attached| {
        let call = pod.named(bench.call_at(place, command));
        let call = if result.is_null() { call } else { call.with("prevResult", result.clone()) };
        Ok(call.start()?)
    };
    let calls = all.iter().map(start).collect::<Result<Vec<_>, Stop>>()?;
    calls.into_iter().map(|call| Ok(call.finish()?)).collect()
}

/// The list's plugins in order, each for all containers at once.
fn all_at_once(bench: Bench<'_>) -> Result<Vec<Attached>, Stop> {
    let new = |_| Ok(Attached { pod: bench.pod()?, result: Value::Null });
    let mut all = (0..AT_ONCE).map(new).collect::<Result<Vec<_>, Stop>>()?;
    for place in 0..bench.subject.plugins.len() {
        let replies = beside(bench, "ADD", place, &all)?;
        for (attached, reply) in all.iter_mut().zip(replies) {
            bench.note(&reply);
            attached.result = reply.result("an ADD beside others")?;
        }
    }
    Ok(all)
}

fn at_once(bench: Bench<'_>) -> Verdict {
    let all = all_at_once(bench)?;
    all.iter().try_for_each(|attached| attached.ensure_intact("its ADD beside others"))
}

fn unique(bench: Bench<'_>) -> Verdict {
    let mut seen = BTreeSet::new();
    for attached in all_at_once(bench)? {
        for ip in attached.ips()? {
            ensure(seen.insert(ip.address), format!("{} once", ip.address), "two containers have it")?;
        }
    }
    Ok(())
}

fn deleted_at_once(bench: Bench<'_>) -> Verdict {
    let all = all_at_once(bench)?;
    for place in (0..bench.subject.plugins.len()).rev() {
        for reply in beside(bench, "DEL", place, &all)? {
            bench.note(&reply);
            reply.done("a DEL beside others")?;
        }
    }
    all.iter().try_for_each(|Attached { pod, .. }| {
        ensure(!pod.has_link()?, format!("no {} in {}", pod.ifname, pod.id), "it is still there")
    })
}

fn again(bench: Bench<'_>) -> Verdict {
    let Attached { pod, result } = bench.attached()?;
    bench.del(&pod, Some(&result))?.done("a DEL")?;
    let result = bench.add(&pod)?.result("an ADD after DEL")?;
    Attached { pod, result }.ensure_intact("the second ADD")
}

fn reach(bench: Bench<'_>) -> Verdict {
    let (a, b) = (bench.attached()?, bench.attached()?);
    for (from, to) in a.ips()?.iter().zip(b.ips()?) {
        let (from, to) = (from.address.addr(), to.address.addr());
        datagram(&a, from, &b, to)?;
        datagram(&b, to, &a, from)?;
    }
    Ok(())
}

fn datagram(sender: &Attached, from: IpAddr, receiver: &Attached, to: IpAddr) -> Verdict {
    // Bound to no address: a tentative one cannot be bound to.
    let any = if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let inbox = receiver.pod.run(|| UdpSocket::bind((any, 0)))??;
    let outbox = sender.pod.run(|| UdpSocket::bind((any, 0)))??;
    inbox.set_read_timeout(Some(RETRY))?;
    let target = SocketAddr::new(to, inbox.local_addr()?.port());
    let mut source = None;
    super::eventually(|| {
        // What cannot be sent yet may be a moment later.
        outbox.send_to(b"conform", target).ok();
        source = inbox.recv_from(&mut [0; 16]).ok().map(|(_, source)| source.ip());
        Ok(source.is_some())
    })?;
    ensure(source == Some(from), format!("a UDP datagram from {from} at {to}"), format!("source {source:?}"))
}
