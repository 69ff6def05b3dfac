//! Reading without writing: what CHECK, GC and STATUS need of the leases.

use std::net::IpAddr;

use heed::{RoTxn, WithoutTls};
use ipnet::IpNet;

use super::folder::Lock;
use super::store::Environment;
use super::view::Rows;
use super::{Attachment, Error, Holder, Steps, View};
use crate::names::AttachmentId;

/// Reading one state, with others that read.
pub struct Snapshot {
    environment: &'static Environment,
    lmdb: RoTxn<'static, WithoutTls>,
    now: u64,
    /// Goes last, when LMDB has finished.
    _lock: Lock,
}

impl Snapshot {
    pub(super) fn new(
        environment: &'static Environment,
        lmdb: RoTxn<'static, WithoutTls>,
        now: u64,
        lock: Lock,
    ) -> Self {
        Self { environment, lmdb, now, _lock: lock }
    }

    /// One attachment.
    pub fn attachment(&self, id: &AttachmentId) -> Result<Option<Attachment>, Error> {
        self.rows().attachment(id)
    }

    /// All attachments, ordered by container ID.
    pub fn attachments(&self) -> Result<impl Iterator<Item = Result<Attachment, Error>> + '_, Error> {
        self.rows().attachments()
    }

    fn rows(&self) -> Rows<'_> {
        Rows { environment: self.environment, lmdb: &self.lmdb, now: self.now }
    }
}

impl View for Snapshot {
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
        self.rows().last_taken(block, steps)
    }

    fn taken(&self, block: IpNet, steps: &mut Steps) -> Result<u64, Error> {
        self.rows().taken(block, steps)
    }
}

#[cfg(test)]
impl Snapshot {
    /// The keys of those rows that a test looks for.
    pub(super) fn rows_where(
        &self,
        mut wanted: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> std::collections::BTreeSet<Vec<u8>> {
        let rows = self.environment.table.iter(&self.lmdb).expect("readable");
        let rows = rows.map(|row| row.expect("readable"));
        rows.filter(|(key, value)| wanted(key, value)).map(|(key, _)| key.to_vec()).collect()
    }
}
