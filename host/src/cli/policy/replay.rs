//! `podwire policy replay`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::read;
use crate::cli::journal::{self, Story};
use crate::journal::{Again, Decided, Decision, Difference, Outcome, replay};
use crate::names::{Digest, NetworkName};
use crate::policy::{Engine, Policy};
use crate::registry::{Named, Registry};
use crate::state::State;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The candidate: a component's file, or an installed version as NAME (the last one) or NAME@DIGEST.
    candidate: String,
    /// Only the last N decisions.
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Only decisions for this network.
    #[arg(long, value_name = "NETWORK")]
    network: Option<NetworkName>,
    /// Decide with this `config` instead of the one of that time.
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// Decide with the version that decided then, too: it must decide the same.
    #[arg(long)]
    verify: bool,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

/// Exit codes: 0 the candidate treats everybody alike, 1 it does not.
pub(super) fn run(state: &State, registry: &Registry, arguments: &Arguments) -> Result<ExitCode> {
    let engine = Engine::new()?;
    let candidate = candidate(registry, &engine, &arguments.candidate)?;
    let story = Story::read(state)?;
    story.tell_notes();
    let history = Arc::new(story.history());
    let decided = chosen(&story, arguments);
    let mut report = Report { json: arguments.json, ..Report::default() };
    let mut deciders =
        arguments.verify.then(|| Deciders { registry, engine: &engine, known: BTreeMap::new() });
    for one in decided {
        let again = replay(&candidate, arguments.config.as_deref(), &history, one);
        report.add(one.decision, &again);
        if let Some(deciders) = &mut deciders {
            report.verify(
                one.decision,
                deciders.of(one.decision).map(|then| replay(then, None, &history, one)),
            );
        }
    }
    report.finish()
}

fn chosen<'a>(story: &'a Story, arguments: &Arguments) -> Vec<Decided<'a>> {
    let mut decided = Decided::all(&story.entries);
    decided.retain(|one| {
        arguments.network.as_ref().is_none_or(|network| one.decision.request.network == *network)
    });
    let all = decided.len();
    decided.split_off(all - arguments.last.unwrap_or(all).min(all))
}

/// A file of that name goes before a policy.
fn candidate(registry: &Registry, engine: &Engine, candidate: &str) -> Result<Policy> {
    let path = Path::new(candidate);
    if path.exists() {
        let policy = engine.load_component(&read(path)?, candidate);
        return policy.with_context(|| format!("{candidate} cannot be a policy"));
    }
    let named: Named = candidate.parse().map_err(|why: String| {
        anyhow::anyhow!("{candidate} is no file, and no installed policy is called so: {why}")
    })?;
    Ok(registry.load_unsaved(engine, &registry.find(&named)?)?)
}

/// The versions that decided, as far as they are still installed.
struct Deciders<'a> {
    registry: &'a Registry,
    engine: &'a Engine,
    known: BTreeMap<Digest, Option<Policy>>,
}

impl Deciders<'_> {
    fn of(&mut self, decision: &Decision<'_>) -> Option<&Policy> {
        let load = || {
            let installed = self.registry.installed(&decision.policy, decision.digest).ok()?;
            self.registry.load_unsaved(self.engine, &installed).ok()
        };
        self.known.entry(decision.digest).or_insert_with(load).as_ref()
    }
}

/// What is said of all decisions, and in JSON of each.
#[derive(Default)]
struct Report {
    json: bool,
    differing: Vec<Value>,
    decided: u64,
    same: u64,
    refused: u64,
    failed: u64,
    fuel_then: u128,
    fuel_now: u128,
    /// By the version that decided: decided the same, did not, is not installed any more.
    verified: [u64; 3],
}

impl Report {
    fn add(&mut self, decision: &Decision<'_>, again: &Again) {
        self.decided += 1;
        self.fuel_then += u128::from(decision.fuel);
        self.fuel_now += u128::from(again.fuel);
        self.refused += u64::from(matches!(again.outcome, Outcome::Refused(_)));
        self.failed += u64::from(matches!(again.outcome, Outcome::Failed(_)));
        let differences = again.differences(decision);
        if differences.is_empty() {
            self.same += 1;
        } else {
            self.tell(decision, again, &differences);
        }
    }

    fn tell(&mut self, decision: &Decision<'_>, again: &Again, differences: &[Difference]) {
        if self.json {
            self.differing.push(json!({
                "time": decision.time,
                "attachment": decision.request.attachment,
                "pod": journal::pod(&decision.request),
                "network": decision.request.network,
                "differences": differences,
                "unrecorded": again.unrecorded,
            }));
            return;
        }
        println!("{}", journal::heading(decision));
        for difference in differences {
            difference.to_string().lines().for_each(|line| println!("  {line}"));
        }
    }

    fn verify(&mut self, decision: &Decision<'_>, again: Option<Again>) {
        let differences = again.map(|again| again.differences(decision));
        let kind = differences.as_ref().map_or(2, |differences| usize::from(!differences.is_empty()));
        self.verified[kind] += 1;
        if kind == 1 {
            eprintln!(
                "podwire: {}: {} decides otherwise than it did: {}",
                journal::heading(decision),
                decision.digest,
                differences.iter().flatten().map(|one| one.field.clone()).collect::<Vec<_>>().join(", ")
            );
        }
    }

    fn finish(self) -> Result<ExitCode> {
        let differ = self.decided - self.same;
        let [fuel_then, fuel_now] =
            [self.fuel_then, self.fuel_now].map(|fuel| fuel / u128::from(self.decided.max(1)));
        let [verified, broken, gone] = self.verified;
        if self.json {
            let summary = json!({
                "differing": self.differing,
                "decided": self.decided, "same": self.same, "differ": differ,
                "refused": self.refused, "failed": self.failed,
                "fuelThen": self.fuel_then.to_string(), "fuelNow": self.fuel_now.to_string(),
                "verified": { "same": verified, "differ": broken, "gone": gone },
            });
            println!("{}", serde_json::to_string_pretty(&summary)?);
        } else {
            println!(
                "{} decided: {} the same, {differ} differ; of all, {} refused and {} failed",
                self.decided, self.same, self.refused, self.failed
            );
            println!("fuel for each: {fuel_then} then, {fuel_now} now");
            if verified + broken + gone > 0 {
                println!(
                    "by the version that decided: {verified} the same, {broken} differ, {gone} not installed any more"
                );
            }
        }
        if broken > 0 {
            bail!("{broken} decisions do not follow from what is recorded of them");
        }
        Ok(if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
