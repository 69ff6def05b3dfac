//! The membership as files have it: `node.json` and `peers.json`.

use std::convert::Infallible;

use super::{Board, Lost, Membership, Source};
use crate::agent::notify::Folders;
use crate::node::config::{self, Settings};
use crate::plan::Role;
use crate::state::{self, State};

/// Reads both files whenever something in their folder changes.
#[derive(Debug)]
pub struct Files {
    state: State,
    role: Role,
    folders: Option<Folders>,
}

impl Files {
    /// Those of that state directory.
    pub fn new(state: &State, role: Role) -> Self {
        Self { state: state.clone(), role, folders: None }
    }

    fn read(&self) -> Result<Membership, config::Error> {
        Membership::read(&self.state, &Settings::read(&self.state.node_config())?, self.role)
    }

    /// The folder is watched before it is read: nothing that happens between is missed.
    fn watch(&mut self) -> Result<&mut Folders, state::Error> {
        let folders = match self.folders.take() {
            Some(folders) => folders,
            None => Folders::watch(&[&self.state.etc])?,
        };
        Ok(self.folders.insert(folders))
    }

    async fn follow_while_sound(&mut self, board: &Board) -> Result<Infallible, Lost> {
        loop {
            self.watch().map_err(|error| Lost(error.to_string()))?;
            board.post(self.read().map_err(|error| Lost(error.to_string()))?);
            self.watch()
                .map_err(|error| Lost(error.to_string()))?
                .changed()
                .await
                .map_err(|error| Lost(error.to_string()))?;
        }
    }
}

impl Source for Files {
    fn describe(&self) -> String {
        format!("static ({})", self.state.peers().display())
    }

    async fn follow(&mut self, board: &Board) -> Lost {
        match self.follow_while_sound(board).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    /// A file that was wrong is read as soon as somebody mends it.
    async fn stirred(&mut self) {
        match &mut self.folders {
            Some(folders) => _ = folders.changed().await,
            None => std::future::pending().await,
        }
    }
}
