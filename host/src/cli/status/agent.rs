//! What `podwire status` says of the node's agent, and of what that keeps true.

use anyhow::Result;

use super::super::count;
use crate::agent;
use crate::agent::record::{Kept, Record, Summary, Trouble};
use crate::agent::source::Standing;
use crate::journal::Time;
use crate::net;
use crate::state::State;

/// Says it; whether all is well. Of a node that never had an agent, and is not configured for one, nothing is said.
pub(super) fn say(state: &State) -> Result<bool> {
    let running = agent::running(state)?;
    let Some(record) = Record::read(state)? else {
        let is_missed = running.is_none() && state.agent_config().exists();
        if is_missed {
            println!("agent has never run: start `podwire node run`");
        }
        return Ok(!is_missed);
    };
    let runs = process(&record, running);
    let is_heard = source(&record);
    let is_planned = plan(&record);
    let is_true = kernel(state, &record)?;
    restored(&record);
    Ok(runs && is_heard && is_planned && is_true)
}

fn process(record: &Record, running: Option<String>) -> bool {
    match (&running, record.ended) {
        (Some(process), _) => println!("agent process {process} runs since {}", words(record.started)),
        (None, Some(ended)) => {
            println!(
                "agent was ended at {}, and nobody restores what others change: start `podwire node run`",
                words(ended)
            );
        }
        (None, None) => println!(
            "agent died, and nobody restores what others change: it was started at {}; start `podwire node run`",
            words(record.started)
        ),
    }
    running.is_some()
}

fn source(record: &Record) -> bool {
    let source = &record.source;
    match &record.standing {
        Standing::Asked { since } => {
            println!("source {source} was asked at {}, and has not answered", words(*since))
        }
        Standing::Heard { since } => println!("source {source} is heard since {}", words(*since)),
        Standing::Lost { why, since } => println!("source {source} is lost since {}: {why}", words(*since)),
    }
    if let Some(name) = &record.name {
        println!("members {name} and {}", count(record.peers, "peer"));
    }
    matches!(record.standing, Standing::Heard { .. })
}

fn plan(record: &Record) -> bool {
    match &record.plan {
        None => println!("plan none yet"),
        Some(Summary { policy, since, bridges, routes, tunnels }) => {
            let (bridges, routes) = (count(*bridges, "bridge"), count(*routes, "route"));
            let tunnels = if *tunnels { ", tunnels" } else { "" };
            println!("plan {bridges}, {routes}{tunnels} by policy {policy} since {}", words(*since));
        }
    }
    let troubles =
        [("policy has no plan", &record.undecided), ("network configuration is not kept", &record.conflist)];
    for (what, trouble) in &troubles {
        if let Some(Trouble { why, since }) = trouble {
            println!("{what} since {}: {why}", words(*since));
        }
    }
    record.plan.is_some() && troubles.iter().all(|(_, trouble)| trouble.is_none())
}

/// What is so now, not when the agent last looked.
fn kernel(state: &State, record: &Record) -> Result<bool> {
    let Some(Kept { node, plan, .. }) = Kept::read(state) else { return Ok(false) };
    let report = net::node::inspect(&plan, &node.cluster)?;
    for Trouble { why, since } in &record.failures {
        println!("failed since {}: {why}", words(*since));
    }
    for difference in &report.differences {
        println!("differs: {difference}");
    }
    for conflict in &report.conflicts {
        println!("in the way: {conflict}");
    }
    Ok(record.failures.is_empty() && report.differences.is_empty() && report.conflicts.is_empty())
}

fn restored(record: &Record) {
    for deed in &record.restored {
        println!("restored at {}: {}", words(deed.at), deed.what);
    }
}

fn words(time: Time) -> String {
    time.in_words()
}
