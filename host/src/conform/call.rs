//! One call of a plugin: environment and standard input, and what came back before patience ended.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

use super::{Stop, failed};
use crate::child;

/// As much of an output as a report repeats, in bytes.
const SHOWN: usize = 600;

/// What a plugin will be given.
#[derive(Debug, Clone)]
pub(super) struct Call {
    program: PathBuf,
    environment: BTreeMap<&'static str, Option<String>>,
    configuration: Map<String, Value>,
    text: Option<Vec<u8>>,
    patience: Duration,
}

impl Call {
    pub(super) fn new(program: PathBuf, configuration: Map<String, Value>, patience: Duration) -> Self {
        // None of the caller's own, should the suite itself run under a runtime.
        let environment = CNI_VARIABLES.map(|name| (name, None)).into();
        Self { program, environment, configuration, text: None, patience }
    }

    pub(super) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.insert(name, Some(value.into()));
        self
    }

    pub(super) fn without(mut self, name: &'static str) -> Self {
        self.environment.insert(name, None);
        self
    }

    /// With this key in the configuration.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.configuration.insert(key.to_owned(), value.into());
        self
    }

    /// Without this key in the configuration.
    pub(super) fn without_key(mut self, key: &str) -> Self {
        self.configuration.remove(key);
        self
    }

    /// With this on standard input, in place of the configuration.
    pub(super) fn with_text(self, text: &str) -> Self {
        Self { text: Some(text.into()), ..self }
    }

    fn stdin(&self) -> Vec<u8> {
        let configuration = || Value::from(self.configuration.clone()).to_string().into_bytes();
        self.text.clone().unwrap_or_else(configuration)
    }

    /// Starts it, with all its input given.
    pub(super) fn start(self) -> Result<Running> {
        let (stdin, stdout, stderr) = (child::file()?, child::file()?, child::file()?);
        (&stdin).write_all(&self.stdin())?;
        (&stdin).rewind()?;
        let mut command = Command::new(&self.program);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let child = command.spawn().with_context(|| format!("{} cannot be run", self.program.display()))?;
        Ok(Running { child, stdout, stderr, call: self })
    }

    pub(super) fn run(self) -> Result<Reply> {
        self.start()?.finish()
    }
}

/// What the specification and the reference library name.
const CNI_VARIABLES: [&str; 7] = [
    "CNI_COMMAND",
    "CNI_CONTAINERID",
    "CNI_NETNS",
    "CNI_IFNAME",
    "CNI_ARGS",
    "CNI_PATH",
    "CNI_NETNS_OVERRIDE",
];

/// As a shell would be told.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            if let Some(value) = value {
                write!(f, "{name}='{value}' ")?;
            }
        }
        write!(f, "{} <<<'{}'", self.program.display(), shown(&self.stdin()))
    }
}

/// JSON on one line, anything else as it is; not more than a report can bear.
fn shown(bytes: &[u8]) -> String {
    let text = serde_json::from_slice::<Value>(bytes)
        .map_or_else(|_| String::from_utf8_lossy(bytes).trim().to_owned(), |value| value.to_string());
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], bytes.len()),
        None => text,
    }
}

/// A call under way.
pub(super) struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    call: Call,
}

impl Running {
    /// Waits for its end, or kills it when patience ends.
    pub(super) fn finish(mut self) -> Result<Reply> {
        let status = child::finish(&mut self.child, self.call.patience)?;
        Ok(Reply {
            call: self.call,
            exit: status.and_then(|status| status.code()),
            ended: status.is_some(),
            stdout: content(self.stdout)?,
            stderr: content(self.stderr)?,
        })
    }
}

fn content(mut file: File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct Reply {
    call: Call,
    /// None after a signal, or when patience ended.
    pub(super) exit: Option<i32>,
    ended: bool,
    pub(super) stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// An error object (specification, section 5).
#[derive(Debug)]
pub(super) struct CniError {
    pub(super) code: u64,
    /// `msg` and `details`.
    pub(super) text: String,
    pub(super) object: Value,
}

impl Reply {
    pub(super) fn succeeded(&self) -> bool {
        self.exit == Some(0)
    }

    /// The check fails unless the call succeeded. `call` begins a sentence: "a second DEL".
    pub(super) fn done(&self, call: &str) -> Result<(), Stop> {
        if self.succeeded() {
            Ok(())
        } else {
            failed(format!("{call} succeeds: exit code 0"), self.outcome())
        }
    }

    /// A success's result: one JSON object.
    pub(super) fn result(&self, call: &str) -> Result<Value, Stop> {
        self.done(call)?;
        self.object()
            .or_else(|seen| failed(format!("{call} prints one JSON object on standard output"), seen))
    }

    /// A failure's error object.
    pub(super) fn error(&self, call: &str) -> Result<CniError, Stop> {
        if self.succeeded() || self.exit.is_none() {
            return failed(format!("{call} is refused: an exit code other than 0"), self.outcome());
        }
        let expected = "an error object alone on standard output, with code and msg";
        let object = self.object().or_else(|seen| failed(expected, seen))?;
        let (code, msg) = (object["code"].as_u64().filter(|code| *code > 0), object["msg"].as_str());
        let (Some(code), Some(msg)) = (code, msg.filter(|msg| !msg.is_empty())) else {
            return failed(expected, format!("{object}"));
        };
        let text = format!("{msg}; {}", object["details"].as_str().unwrap_or_default());
        Ok(CniError { code, text, object })
    }

    /// A failure with one of these codes.
    pub(super) fn error_of(&self, call: &str, codes: &[u64]) -> Result<CniError, Stop> {
        let error = self.error(call)?;
        if codes.contains(&error.code) {
            return Ok(error);
        }
        let codes: Vec<_> = codes.iter().map(u64::to_string).collect();
        failed(
            format!("{call} is refused with code {}", codes.join(" or ")),
            format!("code {}: {}", error.code, error.text),
        )
    }

    fn object(&self) -> Result<Value, String> {
        let documents: Result<Vec<Value>, _> =
            serde_json::Deserializer::from_slice(&self.stdout).into_iter().collect();
        match documents.as_deref() {
            Ok([document]) if document.is_object() => Ok(document.clone()),
            Ok([other]) => Err(format!("JSON, but no object: {other}")),
            Ok([]) => Err("nothing".to_owned()),
            Ok(several) => Err(format!("{} JSON documents", several.len())),
            Err(error) => Err(format!("no JSON ({error})")),
        }
    }

    fn outcome(&self) -> String {
        match (self.ended, self.exit) {
            (false, _) => format!("it did not end within {} s", self.call.patience.as_secs_f32()),
            (true, None) => "it was ended by a signal".to_owned(),
            (true, Some(exit)) => match self.object().ok().filter(|object| object["code"].is_number()) {
                Some(error) => format!("exit code {exit}, code {}: {}", error["code"], error["msg"]),
                None => format!("exit code {exit}"),
            },
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exit = self.exit.map_or("none".to_owned(), |exit| exit.to_string());
        write!(f, "{}\nexit code {exit}", self.call)?;
        for (name, bytes) in [("output", &self.stdout), ("error", &self.stderr)] {
            if !bytes.trim_ascii().is_empty() {
                write!(f, "\nstandard {name}: {}", shown(bytes))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(exit: i32, stdout: &str) -> Reply {
        let call = Call::new("/bin/plugin".into(), Map::new(), Duration::ZERO);
        Reply { call, exit: Some(exit), ended: true, stdout: stdout.into(), stderr: Vec::new() }
    }

    #[test]
    fn a_failure_is_an_exit_code_and_one_object_with_code_and_msg() {
        assert_eq!(reply(1, r#"{"code":4,"msg":"m"}"#).error("ADD").expect("proper").code, 4);
        for (exit, stdout) in [
            (0, r#"{"code":4,"msg":"m"}"#),
            (1, ""),
            (1, "panicked"),
            (1, "[4]"),
            (1, r#"{"code":4,"msg":"m"}{}"#),
            (1, r#"{"code":"4","msg":"m"}"#),
            (1, r#"{"code":0,"msg":"m"}"#),
            (1, r#"{"code":4,"msg":""}"#),
            (1, r#"{"code":4}"#),
        ] {
            assert!(matches!(reply(exit, stdout).error("ADD"), Err(Stop::Failed(_))), "{exit} {stdout}");
        }
        assert!(matches!(reply(1, r#"{"code":4,"msg":"m"}"#).error_of("ADD", &[7]), Err(Stop::Failed(_))));
    }

    #[test]
    fn a_result_is_one_object_and_exit_code_0() {
        assert!(reply(0, "{}\n").result("ADD").is_ok());
        for (exit, stdout) in [(1, "{}"), (0, ""), (0, "{}{}"), (0, "warning: {}"), (0, "1")] {
            assert!(matches!(reply(exit, stdout).result("ADD"), Err(Stop::Failed(_))), "{exit} {stdout}");
        }
    }

    #[test]
    fn long_output_is_cut_between_characters() {
        let cut = shown("ä".repeat(SHOWN + 1).as_bytes());
        assert_eq!(cut, format!("{}… ({} bytes)", "ä".repeat(SHOWN), 2 * (SHOWN + 1)));
        assert_eq!(shown(b" short \n"), "short");
    }
}
