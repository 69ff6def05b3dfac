//! One connection to one member of etcd: requests, with what their failures mean.
//!
//! Knows keys and values as bytes only.

use etcd_client::{
    Client, Compare, CompareOp, GetOptions, KeyValue, KvClient, LeaseClient, LeaseKeepAliveStream,
    LeaseKeeper, Txn, TxnOp, TxnOpResponse, WatchClient, WatchOptions, WatchStream,
};
use tokio::time::timeout;

use super::error::Error;
use super::settings::{ANSWER, EtcdSettings};

/// The most that one answer may be: records and reservations of 20,000 nodes take 10 MiB.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// A connection over which etcd has answered.
pub(super) struct Connection {
    kv: KvClient,
    lease: LeaseClient,
    watch: WatchClient,
    endpoint: String,
    prefix: String,
}

/// A lease that is kept alive.
pub(super) struct Held {
    pub(super) id: i64,
    pub(super) keeper: LeaseKeeper,
    pub(super) answers: LeaseKeepAliveStream,
}

/// What begins with two prefixes, at one moment.
pub(super) struct Moment {
    pub(super) revision: i64,
    pub(super) first: Vec<KeyValue>,
    pub(super) second: Vec<KeyValue>,
}

impl Connection {
    /// Connects, logs in, and asks for a key, so that whatever is wrong shows here.
    pub(super) async fn open(settings: &EtcdSettings, endpoint: &str, key: &str) -> Result<Self, Error> {
        let options = settings.options(endpoint)?;
        let failed = |error: &_| Error::of_first_request(error, endpoint, &settings.prefix);
        let first = async {
            let client = Client::connect([endpoint], Some(options)).await?;
            client.kv_client().get(key, None).await.map(|_| client)
        };
        let client = match timeout(2 * ANSWER, first).await {
            Ok(answered) => answered.map_err(|error| failed(&error))?,
            Err(_) => {
                let reason = format!("no answer in {} s", 2 * ANSWER.as_secs());
                return Err(Error::Unreachable { endpoint: endpoint.to_owned(), reason });
            }
        };
        Ok(Self {
            kv: client.kv_client().max_decoding_message_size(LARGEST_ANSWER),
            lease: client.lease_client(),
            watch: client.watch_client().max_decoding_message_size(LARGEST_ANSWER),
            endpoint: endpoint.to_owned(),
            prefix: settings.prefix.clone(),
        })
    }

    /// What a failed request over this connection means.
    pub(super) fn failed(&self, error: &etcd_client::Error) -> Error {
        Error::of_request(error, &self.endpoint, &self.prefix)
    }

    /// It ended without an error of its own.
    pub(super) fn ended(&self, reason: impl Into<String>) -> Error {
        Error::Ended { endpoint: self.endpoint.clone(), reason: reason.into() }
    }

    /// Goes on with a lease, if there is one and it has not run out; else takes a new one.
    pub(super) async fn hold(&mut self, lease: Option<i64>, seconds: u32) -> Result<Held, Error> {
        if let Some(id) = lease
            && let Some(held) = self.keep(id).await?
        {
            return Ok(held);
        }
        let granted = self.lease.grant(seconds.into(), None).await.map_err(|error| self.failed(&error))?;
        let held = self.keep(granted.id()).await?;
        held.ok_or(Error::Stale("the node's lease ran out before it was used"))
    }

    async fn keep(&mut self, id: i64) -> Result<Option<Held>, Error> {
        match self.lease.keep_alive(id).await {
            Ok((keeper, answers)) => Ok(Some(Held { id, keeper, answers })),
            Err(etcd_client::Error::LeaseKeepAliveError(_)) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// All that begins with either, as it was at one revision.
    pub(super) async fn read(&mut self, first: String, second: String) -> Result<Moment, Error> {
        let all = || Some(GetOptions::new().with_prefix());
        let txn = Txn::new().and_then([TxnOp::get(first, all()), TxnOp::get(second, all())]);
        let answer = self.kv.txn(txn).await.map_err(|error| self.failed(&error))?;
        let revision = answer.header().map_or(0, |header| header.revision());
        let mut parts = answer.op_responses().into_iter();
        let mut part = || match parts.next() {
            Some(TxnOpResponse::Get(mut found)) => Ok(found.take_kvs()),
            _ => Err(self.ended("it did not answer what was asked")),
        };
        Ok(Moment { revision, first: part()?, second: part()? })
    }

    /// Does all of it if all comparisons hold, else nothing; whether it did.
    pub(super) async fn commit(&mut self, when: Vec<Compare>, then: Vec<TxnOp>) -> Result<bool, Error> {
        let answer = self.kv.txn(Txn::new().when(when).and_then(then)).await;
        answer.map(|answer| answer.succeeded()).map_err(|error| self.failed(&error))
    }

    /// What happens to all that begins with this, after a revision.
    pub(super) async fn watch(&mut self, beginning: String, after: i64) -> Result<WatchStream, Error> {
        let options = WatchOptions::new().with_prefix().with_start_revision(after + 1);
        self.watch.watch(beginning, Some(options)).await.map_err(|error| self.failed(&error))
    }
}

/// The key is as it was.
pub(super) fn unchanged(key: String, revision: i64) -> Compare {
    Compare::mod_revision(key, CompareOp::Equal, revision)
}

/// There is no such key.
pub(super) fn absent(key: String) -> Compare {
    Compare::version(key, CompareOp::Equal, 0)
}

/// Nothing that begins with this was made after that revision.
pub(super) fn none_made_after(beginning: String, revision: i64) -> Compare {
    Compare::create_revision(beginning, CompareOp::Less, revision + 1).with_prefix()
}
