//! Delegation: a plugin that has another one decide on addresses runs it by the specification's rules.
//!
//! A script stands in for the configuration's IPAM plugin. It writes down how it was called, and answers, or
//! refuses what it was told to refuse.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::super::bench::{Pod, at_least};
use super::super::call::{Call, Reply};
use super::super::{Bench, Check, Stop, Verdict, ensure, failed, not_applicable};
use super::{must, should};
use crate::state::write_atomically;

pub(super) const CHECKS: &[Check] = &[
    must("S4-1.1", "Delegation", "the delegate is found on CNI_PATH, and gets the complete call", complete),
    should("S4-1.2", "Delegation", "a delegate whose ADD failed is run again with DEL", del_after_failure),
    should("S4-1.3", "Delegation", "DEL runs the delegate, and tells its error", |b| forwards(b, "DEL")),
    should("S4-1.4", "Delegation", "CHECK runs the delegate, and tells its error", |b| forwards(b, "CHECK")),
    must("S4-1.5", "Delegation", "GC runs the delegate, and tells its error", |b| forwards(b, "GC")),
    must("S4-1.6", "Delegation", "STATUS runs the delegate, and tells its error", |b| forwards(b, "STATUS")),
];

/// Where the script lies, and what it wrote down.
const FOLDER: &str = "/run/podwire-conform/delegate";
const NAME: &str = "conform-ipam";

/// The script in the delegate's place.
struct Delegate {
    ipam: Value,
    cni_path: String,
}

impl Delegate {
    /// The check does not apply if the plugin does not delegate.
    fn of(bench: Bench<'_>) -> Result<Self, Stop> {
        bench.since("0.3.0", "a delegate's result with ips")?;
        let subject = bench.subject;
        let mut ipam = subject.plugins[subject.place].configuration.get("ipam").cloned().unwrap_or_default();
        if !ipam["type"].is_string() {
            return not_applicable("the configuration has no ipam.type: the plugin runs no delegate");
        }
        install(bench.version)?;
        ipam["type"] = json!(NAME);
        Ok(Self { ipam, cni_path: format!("{FOLDER}:{}", subject.cni_path) })
    }

    fn change(&self, call: Call) -> Call {
        call.with("ipam", self.ipam.clone()).env("CNI_PATH", self.cni_path.as_str())
    }

    fn call(&self, bench: Bench<'_>, command: &str, pod: &Pod) -> Result<Reply, Stop> {
        bench.run(self.change(bench.call_for(command, pod)))
    }

    /// From now on it refuses this command.
    fn refuse(command: &str) -> Verdict {
        Ok(write_atomically(&Path::new(FOLDER).join("refused"), command.as_bytes())?)
    }

    /// How it was called since this was last asked: a line for each call, with variables and configuration.
    fn calls() -> Result<Vec<String>, Stop> {
        let path = Path::new(FOLDER).join("calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::remove_file(&path).ok();
        Ok(text.lines().map(str::to_owned).collect())
    }
}

fn install(version: &str) -> Verdict {
    let result = json!({ "cniVersion": version, "ips": [address(version)] });
    let error = json!({ "cniVersion": version, "code": 123, "msg": "the delegate refuses" });
    let versions = json!({ "cniVersion": version, "supportedVersions": [version] });
    let script = format!(
        "#!/bin/sh -f\n\
         echo \"$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME\" $(cat) >>{FOLDER}/calls\n\
         if [ \"$(cat {FOLDER}/refused 2>/dev/null)\" = \"$CNI_COMMAND\" ]; then echo '{error}'; exit 1; fi\n\
         case $CNI_COMMAND in ADD) echo '{result}' ;; VERSION) echo '{versions}' ;; esac\n"
    );
    let path = Path::new(FOLDER).join(NAME);
    fs::create_dir_all(FOLDER)?;
    write_atomically(&path, script.as_bytes())?;
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
}

/// Of TEST-NET-2 (RFC 5737): nobody's.
fn address(version: &str) -> Value {
    let mut ip = json!({ "address": "198.51.100.2/24", "gateway": "198.51.100.1" });
    if !at_least(version, "1.0.0") {
        ip["version"] = json!("4");
    }
    ip
}

fn of_command(calls: &[String], command: &str) -> usize {
    calls.iter().filter(|call| call.split(' ').next() == Some(command)).count()
}

fn complete(bench: Bench<'_>) -> Verdict {
    let delegate = Delegate::of(bench)?;
    let pod = bench.pod()?;
    delegate.call(bench, "ADD", &pod)?.result("an ADD with a delegate in another folder of CNI_PATH")?;
    let calls = Delegate::calls()?;
    let expected = format!("ADD {} {} {} ", pod.id, pod.path.display(), pod.ifname);
    let configuration = calls.iter().find_map(|call| call.strip_prefix(&expected));
    let Some(configuration) = configuration else {
        return failed(format!("the delegate is called with {expected}"), format!("{calls:?}"));
    };
    let configuration: Value = serde_json::from_str(configuration).unwrap_or_default();
    let whole =
        configuration["name"] == bench.subject.name.as_str() && configuration["ipam"] == delegate.ipam;
    ensure(whole, "the delegate gets the complete configuration", configuration.to_string())
}

fn del_after_failure(bench: Bench<'_>) -> Verdict {
    let delegate = Delegate::of(bench)?;
    let pod = bench.pod()?;
    Delegate::refuse("ADD")?;
    delegate.call(bench, "ADD", &pod)?.error("an ADD whose delegate refuses")?;
    let calls = Delegate::calls()?;
    ensure(
        of_command(&calls, "DEL") > 0,
        "the delegate is called with ADD and then with DEL",
        format!("{calls:?}"),
    )
}

fn forwards(bench: Bench<'_>, command: &str) -> Verdict {
    let since = match command {
        "DEL" => "0.1.0",
        "CHECK" => "0.4.0",
        _ => "1.1.0",
    };
    bench.since(since, command)?;
    let delegate = Delegate::of(bench)?;
    let pod = bench.pod()?;
    let result = delegate.call(bench, "ADD", &pod)?.result("an ADD")?;
    Delegate::calls()?;
    Delegate::refuse(command)?;
    let call = delegate.change(bench.call_for(command, &pod));
    let reply = bench.run(call.with("prevResult", result).with("cni.dev/valid-attachments", json!([])))?;
    let calls = Delegate::calls()?;
    ensure(
        of_command(&calls, command) > 0,
        format!("the delegate is called with {command}"),
        format!("{calls:?}"),
    )?;
    reply.error(&format!("a {command} whose delegate refuses")).map(drop)
}
