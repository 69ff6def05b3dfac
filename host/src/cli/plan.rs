//! `podwire plan`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::attachment;
use crate::cni::{Environment, Input, conflist};
use crate::plan::script;
use crate::state::State;

#[derive(Args)]
pub(super) struct Arguments {
    /// A network configuration, or a list of them, as in /etc/cni/net.d.
    configuration: PathBuf,
    /// The pod, as NAMESPACE/NAME, or NAME in the namespace "default".
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: PodName,
    /// An annotation of the pod, as KEY=VALUE.
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<String>,
    /// An address that the pod asks for.
    #[arg(long = "ip", value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// The name of the interface in the container.
    #[arg(long, default_value = "eth0")]
    ifname: OsString,
    /// The container's ID; the pod's name if it is left out.
    #[arg(long, value_name = "ID")]
    container_id: Option<OsString>,
    /// Print the plan as JSON, instead of as the commands that it stands for.
    #[arg(long)]
    json: bool,
}

/// A pod's namespace and name, which become part of CNI_ARGS.
#[derive(Clone)]
pub(in crate::cli) struct PodName {
    pub(in crate::cli) namespace: String,
    pub(in crate::cli) name: String,
}

impl FromStr for PodName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if [namespace, name].iter().any(|part| part.is_empty() || !part.chars().all(plain)) {
            return Err("it has the form NAMESPACE/NAME, of lower-case letters, digits, '-' and '.'");
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

pub(super) fn run(state: &State, arguments: &Arguments) -> Result<ExitCode> {
    let plan = attachment::propose(state, &call(arguments)?)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
    } else {
        print!("{}", script::add(&plan));
    }
    Ok(ExitCode::SUCCESS)
}

/// The call that a runtime would make.
fn call(arguments: &Arguments) -> Result<Input> {
    let PodName { namespace, name } = &arguments.pod;
    let container_id = arguments.container_id.clone().unwrap_or_else(|| name.into());
    let environment = Environment {
        command: Some("ADD".into()),
        container_id: Some(container_id),
        // Nobody opens it.
        netns: Some("/proc/self/ns/net".into()),
        ifname: Some(arguments.ifname.clone()),
        args: Some(format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}").into()),
        path: Some("/opt/cni/bin".into()),
        netns_override: None,
        program: None,
    };
    let mut configuration = conflist::read(&arguments.configuration)?;
    let capabilities = runtime_config(arguments)?;
    configuration.insert("runtimeConfig".to_owned(), capabilities);
    Ok(Input { environment, stdin: Ok(Value::Object(configuration).to_string().into_bytes()) })
}

fn runtime_config(arguments: &Arguments) -> Result<Value> {
    let mut annotations = Map::new();
    for annotation in &arguments.annotations {
        let (key, value) =
            annotation.split_once('=').with_context(|| format!("{annotation:?} is not KEY=VALUE"))?;
        annotations.insert(key.to_owned(), value.into());
    }
    Ok(json!({ "ips": arguments.addresses, "io.kubernetes.cri.pod-annotations": annotations }))
}
