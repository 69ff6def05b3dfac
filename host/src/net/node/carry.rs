//! Carries changes out: links first, for what they get names them by index, then all the rest in as few sends as
//! possible. What fails is handed over, and does not stop the others.

use std::collections::HashMap;

use ipnet::IpNet;
use rustix::io::Errno;

use super::ways::is_tunnelled;
use super::{Change, Failed};
use crate::names::InterfaceName;
use crate::net::link::Interface;
use crate::net::route::{Hop, Route};
use crate::net::socket::{Request, Socket};
use crate::net::sysctl::enable_ipv6;
use crate::net::{Error, Refused, address, bridge, link, route, rules, tunnel, vxlan};
use crate::plan::{NodePlan, Vxlan};

/// What was done, in order, and what was not.
pub(super) type Done = (Vec<Change>, Vec<Failed>);

pub(super) fn out(
    socket: &mut Socket,
    plan: &NodePlan,
    cluster: &[IpNet],
    changes: Vec<Change>,
) -> Result<Done, Error> {
    let mut carrying = Carrying { socket, plan, indices: HashMap::new(), why: HashMap::new() };
    for (position, change) in changes.iter().enumerate() {
        let outcome = carrying.prepare(change);
        carrying.note(position, outcome)?;
    }
    carrying.requests(&changes)?;
    for (position, change) in changes.iter().enumerate() {
        if matches!(change, Change::MasqueradeSet(_) | Change::MasqueradeRemoved) {
            let outcome = rules::masquerade(&plan.masquerade, cluster);
            carrying.note(position, outcome)?;
        }
    }
    let mut why = carrying.why;
    let (mut done, mut failed) = (Vec::with_capacity(changes.len()), Vec::with_capacity(why.len()));
    for (position, change) in changes.into_iter().enumerate() {
        match why.remove(&position) {
            None => done.push(change),
            Some(why) => failed.push(Failed { what: Some(change.subject()), why }),
        }
    }
    Ok((done, failed))
}

struct Carrying<'a> {
    socket: &'a mut Socket,
    plan: &'a NodePlan,
    /// An index is asked for once, and after its link was made.
    indices: HashMap<InterfaceName, u32>,
    /// Why changes failed, by their positions.
    why: HashMap<usize, String>,
}

impl Carrying<'_> {
    /// A socket that does not work is an error; what the kernel refuses is noted.
    fn note(&mut self, position: usize, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Err(error @ (Error::Socket { .. } | Error::Malformed(_))) => Err(error),
            Err(error) => {
                self.why.entry(position).or_insert_with(|| error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// What has to be done before anything can be said of it.
    fn prepare(&mut self, change: &Change) -> Result<(), Error> {
        match change {
            Change::Forwarding(switch) => switch.set("1"),
            Change::BridgeCreated(name) => {
                let planned = self.plan.bridges.iter().find(|planned| planned.name == *name);
                planned.map_or(Ok(()), |planned| bridge::find_or_create(self.socket, planned).map(drop))
            }
            Change::VxlanRemoved(name) => self.delete(name),
            Change::VxlanReplaced(name) => {
                self.delete(name)?;
                self.create_vxlan()
            }
            Change::VxlanCreated(_) => self.create_vxlan(),
            _ => Ok(()),
        }
    }

    fn delete(&mut self, name: &InterfaceName) -> Result<(), Error> {
        match self.socket.index_of(name.as_str())? {
            Some(index) => self.socket.apply(&[link::delete(Interface { index, name: name.as_str() })]),
            None => Ok(()),
        }
    }

    fn create_vxlan(&mut self) -> Result<(), Error> {
        let Some(planned) = &self.plan.vxlan else { return Ok(()) };
        self.socket.apply(&[vxlan::creation(planned)])
    }

    fn requests(&mut self, changes: &[Change]) -> Result<(), Error> {
        let (mut requests, mut positions) = (Vec::with_capacity(changes.len()), Vec::new());
        for (position, change) in changes.iter().enumerate() {
            // What could not be made needs nothing more said of it.
            if self.why.contains_key(&position) {
                continue;
            }
            match self.requests_of(change) {
                Ok(some) => requests.extend(some),
                Err(error) => self.note(position, Err(error))?,
            }
            positions.resize(requests.len(), position);
        }
        for refused in self.socket.attempt(&requests)? {
            let position = positions[refused.position];
            self.why.entry(position).or_insert_with(|| why(&refused));
        }
        Ok(())
    }

    fn requests_of(&mut self, change: &Change) -> Result<Vec<Request>, Error> {
        Ok(match change {
            Change::BridgeCreated(name) | Change::BridgeSettled(name, _) => self.settle_bridge(name)?,
            Change::AddressAdded(name, prefix) => {
                if prefix.addr().is_ipv6() {
                    enable_ipv6(name.as_str())?;
                }
                vec![address::ensure(self.interface(name)?, *prefix)]
            }
            Change::AddressRemoved(name, prefix) => vec![address::delete(self.interface(name)?, *prefix)],
            Change::BridgeRemoved(name) => vec![link::delete(self.interface(name)?)],
            Change::VxlanCreated(_) | Change::VxlanReplaced(_) | Change::VxlanSettled(..) => {
                let (index, planned) = self.device()?;
                vxlan::settle(index, planned)
            }
            Change::PeerSet(peer) => vec![tunnel::set_peer(self.device()?.0, peer)],
            Change::PeerRemoved(peer) => vec![tunnel::remove_peer(self.device()?.0, peer)],
            Change::NeighbourSet(neighbour) => vec![tunnel::set_neighbour(self.device()?.0, neighbour)],
            Change::NeighbourRemoved(neighbour) => {
                vec![tunnel::remove_neighbour(self.device()?.0, neighbour)]
            }
            Change::RouteAdded(route) => vec![route::add(&self.placed(route)?)],
            // A tunnel's next hop lies in the block itself, and IPv6 takes none that it would reach by another link.
            Change::RouteReplaced(route, _)
                if is_tunnelled(route.hop) && route.destination.addr().is_ipv6() =>
            {
                let route = self.placed(route)?;
                vec![route::vacate(&route), route::add(&route)]
            }
            Change::RouteReplaced(route, _) => vec![route::replace(&self.placed(route)?)],
            Change::RouteRemoved(route) => vec![route::delete(&self.placed(route)?)],
            Change::Forwarding(_)
            | Change::VxlanRemoved(_)
            | Change::MasqueradeSet(_)
            | Change::MasqueradeRemoved => Vec::new(),
        })
    }

    fn settle_bridge(&mut self, name: &InterfaceName) -> Result<Vec<Request>, Error> {
        let Some(planned) = self.plan.bridges.iter().find(|planned| planned.name == *name) else {
            return Ok(Vec::new());
        };
        let found = bridge::find(self.socket, planned)?.ok_or_else(|| Error::BridgeGone(name.clone()))?;
        bridge::settle(&found, planned)
    }

    /// With the device's index, if it is one through the tunnel.
    fn placed(&mut self, route: &Route) -> Result<Route, Error> {
        let hop = match route.hop {
            Hop::Via { gateway, interface: None, onlink } if is_tunnelled(route.hop) => {
                Hop::Via { gateway, interface: Some(self.device()?.0), onlink }
            }
            hop => hop,
        };
        Ok(Route { hop, ..route.clone() })
    }

    fn device(&mut self) -> Result<(u32, &Vxlan), Error> {
        let plan = self.plan;
        let gone = || Error::NoVxlanDevice;
        let planned = plan.vxlan.as_ref().ok_or_else(gone)?;
        Ok((self.index(&planned.name)?, planned))
    }

    fn interface<'n>(&mut self, name: &'n InterfaceName) -> Result<Interface<'n>, Error> {
        Ok(Interface { index: self.index(name)?, name: name.as_str() })
    }

    fn index(&mut self, name: &InterfaceName) -> Result<u32, Error> {
        if let Some(index) = self.indices.get(name) {
            return Ok(*index);
        }
        let found = self.socket.index_of(name.as_str())?;
        let index = found.ok_or_else(|| Error::InterfaceGone(name.clone()))?;
        self.indices.insert(name.clone(), index);
        Ok(index)
    }
}

/// What the kernel says alone leaves the operator guessing, where it is often the same.
fn why(refused: &Refused) -> String {
    let hint = match refused.errno {
        Errno::NETUNREACH => "; no interface of the node that is up has its next hop on the link",
        Errno::NETDOWN => "; the interface to its next hop is down",
        Errno::EXIST => "; somebody else has just made one in its place",
        _ => "",
    };
    format!("{refused}{hint}")
}
