//! `podwire explain`.

mod words;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::journal::{Story, heading, pod};
use crate::journal::{Change, Decision, Entry, Release};
use crate::leases::Attachment;
use crate::names::{AttachmentId, InterfaceName};
use crate::plan::AddRequest;
use crate::state::State;
use words::{line, tell_decision, tell_now, tell_only_on_record};

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
        let all: Vec<String> = chapters.iter().map(Chapter::told).collect();
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

    fn told(&self) -> String {
        let mut text = String::new();
        match (self.decision, self.on_record) {
            (Some(decision), _) => tell_decision(&mut text, decision, self.change),
            (None, Some(there)) => tell_only_on_record(&mut text, there),
            (None, None) => {}
        }
        tell_now(&mut text, self);
        for decision in &self.earlier {
            line(&mut text, 0, format_args!("earlier: {}: {}", heading(decision), decision.outcome));
        }
        text
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
