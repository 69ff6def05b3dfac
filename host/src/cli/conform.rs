//! `podwire conform`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::conform::{self, Format, Options};

#[derive(Args)]
pub(super) struct Arguments {
    /// The plugin: an executable file, whose name is its `type` in the configuration list.
    #[arg(long, value_name = "PATH", required_unless_present = "list")]
    plugin: Option<PathBuf>,
    /// The network configuration list in which it stands. Its other plugins are looked for beside it and in
    /// CNI_PATH.
    #[arg(long, value_name = "CONFLIST", required_unless_present = "list")]
    config: Option<PathBuf>,
    /// Show the checks, and run none.
    #[arg(long)]
    list: bool,
    /// Only these: numbers of requirements (S2-6) or of single checks (S2-6.1).
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// The form of the report.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    report: Format,
    /// Exit code 1 also if a recommendation or a convention is not kept.
    #[arg(long)]
    strict: bool,
    /// How many seconds one call may take.
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    timeout: NonZeroU32,
    /// In the namespaces that this command made for itself.
    #[arg(long, hide = true)]
    isolated: bool,
}

/// Exit code 0: no "must" is broken.
pub(super) fn run(root: Option<&Path>, arguments: Arguments) -> Result<ExitCode> {
    // A wrong number is told before anything is done.
    let checks = conform::select(&arguments.only)?;
    if arguments.list {
        print!("{}", conform::list(&checks, arguments.report)?);
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.isolated {
        return conform::outside("--isolated");
    }
    conform::inside()?;
    let report = conform::run(&Options {
        plugin: arguments.plugin.context("a plugin is required")?,
        list: arguments.config.context("a configuration is required")?,
        patience: Duration::from_secs(arguments.timeout.get().into()),
        only: arguments.only,
        root: root.map(std::path::absolute).transpose()?,
    })?;
    print!("{}", report.write(arguments.report)?);
    Ok(if report.conforms(arguments.strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
