//! Writing: reserving what a plan needs, and releasing it. Every check comes before the first change, so
//! that a refusal leaves the transaction as it was.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use heed::RwTxn;
use ipnet::IpNet;

use super::folder::Lock;
use super::keys::{self, Entry, State};
use super::store::Environment;
use super::view::Rows;
use super::{Attachment, Error, Holder, Intent, Sequence, Steps, View};
use crate::names::{AttachmentId, InterfaceName};

/// Rests that are over are taken away so many at a time: more than one release adds, so that they cannot
/// pile up, and few enough that no ADD waits for them.
const SWEPT_AT_ONCE: usize = 64;

/// Blocks that one policy may ask for and have remembered, in one transaction and in all. A policy that
/// goes round asks for its one or two; one that asks for thousands must not fill the database.
pub(super) const REMEMBERED_AT_ONCE: usize = 16;
const REMEMBERED_IN_ALL: usize = 1024;

/// Reading and writing, alone: nobody else writes until it is committed or dropped.
pub struct Transaction {
    environment: &'static Environment,
    lmdb: RwTxn<'static>,
    now: u64,
    /// Blocks whose last address the policy wanted to know, and will want to know again.
    asked: RefCell<Vec<IpNet>>,
    /// Goes last, when LMDB has finished.
    _lock: Lock,
}

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Release {
    /// Nothing of the attachment is on record any more.
    Released,
    /// Nothing of the attachment was on record.
    NotFound,
    /// The attachment was deleted and added again meanwhile: what is on record is not what was quoted, and
    /// nothing was released.
    Replaced(Sequence),
}

impl Transaction {
    pub(super) fn new(environment: &'static Environment, lmdb: RwTxn<'static>, now: u64, lock: Lock) -> Self {
        Self { environment, lmdb, now, asked: RefCell::default(), _lock: lock }
    }

    /// One attachment.
    pub fn attachment(&self, id: &AttachmentId) -> Result<Option<Attachment>, Error> {
        self.rows().attachment(id)
    }

    /// All attachments, ordered by container ID.
    pub fn attachments(&self) -> Result<impl Iterator<Item = Result<Attachment, Error>> + '_, Error> {
        self.rows().attachments()
    }

    /// Those of the addresses that nobody on this node had before, since it booted. Not all of them, if they are not
    /// handed out in their order: what is remembered is the highest one.
    pub fn never_held(&self, addresses: impl Iterator<Item = IpAddr>) -> Result<Vec<IpAddr>, Error> {
        let mut never_held = Vec::new();
        for address in addresses {
            if self.highest(address)?.is_none_or(|highest| highest < address) {
                never_held.push(address);
            }
        }
        Ok(never_held)
    }

    /// The number that was given last; 0 if none was.
    pub fn last_sequence(&self) -> Result<Sequence, Error> {
        let Some(value) = self.rows().get(keys::SEQUENCE)? else { return Ok(Sequence(0)) };
        let unreadable = || self.environment.damaged("the sequence number");
        keys::to_sequence(value).ok_or_else(unreadable)
    }

    /// Records the attachment, its addresses, gateways and interface name: all or, with an error, none.
    pub fn reserve(&mut self, intent: Intent) -> Result<Attachment, Error> {
        self.refuse_if_taken(&intent)?;
        let attachment =
            Attachment { sequence: Sequence(self.last_sequence()?.0 + 1), since: unix_seconds(), intent };
        let row = self.to_json(&attachment)?;
        self.sweep()?;
        self.put(&keys::attachment(&attachment.intent.attachment), &row)?;
        self.put(keys::SEQUENCE, &attachment.sequence.0.to_be_bytes())?;
        self.record(&attachment.intent)?;
        Ok(attachment)
    }

    /// Takes the attachment off the record if it is the one that is meant. Its addresses are free when the
    /// rest is over, at once if it is zero.
    pub fn release(
        &mut self,
        id: &AttachmentId,
        sequence: Sequence,
        rest: Duration,
    ) -> Result<Release, Error> {
        let Some(attachment) = self.attachment(id)? else { return Ok(Release::NotFound) };
        if attachment.sequence != sequence {
            return Ok(Release::Replaced(attachment.sequence));
        }
        self.sweep()?;
        self.strike(&attachment.intent, rest)?;
        self.delete(&keys::attachment(id))?;
        Ok(Release::Released)
    }

    /// Makes it so, for everybody.
    pub fn commit(self) -> Result<(), Error> {
        self.lmdb.commit().map_err(|error| self.environment.fail(error))
    }

    fn refuse_if_taken(&self, intent: &Intent) -> Result<(), Error> {
        if let Some(Attachment { sequence, .. }) = self.attachment(&intent.attachment)? {
            return Err(Error::Exists { attachment: intent.attachment.clone(), sequence });
        }
        if let Some(attachment) = self.user_of(&intent.plan.host_interface)? {
            return Err(Error::InterfaceTaken { name: intent.plan.host_interface.clone(), attachment });
        }
        let gateways = intent.gateways();
        for (i, address) in intent.addresses().enumerate() {
            if gateways.contains(&address) {
                return Err(Error::AddressIsGateway { address });
            }
            if intent.addresses().take(i).any(|other| other == address) {
                return Err(Error::AddressTwice { address });
            }
            self.refuse_if_leased(address)?;
        }
        gateways.into_iter().try_for_each(|gateway| self.refuse_if_held(gateway))
    }

    fn refuse_if_leased(&self, address: IpAddr) -> Result<(), Error> {
        let Some(entry) = self.rows().entry(address)? else { return Ok(()) };
        let holder = || self.rows().holder(address, &entry).map(Box::new);
        match entry.state {
            State::Gateway(_) => Err(Error::AddressIsGateway { address }),
            State::Held => Err(Error::AddressHeld { address, holder: holder()? }),
            State::Resting(until) => {
                let seconds = Duration::from_nanos(until - self.now).as_secs_f64().ceil() as u64;
                Err(Error::AddressRests { address, holder: holder()?, seconds })
            }
        }
    }

    fn refuse_if_held(&self, gateway: IpAddr) -> Result<(), Error> {
        match self.rows().entry(gateway)? {
            Some(Entry { state: State::Gateway(_), .. }) | None => Ok(()),
            Some(entry) => {
                let holder = Box::new(self.rows().holder(gateway, &entry)?);
                Err(Error::GatewayHeld { gateway, holder })
            }
        }
    }

    /// The attachment whose veth has the name on the node.
    fn user_of(&self, name: &InterfaceName) -> Result<Option<AttachmentId>, Error> {
        let Some(key) = self.rows().get(&keys::interface(name))? else { return Ok(None) };
        let unreadable = || self.environment.damaged(format_args!("the user of interface {name}"));
        keys::to_attachment(key).ok_or_else(unreadable).map(Some)
    }

    /// Writes what [`Self::strike`] takes away, and what stays: which address was the last, and which the highest.
    fn record(&mut self, intent: &Intent) -> Result<(), Error> {
        let held = State::Held.write(&self.to_json(&intent.holder())?);
        for address in intent.addresses() {
            self.put(&keys::address(address), &held)?;
            self.remember_highest(address)?;
        }
        for gateway in intent.gateways() {
            let named = State::Gateway(self.names_of(gateway)? + 1);
            self.put(&keys::address(gateway), &named.write(&[]))?;
        }
        let name = keys::interface(&intent.plan.host_interface);
        self.put(&name, &keys::attachment(&intent.attachment))?;
        self.remember_last(intent)
    }

    fn strike(&mut self, intent: &Intent, rest: Duration) -> Result<(), Error> {
        for address in intent.addresses() {
            self.give_back(address, rest)?;
        }
        for gateway in intent.gateways() {
            match self.names_of(gateway)? {
                0 | 1 => self.delete(&keys::address(gateway))?,
                count => self.put(&keys::address(gateway), &State::Gateway(count - 1).write(&[]))?,
            }
        }
        self.delete(&keys::interface(&intent.plan.host_interface))
    }

    fn give_back(&mut self, address: IpAddr, rest: Duration) -> Result<(), Error> {
        let key = keys::address(address);
        let Some(entry) = self.rows().entry(address)? else { return Ok(()) };
        if rest.is_zero() {
            return self.delete(&key);
        }
        let until = self.now.saturating_add(u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX));
        let resting = entry.becomes(State::Resting(until));
        self.put(&key, &resting)?;
        self.put(&keys::rest(until, address), &[])
    }

    /// For how many attachments the address is a gateway.
    fn names_of(&self, gateway: IpAddr) -> Result<u64, Error> {
        Ok(match self.rows().entry(gateway)? {
            Some(Entry { state: State::Gateway(count), .. }) => count,
            _ => 0,
        })
    }

    fn highest(&self, address: IpAddr) -> Result<Option<IpAddr>, Error> {
        let Some(value) = self.rows().get(&keys::highest(address))? else { return Ok(None) };
        let unreadable = || self.environment.damaged("the highest address");
        keys::from_plain(value).ok_or_else(unreadable).map(Some)
    }

    fn remember_highest(&mut self, address: IpAddr) -> Result<(), Error> {
        match self.highest(address)? {
            Some(highest) if highest >= address => Ok(()),
            _ => self.put(&keys::highest(address), &keys::plain(address)),
        }
    }

    fn remember_last(&mut self, intent: &Intent) -> Result<(), Error> {
        let asked = self.asked.take();
        for address in intent.addresses() {
            for pool in intent.pools.iter().filter(|pool| pool.contains(&address)) {
                self.put(&keys::block(*pool), &keys::plain(address))?;
            }
            for block in asked.iter().filter(|block| block.contains(&address)) {
                let key = keys::block(*block);
                if self.rows().get(&key)?.is_some() || self.has_room_for_blocks()? {
                    self.put(&key, &keys::plain(address))?;
                }
            }
        }
        Ok(())
    }

    fn has_room_for_blocks(&self) -> Result<bool, Error> {
        let blocks = self.environment.table.prefix_iter(&self.lmdb, keys::BLOCKS);
        let blocks = blocks.map_err(|error| self.environment.fail(error))?;
        Ok(blocks.take(REMEMBERED_IN_ALL).count() < REMEMBERED_IN_ALL)
    }

    /// Takes away some of the rests that are over.
    fn sweep(&mut self) -> Result<(), Error> {
        for key in self.rests_that_are_over()? {
            let unreadable = || self.environment.damaged("the key of a rest");
            let (until, address) = keys::to_rest(&key).ok_or_else(unreadable)?;
            let address = keys::address(address);
            let entry = self.rows().get(&address)?.and_then(Entry::read);
            if entry.is_some_and(|entry| entry.state == State::Resting(until)) {
                self.delete(&address)?;
            }
            self.delete(&key)?;
        }
        Ok(())
    }

    fn rests_that_are_over(&self) -> Result<Vec<Vec<u8>>, Error> {
        let (first, last) = keys::rests_until(self.now).into_inner();
        let rests = self.rows().walk(&first, &last)?.take(SWEPT_AT_ONCE);
        rests
            .map(|row| row.map(|(key, _)| key.to_vec()).map_err(|error| self.environment.fail(error)))
            .collect()
    }

    fn to_json(&self, value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(value).map_err(|error| self.environment.fail(heed::Error::Encoding(error.into())))
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let done = self.environment.table.put(&mut self.lmdb, key, value);
        done.map_err(|error| self.environment.fail(error))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        let done = self.environment.table.delete(&mut self.lmdb, key);
        done.map(|_| ()).map_err(|error| self.environment.fail(error))
    }

    fn rows(&self) -> Rows<'_> {
        Rows { environment: self.environment, lmdb: &self.lmdb, now: self.now }
    }
}

impl View for Transaction {
    fn holder_of(&self, address: IpAddr, steps: &mut Steps) -> Result<Option<Holder>, Error> {
        self.rows().holder_of(address, steps)
    }

    fn first_free(
        &self,
        block: IpNet,
        start: Option<IpAddr>,
        steps: &mut Steps,
    ) -> Result<Option<IpAddr>, Error> {
        self.rows().first_free(block, start, steps)
    }

    fn last_taken(&self, block: IpNet, steps: &mut Steps) -> Result<Option<IpAddr>, Error> {
        let mut asked = self.asked.borrow_mut();
        if asked.len() < REMEMBERED_AT_ONCE && !asked.contains(&block) {
            asked.push(block);
        }
        self.rows().last_taken(block, steps)
    }

    fn taken(&self, block: IpNet, steps: &mut Steps) -> Result<u64, Error> {
        self.rows().taken(block, steps)
    }
}

/// For people; nothing is decided by it.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
