//! What the battery found.

use std::fmt;

use serde::Serialize;

use crate::policy::{Spent, grouped, limits};

/// What a policy did in each situation, and what that cost.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// By setting, then in the order in which they were asked.
    pub rows: Vec<Row>,
    /// By export.
    pub costs: Vec<Cost>,
    /// Why not everything was asked.
    pub stopped: Option<Stopped>,
}

/// One situation, with one setting.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub situation: &'static str,
    /// The policy's configuration.
    pub config: String,
    /// Answers that keep every rule.
    pub answers: u32,
    /// Reasoned refusals.
    pub refusals: u32,
    /// Answers that the host refused because nobody could have given a better one.
    pub refused_by_host: u32,
    /// Answers that break a rule, and questions without one.
    pub faults: u32,
    /// The first fault, else the first refusal.
    pub example: Option<String>,
}

/// Why not everything was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stopped {
    /// It had failed often enough.
    Faults,
    /// It took too much work.
    Fuel,
}

/// What the questions to one export cost.
#[derive(Debug, Serialize)]
pub struct Cost {
    /// Which export.
    pub export: &'static str,
    /// How many questions.
    pub asked: usize,
    /// Units.
    pub fuel: Spread,
    /// Bytes of linear memory.
    pub memory: Spread,
    /// Calls of the host.
    pub host_calls: Spread,
}

/// The least, the middle one and the most of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The least.
    pub least: u64,
    /// As many are less as are more.
    pub median: u64,
    /// The most.
    pub most: u64,
    /// What it must not pass.
    pub limit: u64,
}

impl Spread {
    fn of(numbers: impl Iterator<Item = u64>, limit: u64) -> Self {
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        let at = |i: usize| numbers.get(i).copied().unwrap_or_default();
        let last = numbers.len().saturating_sub(1);
        Self { least: at(0), median: at(last / 2), most: at(last), limit }
    }
}

impl Cost {
    pub(super) fn of(export: &'static str, spent: &[Spent]) -> Self {
        Self {
            export,
            asked: spent.len(),
            fuel: Spread::of(spent.iter().map(|spent| spent.fuel), limits::FUEL),
            memory: Spread::of(spent.iter().map(|spent| spent.memory as u64), limits::MEMORY as u64),
            host_calls: Spread::of(
                spent.iter().map(|spent| spent.host_calls.into()),
                limits::HOST_CALLS.into(),
            ),
        }
    }
}

impl Row {
    pub(super) fn new(situation: &'static str, config: &str) -> Self {
        let (answers, refusals, refused_by_host, faults) = (0, 0, 0, 0);
        Self {
            situation,
            config: config.to_owned(),
            answers,
            refusals,
            refused_by_host,
            faults,
            example: None,
        }
    }

    pub(super) fn planned(&mut self) {
        self.answers += 1;
    }

    pub(super) fn refused(&mut self, message: &str) {
        self.refusals += 1;
        self.example.get_or_insert_with(|| message.to_owned());
    }

    pub(super) fn refused_by_host(&mut self, why: &impl fmt::Display) {
        self.refused_by_host += 1;
        self.example.get_or_insert_with(|| why.to_string());
    }

    pub(super) fn failed(&mut self, how: &impl fmt::Display) {
        if self.faults == 0 {
            self.example = Some(how.to_string());
        }
        self.faults += 1;
    }
}

impl Report {
    /// Whether the policy may become active.
    pub fn passed(&self) -> bool {
        self.faults().next().is_none()
    }

    /// Situations in which the policy failed, and how it did first.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let faults = self.rows.iter().filter(|row| row.faults > 0);
        faults.map(|row| (row.situation, row.example.as_deref().unwrap_or_default()))
    }

    /// Whether the policy never wired a pod: then little is known of it.
    pub fn is_all_refusals(&self) -> bool {
        self.rows.iter().all(|row| row.answers == 0 || row.situation.contains(':'))
    }
}

/// Bytes of a configuration, or of an example, in the table.
const SHOWN: usize = 100;

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, row) in self.rows.iter().enumerate() {
            if i == 0 || self.rows[i - 1].config != row.config {
                writeln!(f, "with the configuration {}", short(&row.config))?;
                writeln!(f, "  {:<34} {:>7} {:>7} {:>6}", "situation", "answers", "refused", "faults")?;
            }
            writeln!(f, "{row}")?;
        }
        if !self.costs.is_empty() {
            writeln!(f, "\n{:<25} {:>12} {:>12} {:>12} {:>12}", "cost", "least", "median", "most", "limit")?;
        }
        self.costs.iter().try_for_each(|cost| cost.fmt(f))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { situation, answers, refusals, refused_by_host, faults, .. } = self;
        write!(f, "  {situation:<34} {answers:>7} {:>7} {faults:>6}", refusals + refused_by_host)?;
        match &self.example {
            Some(example) => write!(f, "  {}", if *faults > 0 { example.clone() } else { short(example) }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spreads = [
            ("fuel", &self.fuel),
            ("bytes of memory", &self.memory),
            ("calls of the host", &self.host_calls),
        ];
        for (i, (what, Spread { least, median, most, limit })) in spreads.into_iter().enumerate() {
            let export = if i == 0 { self.export } else { "" };
            let [least, median, most, limit] = [least, median, most, limit].map(|number| grouped(*number));
            writeln!(f, "{export:<12} {what:<17} {least:>7} {median:>12} {most:>12} {limit:>12}")?;
        }
        Ok(())
    }
}
