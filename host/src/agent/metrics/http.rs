//! Three pages over HTTP/1.1: `/metrics`, `/healthz` and `/readyz`.
//!
//! For a monitoring system in the node's own network, so kept small: one request a connection, few connections at a
//! time, and a few seconds for each. Whoever wants TLS puts a proxy before it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Metrics;
use crate::agent::Error;

/// At the same time: a monitoring system has one, and its operator another.
const CONNECTIONS: usize = 16;

/// From accepting a connection to its end.
const PATIENCE: Duration = Duration::from_secs(10);

/// For the lines before the body, of which there is none.
const HEADERS: Duration = Duration::from_secs(3);

/// Of what a client sends.
const BUFFER: usize = 16 << 10;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Listens, if it shall: whoever awaits the answer serves, and never ends.
pub async fn serve(
    listen: Option<SocketAddr>,
    metrics: Arc<Metrics>,
) -> Result<impl Future<Output = Infallible>, Error> {
    let listener = match listen {
        Some(listen) => {
            Some(TcpListener::bind(listen).await.map_err(|source| Error::Listen { listen, source })?)
        }
        None => None,
    };
    Ok(async {
        match listener {
            Some(listener) => accept(listener, metrics).await,
            None => std::future::pending().await,
        }
    })
}

async fn accept(listener: TcpListener, metrics: Arc<Metrics>) -> Infallible {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) => {
                let metrics = metrics.clone();
                tokio::spawn(async move {
                    // Who does not listen to the end has his reasons.
                    let _ = timeout(PATIENCE, converse(stream, metrics)).await;
                    drop(place);
                });
            }
            // Such as no file descriptor being left: it passes.
            Err(_) => tokio::time::sleep(HEADERS).await,
        }
    }
}

async fn converse(stream: TcpStream, metrics: Arc<Metrics>) -> hyper::Result<()> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let metrics = metrics.clone();
        async move { Ok::<_, Infallible>(answer(&request, metrics).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(BUFFER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

/// hyper leaves the body of an answer to HEAD out by itself.
async fn answer<B>(request: &Request<B>, metrics: Arc<Metrics>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut no = page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET or HEAD\n");
        no.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return no;
    }
    match request.uri().path() {
        "/metrics" => match spawn_blocking(move || metrics.text()).await {
            Ok(Ok(text)) => page(StatusCode::OK, OPENMETRICS, text),
            _ => page(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "the figures cannot be written down\n"),
        },
        "/healthz" => page(StatusCode::OK, PLAIN, "alive\n"),
        "/readyz" if metrics.is_ready() => page(StatusCode::OK, PLAIN, "ready\n"),
        "/readyz" => page(
            StatusCode::SERVICE_UNAVAILABLE,
            PLAIN,
            "no plan has been carried out yet: see `podwire status`\n",
        ),
        _ => page(StatusCode::NOT_FOUND, PLAIN, "/metrics, /healthz or /readyz\n"),
    }
}

fn page(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut page = Response::new(Full::new(text.into()));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}
