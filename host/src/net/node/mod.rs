//! What holds on the node as a whole: its bridges, its routes to pods elsewhere, and forwarding.
//!
//! Declarative: what is there is read, compared with the plan, and only the difference is carried out. What
//! podwire made earlier and no plan names goes; what others made is never touched.

mod uplinks;

use std::fmt::{self, Display};

use ipnet::IpNet;

use crate::names::InterfaceName;
use crate::plan::derived::{bridge_addresses, bridge_mac, is_in_the_way};
use crate::plan::marks::GROUP;
use crate::plan::{Bridge, NextHop, NodePlan, NodeRoute};

use super::bridge::{self, Lacks};
use super::inspect::Difference;
use super::link::{self, Interface, Link};
use super::route::{self, Found, Hop, Route};
use super::socket::{Request, Socket};
use super::sysctl::{Families, Sysctl, enable_ipv6, forwarding};
use super::{Error, address, rules};

pub use uplinks::uplinks;

/// One thing that was, or is to be, put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A switch was off.
    Forwarding(Sysctl),
    /// A bridge was missing.
    BridgeCreated(InterfaceName),
    /// A bridge was down, without podwire's mark, or of another MTU.
    BridgeSettled(InterfaceName, Option<u32>),
    /// A bridge lacked an address.
    AddressAdded(InterfaceName, IpNet),
    /// A bridge had an address that podwire gave it and no plan names.
    AddressRemoved(InterfaceName, IpNet),
    /// A bridge of podwire's without ports, which no plan names.
    BridgeRemoved(InterfaceName),
    /// A route was missing.
    RouteAdded(Route),
    /// A route of podwire's led elsewhere.
    RouteReplaced(Route, Found),
    /// A route of podwire's that no plan names.
    RouteRemoved(Route),
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarding(switch) => write!(f, "{} set to 1", switch.name()),
            Self::BridgeCreated(name) => write!(f, "bridge {name} created"),
            Self::BridgeSettled(name, None) => write!(f, "bridge {name} set up"),
            Self::BridgeSettled(name, Some(mtu)) => write!(f, "bridge {name} set up with MTU {mtu}"),
            Self::AddressAdded(name, prefix) => write!(f, "address {prefix} added to {name}"),
            Self::AddressRemoved(name, prefix) => write!(f, "address {prefix} removed from {name}"),
            Self::BridgeRemoved(name) => write!(f, "bridge {name} removed"),
            Self::RouteAdded(route) => write!(f, "route {route} added"),
            Self::RouteReplaced(route, before) => write!(f, "route {route} put in place of {before}"),
            Self::RouteRemoved(route) => write!(f, "route {route} removed"),
        }
    }
}

impl Change {
    /// The same thing before it is put right.
    fn difference(&self) -> Difference {
        let (what, expected, found) = match self {
            Self::Forwarding(switch) => (switch.name(), "1".to_owned(), "off".to_owned()),
            Self::BridgeCreated(name) => (format!("bridge {name}"), present(), none()),
            Self::BridgeSettled(name, mtu) => {
                let mtu = mtu.map(|mtu| format!(" with MTU {mtu}")).unwrap_or_default();
                (format!("bridge {name}"), format!("up and marked{mtu}"), "otherwise".to_owned())
            }
            Self::AddressAdded(name, prefix) => (format!("address {prefix} of {name}"), present(), none()),
            Self::AddressRemoved(name, prefix) => (format!("address {prefix} of {name}"), none(), present()),
            Self::BridgeRemoved(name) => (format!("bridge {name}"), none(), present()),
            Self::RouteAdded(route) => (format!("route {route}"), present(), none()),
            Self::RouteReplaced(route, before) => (format!("route {route}"), present(), before.to_string()),
            Self::RouteRemoved(route) => (format!("route {route}"), none(), present()),
        };
        Difference { what, expected, found }
    }
}

fn present() -> String {
    "present".to_owned()
}

fn none() -> String {
    "none".to_owned()
}

/// What became of a node's plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was done, in order; empty if all was as planned.
    pub changes: Vec<Change>,
    /// What ought to go and stays, because it is in use.
    pub kept: Vec<Difference>,
    /// What could not be put right, or was in the way.
    pub failed: Vec<Failed>,
}

/// Something of a plan that did not become true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What it is of: "route 10.244.2.0/24 via 192.168.1.12".
    pub what: String,
    /// A sentence for the operator.
    pub why: String,
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// Makes a plan true, and has packets of the cluster's families forwarded. What cannot be put right, or is in the way
/// of what others made, is handed over; the rest becomes true.
pub fn apply(plan: &NodePlan, cluster: &[IpNet]) -> Result<Outcome, Error> {
    let mut socket = Socket::route()?;
    let comparison = compare(&mut socket, plan, Families::of(cluster))?;
    let failed =
        comparison.conflicts.iter().map(|c| Failed { what: "plan".to_owned(), why: c.to_string() }).collect();
    let Comparison { changes, kept, .. } = comparison;
    carry_out(&mut socket, plan, &changes)?;
    Ok(Outcome { changes, kept, failed })
}

/// As [`apply`], but a conflict with what others made is an error before anything is changed.
pub fn apply_undisputed(plan: &NodePlan, cluster: &[IpNet]) -> Result<Outcome, Error> {
    let mut socket = Socket::route()?;
    let Comparison { changes, kept, mut conflicts } = compare(&mut socket, plan, Families::of(cluster))?;
    if !conflicts.is_empty() {
        return Err(conflicts.remove(0));
    }
    carry_out(&mut socket, plan, &changes)?;
    Ok(Outcome { changes, kept, failed: Vec::new() })
}

/// Carries out the difference between two plans, where the kernel is known to hold the first. Does not look at what
/// is there, unless more differs than routes.
pub fn advance(_from: &NodePlan, to: &NodePlan, cluster: &[IpNet]) -> Result<Outcome, Error> {
    apply(to, cluster)
}

/// Takes away what podwire made on the node: its routes, its bridges unless they have ports, and its rules unless
/// there are pods. Forwarding stays, for others may count on it.
pub fn remove() -> Result<Outcome, Error> {
    let outcome = apply(&NodePlan::nothing(), &[])?;
    if link::own(&mut Socket::route()?)?.is_empty() {
        rules::remove_all()?;
    }
    Ok(outcome)
}

/// How the node differs from a plan.
#[derive(Debug)]
pub struct Report {
    /// What [`apply`] would put right, and what it would keep though no plan names it.
    pub differences: Vec<Difference>,
    /// Because of these it would change nothing.
    pub conflicts: Vec<Error>,
}

/// Compares the node with a plan. Changes nothing.
pub fn inspect(plan: &NodePlan, cluster: &[IpNet]) -> Result<Report, Error> {
    let families = Families::of(cluster);
    let Comparison { changes, kept, conflicts } = compare(&mut Socket::route()?, plan, families)?;
    let differences = changes.iter().map(Change::difference).chain(kept).collect();
    Ok(Report { differences, conflicts })
}

#[derive(Default)]
struct Comparison {
    changes: Vec<Change>,
    kept: Vec<Difference>,
    conflicts: Vec<Error>,
}

fn compare(socket: &mut Socket, plan: &NodePlan, families: Families) -> Result<Comparison, Error> {
    let mut comparison = Comparison::default();
    let off = |switch: &Sysctl| switch.get().as_deref() != Some("1");
    let switches = forwarding(families).into_iter().filter(off);
    comparison.changes.extend(switches.map(Change::Forwarding));
    for planned in &plan.bridges {
        comparison.bridge(socket, planned)?;
    }
    comparison.routes(&plan.routes, &route::all(socket)?);
    // Not those that were handed over: who made them takes them away.
    for bridge in link::bridges(socket)?.iter().filter(|bridge| bridge.group == GROUP) {
        if !plan.bridges.iter().any(|planned| planned.name.as_str() == bridge.name) {
            comparison.unplanned(socket, bridge)?;
        }
    }
    Ok(comparison)
}

impl Comparison {
    fn bridge(&mut self, socket: &mut Socket, planned: &Bridge) -> Result<(), Error> {
        let name = &planned.name;
        let added = |prefix| Change::AddressAdded(name.clone(), prefix);
        let Some(found) = link::find(socket, name)? else {
            self.changes.push(Change::BridgeCreated(name.clone()));
            self.changes.extend(bridge_addresses(planned, bridge_mac(planned)).into_iter().map(added));
            return Ok(());
        };
        let found = match bridge::check(found, planned) {
            Ok(found) => found,
            Err(conflict) => {
                self.conflicts.push(conflict);
                return Ok(());
            }
        };
        let lacks = Lacks::of(&found, planned);
        if !lacks.is_nothing() {
            self.changes.push(Change::BridgeSettled(name.clone(), lacks.mtu));
        }
        self.addresses(planned, &found, &address::of(socket, found.index)?);
        Ok(())
    }

    fn addresses(&mut self, planned: &Bridge, bridge: &Link, found: &[address::Found]) {
        let name = &planned.name;
        let wanted = bridge_addresses(planned, bridge.hardware_address());
        let stale = |found: &&address::Found| {
            let ours = found.ours && !wanted.contains(&found.prefix);
            ours || is_in_the_way(planned, &found.prefix)
        };
        let (kept, stale): (Vec<&address::Found>, Vec<&address::Found>) =
            found.iter().filter(stale).partition(|found| planned.kept.contains(&found.prefix.addr()));
        self.conflicts.extend(kept.iter().map(|found| {
            let bridge = name.clone();
            Error::NodeAddressInTheWay { bridge, address: found.prefix }
        }));
        // First, for with an IPv4 address go the later ones of its link.
        let stale = stale.into_iter();
        self.changes.extend(stale.map(|found| Change::AddressRemoved(name.clone(), found.prefix)));
        let missing = wanted.iter().filter(|prefix| !found.iter().any(|found| found.prefix == **prefix));
        self.changes.extend(missing.map(|prefix| Change::AddressAdded(name.clone(), *prefix)));
    }

    /// Additions before removals: what changes its metric is never without a route.
    fn routes(&mut self, planned: &[NodeRoute], found: &[Found]) {
        let planned: Vec<Route> = planned.iter().map(to_route).collect();
        for route in &planned {
            self.route(route, found);
        }
        let unplanned = |found: &&Found| !planned.iter().any(|route| is_same_place(route, found));
        let stale = found.iter().filter(|found| is_of_the_node(found)).filter(unplanned);
        self.changes.extend(stale.filter_map(Found::as_route).map(Change::RouteRemoved));
    }

    fn route(&mut self, planned: &Route, found: &[Found]) {
        let mut there = found.iter().filter(|found| is_same_place(planned, found));
        match there.clone().find(|found| !is_of_the_node(found)) {
            Some(foreign) => self
                .conflicts
                .push(Error::RouteTaken { destination: planned.destination, found: foreign.to_string() }),
            None => match there.next() {
                None => self.changes.push(Change::RouteAdded(planned.clone())),
                Some(found) if !leads_alike(planned, found) => {
                    self.changes.push(Change::RouteReplaced(planned.clone(), found.clone()));
                }
                Some(_) => (),
            },
        }
    }

    fn unplanned(&mut self, socket: &mut Socket, bridge: &Link) -> Result<(), Error> {
        let ports = link::ports(socket, bridge.index)?.len();
        if ports > 0 {
            self.kept.push(Difference {
                what: format!("bridge {}", bridge.name),
                expected: none(),
                found: format!("one with {ports} port{}", if ports == 1 { "" } else { "s" }),
            });
        } else if let Ok(name) = bridge.name.parse() {
            self.changes.push(Change::BridgeRemoved(name));
        }
        Ok(())
    }
}

fn to_route(planned: &NodeRoute) -> Route {
    let hop = match planned.next_hop {
        NextHop::Via(gateway) => Hop::Via { gateway, interface: None, onlink: false },
        NextHop::Blackhole => Hop::Blackhole,
        NextHop::Tunnel(gateway) => Hop::Via { gateway, interface: None, onlink: false },
    };
    Route { metric: planned.metric, ..Route::to(planned.destination.trunc(), hop) }
}

/// The kernel tells routes of one table apart by these.
fn is_same_place(planned: &Route, found: &Found) -> bool {
    (planned.destination, planned.effective_metric()) == (found.destination, found.metric)
}

/// Routes to single pods bear podwire's protocol number too, but are on a link: they come and go with the
/// pods.
fn is_of_the_node(found: &Found) -> bool {
    found.is_ours() && matches!(found.hop, Some(Hop::Via { .. } | Hop::Blackhole))
}

fn leads_alike(planned: &Route, found: &Found) -> bool {
    match (planned.hop, found.hop) {
        (Hop::Via { gateway, .. }, Some(Hop::Via { gateway: other, .. })) => gateway == other,
        (planned, Some(found)) => planned == found,
        (_, None) => false,
    }
}

/// Bridges are made first: what they get names them by index.
fn carry_out(socket: &mut Socket, plan: &NodePlan, changes: &[Change]) -> Result<(), Error> {
    for change in changes {
        match change {
            Change::Forwarding(switch) => switch.set("1")?,
            Change::BridgeCreated(name) => {
                let planned = plan.bridges.iter().find(|planned| planned.name == *name);
                planned.map(|planned| bridge::find_or_create(socket, planned)).transpose()?;
            }
            _ => (),
        }
    }
    let mut requests = Vec::with_capacity(changes.len());
    for change in changes {
        requests.extend(requests_of(socket, plan, change)?);
    }
    if requests.is_empty() { Ok(()) } else { socket.apply(&requests) }
}

fn requests_of(socket: &mut Socket, plan: &NodePlan, change: &Change) -> Result<Vec<Request>, Error> {
    Ok(match change {
        Change::Forwarding(_) => Vec::new(),
        Change::BridgeCreated(name) | Change::BridgeSettled(name, _) => {
            let Some(planned) = plan.bridges.iter().find(|planned| planned.name == *name) else {
                return Ok(Vec::new());
            };
            let found = bridge::find(socket, planned)?.ok_or_else(|| Error::BridgeGone(name.clone()))?;
            bridge::settle(&found, planned)?
        }
        Change::AddressAdded(name, prefix) => {
            if prefix.addr().is_ipv6() {
                enable_ipv6(name.as_str())?;
            }
            vec![address::ensure(interface(socket, name)?, *prefix)]
        }
        Change::AddressRemoved(name, prefix) => vec![address::delete(interface(socket, name)?, *prefix)],
        Change::BridgeRemoved(name) => vec![link::delete(interface(socket, name)?)],
        Change::RouteAdded(route) => vec![route::add(route)],
        Change::RouteReplaced(route, _) => vec![route::replace(route)],
        Change::RouteRemoved(route) => vec![route::delete(route)],
    })
}

fn interface<'a>(socket: &Socket, name: &'a InterfaceName) -> Result<Interface<'a>, Error> {
    let index = socket.index_of(name.as_str())?.ok_or_else(|| Error::BridgeGone(name.clone()))?;
    Ok(Interface { index, name: name.as_str() })
}
