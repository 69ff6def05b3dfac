//! From what a runtime handed over to a checked request.
//!
//! Faults are found in the order of the reference library, and told in its words where tools look for
//! them: first the environment, then the configuration. After [`Request::read`] nothing is left to check
//! that could be checked without asking the kernel, the policy or the leases.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::args::Args;
use super::config;
use super::json::Object;
use super::runtime::Runtime;
use super::{
    Code, Command, Configuration, Environment, Error, Input, PrevResult, RequestedAddress, Role, Version,
};
use crate::names::{AttachmentId, InvalidName, MacAddress};
use crate::plan::{Bandwidth, Pod, PortMapping};

/// What somebody asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requested {
    /// Addresses: `runtimeConfig.ips`, else `args.cni.ips`, else `IP` of CNI_ARGS.
    pub addresses: Vec<RequestedAddress>,
    /// A hardware address, from `mac` of the same places.
    pub mac: Option<MacAddress>,
    /// `runtimeConfig.portMappings`.
    pub port_mappings: Vec<PortMapping>,
    /// `runtimeConfig.bandwidth`.
    pub bandwidth: Option<Bandwidth>,
}

/// Attach a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Add {
    /// Container and interface.
    pub attachment: AttachmentId,
    /// CNI_NETNS; UTF-8, since a result repeats it.
    pub netns: PathBuf,
    /// CNI_NETNS_OVERRIDE: the plugin's own namespace is meant, if that is what CNI_NETNS says.
    pub netns_override: bool,
    /// The pod, inside Kubernetes.
    pub pod: Option<Pod>,
    /// What somebody asked for.
    pub requested: Requested,
    /// The network configuration.
    pub configuration: Configuration,
    /// What an earlier plugin of the chain made.
    pub previous: Option<PrevResult>,
}

/// Take an attachment away. Only the attachment must be readable: what was done for it is on record.
#[derive(Debug, Clone, PartialEq)]
pub struct Del {
    /// Container and interface.
    pub attachment: AttachmentId,
    /// CNI_NETNS; runtimes leave it out once the namespace is gone.
    pub netns: Option<PathBuf>,
    /// CNI_NETNS_OVERRIDE.
    pub netns_override: bool,
    /// The pod, as far as it is readable.
    pub pod: Option<Pod>,
    /// The network configuration, or what is wrong with it: fit for a log, no reason to fail.
    pub configuration: Result<Configuration, Error>,
}

/// See whether an attachment is as ADD left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Container and interface.
    pub attachment: AttachmentId,
    /// CNI_NETNS.
    pub netns: PathBuf,
    /// CNI_NETNS_OVERRIDE.
    pub netns_override: bool,
    /// The network configuration.
    pub configuration: Configuration,
    /// The final result of ADD, of the whole chain.
    pub previous: PrevResult,
}

/// Take away every attachment of the network that is not valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Gc {
    /// The network configuration.
    pub configuration: Configuration,
    /// Those that stay.
    pub valid: BTreeSet<AttachmentId>,
}

/// Say whether an ADD can be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The network configuration.
    pub configuration: Configuration,
}

/// A checked call.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Attach a container.
    Add(Add),
    /// Take an attachment away.
    Del(Del),
    /// See whether an attachment is as ADD left it.
    Check(Check),
    /// Take away every attachment that is not listed.
    Gc(Gc),
    /// Say whether an ADD can be served.
    Status(Status),
    /// Say which versions are spoken: see [`super::version_result`].
    Version,
}

impl Request {
    /// Checks a call.
    pub fn read(input: &Input) -> Result<Self, Error> {
        let environment = &input.environment;
        match Command::of(environment)? {
            Command::Add => add(input).map(Self::Add),
            Command::Del => del(input).map(Self::Del),
            Command::Check => check(input).map(Self::Check),
            Command::Gc => configured(input, |object| gc(object, environment)).map(Self::Gc),
            Command::Status => configured(input, |object| status(object, environment)).map(Self::Status),
            Command::Version => Ok(Self::Version),
        }
    }

    /// The version to answer in.
    pub fn version(&self) -> Version {
        match self {
            Self::Add(add) => add.configuration.version,
            Self::Del(del) => match &del.configuration {
                Ok(configuration) => configuration.version,
                Err(error) => error.version(),
            },
            Self::Check(check) => check.configuration.version,
            Self::Gc(gc) => gc.configuration.version,
            Self::Status(status) => status.configuration.version,
            Self::Version => Version::NEWEST,
        }
    }
}

fn add(input: &Input) -> Result<Add, Error> {
    let environment = &input.environment;
    let attachment = attachment(environment)?;
    let netns = netns(environment)?;
    let args = Args::read(Environment::present(&environment.args))?;
    configured(input, |object| {
        let mut configuration = Configuration::read(object, Command::Add, environment)?;
        let runtime = Runtime::read(object, configuration.role)?;
        let previous = PrevResult::read(object, configuration.version)?;
        let requested = Requested {
            addresses: if runtime.ips.is_empty() { args.ips.clone() } else { runtime.ips },
            mac: runtime.mac.or(args.mac),
            port_mappings: runtime.port_mappings,
            bandwidth: runtime.bandwidth,
        };
        configuration.dns = runtime.dns.or(configuration.dns);
        let netns_override = netns_override(environment);
        let pod = pod(&args, runtime.annotations);
        Ok(Add { attachment, netns, netns_override, pod, requested, configuration, previous })
    })
}

fn del(input: &Input) -> Result<Del, Error> {
    let environment = &input.environment;
    let attachment = attachment(environment)?;
    let args = Args::read(Environment::present(&environment.args)).unwrap_or_default();
    let configuration = configured(input, |object| Configuration::read(object, Command::Del, environment));
    let role = configuration.as_ref().map_or(Role::Main, |configuration| configuration.role);
    let annotations = configured(input, |object| Ok(Runtime::read(object, role)?.annotations));
    Ok(Del {
        attachment,
        netns: Environment::present(&environment.netns).map(PathBuf::from),
        netns_override: netns_override(environment),
        pod: pod(&args, annotations.unwrap_or_default()),
        configuration,
    })
}

fn check(input: &Input) -> Result<Check, Error> {
    let environment = &input.environment;
    let attachment = attachment(environment)?;
    let netns = netns(environment)?;
    Args::read(Environment::present(&environment.args))?;
    configured(input, |object| {
        let configuration = Configuration::read(object, Command::Check, environment)?;
        Runtime::read(object, configuration.role)?;
        let previous = PrevResult::read(object, configuration.version)?.ok_or_else(|| {
            let msg =
                "missing prevResult: CHECK compares with the result of ADD, which the runtime must hand over";
            Error::new(Code::INVALID_CONFIG, msg)
        })?;
        let netns_override = netns_override(environment);
        Ok(Check { attachment, netns, netns_override, configuration, previous })
    })
}

fn gc(object: &Object<'_>, environment: &Environment) -> Result<Gc, Error> {
    let configuration = Configuration::read(object, Command::Gc, environment)?;
    Ok(Gc { configuration, valid: valid_attachments(object)? })
}

fn status(object: &Object<'_>, environment: &Environment) -> Result<Status, Error> {
    Ok(Status { configuration: Configuration::read(object, Command::Status, environment)? })
}

#[derive(Deserialize)]
struct ValidAttachment {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

/// The attachments that GC must spare. A missing list is never taken for an empty one, since everything
/// would go; null is, for that is how libcni writes an empty one.
fn valid_attachments(object: &Object<'_>) -> Result<BTreeSet<AttachmentId>, Error> {
    // libcni sends the list under its name in the specification and under the one it had by mistake.
    let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let value = keys.iter().find_map(|key| object.get_or_null(key)).ok_or_else(|| {
        let msg =
            "missing cni.dev/valid-attachments: without the list of valid attachments GC removes nothing";
        Error::new(Code::INVALID_CONFIG, msg)
    })?;
    let wanted = "a list of objects with containerID and ifname";
    let listed: Option<Vec<ValidAttachment>> = value.read(wanted)?;
    // A name that podwire refuses cannot be that of an attachment it made: nothing is there to spare.
    let id = |listed: ValidAttachment| {
        let container_id = listed.container_id.parse().ok()?;
        Some(AttachmentId { container_id, ifname: listed.ifname.parse().ok()? })
    };
    Ok(listed.unwrap_or_default().into_iter().filter_map(id).collect())
}

/// Hands the configuration over, and has every error answered in its version if that is known.
fn configured<T>(input: &Input, read: impl FnOnce(&Object<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let bytes = input.stdin.as_ref().map_err(Error::clone)?;
    let object = Object::outermost(text(bytes)?).map_err(|error| {
        undecodable("the network configuration on standard input is not a JSON object")
            .with_details(error.to_string())
    })?;
    read(&object).map_err(|error| match config::version(&object) {
        Ok(version) => error.in_version(version),
        Err(_) => error,
    })
}

fn text(bytes: &[u8]) -> Result<&str, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        undecodable("the network configuration on standard input is not UTF-8")
            .with_details(error.to_string())
    })?;
    if text.trim_ascii().is_empty() {
        return Err(undecodable("there is no network configuration on standard input"));
    }
    Ok(text)
}

fn undecodable(msg: &str) -> Error {
    Error::new(Code::UNDECODABLE, msg)
}

fn attachment(environment: &Environment) -> Result<AttachmentId, Error> {
    Ok(AttachmentId {
        container_id: name("CNI_CONTAINERID", &environment.container_id)?,
        ifname: name("CNI_IFNAME", &environment.ifname)?,
    })
}

fn name<T: FromStr<Err = InvalidName>>(
    variable: &str,
    value: &Option<std::ffi::OsString>,
) -> Result<T, Error> {
    let value = utf8(variable, Environment::present(value))?;
    value.parse().map_err(|error| Error::environment(format!("{variable}: {error}")))
}

fn netns(environment: &Environment) -> Result<PathBuf, Error> {
    utf8("CNI_NETNS", Environment::present(&environment.netns)).map(PathBuf::from)
}

fn utf8<'a>(variable: &str, value: Option<&'a OsStr>) -> Result<&'a str, Error> {
    let value = value.unwrap_or_default();
    value.to_str().ok_or_else(|| Error::environment(format!("{variable} is not UTF-8: {}", value.display())))
}

fn netns_override(environment: &Environment) -> bool {
    Environment::present(&environment.netns_override)
        .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

fn pod(args: &Args, annotations: Vec<(String, String)>) -> Option<Pod> {
    let named = !(args.pod_namespace.is_empty() && args.pod_name.is_empty());
    named.then(|| Pod {
        namespace: args.pod_namespace.clone(),
        name: args.pod_name.clone(),
        uid: args.pod_uid.clone(),
        annotations,
    })
}
