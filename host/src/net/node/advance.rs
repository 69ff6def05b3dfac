//! From one plan to the next, where the kernel is known to hold the first: without looking at what is there.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::compare::place;
use super::{Change, Failed, Outcome, Target, Ways, carry};
use crate::net::Error;
use crate::net::route::Route;
use crate::net::socket::Socket;

/// What leads from one plan to the next.
#[derive(Debug)]
pub struct Step {
    changes: Vec<Change>,
}

impl Step {
    /// None if more differs than where pods elsewhere are: then all is to be compared, as by
    /// [`apply`](super::apply).
    pub fn between(from: &Target, to: &Target) -> Option<Self> {
        let (old, new) = (&from.plan, &to.plan);
        let is_alike = (&old.bridges, &old.vxlan, &old.masquerade, &from.cluster)
            == (&new.bridges, &new.vxlan, &new.masquerade, &to.cluster);
        is_alike.then(|| Self { changes: changes(&from.ways, &to.ways) })
    }

    pub(in crate::net) fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// Carries out the last step to a plan.
pub fn advance(step: Step, to: &Target) -> Result<Outcome, Error> {
    let (changes, refused) = if step.changes.is_empty() {
        Default::default()
    } else {
        carry::out(&mut Socket::route()?, &to.plan, &to.cluster, step.changes)?
    };
    let failed = to.ways.impossible.iter().map(Failed::conflict).chain(refused).collect();
    Ok(Outcome { changes, kept: Vec::new(), failed })
}

/// Additions before removals, and what a route needs before the route.
fn changes(before: &Ways, after: &Ways) -> Vec<Change> {
    let mut changes = Vec::new();
    let (gone, new) = difference(&before.peers, &after.peers);
    changes.extend(new.into_iter().map(Change::PeerSet));
    let gone_neighbours = {
        let (gone, new) = difference(&before.neighbours, &after.neighbours);
        changes.extend(new.into_iter().map(Change::NeighbourSet));
        let kept: HashSet<_> = after.neighbours.iter().map(|neighbour| neighbour.address).collect();
        gone.into_iter().filter(move |neighbour| !kept.contains(&neighbour.address))
    };
    routes(&mut changes, &before.routes, &after.routes);
    changes.extend(gone.into_iter().map(Change::PeerRemoved));
    changes.extend(gone_neighbours.map(Change::NeighbourRemoved));
    changes
}

fn routes(changes: &mut Vec<Change>, before: &[Route], after: &[Route]) {
    let (before, after) = without_common_ends(before, after);
    let mut there: HashMap<_, &Route> = before.iter().map(|route| (place(route), route)).collect();
    for route in after {
        match there.remove(&place(route)) {
            None => changes.push(Change::RouteAdded(route.clone())),
            Some(other) if other != route => {
                changes.push(Change::RouteReplaced(route.clone(), other.to_string()));
            }
            Some(_) => (),
        }
    }
    let gone = before.iter().filter(|route| there.contains_key(&place(route)));
    changes.extend(gone.cloned().map(Change::RouteRemoved));
}

/// What is only in the first, and what is only in the second.
fn difference<T: Copy + Eq + Hash>(before: &[T], after: &[T]) -> (Vec<T>, Vec<T>) {
    let (before, after) = without_common_ends(before, after);
    let (there, wanted): (HashSet<&T>, HashSet<&T>) = (before.iter().collect(), after.iter().collect());
    let gone = before.iter().filter(|one| !wanted.contains(one)).copied().collect();
    let new = after.iter().filter(|one| !there.contains(one)).copied().collect();
    (gone, new)
}

/// One peer's joining changes one place of a long list.
fn without_common_ends<'a, T: PartialEq>(one: &'a [T], other: &'a [T]) -> (&'a [T], &'a [T]) {
    let begin = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let (one, other) = (&one[begin..], &other[begin..]);
    let end = one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count();
    (&one[..one.len() - end], &other[..other.len() - end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_ends_do_not_overlap() {
        let ends = |one: &'static [u8], other: &'static [u8]| without_common_ends(one, other);
        assert_eq!(ends(&[1, 2, 3], &[1, 9, 3]), ([2].as_slice(), [9].as_slice()));
        assert_eq!(ends(&[1, 1], &[1, 1, 1]), ([].as_slice(), [1].as_slice()));
        assert_eq!(ends(&[1, 2], &[1, 2]), ([].as_slice(), [].as_slice()));
        assert_eq!(ends(&[], &[7]), ([].as_slice(), [7].as_slice()));
    }
}
