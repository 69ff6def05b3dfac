//! What the node does with pods' packets beyond carrying them, as nftables has it: masquerade, port mappings, spoof
//! checks.
//!
//! Rules are the node's, and made once, when the first pod needs them; what a pod has are elements of sets, which are
//! added in one message and removed in one. Others' tables are neither read nor touched: each of ours has base
//! chains of its own, at the priorities that are customary for what they do. Knows checked plans; no links, so that it
//! may be asked before a pod has one and after it is gone.
//!
//! | table | chains | made for |
//! | --- | --- | --- |
//! | inet podwire | `masquerade_…`, for each list of blocks that keep the pod's address | the first pod with that list |
//! | inet podwire | `node_masquerade_…` | the node, if its plan says so |
//! | inet podwire | `ports_…`, `host_ports`, `loopback` | the first pod with a port mapping |
//! | inet podwire | `neighbours_…`, for each link of pods with port mappings | the first of them |
//! | inet, bridge podwire | `spoof_…` | the first pod that is checked, routed or bridged |

mod conntrack;
mod field;
mod inspect;
mod loopback;
mod mapping;
mod masquerade;
mod node;
mod ports;
mod rule;
mod spoof;
mod table;

use ipnet::IpNet;
use rustix::io::Errno;

use super::netfilter::GENERIC_HEADER;
use super::socket::Socket;
use super::{Error, Refused};
use crate::plan::Checked;

pub use conntrack::forget;
pub use inspect::inspect;
pub use loopback::serve_loopback;
pub(super) use node::{Marks, marks};
pub use node::{is_masquerading, masquerade};

use masquerade::Exempt;
use table::{Definition, Element, Family, Hook};

/// What podwire's tables are called, in each family.
pub const TABLE: &str = "podwire";

/// `NF_IP_PRI_NAT_DST` and `NF_IP_PRI_NAT_SRC` of linux/netfilter_ipv4.h: where everybody's address translation is.
const NAT_DESTINATION: i32 = -100;
const POSTROUTING: Hook = Hook { kind: "nat", number: 4, priority: 100 };

/// How often rules are made anew because somebody removed them meanwhile.
const ATTEMPTS: usize = 3;

/// Sets, and the chains that look into them, which are made together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Masquerade(Exempt),
    Ports,
    Link(IpNet),
    Spoof(Family),
}

impl Part {
    fn definition(&self) -> Definition {
        match self {
            Self::Masquerade(exempt) => exempt.definition(),
            Self::Ports => ports::definition(),
            Self::Link(link) => ports::link_definition(*link),
            Self::Spoof(family) => spoof::definition(*family),
        }
    }
}

/// What an element's key says of whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The pod's, for it names its address or its interface.
    Own,
    /// So does this one; and those of its family that are [`Role::Claimed`] are the pod's if this is there.
    Claim { ipv4: bool },
    /// Nothing: another pod may have it.
    Claimed { ipv4: bool },
}

/// What a plan has in the sets of one part.
#[derive(Debug, Clone)]
struct Share {
    part: Part,
    role: Role,
    elements: Vec<Element>,
}

/// An element with its circumstances.
#[derive(Debug, Clone)]
struct Wanted {
    part: Part,
    role: Role,
    element: Element,
}

fn wanted(plan: &Checked) -> Vec<Wanted> {
    let shares = masquerade::share(plan).into_iter().chain(mapping::shares(plan)).chain(spoof::share(plan));
    let each = |Share { part, role, elements }: Share| {
        elements.into_iter().map(move |element| Wanted { part: part.clone(), role, element })
    };
    shares.flat_map(each).collect()
}

/// Has the node treat a pod's packets as planned; all of it, or nothing if it fails. The calling thread is in the
/// node's network namespace. What is so already is success.
pub fn apply(plan: &Checked) -> Result<(), Error> {
    let wanted = wanted(plan);
    if wanted.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::netfilter()?;
    let requests: Vec<_> = wanted.iter().map(|wanted| wanted.element.add()).collect();
    let mut refused = socket.transact(&requests)?;
    for _ in 0..ATTEMPTS {
        if !refused.iter().any(is_missing) {
            break;
        }
        make_parts(&mut socket, &wanted, &refused)?;
        refused = socket.transact(&requests)?;
    }
    if let Some(refusal) = refused.iter().find(|refused| is_taken(refused)) {
        return Err(taken(&mut socket, &wanted[refusal.position].element));
    }
    Error::from_refusals(refused)?;
    if let Err(error) = conntrack::forget_mapped_ports(&mut socket, plan) {
        // The DEL that follows a failed ADD tries again.
        let _ = remove(plan);
        return Err(error);
    }
    socket.close_unattended();
    Ok(())
}

/// Whether a refusal says that the table or the set is not there.
fn is_missing(refused: &Refused) -> bool {
    refused.errno == Errno::NOENT
}

/// Whether a refusal says that a map has other data for the key; which of the two depends on the kernel's version.
fn is_taken(refused: &Refused) -> bool {
    matches!(refused.errno, Errno::EXIST | Errno::BUSY)
}

/// Makes the parts to which the refused elements belong. One that somebody else has made meanwhile is refused whole.
fn make_parts(socket: &mut Socket, wanted: &[Wanted], refused: &[Refused]) -> Result<(), Error> {
    let missing =
        refused.iter().filter(|refused| is_missing(refused)).map(|refused| &wanted[refused.position]);
    for part in parts(missing) {
        let refused = socket.transact(&part.definition().requests())?;
        if !refused.iter().any(|refused| refused.errno == Errno::EXIST) {
            Error::from_refusals(refused)?;
        }
    }
    Ok(())
}

/// The port leads elsewhere.
fn taken(socket: &mut Socket, element: &Element) -> Error {
    let holder = match find(socket, element) {
        Ok(Some(Some(data))) => mapping::pod(&data),
        _ => None,
    };
    Error::PortTaken { port: element.name.clone(), holder }
}

/// Takes a pod's elements away, by the plan alone: neither its interface nor its namespace need be there. What is not
/// there is success; what is another pod's stays.
pub fn remove(plan: &Checked) -> Result<(), Error> {
    let mut left = wanted(plan);
    if left.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::netfilter()?;
    // A kernel that does not find one of them removes none. NFT_MSG_DESTROYSETELEM, which would, is of Linux 6.3.
    loop {
        let requests: Vec<_> = left.iter().map(|wanted| wanted.element.remove()).collect();
        let refused = socket.transact(&requests)?;
        if !refused.iter().all(is_missing) {
            return Error::from_refusals(refused);
        }
        if refused.is_empty() {
            socket.close_unattended();
            return Ok(());
        }
        left = without_missing(left, &refused);
    }
}

/// What may be there yet, and be the pod's.
fn without_missing(wanted: Vec<Wanted>, refused: &[Refused]) -> Vec<Wanted> {
    let missing = |position: usize| refused.iter().any(|refused| refused.position == position);
    let unclaimed: Vec<Role> = wanted
        .iter()
        .enumerate()
        .filter(|(position, _)| missing(*position))
        .filter_map(|(_, wanted)| match wanted.role {
            Role::Claim { ipv4 } => Some(Role::Claimed { ipv4 }),
            _ => None,
        })
        .collect();
    let there = wanted.into_iter().enumerate().filter(|(position, _)| !missing(*position));
    there.map(|(_, wanted)| wanted).filter(|wanted| !unclaimed.contains(&wanted.role)).collect()
}

/// Takes podwire's tables away, with whatever is in them. A kernel without nftables has none.
pub fn remove_all() -> Result<(), Error> {
    match remove_tables() {
        Err(Error::Socket { errno: Errno::PROTONOSUPPORT, .. }) => Ok(()),
        Err(Error::Refused(refused)) if refused.errno == Errno::OPNOTSUPP => Ok(()),
        outcome => outcome,
    }
}

fn remove_tables() -> Result<(), Error> {
    let mut socket = Socket::netfilter()?;
    for family in [Family::Inet, Family::Bridge] {
        Error::from_refusals(socket.transact(&[family.remove_table()])?)?;
    }
    socket.close_unattended();
    Ok(())
}

/// An element's data, if the element is there, and if it has any.
fn find(socket: &mut Socket, element: &Element) -> Result<Option<Option<Vec<u8>>>, Error> {
    let data = |body: &[u8]| Ok(table::data_of(body.get(GENERIC_HEADER..).unwrap_or_default()));
    socket.get(element.get(), "look an element of a set up", data)
}

/// Each once.
fn parts<'a>(wanted: impl IntoIterator<Item = &'a Wanted>) -> impl Iterator<Item = &'a Part> {
    let mut parts: Vec<&Part> = Vec::new();
    for Wanted { part, .. } in wanted {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.into_iter()
}
