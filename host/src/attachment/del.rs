//! DEL: what is on record is taken down, whatever became of namespace, policy and configuration.

use std::time::Duration;

use super::say;
use crate::cni::{self, Error};
use crate::leases::{Attachment, Intent, Store, Transaction};
use crate::net;
use crate::plan::DelRequest;
use crate::policy::{Engine, Instance};
use crate::registry::Registry;
use crate::state::State;

pub(super) fn del(state: &State, request: &cni::Del) -> Result<(), Error> {
    // Without a database nothing was ever done here.
    let Some(store) = Store::open_existing(&state.leases_dir())? else { return Ok(()) };
    let _turn = store.turn(&request.attachment)?;
    let on_record = store.transaction()?.attachment(&request.attachment)?;
    on_record.map_or(Ok(()), |attachment| take_down(state, &store, &attachment))
}

/// The link first: an address is free only when nothing answers for it any more. The caller has the
/// attachment's turn, so that no ADD under way makes the link afterwards.
pub(super) fn take_down(state: &State, store: &Store, attachment: &Attachment) -> Result<(), Error> {
    net::unwire(&attachment.intent.plan.host_interface)?;
    let mut policy = load(state, &attachment.intent).ok();
    let transaction = store.transaction()?;
    let (rest, mut transaction) = rest(policy.as_mut(), &attachment.intent, transaction);
    // Another number on record would be another attachment, and nothing of it is given back.
    let _ = transaction.release(&attachment.intent.attachment, attachment.sequence, rest)?;
    transaction.commit()?;
    // Not before: whoever is slow to read it would keep every other call waiting for the database.
    if let Some(policy) = policy {
        say(&attachment.intent.policy, policy.notes());
    }
    Ok(())
}

/// The policy that gave the addresses, if it is still there: it alone knows how long they shall rest.
fn load(state: &State, intent: &Intent) -> Result<Instance<Transaction>, Error> {
    let registry = Registry::open(state);
    let installed = registry.installed(&intent.policy, intent.digest)?;
    Ok(registry.load(&Engine::new()?, &installed)?.instantiate()?)
}

/// A policy that is gone, or fails, has nothing to say: its addresses are free at once.
fn rest(
    policy: Option<&mut Instance<Transaction>>,
    intent: &Intent,
    transaction: Transaction,
) -> (Duration, Transaction) {
    let Some(policy) = policy else { return (Duration::ZERO, transaction) };
    let (answer, transaction) = policy.del(&told(intent), transaction);
    (Duration::from_secs(answer.unwrap_or(0).into()), transaction)
}

fn told(intent: &Intent) -> DelRequest {
    DelRequest {
        network: intent.network.clone(),
        attachment: intent.attachment.clone(),
        pod: intent.pod.clone(),
        addresses: intent.addresses().collect(),
        config: intent.config.clone(),
    }
}
