//! Why etcd could not be followed, in sentences for the operator.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::blocks::Exhausted;

/// Why etcd could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot be meant.
    #[error("agent.json: source.etcd.{field} is {value}: {rule}")]
    Setting {
        /// As in the file.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What should.
        rule: &'static str,
    },
    /// The node's own facts do not suffice.
    #[error("{0}")]
    Own(String),
    /// A file that the settings name.
    #[error("{} cannot be read: {source}: agent.json names it for etcd", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file of another kind than was meant.
    #[error("{} holds no {what} in PEM: agent.json names it for etcd", file.display())]
    NotPem {
        /// The file.
        file: PathBuf,
        /// As the lines of PEM have it.
        what: &'static str,
    },
    /// No answer, or none that is trusted.
    #[error(
        "etcd at {endpoint} cannot be reached: {reason}: look at its address and the way there, and with https at its \
         certificate and the node's own"
    )]
    Unreachable {
        /// Its URL.
        endpoint: String,
        /// What went wrong.
        reason: String,
    },
    /// etcd knows no such user, or wants one.
    #[error(
        "etcd at {endpoint} does not let the node in: {reason}: correct `user` and `passwordFile` in agent.json"
    )]
    Unauthenticated {
        /// Its URL.
        endpoint: String,
        /// etcd's words.
        reason: String,
    },
    /// The user may not do this.
    #[error(
        "etcd does not let the node read and write below {prefix}: `etcdctl role grant-permission ROLE readwrite \
         --prefix=true {prefix}/`, for a role of the user that agent.json names"
    )]
    Forbidden {
        /// What all keys begin with.
        prefix: String,
    },
    /// Another machine has the name.
    #[error(
        "the name {name} belongs to another machine, {}: name one of the two otherwise in node.json; if that machine \
         is gone, or is this one with other addresses, its record ends by itself after leaseSeconds",
        list(addresses)
    )]
    NameTaken {
        /// The node's name.
        name: String,
        /// The other's; none if its record cannot be read.
        addresses: Vec<IpAddr>,
    },
    /// Another agent believes to be this node.
    #[error("another agent has written {key}: end one of the two, or name its node otherwise in node.json")]
    Rival {
        /// The node's key.
        key: String,
    },
    /// No block is left.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// Others were always quicker.
    #[error("{attempts} times others changed etcd while the node claimed its blocks: it tries again")]
    Contention {
        /// How often it was tried.
        attempts: u32,
    },
    /// What was read is old: it has to be read anew, at once.
    #[error("{0}: reading etcd anew")]
    Stale(&'static str),
    /// The connection ended.
    #[error("the connection to etcd at {endpoint} ended: {reason}")]
    Ended {
        /// Its URL.
        endpoint: String,
        /// What is known of it.
        reason: String,
    },
}

fn list(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "whose record cannot be read".to_owned(),
        _ => {
            let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            format!("which has {}", texts.join(", "))
        }
    }
}

impl Error {
    /// What a failed request means.
    pub(super) fn of_request(error: &etcd_client::Error, endpoint: &str, prefix: &str) -> Self {
        let (endpoint, reason) = (endpoint.to_owned(), reason(error));
        let says = |text: &str| reason.contains(text);
        if says("permission denied") {
            return Self::Forbidden { prefix: prefix.to_owned() };
        }
        // Words of etcd's api/v3rpc/rpctypes: it has no code of its own for them.
        let of_user =
            ["invalid user ID or password", "user name", "authentication is not enabled", "auth token"];
        if of_user.iter().any(|text| says(text)) {
            return Self::Unauthenticated { endpoint, reason };
        }
        Self::Ended { endpoint, reason }
    }

    /// The same, of the first request.
    pub(super) fn of_first_request(error: &etcd_client::Error, endpoint: &str, prefix: &str) -> Self {
        match Self::of_request(error, endpoint, prefix) {
            Self::Ended { endpoint, reason } => Self::Unreachable { endpoint, reason },
            other => other,
        }
    }
}

/// The innermost cause: what stands above it only says that something failed.
fn reason(error: &etcd_client::Error) -> String {
    let etcd_client::Error::GRpcStatus(status) = error else { return error.to_string() };
    let mut cause = status.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(|| status.message().to_owned(), ToString::to_string)
}
