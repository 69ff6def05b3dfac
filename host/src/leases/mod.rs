//! The database of addresses: who holds which, and what was done for each attachment.
//!
//! Owns uniqueness: an address is recorded for one attachment or for none, however many processes ask at
//! once and wherever one of them is killed. Knows addresses and attachments; neither policies nor netlink.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::names::{AttachmentId, NetworkName};

/// The attachment that holds an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// `name` of the network configuration.
    pub network: NetworkName,
    /// Container and interface.
    pub attachment: AttachmentId,
    /// "namespace/name", if the runtime said.
    pub pod: Option<String>,
}

/// How many rows a reader may still walk: a policy cannot hold the database's lock for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps(pub u64);

/// Addresses in use, as a policy may see them: one consistent state.
pub trait View {
    /// Who holds the address.
    fn holder_of(&self, address: IpAddr, steps: &mut Steps) -> Result<Option<Holder>, Error>;
    /// The first address of the block that nobody holds, at or after `start`, wrapping round once.
    fn first_free(
        &self,
        block: IpNet,
        start: Option<IpAddr>,
        steps: &mut Steps,
    ) -> Result<Option<IpAddr>, Error>;
    /// The address in the block that was handed out last.
    fn last_taken(&self, block: IpNet, steps: &mut Steps) -> Result<Option<IpAddr>, Error>;
    /// How many addresses of the block are held.
    fn taken(&self, block: IpNet, steps: &mut Steps) -> Result<u64, Error>;
}

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reader's [`Steps`] ran out.
    #[error("the policy walked more leases than it may in one call")]
    TooManySteps,
}
