//! The two requests that there are, list and watch, and how long an answer may take.
//!
//! Knows nothing of what Nodes mean. kube's own `watcher` is not used: it does not say when the server answers again,
//! asks for a version that an HTTP 410 called gone once more, forever, waits without limit for a list, and reads
//! managed fields into memory.

use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt as _};
use kube::api::{ListParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{Request, WatchEvent};
use kube::{Client, Config};
use tokio::time::{Instant, timeout};

use super::fault::{Fault, Origin, Server};
use super::node::{Node, Page};

const NODES: &str = "/api/v1/nodes";
/// Nodes per request where a list comes in pages: some 10 MB of text, which is in memory at once.
const PAGE: u32 = 500;
/// A watch ends after 5 to 10 minutes, as those of Kubernetes' own clients do: not those of all nodes at once.
const WATCH_SECONDS: std::ops::Range<u32> = 300..600;
/// A watch that ends sooner, with nothing to tell, is not asked for again at once.
const TOO_SOON: Duration = Duration::from_secs(1);

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the beginning of an answer.
    pub answer: Duration,
    /// For the next event of a watch. API servers send bookmarks about every minute.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answer: Duration::from_secs(30), silence: Duration::from_secs(100) }
    }
}

/// From where on a watch tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum Since<'a> {
    /// Everything that there is first, and a bookmark behind it.
    Beginning,
    /// What changed after a version.
    Version(&'a str),
}

/// An API server.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    server: Server,
    patience: Patience,
}

impl Api {
    /// Reads where the server is and who asks. No connection is made yet.
    pub(super) async fn open(origin: &Origin, patience: Patience) -> Result<Self, Fault> {
        let unusable = |error: &dyn std::fmt::Display| {
            Fault::lost(format!(
                "the API server's address and credentials in {origin} cannot be used: {error}"
            ))
        };
        let mut config = configuration(origin).await.map_err(|error| unusable(&error))?;
        config.connect_timeout = Some(patience.answer);
        // The agent repeats, and says meanwhile why.
        config.default_retry = false;
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|error| unusable(&error))?;
        Ok(Self { client, server: Server { url, origin: origin.clone() }, patience })
    }

    pub(super) fn url(&self) -> &str {
        &self.server.url
    }

    /// A part of the list of all Nodes, consistent with the other parts.
    pub(super) async fn page(&self, rest: Option<String>) -> Result<Page, Fault> {
        let parameters = ListParams { limit: Some(PAGE), continue_token: rest, ..ListParams::default() };
        let request = Request::new(NODES).list(&parameters).map_err(kube::Error::BuildRequest);
        let answer = self.answer(async { self.client.request(request?).await }).await?;
        answer.map_err(|error| Fault::of(&error, &self.server))
    }

    /// What happens to Nodes.
    pub(super) async fn watch(&self, since: Since<'_>) -> Result<Events, Fault> {
        let (send_initial_events, version) = match since {
            Since::Beginning => (true, ""),
            Since::Version(version) => (false, version),
        };
        let parameters = WatchParams {
            timeout: Some(fastrand::u32(WATCH_SECONDS)),
            send_initial_events,
            ..WatchParams::default()
        };
        let request = Request::new(NODES).watch(&parameters, version).map_err(kube::Error::BuildRequest);
        let stream = match self.answer(async { self.client.request_events(request?).await }).await? {
            Ok(stream) => stream,
            // So does a server that has no such watches, or whose feature gate WatchList is off.
            Err(kube::Error::Api(status)) if send_initial_events && matches!(status.code, 400 | 422) => {
                return Err(Fault::NotStreaming);
            }
            Err(error) => return Err(Fault::of(&error, &self.server)),
        };
        Ok(Events {
            stream: stream.boxed(),
            server: self.server.clone(),
            silence: self.patience.silence,
            opened: Instant::now(),
            is_empty: true,
        })
    }

    async fn answer<T>(&self, answer: impl Future<Output = T>) -> Result<T, Fault> {
        let limit = self.patience.answer;
        timeout(limit, answer).await.map_err(|_| {
            let (url, seconds) = (&self.server.url, limit.as_secs_f32());
            Fault::lost(format!(
                "{url} has not answered for {seconds} s: see whether it is overloaded, and its way here"
            ))
        })
    }
}

async fn configuration(origin: &Origin) -> Result<Config, Box<dyn std::error::Error + Send + Sync>> {
    let current = KubeConfigOptions::default();
    Ok(match origin {
        Origin::ServiceAccount => Config::incluster()?,
        Origin::Kubeconfig => Config::from_kubeconfig(&current).await?,
        Origin::File(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &current).await?,
    })
}

/// A watch under way.
pub(super) struct Events {
    stream: BoxStream<'static, kube::Result<WatchEvent<Node>>>,
    server: Server,
    silence: Duration,
    opened: Instant,
    is_empty: bool,
}

impl Events {
    /// The next event. None when the watch has ended, however it did: a new one tells whether the server is still there.
    pub(super) async fn next(&mut self) -> Result<Option<WatchEvent<Node>>, Fault> {
        match timeout(self.silence, self.stream.next()).await {
            Err(_) | Ok(None | Some(Err(kube::Error::ReadEvents(_)))) => Ok(None),
            Ok(Some(Err(error))) => Err(Fault::of(&error, &self.server)),
            Ok(Some(Ok(WatchEvent::Error(status)))) => {
                Err(Fault::refused(&status, &self.server).start_over())
            }
            Ok(Some(Ok(event))) => {
                self.is_empty = false;
                Ok(Some(event))
            }
        }
    }

    /// Whether another watch may be asked for at once.
    pub(super) fn ended(&self) -> Result<(), Fault> {
        if self.is_empty && self.opened.elapsed() < TOO_SOON {
            let url = &self.server.url;
            return Err(Fault::lost(format!("{url} ends every watch at once: see the API server's log")));
        }
        Ok(())
    }

    /// A fault of a server that ends its list in the middle.
    pub(super) fn incomplete(&self) -> Fault {
        Fault::lost(format!(
            "{} ended its list of Nodes in the middle: see the API server's log",
            self.server.url
        ))
    }
}
