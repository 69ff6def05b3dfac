//! `podwire policy test`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::component::Component;
use crate::policy::{Engine, Policy};
use crate::registry::Registry;
use crate::trial::cases::{self, Outcome};
use crate::trial::{self, Report, Setting, Stopped};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// A file, or an installed policy: NAME, for the version installed last, or NAME@DIGEST.
    component: String,
    /// Cases that you wrote: a file in TOML, or a folder of them. Without: the built-in battery.
    #[arg(long, value_name = "FILE|DIR")]
    cases: Option<PathBuf>,
    /// A configuration of the policy for the built-in battery, a JSON object. Can be given again.
    #[arg(long = "config", value_name = "JSON", conflicts_with = "cases", value_parser = object)]
    configs: Vec<String>,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// What the host hands to a policy is always one.
pub(super) fn object(text: &str) -> Result<String, String> {
    let value: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(text);
    value.map(|_| text.to_owned()).map_err(|error| format!("it is no JSON object: {error}"))
}

pub(super) fn run(registry: &Registry, arguments: &Arguments) -> Result<ExitCode> {
    let component = Component::find(registry, &arguments.component)?;
    let cases = arguments.cases.as_deref().map(cases::load).transpose()?;
    let policy = Engine::new()
        .and_then(|engine| engine.load_component(&component.bytes, component.label.as_str()))
        // Nobody has said yet that it may be trusted with who calls this, often root.
        .map(Policy::apart)
        .with_context(|| format!("{} cannot be a policy", component.label))?;
    let passed = match cases {
        Some(cases) => {
            let outcomes = cases::run(&policy, &cases);
            if arguments.json {
                let all: Vec<_> =
                    outcomes.iter().map(|o| json!({ "passed": o.passed(), "case": o })).collect();
                println!("{}", serde_json::to_string_pretty(&all)?);
            } else {
                print!("{}", told(&outcomes));
            }
            outcomes.iter().all(Outcome::passed)
        }
        None => {
            let settings: Vec<Setting> = arguments.configs.iter().map(Setting::of).collect();
            let report = trial::battery(&policy, &settings);
            if arguments.json {
                println!("{}", serde_json::to_string_pretty(&report)?);
            } else {
                print!("{report}\n{}\n", verdict(&report));
            }
            report.passed()
        }
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each case in a line, with what differs and the whole plan below, and all of them in the last.
fn told(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for Outcome { file, name, differences, script } in outcomes {
        text += &format!("{} {file}: {name}\n", if differences.is_empty() { "ok  " } else { "FAIL" });
        for difference in differences {
            text += &format!("     {difference}\n");
        }
        for line in script.iter().flat_map(|script| script.lines()) {
            text += &format!("     | {line}\n");
        }
    }
    let passed = outcomes.iter().filter(|outcome| outcome.passed()).count();
    text + &format!("{passed} passed, {} failed\n", outcomes.len() - passed)
}

fn verdict(report: &Report) -> String {
    let stopped = match report.stopped {
        None => "",
        Some(Stopped::Faults) => "; it failed so often that no more was asked",
        Some(Stopped::Fuel) => "; it took so much work that not everything was asked",
    };
    let hint = match report.is_all_refusals() {
        true => "; it wired no pod: give it a configuration with --config",
        false => "",
    };
    let failed = report.faults().count();
    match failed {
        0 => format!("it passes{stopped}{hint}"),
        _ => format!("it FAILS in {failed} of {} situations{stopped}", report.rows.len()),
    }
}
