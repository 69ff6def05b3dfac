//! The specification's requirements as checks that are run against any CNI plugin.
//!
//! Plays the runtime towards a plugin of which it knows only a file and a configuration list. Each check has
//! a node of its own, so that none sees what another left. Takes answers as they are: neither podwire's
//! reading of CNI nor its plans and leases are known here, or the suite would share their mistakes.
//!
//! | module | owns |
//! | --- | --- |
//! | `checks` | what is required: the table of checks, by verb |
//! | `bench` | what a check works with: pods, the chain of plugins, what they answered |
//! | `subject` | the plugin, its configuration list, the versions it speaks |
//! | `call` | one call: environment, standard input, the end of it or of patience |
//! | `answer` | what a result says, in the words of each version |
//! | `kernel` | what is really there, and ways to disturb it |
//! | `isolation` | namespaces and mounts: nothing stays on the machine |
//! | `report` | what people, programs and CI servers read |

mod answer;
mod bench;
mod call;
mod checks;
mod isolation;
mod kernel;
mod report;
mod subject;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use bench::Bench;
use subject::Subject;

pub use isolation::{inside, outside};
pub use report::{Format, Report, list};

/// How binding a requirement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Of the specification, without a choice.
    Must,
    /// Of the specification, with a choice.
    Should,
    /// Of the reference library or of common use: not of the specification, but tools depend on it.
    Convention,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Convention => "convention",
        })
    }
}

/// One requirement, and how it is seen whether a plugin keeps it.
#[derive(Serialize)]
pub struct Check {
    /// The requirement's number, a dot, and the check's: `S2-6.1`.
    pub id: &'static str,
    /// The specification's heading, or the verb.
    pub heading: &'static str,
    /// How binding it is.
    pub level: Level,
    /// What holds if the plugin passes.
    pub title: &'static str,
    #[serde(skip)]
    run: fn(Bench<'_>) -> Verdict,
}

/// How a check ended, seen from inside.
type Verdict = Result<(), Stop>;

/// Why a check ended before its end.
#[derive(Debug)]
enum Stop {
    /// The plugin does not do what is required.
    Failed(Finding),
    /// The requirement does not concern this plugin, or cannot be seen at it.
    NotApplicable(String),
    /// The suite itself could not go on.
    Broken(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// What speaks against the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What should have been.
    pub expected: String,
    /// What was.
    pub seen: String,
    /// The last call before, and its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
}

/// The check fails.
fn failed<T>(expected: impl Into<String>, seen: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(Finding { expected: expected.into(), seen: seen.into(), call: None }))
}

/// The check fails unless it holds.
fn ensure(holds: bool, expected: impl Into<String>, seen: impl Into<String>) -> Verdict {
    if holds { Ok(()) } else { failed(expected, seen) }
}

/// The check says nothing of this plugin.
fn not_applicable<T>(because: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::NotApplicable(because.into()))
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The plugin keeps the requirement.
    Passed,
    /// It does not.
    Failed(Finding),
    /// It was not asked, or it cannot be seen.
    NotApplicable {
        /// Why.
        reason: String,
    },
    /// The suite could not go on; that says nothing good of the plugin either.
    Broken {
        /// Why.
        reason: String,
    },
}

/// What is to be checked.
pub struct Options {
    /// The plugin's executable.
    pub plugin: PathBuf,
    /// The configuration list in which it stands.
    pub list: PathBuf,
    /// How long one call may take.
    pub patience: Duration,
    /// The numbers of requirements or checks; empty: all.
    pub only: Vec<String>,
    /// podwire's `--root`, if it was given: the plugin gets it as PODWIRE_ROOT, with the policies in it.
    pub root: Option<PathBuf>,
}

/// The checks that were asked for.
pub fn select(only: &[String]) -> Result<Vec<&'static Check>> {
    let all = || checks::ALL.iter().copied().flatten();
    if let Some(unknown) = only.iter().find(|wanted| !all().any(|check| check.has(wanted))) {
        bail!("no requirement and no check has the number {unknown:?}: `podwire conform --list` shows them");
    }
    Ok(all().filter(|check| only.is_empty() || only.iter().any(|wanted| check.has(wanted))).collect())
}

impl Check {
    /// Whether this is its number, or that of its requirement.
    fn has(&self, number: &str) -> bool {
        self.id == number || self.id.split_once('.').is_some_and(|(requirement, _)| requirement == number)
    }
}

/// Runs the checks. The process is one that [`outside`] started and [`inside`] prepared.
pub fn run(options: &Options) -> Result<Report> {
    let checks = select(&options.only)?;
    let root = options.root.as_deref();
    let subject = isolation::on_a_node(root, || Subject::look_at(options))??;
    let mut report = Report::new(&subject);
    for check in checks {
        let begun = Instant::now();
        let outcome = isolation::on_a_node(root, || judge(check, &subject)).unwrap_or_else(broken);
        report.add(check, outcome, begun.elapsed());
    }
    Ok(report)
}

fn judge(check: &Check, subject: &Subject) -> Outcome {
    let notes = bench::Notes::default();
    match (check.run)(Bench::new(subject, &notes)) {
        Ok(()) => Outcome::Passed,
        Err(Stop::Failed(finding)) => Outcome::Failed(Finding { call: notes.last_call(), ..finding }),
        Err(Stop::NotApplicable(reason)) => Outcome::NotApplicable { reason },
        Err(Stop::Broken(error)) => broken(error),
    }
}

fn broken(error: anyhow::Error) -> Outcome {
    Outcome::Broken { reason: format!("{error:#}") }
}

/// How long the kernel may take over what it does after a call, such as taking a namespace apart.
const KERNEL_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_unique_and_name_their_requirement() {
        let all = select(&[]).expect("nothing was asked for by number");
        let ids: BTreeSet<_> = all.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), all.len());
        for check in all {
            let (requirement, number) = check.id.split_once('.').expect("requirement, dot, number");
            assert!(number.parse::<u32>().is_ok_and(|number| number > 0), "{}", check.id);
            assert_eq!(requirement.starts_with('C'), check.level == Level::Convention, "{}", check.id);
        }
    }

    #[test]
    fn a_requirement_stands_for_all_of_its_checks() {
        let of = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|&id| id.to_owned()).collect();
            select(&only).map(|checks| checks.iter().map(|check| check.id).collect::<Vec<_>>())
        };
        let whole = of(&["S2-6"]).expect("there is one");
        assert!(whole.len() > 1 && whole.iter().all(|id| id.starts_with("S2-6.")), "{whole:?}");
        assert_eq!(of(&["S2-6.1"]).expect("there is one"), ["S2-6.1"]);
        for unknown in ["S2", "S2-6.", "S2-6.99", "s2-6", ""] {
            let error = of(&["S2-6", unknown]).expect_err("no such number").to_string();
            assert!(error.contains(&format!("{unknown:?}")), "{error}");
        }
    }
}
