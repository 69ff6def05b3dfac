//! A token bucket filter, tc-tbf(8): its values, how the kernel is told of them, and what it tells.
//!
//! Attributes and structures are those of linux/pkt_sched.h. The kernel counts bytes, with the Ethernet header,
//! and times in ticks of 64 ns (`PSCHED_SHIFT` of net/pkt_sched.h).

use std::fmt;

use netlink_packet_core::{DecodeError, DefaultNla, parse_string, parse_u32, parse_u64};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage, TcOption};

use crate::plan::Rate;

use super::super::Error;
use super::super::frame::attribute;
use super::super::socket::Socket;

/// Its name in the kernel.
pub(super) const KIND: &str = "tbf";

/// What is queued beyond the burst has passed after 25 ms, as with the reference plugin.
const LATENCIES_PER_SECOND: u64 = 40;

/// What of the burst also finds room in the queue. Runtimes ask for hundreds of megabytes where nobody said how
/// much, and that would otherwise wait, in the kernel's memory and on nobody's account.
const QUEUED_BURST: u64 = 1 << 20;

/// An Ethernet header with a VLAN's tag. What is longer than the bucket, and no bundle of segments, never passes.
const HEADER: u64 = 18;

const TICK: u128 = 64;
const SECOND: u128 = 1_000_000_000;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;

/// The length of struct tcmsg.
const TC_HEADER: usize = 20;

/// Struct tc_tbf_qopt: two of struct tc_ratespec, of which the second, for a peak rate, stays empty; then limit,
/// buffer and MTU. What is not named here stays 0.
const PARAMETERS: usize = 36;
const LINK_LAYER: usize = 1;
const RATE: std::ops::Range<usize> = 8..12;
const LIMIT: std::ops::Range<usize> = 24..28;
const BUFFER: std::ops::Range<usize> = 28..32;

/// `TC_LINKLAYER_ETHERNET`: the kernel computes how long a packet takes, and wants no table of it.
const ETHERNET: u8 = 1;

/// In bytes and bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    rate: u64,
    burst: u32,
    limit: u32,
}

impl Bucket {
    /// The nearest to a rate that the kernel has, and that passes every packet of that MTU: 1 byte a second at
    /// least, a burst of a frame up to 4 GiB.
    pub(super) fn of(rate: Rate, mtu: u32) -> Self {
        let clamped = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let bytes = (rate.rate / 8).max(1);
        let burst = (rate.burst / 8).max(u64::from(mtu) + HEADER);
        let limit = bytes / LATENCIES_PER_SECOND + burst.min(QUEUED_BURST);
        Self { rate: bytes, burst: clamped(burst), limit: clamped(limit) }
    }

    pub(super) fn options(&self) -> TcAttribute {
        let short_rate = u32::try_from(self.rate).unwrap_or(u32::MAX);
        let mut parameters = vec![0; PARAMETERS];
        parameters[LINK_LAYER] = ETHERNET;
        parameters[RATE].copy_from_slice(&short_rate.to_ne_bytes());
        parameters[LIMIT].copy_from_slice(&self.limit.to_ne_bytes());
        let other = |kind: u16, value: Vec<u8>| TcOption::Other(DefaultNla::new(kind, value));
        let mut options =
            vec![other(TCA_TBF_PARMS, parameters), other(TCA_TBF_BURST, self.burst.to_ne_bytes().to_vec())];
        if self.rate > u64::from(short_rate) {
            options.push(other(TCA_TBF_RATE64, self.rate.to_ne_bytes().to_vec()));
        }
        TcAttribute::Options(options)
    }

    /// How long the burst takes at the rate.
    fn ticks(&self) -> u128 {
        u128::from(self.burst) * SECOND / u128::from(self.rate) / TICK
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, burst) = (self.rate * 8, u64::from(self.burst) * 8);
        write!(f, "{rate} bit/s, burst {burst} bit, queue {} bytes", self.limit)
    }
}

/// What an interface has at its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The burst by how long it takes, modulo 2^32 ticks: the kernel says nothing else of it.
    Bucket { rate: u64, limit: u32, ticks: u32 },
    /// Something else, by its name.
    Other(String),
}

/// What every interface of the namespace has at its root, by the interface's index. Asked for a single one that has
/// no queue, the kernel says nothing, not even that.
pub(super) fn roots(socket: &mut Socket) -> Result<Vec<(u32, Found)>, Error> {
    let question = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    socket.dump(&question, "queueing disciplines", |body| {
        let header = TcHeader::parse(body)?;
        let found = if header.parent == TcHandle::ROOT { Found::decode(&body[TC_HEADER..])? } else { None };
        Ok(found.map(|found| (header.index.cast_unsigned(), found)))
    })
}

impl Found {
    /// None of what the kernel gives an interface by itself.
    fn decode(attributes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let kind = attribute(attributes, TCA_KIND)?.map(|kind| parse_string(kind.value())).transpose()?;
        match (kind.as_deref(), attribute(attributes, TCA_OPTIONS)?) {
            (Some(KIND), Some(options)) => bucket(options.value()),
            (None | Some("noqueue"), _) => Ok(None),
            (Some(other), _) => Ok(Some(Self::Other(other.to_owned()))),
        }
    }

    /// The kernel rounds a burst's time, and computes it from a reciprocal of the rate with 31 bits.
    pub(super) fn is(&self, expected: &Bucket) -> bool {
        let Self::Bucket { rate, limit, ticks } = *self else { return false };
        let off = ticks.wrapping_sub(expected.ticks() as u32).cast_signed().unsigned_abs();
        (rate, limit) == (expected.rate, expected.limit)
            && u128::from(off) <= expected.ticks() / 1_000_000 + 2
    }
}

fn bucket(options: &[u8]) -> Result<Option<Found>, DecodeError> {
    let Some(parameters) = attribute(options, TCA_TBF_PARMS)? else { return Ok(None) };
    let field = |range| parse_u32(parameters.value().get(range).unwrap_or_default());
    let rate = match attribute(options, TCA_TBF_RATE64)? {
        Some(rate) => parse_u64(rate.value())?,
        None => u64::from(field(RATE)?),
    };
    Ok(Some(Found::Bucket { rate, limit: field(LIMIT)?, ticks: field(BUFFER)? }))
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(kind) => write!(f, "{kind}"),
            Self::Bucket { rate, limit, ticks } => {
                let burst = u128::from(*ticks) * TICK * u128::from(*rate) * 8 / SECOND;
                write!(f, "{} bit/s, burst about {burst} bit, queue {limit} bytes", rate.saturating_mul(8))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rate: u64, burst: u64) -> (u64, u32, u32) {
        let bucket = Bucket::of(Rate { rate, burst }, 1500);
        (bucket.rate, bucket.burst, bucket.limit)
    }

    #[test]
    fn bits_become_bytes_within_what_the_kernel_takes() {
        assert_eq!(of(8_000_000, 800_000), (1_000_000, 100_000, 125_000));
        assert_eq!(of(7, 0), (1, 1518, 1518), "a frame always passes");
        assert_eq!(of(40_000, 2_147_483_647), (5_000, 268_435_455, 125 + (1 << 20)));
        assert_eq!(of(u64::MAX, u64::MAX), (u64::MAX / 8, u32::MAX, u32::MAX));
    }

    #[test]
    fn a_burst_is_known_by_its_time_whatever_the_rounding() {
        let bucket = Bucket::of(Rate { rate: 8_000_000, burst: 8_000_000 }, 1500);
        let found = |ticks| Found::Bucket { rate: 1_000_000, limit: bucket.limit, ticks };
        assert!(found(15_625_000).is(&bucket) && found(15_625_010).is(&bucket));
        assert!(!found(15_625_100).is(&bucket) && !found(15_624_900).is(&bucket));
    }
}
