//! What can go wrong between the agent and the API server, in words that tell an operator what to do.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::core::Status;

/// Where the API server's address and the credentials come from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The pod's service account.
    ServiceAccount,
    /// A kubeconfig file that the settings name.
    File(PathBuf),
    /// The kubeconfig file of whoever runs the agent.
    Kubeconfig,
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount => f.write_str("the pod's service account"),
            Self::File(path) => path.display().fmt(f),
            Self::Kubeconfig => f.write_str("KUBECONFIG or ~/.kube/config"),
        }
    }
}

impl Origin {
    /// Which of the three it is on this machine.
    pub(super) fn of(kubeconfig: Option<&Path>) -> Self {
        match kubeconfig {
            Some(path) => Self::File(path.to_owned()),
            None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => Self::ServiceAccount,
            None => Self::Kubeconfig,
        }
    }

    /// What names the API server's address.
    fn address(&self) -> String {
        match self {
            Self::ServiceAccount => "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT".into(),
            file => format!("`server` in {file}"),
        }
    }

    /// What holds the authority that signed the API server's certificate.
    fn authority(&self) -> String {
        match self {
            Self::ServiceAccount => "ca.crt of the pod's service account".into(),
            file => format!("`certificate-authority` in {file}"),
        }
    }
}

/// Whom a request went to.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) url: String,
    pub(super) origin: Origin,
}

/// Why the way of list and watch cannot go on as it was.
#[derive(Debug)]
pub(super) enum Fault {
    /// 410: the server no longer knows what happened since the version that it was asked for.
    Gone,
    /// The server does not begin a watch with all that there is.
    NotStreaming,
    /// The source is lost.
    Lost {
        /// Why.
        message: String,
        /// The server asks not to be asked again before.
        pause: Option<Duration>,
        /// What was learnt cannot be built upon.
        start_over: bool,
    },
}

impl Fault {
    /// One after which a watch can be taken up where it was.
    pub(super) fn lost(message: String) -> Self {
        Self::Lost { message, pause: None, start_over: false }
    }

    /// A request that failed, or an answer that cannot be read.
    pub(super) fn of(error: &kube::Error, server: &Server) -> Self {
        match error {
            kube::Error::Api(status) => Self::refused(status, server),
            kube::Error::SerdeError(source) => {
                Self::lost(format!("{} answers what is no list or event of Nodes: {source}", server.url))
                    .start_over()
            }
            other => Self::lost(unreachable(other, server)),
        }
    }

    /// The same, after which everything is asked for anew.
    pub(super) fn start_over(self) -> Self {
        match self {
            Self::Lost { message, pause, .. } => Self::Lost { message, pause, start_over: true },
            other => other,
        }
    }

    /// What the server said instead of what it was asked for.
    pub(super) fn refused(status: &Status, server: &Server) -> Self {
        let pause = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        match status.code {
            410 => Self::Gone,
            code => Self::Lost {
                message: refusal(code, status, server),
                pause: (pause > 0).then(|| Duration::from_secs(pause.into())),
                start_over: false,
            },
        }
    }
}

fn refusal(code: u16, status: &Status, Server { url, origin }: &Server) -> String {
    let said = status.message.trim();
    match code {
        401 => {
            format!("{url} does not know who asks (401): renew the token or client certificate of {origin}")
        }
        403 => format!(
            "{url} forbids to list and watch Nodes (403: {said}): bind that account to a ClusterRole with the rule \
             apiGroups [\"\"], resources [nodes], verbs [get, list, watch]"
        ),
        404 => format!("{url} has no Nodes (404): it is no API server; correct {}", origin.address()),
        429 => format!("{url} is overloaded (429: {said}): it is asked again later"),
        500.. => format!("{url} failed ({code}: {said}): see the API server's log"),
        _ => format!("{url} refuses to list and watch Nodes ({code}: {said})"),
    }
}

fn unreachable(error: &kube::Error, Server { url, origin }: &Server) -> String {
    if let Some(tls) = cause::<rustls::Error>(error) {
        let remedy = match tls {
            rustls::Error::InvalidCertificate(_) => format!("correct {}", origin.authority()),
            _ => format!("correct {}, and renew the client certificate", origin.address()),
        };
        return format!("no TLS connection to {url}: {tls}: {remedy}");
    }
    let root = causes(error).last().map(ToString::to_string).unwrap_or_default();
    match cause::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => format!(
            "{url} refuses connections: start the API server there, or correct {} if it is elsewhere",
            origin.address()
        ),
        Some(_) => {
            format!("{url} cannot be reached: {root}: look at the way there, and at {}", origin.address())
        }
        None => format!("{url} cannot be asked with {origin}: {root}"),
    }
}

/// The innermost cause of a type.
fn cause<E: Error + 'static>(error: &kube::Error) -> Option<&E> {
    causes(error).filter_map(<dyn Error>::downcast_ref).last()
}

fn causes(error: &kube::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(Some(error as &(dyn Error + 'static)), |error| behind(*error))
}

/// What an error comes from. An `io::Error` names the cause of what is inside it, but not that.
fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}
