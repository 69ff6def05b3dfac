//! The commands, and the variables that each of them needs.

use super::{Environment, Error};

/// CNI_COMMAND.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Attach a container.
    Add,
    /// Take an attachment away.
    Del,
    /// See whether an attachment is as ADD left it.
    Check,
    /// Take away every attachment that is not listed.
    Gc,
    /// Say whether an ADD can be served.
    Status,
    /// Say which versions are spoken.
    Version,
}

impl Command {
    const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// As in CNI_COMMAND.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// The command of a call whose environment is complete.
    pub(super) fn of(environment: &Environment) -> Result<Self, Error> {
        let name = Environment::present(&environment.command).ok_or_else(|| missing(&["CNI_COMMAND"]))?;
        let command = Self::ALL.into_iter().find(|command| name == command.as_str());
        let command = command.ok_or_else(|| {
            let msg = format!("unknown CNI_COMMAND: {}", name.display());
            Error::environment(msg).with_details("known are ADD, DEL, CHECK, GC, STATUS and VERSION")
        })?;
        match command.lacks(environment).as_slice() {
            [] => Ok(command),
            names => Err(missing(names)),
        }
    }

    /// The variables that the command needs and the environment does not have. The reference library
    /// demands CNI_PATH more often than the specification does, and runtimes always set it.
    fn lacks(self, environment: &Environment) -> Vec<&'static str> {
        let attachment = matches!(self, Self::Add | Self::Del | Self::Check);
        let netns = matches!(self, Self::Add | Self::Check);
        let needed = [
            ("CNI_CONTAINERID", &environment.container_id, attachment),
            ("CNI_NETNS", &environment.netns, netns),
            ("CNI_IFNAME", &environment.ifname, attachment),
            ("CNI_PATH", &environment.path, attachment || self == Self::Gc),
        ];
        let lacks =
            needed.into_iter().filter(|(_, value, needed)| *needed && Environment::present(value).is_none());
        lacks.map(|(name, _, _)| name).collect()
    }
}

fn missing(variables: &[&str]) -> Error {
    Error::environment(format!("required env variables [{}] missing", variables.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(command: &str, missing: &[&str]) -> Environment {
        let value = |name| (!missing.contains(&name)).then(|| "x".into());
        Environment {
            command: Some(command.into()),
            container_id: value("CNI_CONTAINERID"),
            netns: value("CNI_NETNS"),
            ifname: value("CNI_IFNAME"),
            args: value("CNI_ARGS"),
            path: value("CNI_PATH"),
            netns_override: None,
            program: None,
        }
    }

    #[test]
    fn each_command_needs_its_variables() {
        let table = [
            ("ADD", vec!["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
            ("CHECK", vec!["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
            ("DEL", vec!["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"]),
            ("GC", vec!["CNI_PATH"]),
            ("STATUS", vec![]),
            ("VERSION", vec![]),
        ];
        for (command, needed) in table {
            let all = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
            for one in all {
                let outcome = Command::of(&without(command, &[one]));
                assert_eq!(outcome.is_err(), needed.contains(&one), "{command} without {one}");
            }
            let outcome = Command::of(&without(command, &all));
            let expected = format!("required env variables [{}] missing", needed.join(","));
            assert!(needed.is_empty() || outcome.is_err_and(|error| error.msg() == expected), "{command}");
        }
    }

    #[test]
    fn a_missing_or_unknown_command_is_told() {
        let missing = "required env variables [CNI_COMMAND] missing";
        for (environment, msg) in [
            (Environment::default(), missing),
            (without("", &[]), missing),
            (without("add", &[]), "unknown CNI_COMMAND: add"),
            (without("ADD ", &[]), "unknown CNI_COMMAND: ADD "),
        ] {
            let error = Command::of(&environment).expect_err(msg);
            assert_eq!((error.code().0, error.msg()), (4, msg));
        }
    }
}
