//! The node agent: keeps true what the policy decides for the node, while members come and go and others change
//! the kernel.
//!
//! Data flows one way: a [`source`] says who belongs to the cluster, the policy is asked, the difference to the kernel
//! is carried out. No ADD depends on it.
//!
//! | module | owns | must not know |
//! | --- | --- | --- |
//! | [`settings`] | `agent.json` | what is done with it |
//! | [`source`] | where members come from, and how a lost source is asked again | policies, the kernel |
//! | [`keeper`] | the loop: hears, does what is due, says what became of it | how anything is decided or done |
//! | [`agenda`] | what is due, and when: pure | what it is that is due |
//! | [`work`] | what takes its time: the policy, the kernel | when |
//! | [`conflist`] | the network configuration that follows the node's pools | where they come from |
//! | [`known`] | who belongs to the cluster, for those who do not ask the source | how the node is drawn or judged |
//! | [`record`] | what is left for `podwire status`, and for the next agent | who reads it |
//! | [`metrics`] | figures and health, over HTTP | what they are good for |

pub mod agenda;
pub mod conflist;
pub mod keeper;
pub mod known;
mod lock;
mod log;
pub mod metrics;
mod notify;
mod readable;
pub mod record;
mod retry;
pub mod settings;
pub mod source;
pub mod work;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::registry::Registry;
use crate::state::{self, State};
use crate::{net, node};
use conflist::Conflist;
use keeper::{Ears, Keeper, Kernel};
use lock::Lock;
use log::{Level, say};
use metrics::Metrics;
use notify::Folders;
use settings::Settings;
use source::etcd::{self, Etcd};
use source::kubernetes::{Kubernetes, OwnHint};
use source::{Board, Files, Source};
use work::Work;

pub use lock::running;

/// What a policy's process, or the kernel, is waited for when the agent ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// Its settings cannot be used.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// What it is told of etcd cannot be meant.
    #[error(transparent)]
    Etcd(#[from] etcd::Error),
    /// A file or folder cannot be used.
    #[error(transparent)]
    File(#[from] state::Error),
    /// The policy's sandbox cannot be set up.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// The kernel cannot be heard.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// Waiting for the kernel fails.
    #[error("the kernel's notifications cannot be waited for: {0}")]
    Kernel(io::Error),
    /// The runtime cannot be set up.
    #[error("waiting for events cannot be set up: {0}")]
    Runtime(io::Error),
    /// Somebody else listens there.
    #[error("metrics and health cannot be told at {listen}: {source}: name another address in `listen`")]
    Listen {
        /// The address.
        listen: std::net::SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Keeps the node as it should be until somebody ends it (SIGTERM, SIGINT), and then leaves it as it is.
pub fn run(state: &State) -> Result<(), Error> {
    let settings = Settings::read(&state.agent_config())?;
    let _lock = Lock::take(state)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let done = runtime.block_on(keep(state, settings));
    runtime.shutdown_timeout(FAREWELL);
    done
}

async fn keep(state: &State, settings: Settings) -> Result<(), Error> {
    // Not for files: what is wrong with them when the agent starts is said as later, and mended as later.
    let node = || node::config::Settings::read(&state.node_config()).map_err(settings::Error::from);
    match settings.source {
        settings::Source::Static(_) => {
            let source = Files::new(state, settings.role);
            keep_from(state, source, settings.listen, settings.conflist).await
        }
        settings::Source::Etcd(etcd) => {
            let node = node()?;
            let own = etcd::OwnHint {
                name: node.name(),
                role: settings.role,
                addresses: own_addresses(&node)?,
                cluster: node.cluster_of(&[], &[]),
            };
            let source = Etcd::new(etcd, own)?;
            let remarks = tell(source.remarks());
            tokio::select! {
                done = keep_from(state, source, settings.listen, settings.conflist) => done,
                never = remarks => match never {},
            }
        }
        settings::Source::Kubernetes(kubernetes) => {
            let node = node()?;
            let own = OwnHint { name: node.name(), role: settings.role, addresses: node.addresses };
            let source = Kubernetes::new(kubernetes, own);
            keep_from(state, source, settings.listen, settings.conflist).await
        }
    }
}

/// Those that `node.json` names, else those of the interface to everywhere.
fn own_addresses(node: &node::config::Settings) -> Result<Vec<IpAddr>, Error> {
    if !node.addresses.is_empty() {
        return Ok(node.addresses.clone());
    }
    let uplinks = net::node::uplinks(&[])?;
    Ok(uplinks.iter().flat_map(|uplink| &uplink.addresses).map(IpNet::addr).collect())
}

/// What an operator should know though the source works, whenever it changes.
async fn tell(mut remarks: watch::Receiver<Vec<String>>) -> Infallible {
    while remarks.changed().await.is_ok() {
        for remark in &*remarks.borrow_and_update() {
            say(Level::Warning, format_args!("{remark}"));
        }
    }
    std::future::pending().await
}

async fn keep_from(
    state: &State,
    source: impl Source,
    listen: Option<std::net::SocketAddr>,
    conflist: Option<std::path::PathBuf>,
) -> Result<(), Error> {
    let (board, members) = Board::new();
    let ears = Ears {
        members,
        standing: board.standing(),
        kernel: Kernel::listen()?,
        folders: Folders::watch(&[&state.etc, &Registry::open(state).names_dir()])?,
    };
    let metrics = Arc::new(Metrics::new(state));
    let server = metrics::serve(listen, metrics.clone()).await?;
    let work = Work::new(state, source.cluster())?;
    let conflist = conflist.map(Conflist::at);
    let mut keeper = Keeper::new(state, ears, work, conflist, source.describe(), metrics);
    say(
        Level::Info,
        format_args!("process {} keeps this node, from {}", std::process::id(), source.describe()),
    );
    let done = tokio::select! {
        failed = keeper.run() => failed.map(|never| match never {}),
        () = source::follow(source, &board) => Ok(()),
        never = server => match never {},
        signal = told_to_end() => signal.map(|name| say(Level::Info, format_args!("{name}: the node stays as it is"))),
    };
    keeper.end().await;
    done
}

/// Waits for somebody to end the agent.
async fn told_to_end() -> Result<&'static str, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
