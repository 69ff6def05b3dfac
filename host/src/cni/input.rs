//! What a runtime handed over, as it is: nothing is checked here but its size.

use std::ffi::{OsStr, OsString};
use std::io::Read;

use super::program::program;
use super::{Code, Command, Error};

/// The longest configuration in bytes. Real ones have a few kilobytes; a plugin runs for every pod, and
/// what it takes in it also holds in memory.
pub const MAX_STDIN: usize = 1024 * 1024;

/// The variables that the specification names, and the name by which the runtime found the plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// CNI_COMMAND.
    pub command: Option<OsString>,
    /// CNI_CONTAINERID.
    pub container_id: Option<OsString>,
    /// CNI_NETNS.
    pub netns: Option<OsString>,
    /// CNI_IFNAME.
    pub ifname: Option<OsString>,
    /// CNI_ARGS.
    pub args: Option<OsString>,
    /// CNI_PATH.
    pub path: Option<OsString>,
    /// CNI_NETNS_OVERRIDE, of the reference library only.
    pub netns_override: Option<OsString>,
    /// Of the file that was executed: what `type` says where podwire is installed under another name.
    pub program: Option<OsString>,
}

/// What podwire is called where nobody gave it another name.
const OWN_TYPE: &str = "podwire";

impl Environment {
    fn from_process() -> Self {
        let variable = std::env::var_os;
        Self {
            command: variable("CNI_COMMAND"),
            container_id: variable("CNI_CONTAINERID"),
            netns: variable("CNI_NETNS"),
            ifname: variable("CNI_IFNAME"),
            args: variable("CNI_ARGS"),
            path: variable("CNI_PATH"),
            netns_override: variable("CNI_NETNS_OVERRIDE"),
            program: program(),
        }
    }

    /// Whether a configuration's `type` means podwire.
    pub(super) fn is_own(&self, kind: &str) -> bool {
        kind == OWN_TYPE || self.program.as_ref().is_some_and(|program| program == kind)
    }

    /// A variable that is set to nothing counts as missing, as with the reference library.
    pub(super) fn present(variable: &Option<OsString>) -> Option<&OsStr> {
        variable.as_deref().filter(|value| !value.is_empty())
    }

    /// Whether the call depends on standard input. VERSION does not, nor does a call that must fail anyway:
    /// a person may sit at the other end, or nobody, and waiting would only hang.
    fn wants_stdin(&self) -> bool {
        Command::of(self).is_ok_and(|command| command != Command::Version)
    }
}

/// Environment and standard input of one call.
#[derive(Debug, Clone)]
pub struct Input {
    /// The environment.
    pub environment: Environment,
    /// Standard input, or why it could not be had.
    pub stdin: Result<Vec<u8>, Error>,
}

impl Input {
    /// Of this process.
    pub fn from_process() -> Self {
        let environment = Environment::from_process();
        let stdin = if environment.wants_stdin() { read(std::io::stdin().lock()) } else { Ok(Vec::new()) };
        Self { environment, stdin }
    }
}

fn read(source: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    // One more than is allowed tells "too long" from "just fits".
    source.take(MAX_STDIN as u64 + 1).read_to_end(&mut bytes).map_err(|error| {
        Error::new(Code::IO, format!("the network configuration cannot be read from standard input: {error}"))
    })?;
    if bytes.len() > MAX_STDIN {
        let msg = format!("the network configuration on standard input is longer than {MAX_STDIN} bytes");
        return Err(Error::new(Code::UNDECODABLE, msg));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn reading_is_bounded() {
        assert_eq!(read(&vec![b' '; MAX_STDIN][..]).map(|bytes| bytes.len()), Ok(MAX_STDIN));
        let error = read(io::repeat(b' ')).expect_err("endless");
        assert_eq!(error.code(), Code::UNDECODABLE);
        assert!(error.msg().contains("1048576"), "{error}");
    }

    #[test]
    fn a_failed_read_is_told() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is on fire"))
            }
        }
        let error = read(Broken).expect_err("broken");
        assert_eq!(error.code(), Code::IO);
        assert!(error.msg().contains("the disk is on fire"), "{error}");
    }

    #[test]
    fn standard_input_is_left_alone_where_it_says_nothing() {
        let of =
            |command: Option<&str>| Environment { command: command.map(Into::into), ..Default::default() };
        assert!(of(Some("STATUS")).wants_stdin());
        assert!([Some("VERSION"), Some("ADD"), Some("FOO"), None].iter().all(|c| !of(*c).wants_stdin()));
    }
}
