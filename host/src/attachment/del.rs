//! DEL: what is on record is taken down, whatever became of namespace, policy and configuration.

use std::time::Duration;

use super::say;
use crate::cni::{self, Error};
use crate::leases::{Attachment, Store};
use crate::net;
use crate::plan::DelRequest;
use crate::policy::Engine;
use crate::registry::Registry;
use crate::state::State;

pub(super) fn del(state: &State, request: &cni::Del) -> Result<(), Error> {
    // Without a database nothing was ever done here.
    let Some(store) = Store::open_existing(&state.leases_dir())? else { return Ok(()) };
    match store.transaction()?.attachment(&request.attachment)? {
        Some(attachment) => take_down(state, &store, &attachment),
        None => Ok(()),
    }
}

/// The link first: an address is free only when nothing answers for it any more.
pub(super) fn take_down(state: &State, store: &Store, attachment: &Attachment) -> Result<(), Error> {
    net::unwire(&attachment.intent.plan.host_interface)?;
    let rest = rest(state, attachment);
    let mut transaction = store.transaction()?;
    // Another number on record is another attachment, made after somebody took this one down.
    let _ = transaction.release(&attachment.intent.attachment, attachment.sequence, rest)?;
    Ok(transaction.commit()?)
}

/// How long the addresses rest, if the policy that gave them is there to say so.
fn rest(state: &State, attachment: &Attachment) -> Duration {
    let intent = &attachment.intent;
    let registry = Registry::open(state);
    let asked = || -> Result<Duration, Error> {
        let installed = registry.installed(&intent.policy, intent.digest)?;
        let mut instance = registry.load(&Engine::new()?, &installed)?.instantiate()?;
        let answer = instance.del(&DelRequest {
            network: intent.network.clone(),
            attachment: intent.attachment.clone(),
            pod: intent.pod.clone(),
            addresses: intent.addresses().collect(),
            config: intent.config.clone(),
        });
        say(&intent.policy, &instance.take_log());
        Ok(answer?)
    };
    asked().unwrap_or_else(|error| {
        say(&intent.policy, &[format!("its word on {} is lost: {error}", intent.attachment)]);
        Duration::ZERO
    })
}
