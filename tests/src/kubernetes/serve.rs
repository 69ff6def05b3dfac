//! The API server's side of HTTP: who asks, for what, and how the answer is written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_rustls::TlsAcceptor;

use super::cluster::Entry;
use super::{Answer, Asked, Shared};

/// Pieces of a body, each when it is there. An error breaks the connection.
pub(super) struct Pieces(UnboundedReceiver<io::Result<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Where pieces come from. It fails when nobody listens any more.
struct Sink(UnboundedSender<io::Result<Bytes>>);

impl Sink {
    fn send(&self, text: &str) -> Option<()> {
        self.0.send(Ok(Bytes::copy_from_slice(text.as_bytes()))).ok()
    }

    /// Half a line, and the connection is gone.
    fn break_off(&self) {
        let half = r#"{"type":"MODIFIED","object":{"kind":"Node","apiVersion":"v1","metadata":{"na"#;
        let _ = self.send(half);
        let _ = self.0.send(Err(io::Error::other("as the test wants it")));
    }
}

fn pieces() -> (Sink, Pieces) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Sink(sender), Pieces(receiver))
}

pub(super) async fn serve(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let (connection, _) = listener.accept().await.expect("a connection");
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(connection).await else { return };
            let service = service_fn(|request| answer(request, shared.clone()));
            // Whatever goes wrong is what the client makes of it.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A request counts as asked when its answer has begun: what happens next, a watch tells.
async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> io::Result<Response<Pieces>> {
    let asked = Asked::of(&request);
    let answer =
        shared.change_unseen(|cluster| cluster.answers.pop_front().unwrap_or_else(|| cluster.usual.clone()));
    let response = match answer {
        Answer::Proper => Some(proper(&asked, &shared)),
        Answer::Status { code, reason, message, pause } => Some(status(code, reason, message, pause)),
        Answer::Text(text) => Some(whole(200, text)),
        Answer::Never => None,
    };
    shared.change(|cluster| cluster.asked.push(asked));
    match response {
        Some(response) => Ok(response),
        None => std::future::pending().await,
    }
}

fn proper(asked: &Asked, shared: &Arc<Shared>) -> Response<Pieces> {
    let is_known = shared.change_unseen(|cluster| asked.authorization == format!("Bearer {}", cluster.token));
    if !is_known {
        status(401, "Unauthorized", "Unauthorized", None)
    } else if asked.path != "/api/v1/nodes" {
        status(404, "NotFound", "the server could not find the requested resource", None)
    } else if asked.is("watch", "true") {
        watch(asked, shared)
    } else {
        list(asked, shared)
    }
}

fn whole(code: u16, text: &str) -> Response<Pieces> {
    let (sink, body) = pieces();
    sink.send(text).expect("the receiver is here");
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(body)
        .expect("a sound head")
}

fn status(code: u16, reason: &str, message: &str, pause: Option<u32>) -> Response<Pieces> {
    let mut response = whole(code, &status_object(code, reason, message, pause).to_string());
    if let Some(seconds) = pause {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

fn status_object(code: u16, reason: &str, message: &str, pause: Option<u32>) -> serde_json::Value {
    let details = pause.map(|seconds| json!({"retryAfterSeconds": seconds}));
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
           "reason": reason, "message": message, "code": code, "details": details.unwrap_or(json!({}))})
}

fn gone() -> Response<Pieces> {
    status(410, "Expired", "too old resource version", None)
}

/// A page. Its continue token is VERSION-START.
fn list(asked: &Asked, shared: &Shared) -> Response<Pieces> {
    let number = |text: &str| text.parse::<u64>().expect("a number of the server's own");
    let limit = asked.get("limit").map_or(usize::MAX / 2, |limit| number(limit) as usize);
    shared.change(|cluster| {
        let (version, start) = match asked.get("continue").and_then(|token| token.split_once('-')) {
            Some((version, start)) => (number(version), number(start) as usize),
            None => (cluster.version, 0),
        };
        let Some((items, behind)) = cluster.page(version, start, limit) else { return gone() };
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if behind > 0 {
            metadata["continue"] = format!("{version}-{}", start + limit).into();
            metadata["remainingItemCount"] = behind.into();
        }
        whole(
            200,
            &format!(r#"{{"kind":"NodeList","apiVersion":"v1","metadata":{metadata},"items":[{items}]}}"#),
        )
    })
}

fn watch(asked: &Asked, shared: &Arc<Shared>) -> Response<Pieces> {
    let initial = asked.is("sendInitialEvents", "true");
    let invalid = |message| status(422, "Invalid", message, None);
    if asked.get("resourceVersionMatch").is_some() != initial {
        return invalid("resourceVersionMatch goes with sendInitialEvents");
    }
    if initial
        && !(asked.is("resourceVersionMatch", "NotOlderThan") && asked.is("allowWatchBookmarks", "true"))
    {
        return invalid("sendInitialEvents needs NotOlderThan and bookmarks");
    }
    let from = asked.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let (sink, body) = pieces();
    let ticks = shared.tick.subscribe();
    let begun = shared.change(|cluster| {
        if initial && !cluster.streams {
            return Err(invalid(
                "sendInitialEvents is forbidden unless the WatchList feature gate is enabled",
            ));
        }
        let is_forgotten = from != 0 && from < cluster.forgotten;
        if is_forgotten && cluster.says_gone_in_http {
            return Err(gone());
        }
        let (lines, end) = match (from, initial) {
            (_, true) => (cluster.as_added(), Some(bookmark(cluster.version, true))),
            (0, false) => (cluster.as_added(), None),
            _ if is_forgotten => (Vec::new(), Some(gone_event())),
            _ => (cluster.since(from), None),
        };
        lines.iter().for_each(|line| sink.send(line).expect("the receiver is here"));
        end.iter().for_each(|line| sink.send(line).expect("the receiver is here"));
        Ok((cluster.entries.len(), is_forgotten))
    });
    match begun {
        Err(response) => return response,
        Ok((_, true)) => {}
        Ok((position, false)) => {
            let bookmarks = asked.is("allowWatchBookmarks", "true");
            tokio::spawn(follow(sink, position, bookmarks, shared.clone(), ticks));
        }
    }
    Response::builder().header("content-type", "application/json").body(body).expect("a sound head")
}

/// Tells what happens, until a test ends it or nobody listens.
async fn follow(
    sink: Sink,
    mut position: usize,
    bookmarks: bool,
    shared: Arc<Shared>,
    mut ticks: tokio::sync::watch::Receiver<()>,
) -> Option<()> {
    loop {
        let entries = shared.change_unseen(|cluster| cluster.entries[position..].to_vec());
        position += entries.len();
        for entry in entries {
            match entry {
                Entry::Event { line, .. } => sink.send(&line)?,
                Entry::Bookmark(version) if bookmarks => sink.send(&bookmark(version, false))?,
                Entry::Bookmark(_) => {}
                Entry::Gone => {
                    sink.send(&gone_event())?;
                    return None;
                }
                Entry::End => return None,
                Entry::Break => {
                    sink.break_off();
                    return None;
                }
                Entry::Silence => std::future::pending().await,
            }
        }
        ticks.changed().await.ok()?;
    }
}

fn bookmark(version: u64, is_first: bool) -> String {
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if is_first {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({"kind": "Node", "apiVersion": "v1", "metadata": metadata, "spec": {}, "status": {}});
    format!("{}\n", in_order("BOOKMARK", &object))
}

fn gone_event() -> String {
    format!("{}\n", in_order("ERROR", &status_object(410, "Expired", "too old resource version", None)))
}

/// The type first, as API servers write it.
fn in_order(kind: &str, object: &serde_json::Value) -> String {
    format!(r#"{{"type":"{kind}","object":{object}}}"#)
}
