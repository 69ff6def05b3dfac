//! One connection's life: the lease is kept alive, and what happens to members is told, until something ends it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use etcd_client::{
    Compare, CompareOp, Event, EventType, LeaseKeepAliveResponse, TxnOp, WatchResponse, WatchStream,
};
use tokio::time::{MissedTickBehavior, interval};

use super::claim::{Claimed, Wish, claim};
use super::connection::{Connection, Held};
use super::error::Error;
use super::record::{self, Keys, Record};
use super::{Etcd, Membership, Own};
use crate::agent::source::Board;

/// Reservations are renewed this often: to a day, their revision then says for how long a node has been away.
const RENEWAL: Duration = Duration::from_secs(24 * 3600);

/// A lease is renewed when a third of it is over: one renewal may be lost.
const RENEWALS_PER_LEASE: u32 = 3;

/// Makes the node a member, tells of all members, and goes on telling.
pub(super) async fn follow(
    etcd: &mut Etcd,
    connection: &mut Connection,
    board: &Board,
) -> Result<Infallible, Error> {
    let held = connection.hold(etcd.lease, etcd.settings.lease_seconds).await?;
    etcd.lease = Some(held.id);
    let wish = Wish { keys: &etcd.keys, own: &etcd.own, spaces: &etcd.spaces, lease: held.id };
    let claimed = claim(connection, &wish).await?;
    let events = connection.watch(etcd.keys.nodes(), claimed.revision).await?;
    let members = etcd.begin(claimed, held.id);
    etcd.tell(board, &members);
    Session { etcd, connection, board, members, held, events, unanswered: false, renewed: Instant::now() }
        .run()
        .await
}

/// Who belongs to the cluster, as etcd told it.
pub(super) struct Members {
    own: Own,
    lease: i64,
    others: BTreeMap<String, Result<Record, String>>,
    remarks: Vec<String>,
}

impl Members {
    pub(super) fn new(own: Own, lease: i64, claimed: Claimed) -> Self {
        let Claimed { members: mut others, remarks, .. } = claimed;
        others.remove(&own.name);
        Self { own, lease, others, remarks }
    }

    pub(super) fn membership(&self) -> Membership {
        let readable = self.others.iter().filter_map(|(name, record)| Some((name, record.as_ref().ok()?)));
        let peers = readable.map(|(name, record)| record.clone().into_peer(name.clone())).collect();
        Membership::new(self.own.clone(), peers)
    }

    /// What an operator should know.
    pub(super) fn remarks(&self, keys: &Keys) -> Vec<String> {
        let unreadable = self.others.iter().filter_map(|(name, record)| Some((name, record.as_ref().err()?)));
        let of_members = unreadable.map(|(name, problem)| {
            format!("the record {:?} in etcd is passed over: {problem}", keys.node(name))
        });
        self.remarks.iter().cloned().chain(of_members).collect()
    }

    fn apply(&mut self, event: &Event, keys: &Keys) -> Result<(), Error> {
        let Some(found) = event.kv() else { return Ok(()) };
        let name = record::rest(found.key(), &keys.nodes()).into_owned();
        let is_gone = event.event_type() == EventType::Delete;
        if name == self.own.name {
            return match is_gone {
                true => Err(Error::Stale("etcd has ended this node's membership")),
                false if found.lease() != self.lease => Err(Error::Rival { key: keys.node(&name) }),
                false => Ok(()),
            };
        }
        match is_gone {
            true => drop(self.others.remove(&name)),
            false => {
                let record = record::member(&name, found.value());
                drop(self.others.insert(name, record));
            }
        }
        Ok(())
    }
}

struct Session<'a> {
    etcd: &'a mut Etcd,
    connection: &'a mut Connection,
    board: &'a Board,
    members: Members,
    held: Held,
    events: WatchStream,
    /// Whether etcd owes an answer to the last renewal of the lease.
    unanswered: bool,
    /// When the reservations were.
    renewed: Instant,
}

impl Session<'_> {
    async fn run(mut self) -> Result<Infallible, Error> {
        let period = Duration::from_secs(self.etcd.settings.lease_seconds.into()) / RENEWALS_PER_LEASE;
        let mut renewals = interval(period);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = renewals.tick() => self.renew(period).await?,
                answer = self.held.answers.message() => {
                    let answer = answer.map_err(|error| self.connection.failed(&error))?;
                    self.renewed(answer.as_ref())?;
                }
                told = self.events.message() => {
                    let told = told.map_err(|error| self.connection.failed(&error))?;
                    self.changed(told.as_ref())?;
                }
            }
        }
    }

    async fn renew(&mut self, period: Duration) -> Result<(), Error> {
        if self.unanswered {
            let reason =
                format!("the renewal of the node's lease was not answered in {} s", period.as_secs());
            return Err(self.connection.ended(reason));
        }
        self.held.keeper.keep_alive().await.map_err(|error| self.connection.failed(&error))?;
        self.unanswered = true;
        if self.renewed.elapsed() > RENEWAL { self.renew_reservations().await } else { Ok(()) }
    }

    fn renewed(&mut self, answer: Option<&LeaseKeepAliveResponse>) -> Result<(), Error> {
        self.unanswered = false;
        match answer {
            Some(answer) if answer.ttl() > 0 => Ok(()),
            Some(_) => Err(Error::Stale("the node's lease ran out")),
            None => Err(self.connection.ended("etcd stopped renewing leases")),
        }
    }

    /// They are the node's as long as it is a member.
    async fn renew_reservations(&mut self) -> Result<(), Error> {
        let (keys, own) = (&self.etcd.keys, &self.members.own);
        let is_member = Compare::lease(keys.node(&own.name), CompareOp::Equal, self.held.id);
        let block = |pool: &ipnet::IpNet| TxnOp::put(keys.block(&pool.to_string()), own.name.as_str(), None);
        self.connection.commit(vec![is_member], own.pools.iter().map(block).collect()).await?;
        self.renewed = Instant::now();
        Ok(())
    }

    fn changed(&mut self, told: Option<&WatchResponse>) -> Result<(), Error> {
        let told = told.ok_or_else(|| self.connection.ended("etcd stopped telling of changes"))?;
        if told.canceled() && told.compact_revision() > 0 {
            return Err(Error::Stale("etcd has forgotten what happened meanwhile (compaction)"));
        }
        if told.canceled() {
            return Err(self
                .connection
                .ended(format!("etcd tells of no more changes: {}", told.cancel_reason())));
        }
        for event in told.events() {
            self.members.apply(event, &self.etcd.keys)?;
        }
        if !told.events().is_empty() {
            self.etcd.tell(self.board, &self.members);
        }
        Ok(())
    }
}
