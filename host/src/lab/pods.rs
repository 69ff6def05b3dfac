//! The lab's pods, as a runtime makes them: a network namespace, then the plugin, through CNI.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;
use serde_json::{Map, Value};

use super::layout::{Node, Pod};
use super::{itself, namespace, namespaces, say};
use crate::cni::conflist;
use crate::net::namespace::Namespace;

/// Adds a pod, and notes its addresses.
pub(super) fn add(node: &Node, pod: &mut Pod) -> Result<()> {
    namespaces::make(&pod.name)?;
    let result = called("ADD", node, pod).inspect_err(|_| drop(namespaces::remove(&pod.name)))?;
    let result: Value = serde_json::from_slice(&result).context("the plugin's answer is no JSON")?;
    let ips = result["ips"].as_array().filter(|ips| !ips.is_empty());
    let ips = ips.context("the plugin's result has no address")?;
    let texts: Vec<&str> = ips.iter().filter_map(|ip| ip["address"].as_str()).collect();
    say(&node.name, &format!("ADD {} → {}", pod.name, texts.join(", ")));
    let prefixes = texts.iter().map(|text| text.parse::<IpNet>()).collect::<Result<Vec<_>, _>>()?;
    pod.addresses = prefixes.iter().map(IpNet::addr).collect::<Vec<IpAddr>>();
    Ok(())
}

/// Takes a pod away.
pub(super) fn delete(node: &Node, pod: &Pod) -> Result<()> {
    called("DEL", node, pod)?;
    say(&node.name, &format!("DEL {}", pod.name));
    namespaces::remove(&pod.name)
}

fn called(command: &str, node: &Node, pod: &Pod) -> Result<Vec<u8>> {
    let Pod { name, namespace: of, .. } = pod;
    let mut plugin = itself(node);
    plugin
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", &pod.name)
        .env("CNI_NETNS", namespace(&pod.name))
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/opt/cni/bin")
        .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={of};K8S_POD_NAME={name}"));
    let configuration = serde_json::to_vec(&configuration(node, pod)?)?;
    Namespace::open(&namespace(&node.name))?.run(|| call(&mut plugin, &configuration))?
}

/// The pod's own; or what the node's agent keeps, as a runtime reads it; or the lab's network, which leaves everything
/// to the node's settings.
fn configuration(node: &Node, pod: &Pod) -> Result<Map<String, Value>> {
    if let Some(own) = &pod.configuration {
        return Ok(own.clone());
    }
    if node.conflist().exists() {
        return conflist::read(&node.conflist());
    }
    let network = [("cniVersion", "1.1.0"), ("name", "lab"), ("type", "podwire")];
    Ok(network.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect())
}

fn call(plugin: &mut Command, configuration: &[u8]) -> Result<Vec<u8>> {
    let mut child = plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("it has a pipe")?;
    input.write_all(configuration)?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the plugin refused: {}", String::from_utf8_lossy(&output.stdout).trim_end());
    }
    Ok(output.stdout)
}
