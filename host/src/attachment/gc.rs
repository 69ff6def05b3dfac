//! GC: attachments that the runtime no longer knows are taken down.

use super::del::take_down;
use super::delegate::Delegate;
use crate::cni::{self, Code, Error, Input, Ipam};
use crate::leases::{Attachment, Store};
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
            let msg = format!("{} of the attachments that are gone could not be removed", some.len());
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
        Some(same) if same.sequence == attachment.sequence => take_down(state, input, store, &same),
        _ => Ok(()),
    }
}

/// Of this network: other networks have their own list.
fn stale(store: &Store, request: &cni::Gc) -> Result<Vec<Attachment>, Error> {
    let leases = store.snapshot()?;
    let mut stale = Vec::new();
    for attachment in leases.attachments()? {
        let attachment = attachment?;
        let ours = attachment.intent.network == request.configuration.network;
        if ours && !request.valid.contains(&attachment.intent.attachment) {
            stale.push(attachment);
        }
    }
    Ok(stale)
}
