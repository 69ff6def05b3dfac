//! Where the cluster's membership comes from.
//!
//! A source tells [`Board`] of each membership that it learns, whole, and returns only when it is lost: then it is
//! asked again, with back-off, and the node stays as it is meanwhile. It knows nothing of policies and of the kernel.

pub mod etcd;
mod files;
pub mod kubernetes;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::log::line;
use super::retry::Retry;
use crate::journal::Time;

pub use crate::node::{Membership, Own};
pub use files::Files;

/// Why a source was lost: a sentence for the operator, with the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// Somebody who knows the cluster's members.
pub trait Source: Send {
    /// What it is called in status and metrics, with where it is, such as `etcd at https://192.168.1.10:2379`.
    fn describe(&self) -> String;

    /// Blocks that together hold every pod of the cluster, if it knows them; what `node.json` names goes first.
    fn cluster(&self) -> Vec<IpNet> {
        Vec::new()
    }

    /// Tells of the membership now, and whenever it changes, until the source is lost. Called again after a while.
    fn follow(&mut self, board: &Board) -> impl Future<Output = Lost> + Send;

    /// Ends when a source that was lost is worth asking before its time; never, unless it can tell.
    fn stirred(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// How it stands with a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Standing {
    /// It was asked, and has not told anything yet.
    Asked {
        /// When.
        since: Time,
    },
    /// It tells of each change.
    Heard {
        /// Since when without interruption.
        since: Time,
    },
    /// It is asked again and again. What it told last still holds.
    Lost {
        /// Why, the last time.
        why: String,
        /// Since when.
        since: Time,
    },
}

/// Where a source posts the newest membership. Only the newest counts: who reads it is never behind.
#[derive(Debug, Clone)]
pub struct Board {
    membership: watch::Sender<Option<Membership>>,
    standing: watch::Sender<Standing>,
}

impl Board {
    /// One on which nothing is posted yet, and its reader.
    pub fn new() -> (Self, watch::Receiver<Option<Membership>>) {
        let (membership, receiver) = watch::channel(None);
        let standing = watch::Sender::new(Standing::Asked { since: Time::now() });
        (Self { membership, standing }, receiver)
    }

    /// Posts a membership.
    pub fn post(&self, membership: Membership) {
        self.membership.send_if_modified(|posted| {
            let is_news = posted.as_ref() != Some(&membership);
            *posted = Some(membership);
            is_news
        });
        self.standing.send_if_modified(|standing| {
            let is_news = !matches!(standing, Standing::Heard { .. });
            if is_news {
                *standing = Standing::Heard { since: Time::now() };
            }
            is_news
        });
    }

    /// How it stands with who posts.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    fn is_heard(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Heard { .. })
    }

    /// What was posted last stays.
    fn lost(&self, Lost(why): Lost) {
        let why = line(why);
        self.standing.send_if_modified(|standing| {
            let since = match standing {
                Standing::Lost { since, .. } => *since,
                _ => Time::now(),
            };
            let lost = Standing::Lost { why, since };
            let is_news = *standing != lost;
            *standing = lost;
            is_news
        });
    }
}

/// Follows a source for ever: one that is lost is asked again, later each time.
pub async fn follow(mut source: impl Source, board: &Board) {
    let mut retry = Retry::new();
    loop {
        let lost = source.follow(board).await;
        if board.is_heard() {
            retry.reset();
        }
        board.lost(lost);
        // Whichever comes first.
        let _ = tokio::time::timeout(retry.wait(), source.stirred()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Role;

    fn membership(peers: &[&str]) -> Membership {
        let own = Own { name: "n1".into(), role: Role::Host, addresses: Vec::new(), pools: Vec::new() };
        let peer = |name: &&str| crate::plan::Peer {
            name: (*name).to_owned(),
            role: Role::Host,
            addresses: Vec::new(),
            pools: Vec::new(),
        };
        Membership::new(own, peers.iter().map(peer).collect())
    }

    /// Tells of one membership each time, and is lost.
    struct Fleeting(Vec<Membership>);

    impl Source for Fleeting {
        fn describe(&self) -> String {
            "fleeting".to_owned()
        }

        async fn follow(&mut self, board: &Board) -> Lost {
            match self.0.pop() {
                Some(membership) => board.post(membership),
                None => std::future::pending().await,
            }
            Lost("it is fleeting".to_owned())
        }

        async fn stirred(&mut self) {}
    }

    #[test]
    fn a_lost_source_is_asked_again_and_its_last_word_stays() {
        let (board, reader) = Board::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let source = Fleeting(vec![membership(&["b"]), membership(&["b", "a"])]);
        let mut standing = board.standing();
        runtime.block_on(async {
            tokio::select! {
                () = follow(source, &board) => {}
                () = async {
                    while reader.borrow().as_ref() != Some(&membership(&["b"])) {
                        standing.changed().await.expect("the board is there");
                    }
                } => {}
            }
        });
        assert!(matches!(*standing.borrow(), Standing::Lost { .. }));
        assert_eq!(reader.borrow().as_ref(), Some(&membership(&["b"])));
    }

    #[test]
    fn it_is_lost_since_it_was_lost_first() {
        let (board, mut reader) = Board::new();
        board.post(membership(&["b", "a"]));
        assert!(reader.has_changed().expect("the board is there"));
        assert_eq!(reader.borrow_and_update().as_ref(), Some(&membership(&["a", "b"])));
        board.post(membership(&["a", "b"]));
        assert!(!reader.has_changed().expect("the board is there"));
        let since = |board: &Board| match board.standing().borrow().clone() {
            Standing::Lost { since, .. } => since,
            other => panic!("{other:?}"),
        };
        board.lost(Lost("once\u{1b}[2J".to_owned()));
        let said = |standing: &Standing| matches!(standing, Standing::Lost { why, .. } if why == "once [2J");
        assert!(said(&board.standing().borrow()), "it reaches terminals");
        let first = since(&board);
        board.lost(Lost("twice".to_owned()));
        assert_eq!(since(&board), first);
        assert_eq!(reader.borrow().as_ref(), Some(&membership(&["a", "b"])));
    }
}
