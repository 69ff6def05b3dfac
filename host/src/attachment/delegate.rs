//! Another plugin that gives the addresses, as the specification has it (section 4): it is found on CNI_PATH, gets
//! the whole configuration, and hears of every call that podwire hears of.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

use super::tell;
use crate::cni::{Code, Environment, Error, Input, PrevResult, Version};
use crate::leases::{Attachment, Delegated};

/// Plugins that give an address to an interface which must be there already.
const NEEDS_THE_INTERFACE: [&str; 1] = ["dhcp"];

/// One call's way to the plugin.
pub(super) struct Delegate {
    name: String,
    program: PathBuf,
    environment: Environment,
    config: Vec<u8>,
}

impl Delegate {
    /// The plugin of that name, for the call that is answered.
    pub(super) fn new(name: &str, input: &Input) -> Result<Self, Error> {
        if NEEDS_THE_INTERFACE.contains(&name) {
            let msg = format!("ipam.type {name} is not supported: it needs the container's interface");
            let remedy =
                "podwire makes the interface when the addresses are known: have them given by another plugin";
            return Err(Error::new(Code::UNSUPPORTED_FIELD, msg).with_details(remedy));
        }
        let config = input.stdin.clone()?;
        let there = find(name, input.environment.path.as_deref());
        Ok(Self {
            program: there.ok_or_else(|| not_found(name, input.environment.path.as_deref()))?,
            name: name.to_owned(),
            environment: input.environment.clone(),
            config,
        })
    }

    /// The plugin that gave an attachment its addresses, called for that as it was at the ADD. None if it is not
    /// there any more.
    pub(super) fn recorded(of: &Attachment, delegated: &Delegated, input: &Input) -> Option<Self> {
        let intent = &of.intent;
        let path = input.environment.path.clone().unwrap_or_else(|| delegated.path.clone().into());
        let environment = Environment {
            container_id: Some(intent.attachment.container_id.as_str().into()),
            ifname: Some(intent.attachment.ifname.as_str().into()),
            netns: input.environment.netns.clone(),
            args: input.environment.args.clone(),
            path: Some(path.clone()),
            ..Environment::default()
        };
        Some(Self {
            program: find(&delegated.plugin, Some(&path))?,
            name: delegated.plugin.clone(),
            environment,
            config: delegated.config.clone().into_bytes(),
        })
    }

    /// Tells the plugin of a DEL, if it is there: one that is not can have nothing to give back. Nor one that podwire
    /// never asks.
    pub(super) fn forget(name: &str, input: &Input) -> Result<(), Error> {
        match find(name, input.environment.path.as_deref()) {
            _ if NEEDS_THE_INTERFACE.contains(&name) => Ok(()),
            Some(_) => Self::new(name, input)?.pass_on("DEL"),
            None => {
                tell(format_args!("{}", not_found(name, input.environment.path.as_deref())));
                Ok(())
            }
        }
    }

    /// What must be on record to undo an ADD.
    pub(super) fn on_record(&self) -> Delegated {
        Delegated {
            plugin: self.name.clone(),
            path: self.environment.path.clone().unwrap_or_default().to_string_lossy().into_owned(),
            config: String::from_utf8_lossy(&self.config).into_owned(),
        }
    }

    /// Has it give addresses. If it fails, it is told to take back what it may have given.
    pub(super) fn add(&self, version: Version) -> Result<PrevResult, Error> {
        let given = self.run("ADD").and_then(|output| self.result(&output, version));
        given.map_err(|error| self.take_back(error))
    }

    /// Has it take its addresses back because of an error, which is returned; if that fails too, DEL does it.
    pub(super) fn take_back(&self, error: Error) -> Error {
        if let Err(left) = self.run("DEL") {
            tell(format_args!("{left}"));
        }
        error
    }

    /// DEL, CHECK, GC or STATUS.
    pub(super) fn pass_on(&self, command: &str) -> Result<(), Error> {
        self.run(command).map(|_| ())
    }

    fn result(&self, output: &[u8], version: Version) -> Result<PrevResult, Error> {
        let text = std::str::from_utf8(output).map_err(|error| self.wrong(&error.to_string()))?;
        PrevResult::of_plugin(text, version).map_err(|error| self.wrong(&error.to_string()))
    }

    fn wrong(&self, why: &str) -> Error {
        Error::new(
            Code::DELEGATE_FAILED,
            format!("ipam plugin {}: its result cannot be used: {why}", self.name),
        )
    }

    fn run(&self, command: &str) -> Result<Vec<u8>, Error> {
        let failed = |error: std::io::Error| {
            let msg = format!("ipam plugin {}: {} cannot be run: {error}", self.name, self.program.display());
            Error::new(Code::DELEGATE_FAILED, msg)
        };
        let output = self.output(command).map_err(failed)?;
        if output.status.success() { Ok(output.stdout) } else { Err(self.failure(command, &output)) }
    }

    fn output(&self, command: &str) -> std::io::Result<Output> {
        let mut child = Command::new(&self.program)
            .envs(self.variables(command))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read what it is told says in its own words what it lacks.
            let _ = stdin.write_all(&self.config);
        }
        child.wait_with_output()
    }

    /// All of them, even if empty: this process's own may be another call's.
    fn variables<'a>(&'a self, command: &'a str) -> [(&'static str, &'a OsStr); 6] {
        let Environment { container_id, netns, ifname, args, path, .. } = &self.environment;
        let or_empty = |value: &'a Option<std::ffi::OsString>| value.as_deref().unwrap_or_default();
        [
            ("CNI_COMMAND", OsStr::new(command)),
            ("CNI_CONTAINERID", or_empty(container_id)),
            ("CNI_NETNS", or_empty(netns)),
            ("CNI_IFNAME", or_empty(ifname)),
            ("CNI_ARGS", or_empty(args)),
            ("CNI_PATH", or_empty(path)),
        ]
    }

    /// In the plugin's own words, if it has any.
    fn failure(&self, command: &str, output: &Output) -> Error {
        #[derive(Deserialize)]
        struct Document {
            code: u32,
            msg: String,
            #[serde(default)]
            details: String,
        }
        match serde_json::from_slice(&output.stdout) {
            Ok(Document { code, msg, details }) => {
                Error::new(Code(code), format!("ipam plugin {}: {msg}", self.name)).with_details(details)
            }
            Err(_) => {
                let end = match output.status.signal() {
                    Some(signal) => format!("was ended by signal {signal}"),
                    None => format!("ended with {}", output.status),
                };
                let msg = format!("ipam plugin {}: {command} {end}, and gave no reason", self.name);
                Error::new(Code::DELEGATE_FAILED, msg)
            }
        }
    }
}

fn find(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    // An empty part would mean the working directory.
    let folders = std::env::split_paths(path?).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn not_found(name: &str, path: Option<&OsStr>) -> Error {
    let path = path.unwrap_or_default();
    let msg = format!("ipam.type: there is no plugin {name} in CNI_PATH ({})", path.display());
    Error::new(Code::INVALID_CONFIG, msg).with_details("install it, or have podwire give the addresses")
}
