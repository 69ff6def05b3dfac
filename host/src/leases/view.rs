//! Reading rows, in a transaction or a snapshot.

use std::net::IpAddr;
use std::ops::Bound;

use heed::{RoTxn, WithoutTls};
use ipnet::IpNet;

use super::keys::{self, Entry, Range, State};
use super::store::Environment;
use super::{Attachment, Error, Holder, Steps, View};
use crate::names::AttachmentId;

/// The rows of one state.
pub(super) struct Rows<'t> {
    pub(super) environment: &'static Environment,
    pub(super) lmdb: &'t RoTxn<'static, WithoutTls>,
    pub(super) now: u64,
}

/// Keys and values in a range.
type Walk<'t> = heed::RoRange<'t, heed::types::Bytes, heed::types::Bytes>;

impl<'t> Rows<'t> {
    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<&'t [u8]>, Error> {
        self.environment.table.get(self.lmdb, key).map_err(|error| self.environment.fail(error))
    }

    /// What is known of an address. One that has rested enough is not known any more.
    pub(super) fn entry(&self, address: IpAddr) -> Result<Option<Entry<'t>>, Error> {
        let Some(value) = self.get(&keys::address(address))? else { return Ok(None) };
        let entry = self.read(address, value)?;
        Ok((!entry.state.is_free(self.now)).then_some(entry))
    }

    fn read(&self, address: impl std::fmt::Display, value: &'t [u8]) -> Result<Entry<'t>, Error> {
        Entry::read(value).ok_or_else(|| self.environment.damaged(format_args!("the lease of {address}")))
    }

    /// Who has or had an address.
    pub(super) fn holder(&self, address: IpAddr, entry: &Entry) -> Result<Holder, Error> {
        let unreadable = || self.environment.damaged(format_args!("the holder of {address}"));
        entry.holder().ok_or_else(unreadable)
    }

    /// One attachment.
    pub(super) fn attachment(&self, id: &AttachmentId) -> Result<Option<Attachment>, Error> {
        let row = self.get(&keys::attachment(id))?;
        row.map(|value| self.to_attachment(id, value)).transpose()
    }

    fn to_attachment(&self, id: impl std::fmt::Display, value: &[u8]) -> Result<Attachment, Error> {
        let unreadable = |error| self.environment.damaged(format_args!("attachment {id} ({error})"));
        serde_json::from_slice(value).map_err(unreadable)
    }

    /// All attachments, by container ID.
    pub(super) fn attachments(self) -> Result<impl Iterator<Item = Result<Attachment, Error>> + 't, Error> {
        let environment = self.environment;
        let rows = environment.table.prefix_iter(self.lmdb, keys::ATTACHMENTS);
        let rows = rows.map_err(|error| environment.fail(error))?;
        Ok(rows.map(move |row| {
            let (key, value) = row.map_err(|error| environment.fail(error))?;
            self.to_attachment(String::from_utf8_lossy(&key[keys::ATTACHMENTS.len()..]), value)
        }))
    }

    /// Rows from one key to another, both included.
    pub(super) fn walk(&self, first: &[u8], last: &[u8]) -> Result<Walk<'t>, Error> {
        let range = (Bound::Included(first), Bound::Included(last));
        self.environment.table.range(self.lmdb, &range).map_err(|error| self.environment.fail(error))
    }

    /// The first free position from one to another, both included.
    fn gap(&self, range: &Range, first: u128, last: u128, steps: &mut Steps) -> Result<Option<u128>, Error> {
        let mut candidate = first;
        for row in self.walk(&keys::address(range.at(first)), &keys::address(range.at(last)))? {
            steps.take()?;
            let (position, state) = self.leased(range, row)?;
            if position > candidate || state.is_free(self.now) {
                return Ok(Some(candidate));
            }
            if position == last {
                return Ok(None);
            }
            candidate = position + 1;
        }
        Ok(Some(candidate))
    }

    /// Position and state of a row that was walked over.
    fn leased(&self, range: &Range, row: heed::Result<(&'t [u8], &'t [u8])>) -> Result<(u128, State), Error> {
        let (key, value) = row.map_err(|error| self.environment.fail(error))?;
        let position = keys::to_address(key).and_then(|address| range.position(address));
        let position = position.ok_or_else(|| self.environment.damaged("the key of a lease"))?;
        Ok((position, self.read(range.at(position), value)?.state))
    }
}

impl View for Rows<'_> {
    fn holder_of(&self, address: IpAddr, steps: &mut Steps) -> Result<Option<Holder>, Error> {
        steps.take()?;
        match self.entry(address)? {
            Some(Entry { state: State::Gateway(_), .. }) | None => Ok(None),
            Some(entry) => self.holder(address, &entry).map(Some),
        }
    }

    fn first_free(
        &self,
        block: IpNet,
        start: Option<IpAddr>,
        steps: &mut Steps,
    ) -> Result<Option<IpAddr>, Error> {
        Range::usable(block).first_free(start, |range, first, last| self.gap(range, first, last, steps))
    }

    fn last_taken(&self, block: IpNet, steps: &mut Steps) -> Result<Option<IpAddr>, Error> {
        steps.take()?;
        let Some(value) = self.get(&keys::block(block))? else { return Ok(None) };
        let unreadable = || self.environment.damaged(format_args!("the last address of {block}"));
        keys::from_plain(value).ok_or_else(unreadable).map(Some)
    }

    fn taken(&self, block: IpNet, steps: &mut Steps) -> Result<u64, Error> {
        let range = Range::whole(block);
        let (first, last) = range.positions();
        let mut taken = 0;
        for row in self.walk(&keys::address(range.at(first)), &keys::address(range.at(last)))? {
            steps.take()?;
            let (_, state) = self.leased(&range, row)?;
            let is_held = !matches!(state, State::Gateway(_)) && !state.is_free(self.now);
            taken += u64::from(is_held);
        }
        Ok(taken)
    }
}

/// No address is in use: what a policy sees where nothing is decided for a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Empty;

impl View for Empty {
    fn holder_of(&self, _: IpAddr, _: &mut Steps) -> Result<Option<Holder>, Error> {
        Ok(None)
    }

    fn first_free(
        &self,
        block: IpNet,
        start: Option<IpAddr>,
        _: &mut Steps,
    ) -> Result<Option<IpAddr>, Error> {
        let range = Range::usable(block);
        let first = range.at(*range.numbers.start());
        Ok(Some(start.filter(|start| range.position(*start).is_some()).unwrap_or(first)))
    }

    fn last_taken(&self, _: IpNet, _: &mut Steps) -> Result<Option<IpAddr>, Error> {
        Ok(None)
    }

    fn taken(&self, _: IpNet, _: &mut Steps) -> Result<u64, Error> {
        Ok(0)
    }
}
