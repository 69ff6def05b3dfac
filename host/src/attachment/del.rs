//! DEL: what is on record is taken down, whatever became of namespace, policy and configuration.

use std::fmt::Display;
use std::time::Duration;

use super::delegate::Delegate;
use super::journal::Released;
use super::{import, say, tell};
use crate::cni::{self, Configuration, Error, Input, Ipam};
use crate::leases::{Attachment, Delegated, Intent, Origin, Release, Store, Transaction};
use crate::net;
use crate::net::namespace::Namespace;
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
            return delete(state, &store, &attachment, &Caller { input, request });
        }
    }
    // Of what podwire has no record of, the other plugin may have one.
    match configuration.map(|configuration| &configuration.ipam) {
        Some(Ipam::Delegate(plugin)) => Delegate::forget(plugin, input),
        _ => Ok(()),
    }
}

/// What the runtime knows of an attachment, beside what is on record.
struct Caller<'a> {
    input: &'a Input,
    request: &'a cni::Del,
}

fn delete(state: &State, store: &Store, attachment: &Attachment, caller: &Caller<'_>) -> Result<(), Error> {
    let intent = &attachment.intent;
    if intent.origin == Origin::Imported {
        take_away(intent, caller.request)?;
    }
    take_down(state, store, attachment, || match &intent.delegated {
        Some(delegated) => caller.tell_of_del(attachment, delegated),
        None => Ok(()),
    })
}

/// The interface of a container that is still there would go on answering for addresses that others get.
fn take_away(intent: &Intent, request: &cni::Del) -> Result<(), Error> {
    let namespace = request.netns.as_deref().and_then(|path| Namespace::open(path).ok());
    let Some(pod) = namespace else { return Ok(()) };
    // The node's own interfaces are nobody's to take away.
    if !request.netns_override && pod.is_current().unwrap_or(true) {
        return Ok(());
    }
    Ok(net::take_away(&pod, &intent.attachment.ifname)?)
}

impl Caller<'_> {
    /// By today's configuration if it is of the same network and can be read, else by that of the ADD.
    fn tell_of_del(&self, attachment: &Attachment, delegated: &Delegated) -> Result<(), Error> {
        let today = self.request.configuration.as_ref().ok();
        let same = today.is_some_and(|today| {
            today.network == attachment.intent.network
                && today.ipam == Ipam::Delegate(delegated.plugin.clone())
        });
        if same {
            return Delegate::forget(&delegated.plugin, self.input);
        }
        match Delegate::recorded(attachment, delegated, self.input) {
            Some(delegate) => delegate.pass_on("DEL"),
            None => {
                gone(&delegated.plugin);
                Ok(())
            }
        }
    }
}

/// It cannot take its addresses back, and must not keep podwire from it.
pub(super) fn gone(plugin: &str) {
    tell(format_args!(
        "ipam plugin {plugin} is in none of the folders of CNI_PATH any more, and is not told"
    ));
}

/// None if nothing was ever done here, not by host-local either.
pub(super) fn store(state: &State, configuration: Option<&Configuration>) -> Result<Option<Store>, Error> {
    let to_import = configuration.filter(|configuration| import::is_pending(configuration));
    let Some(configuration) = to_import else { return Ok(Store::open_existing(&state.leases_dir())?) };
    let store = Store::open(&state.leases_dir())?;
    // An ADD fails by it; what is on record can be undone all the same.
    if let Err(why) = import::host_local(state, &store, configuration) {
        tell(format_args!("{why}"));
    }
    Ok(Some(store))
}

/// The link first: an address is free only when nothing answers for it any more; then whoever gave the addresses. The
/// caller has the attachment's turn, so that no ADD under way makes the link afterwards.
pub(super) fn take_down(
    state: &State,
    store: &Store,
    attachment: &Attachment,
    tell_delegate: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let intent = &attachment.intent;
    import::give_back(intent);
    let policy = match intent.origin {
        Origin::Lent | Origin::Imported => load(state, intent),
        Origin::Wired => {
            let unwiring = net::unwire(&intent.plan)?;
            // Needs no link, and the kernel is busy with it.
            let policy = load(state, intent);
            unwiring.finish()?;
            policy
        }
    };
    tell_delegate()?;
    match policy {
        Ok(policy) => release_as(policy, state, store, attachment),
        Err(why) => {
            free_at_once(intent, &why);
            let released = release(store.transaction()?, attachment, Duration::ZERO)?;
            released.note(state, store, attachment, None);
            Ok(())
        }
    }
}

pub(super) fn release(
    mut transaction: Transaction,
    attachment: &Attachment,
    rest: Duration,
) -> Result<Released, Error> {
    let after = transaction.last_sequence()?;
    // Another number on record is another attachment, made after somebody took this one down.
    let released = transaction.release(&attachment.intent.attachment, attachment.sequence, rest)?;
    transaction.commit()?;
    Ok(Released((released == Release::Released).then_some((after, rest))))
}

/// The policy that gave the addresses, if it is still there: it alone knows how long they shall rest.
fn load(state: &State, intent: &Intent) -> Result<Instance, Error> {
    let registry = Registry::open(state);
    let installed = registry.installed(&intent.policy, intent.digest)?;
    Ok(registry.load(&Engine::new()?, &installed)?.instantiate()?)
}

/// Asks the policy inside the transaction. What it says, and how it fails, is told when that is over: whoever is
/// slow to read it would keep every other call waiting for the database.
fn release_as(
    mut policy: Instance,
    state: &State,
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
    released?.note(state, store, attachment, None);
    Ok(())
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
