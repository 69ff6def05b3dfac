//! `podwire explain`.

use std::fmt::{Display, Write as _};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::journal::{Story, heading, pod};
use crate::journal::{Change, Decision, Entry, Fact, Outcome, Release};
use crate::leases::Attachment;
use crate::names::{AttachmentId, InterfaceName};
use crate::plan::{AddRequest, script};
use crate::state::State;

#[derive(Args)]
pub(super) struct Arguments {
    /// The pod, as NAMESPACE/NAME or NAME in the namespace "default", or a container's ID.
    pod: String,
    /// Only this interface of the container.
    #[arg(long)]
    ifname: Option<InterfaceName>,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

/// Exit codes: 0 something is known, 1 nothing is.
pub(super) fn run(state: &State, arguments: &Arguments) -> Result<ExitCode> {
    let story = Story::read(state)?;
    story.tell_notes();
    let chapters = chapters(&story, arguments);
    if chapters.is_empty() {
        bail!(
            "{} is neither in the journal nor on record: the plugin was never asked for it here",
            arguments.pod
        );
    }
    if arguments.json {
        let all: Vec<Value> = chapters.iter().map(Chapter::to_json).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        let all: Vec<String> = chapters.iter().map(Chapter::to_string).collect();
        print!("{}", all.join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is known of one interface: the last that was decided for it, and what was before.
struct Chapter<'a> {
    attachment: &'a AttachmentId,
    decision: Option<&'a Decision<'static>>,
    /// By which the version that decided came to.
    change: Option<&'a Change>,
    on_record: Option<&'a Attachment>,
    release: Option<&'a Release>,
    earlier: Vec<&'a Decision<'static>>,
}

/// An interface of one pod in one network is one story, whatever the containers were.
fn chapters<'a>(story: &'a Story, arguments: &Arguments) -> Vec<Chapter<'a>> {
    let wanted = |id: &AttachmentId, pod: Option<&str>| {
        let is_named = id.container_id.as_str() == arguments.pod || pod == Some(&full_name(&arguments.pod));
        is_named && arguments.ifname.as_ref().is_none_or(|ifname| id.ifname == *ifname)
    };
    let mut chapters = Vec::<Chapter<'a>>::new();
    for decision in story.decisions().rev() {
        let request = &decision.request;
        if !wanted(&request.attachment, pod(request).as_deref()) {
            continue;
        }
        let same = chapters.iter_mut().find(|chapter| chapter.is_of(request));
        match same {
            Some(chapter) => chapter.earlier.push(decision),
            None => chapters.push(Chapter::of(story, decision)),
        }
    }
    for there in &story.present.attachments {
        let known = chapters.iter().any(|chapter| chapter.attachment == &there.intent.attachment);
        if !known && wanted(&there.intent.attachment, there.intent.holder().pod.as_deref()) {
            chapters.push(Chapter::only_on_record(there));
        }
    }
    chapters
}

fn full_name(pod: &str) -> String {
    if pod.contains('/') { pod.to_owned() } else { format!("default/{pod}") }
}

impl<'a> Chapter<'a> {
    fn of(story: &'a Story, decision: &'a Decision<'static>) -> Self {
        let is_same = |boot: &str, sequence| *boot == *decision.boot && Some(sequence) == decision.sequence;
        let on_record = story
            .present
            .attachments
            .iter()
            .find(|attachment| is_same(&story.present.boot, attachment.sequence));
        let releases = story.entries.iter().filter_map(|entry| match entry {
            Entry::Release(release) => Some(release),
            _ => None,
        });
        Self {
            attachment: &decision.request.attachment,
            decision: Some(decision),
            change: change(story, decision),
            on_record,
            release: releases.into_iter().find(|release| is_same(&release.boot, release.sequence)),
            earlier: Vec::new(),
        }
    }

    fn only_on_record(attachment: &'a Attachment) -> Self {
        Self {
            attachment: &attachment.intent.attachment,
            decision: None,
            change: None,
            on_record: Some(attachment),
            release: None,
            earlier: Vec::new(),
        }
    }

    fn is_of(&self, request: &AddRequest) -> bool {
        let of_same_pod = |known: &AddRequest| {
            let same_container = known.attachment.container_id == request.attachment.container_id;
            (same_container || pod(known).is_some() && pod(known) == pod(request))
                && known.attachment.ifname == request.attachment.ifname
                && known.network == request.network
        };
        self.decision.is_some_and(|decision| of_same_pod(&decision.request))
    }

    fn to_json(&self) -> Value {
        json!({
            "attachment": self.attachment,
            "decision": self.decision,
            "inForceSince": self.change,
            "onRecord": self.on_record,
            "release": self.release,
            "earlier": self.earlier,
        })
    }

    fn to_string(&self) -> String {
        let mut text = String::new();
        match (self.decision, self.on_record) {
            (Some(decision), _) => tell_decision(&mut text, decision, self.change),
            (None, Some(there)) => tell_only_on_record(&mut text, there),
            (None, None) => {}
        }
        self.tell_now(&mut text);
        for decision in &self.earlier {
            line(&mut text, 0, format_args!("earlier: {}: {}", heading(decision), decision.outcome));
        }
        text
    }

    fn tell_now(&self, text: &mut String) {
        match (self.on_record, self.release, self.decision) {
            (Some(there), ..) => {
                line(text, 0, format_args!("on record: as number {}, since then", there.sequence.0));
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
}

/// The last change that put the version in force before it decided.
fn change<'a>(story: &'a Story, decision: &Decision<'_>) -> Option<&'a Change> {
    story.entries.iter().rev().find_map(|entry| match entry {
        Entry::Change(change)
            if change.at <= decision.time
                && change.policy == *decision.policy
                && change.what.in_force() == Some(decision.digest)
                && change.network.as_ref().is_none_or(|network| *network == decision.request.network) =>
        {
            Some(change)
        }
        _ => None,
    })
}

fn line(text: &mut String, depth: usize, what: impl Display) {
    let _ = writeln!(text, "{:depth$}{what}", "", depth = 2 * depth);
}

fn tell_decision(text: &mut String, decision: &Decision<'_>, change: Option<&Change>) {
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

fn tell_only_on_record(text: &mut String, there: &Attachment) {
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
