//! podwire's own folders, settings and policy.

use super::super::facts::Facts;
use super::super::finding::Finding;
use super::or_ok;

const DIRECTORIES: &str = "folders";
const SETTINGS: &str = "settings";
const POLICY: &str = "policy";

pub(super) fn directories(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for directory in &facts.directories {
        if let Some(distrust) = &directory.distrusted {
            let finding = Finding::wrong(DIRECTORIES, distrust.why.clone());
            findings.push(distrust.command.iter().fold(finding, Finding::mended_by));
        }
        if directory.exists && directory.volatile && !directory.in_memory {
            let found = format!("{} is on a disk: each ADD waits for it", directory.path.display());
            findings.push(
                Finding::warning(DIRECTORIES, found)
                    .advised("mount a tmpfs at /run, as every init system does"),
            );
        }
    }
    or_ok(findings, || {
        let names: Vec<_> = facts.directories.iter().map(|it| it.path.display().to_string()).collect();
        Finding::ok(DIRECTORIES, format!("nobody but root can write to {}", names.join(", ")))
    })
}

pub(super) fn settings(facts: &Facts) -> Vec<Finding> {
    let settings = &facts.settings;
    let wrong = |problem: &String| Finding::wrong(SETTINGS, problem.clone());
    or_ok(settings.problems.iter().map(wrong).collect(), || match settings.sound.as_slice() {
        [] => Finding::warning(
            SETTINGS,
            "nobody has said which pods are this node's: it takes podwire's example blocks",
        )
        .advised("write `pools` and `cluster` into node.json, or have the agent learn them from its source"),
        files => {
            let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            Finding::ok(SETTINGS, format!("{} can be used", names.join(", ")))
        }
    })
}

pub(super) fn policy(facts: &Facts) -> Vec<Finding> {
    let (policy, podwire) = (&facts.policy, &facts.podwire);
    vec![match &policy.problem {
        Some(problem) => Finding::wrong(POLICY, problem.clone()).advised(format!(
            "`{podwire} policy list` shows what is installed, and node.json says which is asked"
        )),
        None if policy.compiled => {
            Finding::ok(POLICY, format!("{} is compiled for this podwire", policy.name))
        }
        None => {
            let found =
                format!("{} is not compiled for this podwire yet: the first ADD waits for that", policy.name);
            Finding::warning(POLICY, found).mended_by(format!("{podwire} node plan >/dev/null"))
        }
    }]
}
