//! What a policy costs: what comes before its first decision, and how many it takes in a second.
//!
//! Bounded in time and in count. Times are the machine's; fuel, memory and calls of the host are the policy's own.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Setting;
use super::report::Cost;
use super::situations::pod_of;
use crate::leases::Ledger;
use crate::plan::{AddRequest, check};
use crate::policy::{Engine, Error, Policy, Spent};

/// Decisions of each kind: of a policy that takes no time there would be millions.
const MOST_DECISIONS: u32 = 100_000;
/// Decisions of one instance: a policy that counts on a new one for each call need not give memory back.
const SERVED_AT_MOST: u32 = 1_000;

/// How often what comes before a decision is measured: the least of it counts.
const REPEATED: u32 = 5;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Of the component, in bytes.
    pub component: usize,
    /// Of its machine code, in bytes.
    pub code: usize,
    /// From the one to the other, in seconds.
    pub compile: f64,
    /// From machine code in memory to a policy, in seconds.
    pub load: f64,
    /// From a policy to an instance of it, in seconds.
    pub instantiate: f64,
    /// By one instance, again and again.
    pub warm: Rate,
    /// Each by an instance of its own, as in a call of a runtime.
    pub fresh: Rate,
    /// Of a decision by a fresh instance.
    pub cost: Cost,
    /// Whether it was a plan that keeps every rule; else why not.
    pub answer: Result<(), String>,
}

/// Decisions in a time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rate {
    /// How many.
    pub decisions: u32,
    /// In how many seconds.
    pub seconds: f64,
}

impl Rate {
    /// Decisions per second.
    pub fn per_second(&self) -> f64 {
        f64::from(self.decisions) / self.seconds.max(f64::EPSILON)
    }
}

/// Measures a component, which is named like this in errors, for about so long, beside what compiling it takes.
pub fn bench(
    engine: &Engine,
    (component, label): (&[u8], &str),
    setting: &Setting,
    time: Duration,
) -> Result<Measured, Error> {
    crate::policy::inspect(component)?.check()?;
    let (code, compile) = timed(|| engine.machine_code(component));
    let code = code?;
    let loads = || timed(|| engine.load_machine_code(&code, label));
    let (policy, load) = least(loads)?;
    let (_, instantiate) = least(|| timed(|| policy.instantiate()))?;
    let request = pod_of(setting, "web");
    Ok(Measured {
        component: component.len(),
        code: code.size(),
        compile,
        load,
        instantiate,
        warm: warm(&policy, &request, time / 2)?,
        fresh: rate(time / 2, || once(&policy, &request).map(drop))?,
        cost: Cost::of("add", &[once(&policy, &request)?.1]),
        answer: once(&policy, &request)?.0,
    })
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = Instant::now();
    let done = work();
    (done, before.elapsed().as_secs_f64())
}

fn least<T>(mut work: impl FnMut() -> (Result<T, Error>, f64)) -> Result<(T, f64), Error> {
    let (first, mut least) = work();
    for _ in 1..REPEATED {
        let (done, time) = work();
        drop(done?);
        least = least.min(time);
    }
    Ok((first?, least))
}

fn warm(policy: &Policy, request: &AddRequest, time: Duration) -> Result<Rate, Error> {
    let (mut instance, leases, mut served) = (policy.instantiate()?, Ledger::new(), 0);
    rate(time, || {
        if served == SERVED_AT_MOST {
            (instance, served) = (policy.instantiate()?, 0);
        }
        served += 1;
        instance.add(request, leases.clone()).0.map(drop)
    })
}

/// A decision by an instance of its own, and what it cost.
fn once(policy: &Policy, request: &AddRequest) -> Result<(Result<(), String>, Spent), Error> {
    let mut instance = policy.instantiate()?;
    let answer = match instance.add(request, Ledger::new()).0? {
        Ok(plan) => check::add(request, plan).map(drop).map_err(|broken| broken.to_string()),
        Err(refusal) => Err(refusal.message),
    };
    Ok((answer, instance.spent()))
}

fn rate(time: Duration, mut decide: impl FnMut() -> Result<(), Error>) -> Result<Rate, Error> {
    let (before, mut decisions) = (Instant::now(), 0);
    loop {
        decide()?;
        decisions += 1;
        let seconds = before.elapsed();
        if seconds >= time || decisions == MOST_DECISIONS {
            return Ok(Rate { decisions, seconds: seconds.as_secs_f64() });
        }
    }
}
