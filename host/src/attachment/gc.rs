//! GC: attachments that the runtime no longer knows are taken down.

use std::collections::BTreeSet;

use super::del::{gone, take_down};
use super::delegate::Delegate;
use super::{import, tell};
use crate::cni::{self, Code, Error, Input, Ipam};
use crate::leases::{Attachment, Intent, Origin, Store};
use crate::names::AttachmentId;
use crate::state::State;

/// Goes on through failures, and reports them all.
pub(super) fn gc(state: &State, input: &Input, request: &cni::Gc) -> Result<(), Error> {
    let store = super::del::store(state, Some(&request.configuration))?;
    let mut failed =
        store.map_or_else(|| Ok(Vec::new()), |store| collect_all(state, input, &store, request))?;
    if let Ipam::Delegate(plugin) = &request.configuration.ipam {
        let passed_on = Delegate::new(plugin, input).and_then(|delegate| delegate.pass_on("GC"));
        failed.extend(passed_on.err().map(|error| error.to_string()));
    }
    match failed.as_slice() {
        [] => Ok(()),
        some => {
            let msg = format!("{} things that ought to be gone could not be removed", some.len());
            Err(Error::new(Code::GC_INCOMPLETE, msg).with_details(some.join("; ")))
        }
    }
}

/// What became of those that could not be removed.
fn collect_all(state: &State, input: &Input, store: &Store, request: &cni::Gc) -> Result<Vec<String>, Error> {
    let failure = |attachment: &Attachment| {
        let error = collect(state, input, store, attachment).err()?;
        Some(format!("{}: {error}", attachment.intent.attachment))
    };
    Ok(stale(store, request)?.iter().filter_map(failure).collect())
}

/// Unless it was deleted, or even added again, since the list was read.
pub(super) fn collect(
    state: &State,
    input: &Input,
    store: &Store,
    attachment: &Attachment,
) -> Result<(), Error> {
    let id = &attachment.intent.attachment;
    let _turn = store.turn(id)?;
    let on_record = store.transaction()?.attachment(id)?;
    match on_record {
        Some(same) if same.sequence == attachment.sequence => take_down(state, store, &same, || {
            tell_of_del(&same, input);
            Ok(())
        }),
        _ => Ok(()),
    }
}

/// The container is gone: whether the plugin that gave the addresses hears of it or not. It gets a GC of its own.
fn tell_of_del(attachment: &Attachment, input: &Input) {
    let Some(delegated) = &attachment.intent.delegated else { return };
    match Delegate::recorded(attachment, delegated, input).map(|delegate| delegate.pass_on("DEL")) {
        None => gone(&delegated.plugin),
        Some(told) => told.unwrap_or_else(|why| tell(format_args!("{why}"))),
    }
}

fn is_valid(intent: &Intent, valid: &BTreeSet<AttachmentId>) -> bool {
    match intent.origin {
        Origin::Imported => import::may_be_among(&intent.attachment, valid),
        Origin::Wired | Origin::Lent => valid.contains(&intent.attachment),
    }
}

/// Of this network: other networks have their own list.
fn stale(store: &Store, request: &cni::Gc) -> Result<Vec<Attachment>, Error> {
    let leases = store.snapshot()?;
    let mut stale = Vec::new();
    for attachment in leases.attachments()? {
        let attachment = attachment?;
        let ours = attachment.intent.network == request.configuration.network;
        if ours && !is_valid(&attachment.intent, &request.valid) {
            stale.push(attachment);
        }
    }
    Ok(stale)
}
