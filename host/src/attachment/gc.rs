//! GC: attachments that the runtime no longer knows are taken down.

use super::del::take_down;
use crate::cni::{self, Code, Error};
use crate::leases::{Attachment, Store};
use crate::state::State;

/// Goes on through failures, and reports them all.
pub(super) fn gc(state: &State, request: &cni::Gc) -> Result<(), Error> {
    let Some(store) = Store::open_existing(&state.leases_dir())? else { return Ok(()) };
    let failed: Vec<String> = stale(&store, request)?
        .iter()
        .filter_map(|attachment| {
            let error = collect(state, &store, attachment).err()?;
            Some(format!("{}: {error}", attachment.intent.attachment))
        })
        .collect();
    match failed.as_slice() {
        [] => Ok(()),
        some => {
            let msg = format!("{} of the attachments that are gone could not be removed", some.len());
            Err(Error::new(Code::GC_INCOMPLETE, msg).with_details(some.join("; ")))
        }
    }
}

/// Unless it was deleted, or even added again, since the list was read.
pub(super) fn collect(state: &State, store: &Store, attachment: &Attachment) -> Result<(), Error> {
    let id = &attachment.intent.attachment;
    let _turn = store.turn(id)?;
    let on_record = store.transaction()?.attachment(id)?;
    match on_record {
        Some(same) if same.sequence == attachment.sequence => take_down(state, store, &same),
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
