//! The trait that policies implement, and its way to the contract's exports.

use alloc::format;
use alloc::string::String;
use core::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::leases::Imported;
use crate::{AddPlan, AddRequest, DelRequest, Leases, NodePlan, NodeRequest, Refusal, Release};
use crate::{config, log, raw};

/// A policy, which is its configuration: `config` of the network configuration is read into it before
/// each call, and one that cannot be read is refused as [`config::read`] says.
///
/// A policy has no clock, randomness, files or network, and keeps nothing between calls, each of which
/// finds a new instance: the same request with the same leases must give the same answer.
pub trait Policy: DeserializeOwned {
    /// Whether the policy can work with this configuration, beyond that it could be read. Asked when a
    /// runtime wants to know whether an ADD would be served, and by the operator's tools; not for each ADD.
    ///
    /// # Errors
    /// A refusal that names the key, its value and what to do.
    fn check(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// Decides one ADD.
    ///
    /// # Errors
    /// A refusal: the runtime gets its message.
    fn add(&self, request: &AddRequest, leases: &dyn Leases) -> Result<AddPlan, Refusal>;

    /// Told of one DEL: how long the addresses rest. Not called if the configuration cannot be read; they
    /// are free at once then.
    fn del(&self, request: &DelRequest) -> Release {
        let _ = request;
        Release::Now
    }

    /// Decides what holds on the node as a whole: by default nothing.
    ///
    /// # Errors
    /// A refusal: the operator gets its message.
    fn node(&self, request: &NodeRequest) -> Result<NodePlan, Refusal> {
        let _ = request;
        Ok(NodePlan::default())
    }
}

/// The contract's exports, answered by a [`Policy`]. Used by [`export!`](crate::export).
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

impl<P: Policy> Component<P> {
    /// The only one.
    #[doc(hidden)]
    pub const NEW: Self = Self(PhantomData);
}

impl<P: Policy> raw::Guest for Component<P> {
    fn check_config(config: String) -> Result<(), raw::Refusal> {
        Ok(config::read::<P>(&config)?.check()?)
    }

    fn add(mut request: raw::AddRequest) -> Result<raw::AddPlan, raw::Refusal> {
        let policy: P = config::read(&core::mem::take(&mut request.config))?;
        Ok(policy.add(&request.into(), &Imported)?.into())
    }

    fn del(mut request: raw::DelRequest) -> raw::Release {
        match config::read::<P>(&core::mem::take(&mut request.config)) {
            Ok(policy) => policy.del(&request.into()).into(),
            Err(refusal) => {
                log::warn(&format!("addresses are free at once: {refusal}"));
                raw::Release::Now
            }
        }
    }

    fn node(mut request: raw::NodeRequest) -> Result<raw::NodePlan, raw::Refusal> {
        let policy: P = config::read(&core::mem::take(&mut request.config))?;
        Ok(policy.node(&request.into())?.into())
    }
}
