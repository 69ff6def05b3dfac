//! What is known of an interface, in words.

use std::fmt::{Display, Write as _};

use serde_json::Value;

use super::Chapter;
use crate::cli::journal::heading;
use crate::journal::{Change, Decision, Fact, Outcome, Release, Time};
use crate::leases::Attachment;
use crate::plan::{AddRequest, script};

pub(super) fn line(text: &mut String, depth: usize, what: impl Display) {
    let _ = writeln!(text, "{:depth$}{what}", "", depth = 2 * depth);
}

pub(super) fn tell_decision(text: &mut String, decision: &Decision<'_>, change: Option<&Change>) {
    let attachment = &decision.request.attachment;
    line(text, 0, heading(decision));
    line(text, 1, format_args!("container {}", attachment.container_id));
    line(text, 0, "asked:");
    tell_request(text, &decision.request);
    line(text, 0, format_args!("decided by: policy {} ({})", decision.policy, decision.digest));
    match change {
        Some(change) => line(text, 1, format_args!("in force since {change}")),
        None => line(text, 1, "in force since before the journal begins, or because it came with podwire"),
    }
    line(
        text,
        1,
        format_args!(
            "it took {} µs, {} units of fuel and {} calls of the host",
            decision.microseconds, decision.fuel, decision.host_calls
        ),
    );
    line(text, 0, "it was told of the leases:");
    tell_facts(text, decision);
    line(text, 0, "it decided:");
    tell_outcome(text, &decision.outcome);
    if let Some(shadow) = &decision.shadow {
        line(text, 0, format_args!("its shadow would have decided otherwise: {shadow}"));
    }
}

fn tell_request(text: &mut String, request: &AddRequest) {
    if let Some(pod) = &request.pod {
        for (key, value) in &pod.annotations {
            line(text, 1, format_args!("annotation {key:?}: {value:?}"));
        }
    }
    for address in &request.requested_addresses {
        line(text, 1, format_args!("the address {address}"));
    }
    if let Some(mac) = request.requested_mac {
        line(text, 1, format_args!("the hardware address {mac}"));
    }
    match &request.range_sets {
        Some(sets) => {
            for set in sets {
                let ranges: Vec<_> =
                    set.iter().map(|range| format!("{}-{}", range.first, range.last)).collect();
                line(text, 1, format_args!("an address of {}", ranges.join(" or ")));
            }
        }
        None => line(text, 1, format_args!("addresses of the node's pools: {}", listed(&request.node.pools))),
    }
    for route in &request.requested_routes {
        line(text, 1, format_args!("a route to {}{}", route.destination, via(route.via)));
    }
    line(text, 1, format_args!("config: {}", shown(&request.config)));
}

/// JSON has its line breaks outside of strings; other control characters only in what is no JSON.
fn shown(config: &str) -> String {
    serde_json::from_str::<Value>(config).map_or_else(|_| format!("{config:?}"), |config| config.to_string())
}

fn listed(values: &[impl Display]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn via(next_hop: Option<impl Display>) -> String {
    next_hop.map(|next_hop| format!(" via {next_hop}")).unwrap_or_default()
}

fn tell_facts(text: &mut String, decision: &Decision<'_>) {
    if decision.facts.told.is_empty() && decision.facts.more == 0 {
        line(text, 1, "nothing: it did not ask");
    }
    let none = || "none".to_owned();
    for fact in &decision.facts.told {
        let sentence = match fact {
            Fact::HolderOf { address, holder } => {
                format!(
                    "who holds {address}: {}",
                    holder.as_ref().map_or("nobody".to_owned(), ToString::to_string)
                )
            }
            Fact::FirstFree { block, start, free } => {
                let from = start.map(|start| format!(" from {start} on")).unwrap_or_default();
                format!(
                    "the first free address of {block}{from}: {}",
                    free.map_or_else(none, |free| free.to_string())
                )
            }
            Fact::LastTaken { block, last } => {
                format!(
                    "the address of {block} that was given last: {}",
                    last.map_or_else(none, |last| last.to_string())
                )
            }
            Fact::Taken { block, count } => format!("how many addresses of {block} are held: {count}"),
        };
        line(text, 1, sentence);
    }
    if decision.facts.more > 0 {
        line(text, 1, format_args!("{} more answers are not recorded", decision.facts.more));
    }
}

fn tell_outcome(text: &mut String, outcome: &Outcome<'_>) {
    match outcome {
        Outcome::Plan(plan) => {
            // The first line is the interpreter's name.
            script::add(plan).lines().skip(1).for_each(|command| line(text, 1, command));
        }
        other => line(text, 1, other),
    }
}

fn tell_release(text: &mut String, release: &Release) {
    let rest = match release.rest {
        0 => String::new(),
        seconds => format!(", to rest for {seconds} s"),
    };
    let why = release.failure.as_ref().map(|why| format!(", because the pod could not be wired: {why}"));
    line(
        text,
        0,
        format_args!(
            "on record: no longer; {} given back {}{rest}{}",
            listed(&release.addresses),
            release.time.in_words(),
            why.unwrap_or_default()
        ),
    );
}

pub(super) fn tell_only_on_record(text: &mut String, there: &Attachment) {
    let intent = &there.intent;
    let who = intent.holder().pod.unwrap_or_else(|| intent.attachment.container_id.to_string());
    line(text, 0, format_args!("{who} ({} in network {})", intent.attachment.ifname, intent.network));
    line(
        text,
        1,
        "the journal does not know why: it has dropped the decision, or the attachment was taken over",
    );
    line(text, 0, format_args!("decided by: policy {} ({})", intent.policy, intent.digest));
    line(text, 0, "it decided:");
    script::add(&intent.plan).lines().skip(1).for_each(|command| line(text, 1, command));
}

/// What became of it, and how it stands now.
pub(super) fn tell_now(text: &mut String, chapter: &Chapter<'_>) {
    match (chapter.on_record, chapter.release, chapter.decision) {
        (Some(there), ..) => {
            let since = Time { seconds: there.since, nanoseconds: 0 }.in_words();
            line(text, 0, format_args!("on record: as number {}, since {since}", there.sequence.0));
        }
        (None, Some(release), _) => tell_release(text, release),
        (None, None, Some(decision)) if decision.sequence.is_some() => {
            line(
                text,
                0,
                "on record: no longer, and the journal does not know since when: the node has booted since, or a process was killed",
            );
        }
        _ => line(text, 0, "on record: nothing"),
    }
}
