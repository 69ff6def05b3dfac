//! The policy's part of an ADD: what would not be there if podwire decided by itself.
//!
//! Taken inside a process of its own for each time, as the plugin is one: what is slow only once is slow for
//! every pod.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use podwire::leases::Store;
use podwire::names::AttachmentId;
use podwire::plan::{AddRequest, Node};
use podwire::policy::Engine;
use podwire::registry::Registry;
use podwire::state::State;
use serde::{Deserialize, Serialize};

use super::Scale;
use crate::lab::Lab;
use crate::spawner::{Batch, Call};
use crate::statistics::median;
use crate::table::{Figures, Line, Mark};
use crate::variant::{BRIDGE, V4, Variant};

/// The argument by which this program is told to ask the policy once.
pub(crate) const ARGUMENT: &str = "share";

/// The time that each step took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Steps {
    engine: Duration,
    map: Duration,
    instantiate: Duration,
    decide: Duration,
}

pub(super) fn measure(lab: &mut Lab, variant: &Variant, scale: &Scale) -> Result<Vec<Line>> {
    let root = variant.state().lib.parent().context("the state has a root")?.display().to_string();
    let call = Call {
        namespace: variant.host.path().to_owned(),
        program: std::env::current_exe()?,
        arguments: vec![ARGUMENT.to_owned(), root],
        environment: Default::default(),
        input: String::new(),
    };
    let report = Batch { calls: vec![call; scale.calls], at_once: 1 }.run()?;
    let mut steps = Vec::new();
    for call in report.calls {
        match serde_json::from_str::<Steps>(&call.output) {
            Ok(taken) if call.exit == Some(0) => steps.push(taken),
            _ => lab.fail(format!("the policy was not asked: {}", call.output.trim())),
        }
    }
    let line = |what: &str, of: fn(&Steps) -> Duration| {
        let figure = median(&steps.iter().map(|steps| of(steps).as_secs_f64() * 1e3).collect::<Vec<_>>());
        Line::new(what, Figures { podwire: figure, ..Figures::default() })
    };
    let all = |steps: &Steps| steps.engine + steps.map + steps.instantiate + steps.decide;
    Ok(vec![
        line("the policy's share, ms", all).mark(Mark::AtMost(0.5)),
        line("  set wasmtime up", |steps| steps.engine),
        line("  map the code", |steps| steps.map),
        line("  instantiate", |steps| steps.instantiate),
        line("  decide", |steps| steps.decide),
    ])
}

/// Asks the default policy as an ADD does, with the state below that folder, in which a plugin has left the
/// compiled code; says how long it took.
pub(crate) fn main(root: &Path) -> Result<()> {
    let state = State::new(Some(root));
    let name = Default::default();
    let asked = question()?;
    let transaction = Store::open(&state.leases_dir())?.transaction()?;

    let begin = Instant::now();
    let engine = Engine::new()?;
    let ready = Instant::now();
    let registry = Registry::open(&state);
    let policy = registry.load(&engine, &registry.active(&name)?);
    let policy =
        policy.context("no code that this program can run: is the plugin built from this source?")?;
    let mapped = Instant::now();
    let mut instance = policy.instantiate()?;
    let instantiated = Instant::now();
    let (plan, _transaction) = instance.add(&asked, transaction);
    let decided = Instant::now();

    plan?.map_err(|refusal| anyhow!("the policy refused: {refusal:?}"))?;
    let steps = Steps {
        engine: ready - begin,
        map: mapped - ready,
        instantiate: instantiated - mapped,
        decide: decided - instantiated,
    };
    Ok(serde_json::to_writer(std::io::stdout().lock(), &steps)?)
}

fn question() -> Result<AddRequest> {
    let pool = vec![V4.parse()?];
    let attachment = AttachmentId { container_id: "asked-for".parse()?, ifname: "eth0".parse()? };
    Ok(AddRequest {
        network: "pods".parse()?,
        attachment,
        pod: None,
        node: Node { name: "node".to_owned(), addresses: Vec::new(), pools: pool.clone(), cluster: pool },
        requested_addresses: Vec::new(),
        range_sets: None,
        requested_routes: Vec::new(),
        operators_bridge: None,
        port_mappings: Vec::new(),
        bandwidth: None,
        requested_mac: None,
        config: serde_json::json!({ "bridge": BRIDGE }).to_string(),
    })
}
