//! iptables as it was before nftables: its filter table, read by getsockopt(2).
//!
//! The table is one block of entries: conditions, then a target, each entry saying where the next begins
//! (linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h, linux/netfilter/x_tables.h).

use std::fs::read_to_string;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use ipnet::IpNet;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::super::sysctl::Families;
use super::super::{Error, sys};
use super::{DroppingChain, Place};

/// `IPT_SO_GET_INFO` and `IP6T_SO_GET_INFO`.
const GET_INFO: libc::c_int = 64;
/// `IPT_SO_GET_ENTRIES` and `IP6T_SO_GET_ENTRIES`.
const GET_ENTRIES: libc::c_int = 65;
/// The length of struct ipt_getinfo, and where its fields for the forward hook and the table's size are.
const INFO: usize = 84;
const HOOK_ENTRY: usize = 36 + 4 * FORWARD;
const UNDERFLOW: usize = 56 + 4 * FORWARD;
const SIZE: usize = 80;
/// `NF_INET_FORWARD`.
const FORWARD: usize = 2;
/// The length of struct ipt_get_entries: the table's name, the size, and padding up to the entries.
const ENTRIES: usize = 40;
/// The length of struct xt_entry_target, behind which a standard target has its verdict.
const TARGET: usize = 32;
/// Verdicts are -1 - NF_DROP and so on; 0 and above is where to jump.
const DROP: i32 = -1;
const ACCEPT: i32 = -2;

/// What differs between the two families.
struct Layout {
    family: AddressFamily,
    /// `SOL_IP` or `SOL_IPV6`.
    level: libc::c_int,
    /// The file that lists the tables in use. To ask for one that is not would make it.
    names: &'static str,
    name: &'static str,
    families: Families,
    /// The length of an address. Source, destination and their masks are the first four fields.
    address: usize,
    /// The length of the conditions, which struct ipt_entry begins with.
    conditions: usize,
    /// The length of struct ipt_entry, behind which matches or the target follow.
    entry: usize,
}

const LAYOUTS: [Layout; 2] = [
    Layout {
        family: AddressFamily::INET,
        level: libc::SOL_IP,
        names: "/proc/thread-self/net/ip_tables_names",
        name: "legacy iptables chain FORWARD",
        families: Families { ipv4: true, ipv6: false },
        address: 4,
        conditions: 84,
        entry: 112,
    },
    Layout {
        family: AddressFamily::INET6,
        level: libc::SOL_IPV6,
        names: "/proc/thread-self/net/ip6_tables_names",
        name: "legacy ip6tables chain FORWARD",
        families: Families { ipv4: false, ipv6: true },
        address: 16,
        conditions: 136,
        entry: 168,
    },
];

/// The FORWARD chains whose policy is to drop.
pub(super) fn dropping_chains() -> Result<Vec<DroppingChain>, Error> {
    let mut chains = Vec::new();
    for layout in &LAYOUTS {
        let names = read_to_string(layout.names).unwrap_or_default();
        if names.lines().any(|name| name == "filter") {
            chains.extend(layout.read().map_err(|errno| Error::Socket { action: "read iptables", errno })?);
        }
    }
    Ok(chains)
}

impl Layout {
    fn read(&self) -> Result<Option<DroppingChain>, Errno> {
        let socket = socket_with(self.family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        let mut info = [0; INFO];
        self.ask(&socket, GET_INFO, &mut info)?;
        let field = |at: usize| u32_at(&info, at).unwrap_or_default();
        let mut table = vec![0; ENTRIES + field(SIZE) as usize];
        table[32..36].copy_from_slice(&field(SIZE).to_ne_bytes());
        self.ask(&socket, GET_ENTRIES, &mut table)?;
        let (first, policy) = (field(HOOK_ENTRY) as usize, field(UNDERFLOW) as usize);
        Ok(self.chain(&table[ENTRIES..], first, policy))
    }

    fn ask(&self, socket: &OwnedFd, question: libc::c_int, answer: &mut [u8]) -> Result<(), Errno> {
        answer[..6].copy_from_slice(b"filter");
        sys::read_option(socket.as_fd(), self.level, question, answer)
    }

    /// The chain from its first entry to the one that is its policy.
    fn chain(&self, table: &[u8], first: usize, policy: usize) -> Option<DroppingChain> {
        if self.verdict(table.get(policy..)?)? != DROP {
            return None;
        }
        let mut accepted = Vec::new();
        let mut docker = false;
        for entry in self.entries(table, first).take_while(|(at, _)| *at < policy).map(|(_, entry)| entry) {
            accepted.extend(self.accepts(entry));
            if let Some(user) = self.jump(entry) {
                accepted.extend(self.entries(table, user).map_while(|(_, e)| self.goes_on(e)).flatten());
                docker |= self.is_named(table, user, "DOCKER-USER");
            }
        }
        let chain = if docker { "DOCKER-USER" } else { "FORWARD" }.to_owned();
        let place = Place::Iptables { legacy: true, chain };
        Some(DroppingChain { name: self.name.to_owned(), families: self.families, accepted, place })
    }

    /// The entries from an offset on, with theirs.
    fn entries<'a>(&self, table: &'a [u8], from: usize) -> impl Iterator<Item = (usize, &'a [u8])> {
        let next_offset = self.conditions + 6;
        let mut at = from;
        std::iter::from_fn(move || {
            let length = usize::from(u16_at(table, at + next_offset)?);
            let (here, entry) = (at, table.get(at..at + length)?);
            at += length;
            (length > 0).then_some((here, entry))
        })
    }

    /// What an entry of a chain of its own accepts; none where that chain ends, with an entry that returns
    /// whatever it is given.
    fn goes_on(&self, entry: &[u8]) -> Option<Option<IpNet>> {
        let ends = self.source(entry).is_some_and(|source| source.prefix_len() == 0)
            && self.verdict(entry).is_some_and(|verdict| verdict < 0);
        let accepts = self.accepts(entry);
        if ends && accepts.is_none() { None } else { Some(accepts) }
    }

    /// A chain of its own is headed by an entry whose target bears the chain's name.
    fn is_named(&self, table: &[u8], chain: usize, name: &str) -> bool {
        let heading = self.entry + TARGET + 32;
        let name_at = chain.checked_sub(heading).map(|at| at + self.entry + TARGET);
        name_at
            .and_then(|at| table.get(at..at + name.len() + 1))
            .is_some_and(|found| found.strip_suffix(&[0]) == Some(name.as_bytes()))
    }

    fn accepts(&self, entry: &[u8]) -> Option<IpNet> {
        self.source(entry).filter(|_| self.verdict(entry) == Some(ACCEPT))
    }

    fn jump(&self, entry: &[u8]) -> Option<usize> {
        let everything = self.source(entry)?.prefix_len() == 0;
        usize::try_from(self.verdict(entry)?).ok().filter(|_| everything)
    }

    /// The source that is an entry's only condition.
    fn source(&self, entry: &[u8]) -> Option<IpNet> {
        let (length, masks) = (self.address, 2 * self.address);
        let mut others = entry.get(..self.conditions)?.to_vec();
        others[..length].fill(0);
        others[masks..masks + length].fill(0);
        let matches = usize::from(u16_at(entry, self.conditions + 4)?) > self.entry;
        if matches || others.iter().any(|byte| *byte != 0) {
            return None;
        }
        let ones: u32 = entry[masks..masks + length].iter().map(|byte| byte.count_ones()).sum();
        let address = match <[u8; 4]>::try_from(&entry[..length]) {
            Ok(octets) => Ipv4Addr::from(octets).into(),
            Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&entry[..length]).ok()?).into(),
        };
        IpNet::new(address, u8::try_from(ones).ok()?).ok()
    }

    /// What a standard target, which bears no name, says.
    fn verdict(&self, entry: &[u8]) -> Option<i32> {
        let target = entry.get(usize::from(u16_at(entry, self.conditions + 4)?)..)?;
        let standard = *target.get(2)? == 0;
        u32_at(target, TARGET).filter(|_| standard).map(u32::cast_signed)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
