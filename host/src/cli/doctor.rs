//! `podwire doctor`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::doctor::{Facts, Finding, Places, Verdict, examine};
use crate::state::State;

#[derive(Args)]
pub(super) struct Arguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// A folder in which runtimes look for plugins; may be given more than once.
    #[arg(long = "cni-bin-dir", value_name = "DIR", default_values = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"])]
    plugins: Vec<PathBuf>,
    /// The folder in which runtimes look for network configurations.
    #[arg(long = "cni-conf-dir", value_name = "DIR", default_value = "/etc/cni/net.d")]
    networks: PathBuf,
}

#[derive(Serialize)]
struct Report<'a> {
    verdict: Verdict,
    checks: &'a [Finding],
}

/// Exit code 1 if something is wrong; a warning is none.
pub(super) fn run(state: &State, Arguments { json, plugins, networks }: Arguments) -> Result<ExitCode> {
    let checks = examine(&Facts::gather(state, &Places { plugins, networks }));
    let verdict = checks.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    if json {
        println!("{}", serde_json::to_string_pretty(&Report { verdict, checks: &checks })?);
    } else {
        checks.iter().for_each(|finding| println!("{finding}"));
    }
    Ok(if verdict == Verdict::Wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
