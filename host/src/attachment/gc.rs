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
            let error = take_down(state, &store, attachment).err()?;
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

/// Of this network: other networks have their own list.
fn stale(store: &Store, request: &cni::Gc) -> Result<Vec<Attachment>, Error> {
    let transaction = store.transaction()?;
    let mut stale = Vec::new();
    for attachment in transaction.attachments()? {
        let attachment = attachment?;
        let ours = attachment.intent.network == request.configuration.network;
        if ours && !request.valid.contains(&attachment.intent.attachment) {
            stale.push(attachment);
        }
    }
    Ok(stale)
}
