//! A bridge that a plan names: found or made, podwire's own, with what the plan gives it.

use rustix::io::Errno;

use crate::names::{InterfaceName, MacAddress};
use crate::plan::Bridge;
use crate::plan::derived::{bridge_addresses, bridge_mac, has_ipv6};
use crate::plan::marks::{ALIAS, GROUP};

use super::link::{self, Interface, Link};
use super::socket::{Request, Socket};
use super::sysctl::enable_ipv6;
use super::{Error, address};

/// The bridge, made if it is missing.
pub fn find_or_create(socket: &mut Socket, plan: &Bridge) -> Result<Link, Error> {
    match find(socket, &plan.name)? {
        Some(bridge) => Ok(bridge),
        None => create(socket, plan),
    }
}

/// Two that make a bridge at the same time both get it.
pub(super) fn create(socket: &mut Socket, plan: &Bridge) -> Result<Link, Error> {
    let create = link::create_bridge(&plan.name, bridge_mac(plan)).tolerating(&[Errno::EXIST]);
    socket.apply(&[create])?;
    find(socket, &plan.name)?.ok_or(Error::BridgeGone(plan.name.clone()))
}

/// The bridge, if it is there; an error if something else has its name, or if it is somebody else's.
pub fn find(socket: &mut Socket, name: &InterfaceName) -> Result<Option<Link>, Error> {
    link::find(socket, name)?.map(|found| check(found, name)).transpose()
}

/// A bridge that podwire may use.
pub(super) fn check(found: Link, name: &InterfaceName) -> Result<Link, Error> {
    if !found.is_bridge() {
        let kind = found.kind.unwrap_or_else(|| "hardware interface".to_owned());
        return Err(Error::NotABridge { name: name.clone(), kind });
    }
    if found.is_ours() { Ok(found) } else { Err(Error::ForeignBridge(name.clone())) }
}

/// What a bridge still lacks of what the plan gives it, addresses excepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacks {
    /// It is down, or bears no mark for people: nobody has finished making it.
    pub settling: bool,
    /// Its MTU is not this.
    pub mtu: Option<u32>,
}

impl Lacks {
    /// Compares.
    pub fn of(found: &Link, plan: &Bridge) -> Self {
        let settling = !found.up || found.alias.as_deref() != Some(ALIAS);
        Self { settling, mtu: plan.mtu.filter(|mtu| *mtu != found.mtu) }
    }

    /// Whether it lacks nothing.
    pub fn is_nothing(&self) -> bool {
        !self.settling && self.mtu.is_none()
    }
}

/// The requests that give a bridge what it lacks. Whoever finds it unfinished finishes it: the process that
/// made it may have been killed. IPv6 may be off on a finished one too, if it had no such address before.
pub fn settle(found: &Link, plan: &Bridge) -> Result<Vec<Request>, Error> {
    if has_ipv6(&plan.addresses) && !found.has_ipv6 {
        enable_ipv6(&found.name)?;
    }
    let lacks = Lacks::of(found, plan);
    if lacks.is_nothing() {
        return Ok(Vec::new());
    }
    let bridge = found.interface();
    let mut requests = Vec::with_capacity(2 + plan.addresses.len());
    // One that was handed over keeps what its maker gave it.
    if found.group == GROUP {
        requests.push(link::no_link_local(bridge));
    }
    requests.push(link::settle(bridge, lacks.mtu));
    Ok(requests)
}

/// The requests that make sure of a bridge's addresses.
pub fn ensure_addresses(bridge: Interface<'_>, mac: MacAddress, plan: &Bridge) -> Vec<Request> {
    bridge_addresses(plan, mac).into_iter().map(|prefix| address::ensure(bridge, prefix)).collect()
}
