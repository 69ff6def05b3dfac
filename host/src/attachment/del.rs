//! DEL: what is on record is taken down, whatever became of namespace, policy and configuration.

use std::fmt::Display;
use std::time::Duration;

use super::delegate::Delegate;
use super::{import, say, tell};
use crate::cni::{self, Configuration, Error, Input, Ipam};
use crate::leases::{Attachment, Intent, Store, Transaction};
use crate::net;
use crate::plan::DelRequest;
use crate::policy::{Engine, Instance};
use crate::registry::Registry;
use crate::state::State;

pub(super) fn del(state: &State, input: &Input, request: &cni::Del) -> Result<(), Error> {
    let configuration = request.configuration.as_ref().ok();
    if let Some(store) = store(state, configuration)? {
        let _turn = store.turn(&request.attachment)?;
        let on_record = store.transaction()?.attachment(&request.attachment)?;
        if let Some(attachment) = on_record {
            return take_down(state, input, &store, &attachment);
        }
    }
    // Of what podwire has no record of, the other plugin may have one.
    match configuration.map(|configuration| &configuration.ipam) {
        Some(Ipam::Delegate(plugin)) => Delegate::new(plugin, input)?.pass_on("DEL"),
        _ => Ok(()),
    }
}

/// None if nothing was ever done here, not by host-local either.
pub(super) fn store(state: &State, configuration: Option<&Configuration>) -> Result<Option<Store>, Error> {
    let to_import = configuration.filter(|configuration| import::is_pending(configuration));
    let Some(configuration) = to_import else { return Ok(Store::open_existing(&state.leases_dir())?) };
    let store = Store::open(&state.leases_dir())?;
    let name = configuration.policy.clone().unwrap_or_default();
    // An ADD will say what is wrong with it.
    if let Ok(policy) = Registry::open(state).active(&name) {
        import::host_local(&store, configuration, &policy)?;
    }
    Ok(Some(store))
}

/// The link first: an address is free only when nothing answers for it any more. The caller has the
/// attachment's turn, so that no ADD under way makes the link afterwards.
pub(super) fn take_down(
    state: &State,
    input: &Input,
    store: &Store,
    attachment: &Attachment,
) -> Result<(), Error> {
    let intent = &attachment.intent;
    import::give_back(intent)?;
    let policy = if intent.elsewhere {
        load(state, intent)
    } else {
        let unwiring = net::unwire(&intent.plan)?;
        // Needs no link, and the kernel is busy with it.
        let policy = load(state, intent);
        unwiring.finish()?;
        policy
    };
    if let Some(delegated) = &intent.delegated {
        Delegate::of(attachment, delegated, input)?.pass_on("DEL")?;
    }
    match policy {
        Ok(policy) => release_as(policy, store, attachment),
        Err(why) => {
            free_at_once(intent, &why);
            release(store.transaction()?, attachment, Duration::ZERO)
        }
    }
}

fn release(mut transaction: Transaction, attachment: &Attachment, rest: Duration) -> Result<(), Error> {
    // Another number on record is another attachment, made after somebody took this one down.
    let _ = transaction.release(&attachment.intent.attachment, attachment.sequence, rest)?;
    Ok(transaction.commit()?)
}

/// The policy that gave the addresses, if it is still there: it alone knows how long they shall rest.
fn load(state: &State, intent: &Intent) -> Result<Instance<Transaction>, Error> {
    let registry = Registry::open(state);
    let installed = registry.installed(&intent.policy, intent.digest)?;
    Ok(registry.load(&Engine::new()?, &installed)?.instantiate()?)
}

/// Asks the policy inside the transaction. What it says, and how it fails, is told when that is over: whoever is
/// slow to read it would keep every other call waiting for the database.
fn release_as(
    mut policy: Instance<Transaction>,
    store: &Store,
    attachment: &Attachment,
) -> Result<(), Error> {
    let intent = &attachment.intent;
    let (answer, transaction) = policy.del(&told(intent), store.transaction()?);
    let rest = answer.as_ref().map_or(0, |seconds| *seconds);
    let released = release(transaction, attachment, Duration::from_secs(rest.into()));
    say(&intent.policy, policy.notes());
    if let Err(why) = answer {
        free_at_once(intent, &why);
    }
    // Unmapping it would take longer than the process's end.
    std::mem::forget(policy);
    released
}

/// A policy that is gone, or fails, decides nothing; only the operator hears of it.
fn free_at_once(intent: &Intent, why: &dyn Display) {
    tell(format_args!("the addresses of {} do not rest: {why}", intent.attachment));
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
