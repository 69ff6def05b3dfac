//! How a node becomes a member and gets its blocks: one transaction, that holds only if what it was decided on still
//! does.
//!
//! | what is compared | what it keeps out |
//! | --- | --- |
//! | the node's own key is as it was seen | two machines with one name |
//! | a reservation that is kept or taken over is as it was seen | two nodes that take over the same block |
//! | the former owner still has no key | a block taken from a node that has just returned |
//! | no reservation was made since (for a block that was free) | overlapping blocks, of whatever sizes |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_client::{Compare, KeyValue, PutOptions, TxnOp};

use super::OwnHint;
use super::blocks::{Choice, Reservation, Space};
use super::connection::{Connection, Moment, absent, none_made_after, unchanged};
use super::error::Error;
use super::record::{self, Keys, Record};
use crate::plan::Role;

/// Hundreds of nodes that start at once need about ten each.
const ATTEMPTS: u32 = 60;
/// The first pause is at most as long; each further up to twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a node wants to be in etcd.
pub(super) struct Wish<'a> {
    pub(super) keys: &'a Keys,
    pub(super) own: &'a OwnHint,
    /// Where its blocks may come from: one of each.
    pub(super) spaces: &'a [Space],
    pub(super) lease: i64,
}

/// What holds in etcd after a claim.
pub(super) struct Claimed {
    /// The node's own record.
    pub(super) record: Record,
    /// All members as they were just before, with what is wrong with a record that cannot be read.
    pub(super) members: BTreeMap<String, Result<Record, String>>,
    /// What they were at.
    pub(super) revision: i64,
    /// What an operator should know of it.
    pub(super) remarks: Vec<String>,
}

/// Makes the node a member with its blocks, or finds that it is one.
pub(super) async fn claim(connection: &mut Connection, wish: &Wish<'_>) -> Result<Claimed, Error> {
    let mut pause = SHORTEST_PAUSE;
    for _ in 0..ATTEMPTS {
        let seen = Seen::new(connection.read(wish.keys.nodes(), wish.keys.blocks()).await?, wish.keys);
        let choices = wish.choose(&seen)?;
        let record = wish.record(&choices);
        if seen.has(wish, &record) || wish.commit(connection, &seen, &choices, &record).await? {
            return Ok(seen.into_claimed(wish, record, &choices));
        }
        // Apart from each other, those that collided do not collide again.
        tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
    Err(Error::Contention { attempts: ATTEMPTS })
}

impl Wish<'_> {
    fn key(&self) -> String {
        self.keys.node(&self.own.name)
    }

    fn choose(&self, seen: &Seen) -> Result<Vec<Choice>, Error> {
        seen.refuse_other_machine(self)?;
        if self.own.role == Role::Router {
            return Ok(Vec::new());
        }
        let members: BTreeSet<&str> = seen.nodes.keys().map(String::as_str).collect();
        let chosen = self.spaces.iter().map(|space| space.choose(&self.own.name, &seen.reserved, &members));
        Ok(chosen.collect::<Result<_, _>>()?)
    }

    fn record(&self, choices: &[Choice]) -> Record {
        let (addresses, role) = (self.own.addresses.clone(), self.own.role);
        Record { addresses, pools: choices.iter().map(Choice::block).collect(), role }
    }

    async fn commit(
        &self,
        connection: &mut Connection,
        seen: &Seen,
        choices: &[Choice],
        record: &Record,
    ) -> Result<bool, Error> {
        let own = match seen.nodes.get(&self.own.name) {
            Some(found) => unchanged(self.key(), found.revision),
            None => absent(self.key()),
        };
        let when = choices.iter().flat_map(|choice| self.compare(choice, seen.revision));
        let lease = PutOptions::new().with_lease(self.lease);
        let member = TxnOp::put(self.key(), record.to_json(), Some(lease));
        // A reservation that is kept is written too: its revision says when its node was last seen.
        let reserve = choices.iter().map(|choice| self.reserve(choice));
        connection.commit(when.chain([own]).collect(), reserve.chain([member]).collect()).await
    }

    fn compare(&self, choice: &Choice, revision: i64) -> Vec<Compare> {
        let as_seen = |r: &Reservation| unchanged(self.keys.block(&r.text), r.revision);
        match choice {
            Choice::Kept(reservation) => vec![as_seen(reservation)],
            Choice::Free(_) => vec![none_made_after(self.keys.blocks(), revision)],
            Choice::TakenOver(reservation) => {
                vec![as_seen(reservation), absent(self.keys.node(&reservation.owner))]
            }
        }
    }

    fn reserve(&self, choice: &Choice) -> TxnOp {
        let key = match choice {
            Choice::Kept(reservation) | Choice::TakenOver(reservation) => self.keys.block(&reservation.text),
            Choice::Free(block) => self.keys.block(&block.to_string()),
        };
        TxnOp::put(key, self.own.name.as_str(), None)
    }
}

/// A member's key as it was seen.
struct Node {
    revision: i64,
    lease: i64,
    record: Result<Record, String>,
}

/// All of the cluster, at one moment.
struct Seen {
    revision: i64,
    nodes: BTreeMap<String, Node>,
    reserved: Vec<Reservation>,
    remarks: Vec<String>,
}

impl Seen {
    fn new(moment: Moment, keys: &Keys) -> Self {
        let Moment { revision, first: nodes, second: blocks } = moment;
        let mut seen = Self { revision, nodes: BTreeMap::new(), reserved: Vec::new(), remarks: Vec::new() };
        nodes.iter().for_each(|found| seen.add_node(found, keys));
        blocks.iter().for_each(|found| seen.add_reservation(found, keys));
        seen
    }

    fn add_node(&mut self, found: &KeyValue, keys: &Keys) {
        let name = record::rest(found.key(), &keys.nodes()).into_owned();
        let record = record::member(&name, found.value());
        self.nodes.insert(name, Node { revision: found.mod_revision(), lease: found.lease(), record });
    }

    fn add_reservation(&mut self, found: &KeyValue, keys: &Keys) {
        let text = record::rest(found.key(), &keys.blocks());
        let reservation = record::reservation(&text, found.value(), found.mod_revision());
        let problem = match &reservation {
            None => Some("is no block of addresses"),
            Some(found) if !record::is_name(&found.owner) => {
                Some("is reserved for what is no name of a node")
            }
            Some(_) => None,
        };
        let key = keys.block(&text);
        self.remarks
            .extend(problem.map(|problem| format!("{key:?} in etcd {problem}: correct or delete it")));
        self.reserved.extend(reservation);
    }

    /// A record under another lease is the node's own of before, unless its addresses are another machine's.
    fn refuse_other_machine(&self, wish: &Wish<'_>) -> Result<(), Error> {
        let taken = |addresses| Err(Error::NameTaken { name: wish.own.name.clone(), addresses });
        match self.nodes.get(&wish.own.name) {
            Some(node) if node.lease != wish.lease => match &node.record {
                Ok(record) if record.shares_an_address(&wish.own.addresses) => Ok(()),
                Ok(record) => taken(record.addresses.clone()),
                Err(_) => taken(Vec::new()),
            },
            _ => Ok(()),
        }
    }

    /// Whether the node is what it wishes to be: after a short loss of the connection there is nothing to write.
    fn has(&self, wish: &Wish<'_>, record: &Record) -> bool {
        let own = self.nodes.get(&wish.own.name);
        own.is_some_and(|node| node.lease == wish.lease && node.record.as_ref() == Ok(record))
    }

    fn into_claimed(mut self, wish: &Wish<'_>, record: Record, choices: &[Choice]) -> Claimed {
        let name = &wish.own.name;
        let unused = |r: &&Reservation| r.owner == *name && !record.pools.contains(&r.block);
        for Reservation { text, .. } in self.reserved.iter().filter(unused) {
            let key = wish.keys.block(text);
            let why = "it is no block that this node can use now, and nobody else gets it";
            self.remarks
                .push(format!("{text} is reserved for this node, but {why}: `etcdctl del {key}` frees it"));
        }
        for Reservation { block, owner, .. } in choices.iter().filter_map(taken_over) {
            let what = "no other block was left";
            self.remarks
                .push(format!("{block} was taken over from {owner}, which is no member any more: {what}"));
        }
        let members = self.nodes.into_iter().map(|(name, node)| (name, node.record)).collect();
        Claimed { record, members, revision: self.revision, remarks: self.remarks }
    }
}

fn taken_over(choice: &Choice) -> Option<&Reservation> {
    match choice {
        Choice::TakenOver(reservation) => Some(reservation),
        _ => None,
    }
}
