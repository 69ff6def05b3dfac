//! What `replay` and `explain` share: the journal beside what is on record, and how a decision is called.

use std::io;

use anyhow::{Context as _, Result};

use crate::journal::{Decision, Entry, History, Journal, Present};
use crate::leases::Store;
use crate::plan::AddRequest;
use crate::state::State;

/// Everything that is known of attachments, those that are and those that were.
pub(super) struct Story {
    pub(super) entries: Vec<Entry<'static>>,
    pub(super) present: Present,
    notes: Vec<String>,
}

impl Story {
    /// Reads what is on record first: what is released meanwhile is in the journal then.
    pub(super) fn read(state: &State) -> Result<Self> {
        let (present, note) = match present(state) {
            Ok(present) => (present, None),
            Err(why) => (Present::default(), Some(format!("what is on record now is not known: {why:#}"))),
        };
        let reading = Journal::open(state).read().map_err(|error| {
            let denied = matches!(&error, crate::state::Error::Io { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied);
            let hint = if denied { "the journal is root's: use sudo" } else { "the journal cannot be read" };
            anyhow::Error::from(error).context(hint)
        })?;
        let notes = reading.notes.into_iter().chain(note).collect();
        Ok(Self { entries: reading.entries, present, notes })
    }

    /// What cannot be relied on.
    pub(super) fn tell_notes(&self) {
        self.notes.iter().for_each(|note| eprintln!("podwire: {note}"));
    }

    pub(super) fn history(&self) -> History {
        History::new(&self.entries, &self.present)
    }

    /// In order.
    pub(super) fn decisions(&self) -> impl DoubleEndedIterator<Item = &Decision<'static>> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Decision(decision) => Some(decision.as_ref()),
            _ => None,
        })
    }
}

fn present(state: &State) -> Result<Present> {
    let Some(store) = Store::open_existing(&state.leases_dir())? else { return Ok(Present::default()) };
    let snapshot = store.snapshot()?;
    let attachments =
        snapshot.attachments()?.collect::<Result<_, _>>().context("the leases cannot be read")?;
    Ok(Present { boot: store.boot().to_owned(), attachments })
}

/// `NAMESPACE/NAME`, if the runtime said.
pub(super) fn pod(request: &AddRequest) -> Option<String> {
    request.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name))
}

/// When and for whom.
pub(super) fn heading(decision: &Decision<'_>) -> String {
    let request = &decision.request;
    let who = pod(request).unwrap_or_else(|| request.attachment.container_id.to_string());
    let (ifname, network) = (&request.attachment.ifname, &request.network);
    format!("{} {who} ({ifname} in network {network})", decision.time.in_words())
}
