//! A node of the measurement's own, its pods, and one run: every call made, in turn, and its outcome verified.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use podwire_tests::{Node, Pod, kernel};

use crate::spawner::{Batch, Measured, Report};
use crate::statistics::interleave;
use crate::variant::{Kind, Programs, Stack, Variant};

/// What must be gone after a DEL may go a little later than the DEL's answer comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where everything is measured. It ends with the process, however that ends.
pub(crate) struct Lab {
    node: Node,
    programs: Programs,
    pods: Vec<Pod>,
    random: fastrand::Rng,
    failures: Vec<String>,
}

/// The good calls of one variant in one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Its ADDs.
    pub(crate) add: Vec<Measured>,
    /// Its DELs.
    pub(crate) del: Vec<Measured>,
    /// From the first ADD's start to the last one's end, other variants' calls included.
    pub(crate) adding: Duration,
}

impl Sample {
    /// As one, with the calls of another run.
    pub(crate) fn extend(&mut self, other: Self) {
        self.add.extend(other.add);
        self.del.extend(other.del);
        self.adding += other.adding;
    }
}

/// One thing of every call.
pub(crate) fn each(calls: &[Measured], of: impl Fn(&Measured) -> f64) -> Vec<f64> {
    calls.iter().map(of).collect()
}

/// Wall time in milliseconds.
pub(crate) fn wall(call: &Measured) -> f64 {
    call.wall.as_secs_f64() * 1e3
}

/// Processor time in milliseconds.
pub(crate) fn cpu(call: &Measured) -> f64 {
    call.cpu.as_secs_f64() * 1e3
}

/// Whose turn it is, by number, and for which pod.
struct Turn {
    number: usize,
    pod: Pod,
}

/// A run whose ADDs are made.
pub(crate) struct Added<'v> {
    variants: Vec<&'v Variant>,
    before: Vec<Remains>,
    turns: Vec<Turn>,
    report: Report,
    at_once: usize,
}

impl Lab {
    /// On a node that was just entered.
    pub(crate) fn new(node: Node, programs: Programs) -> Self {
        let random = fastrand::Rng::with_seed(1);
        Self { node, programs, pods: Vec::new(), random, failures: Vec::new() }
    }

    /// A variant that has made its bridge, and whatever else it makes once, for its first pod.
    pub(crate) fn variant(&mut self, name: &str, kind: Kind, stack: Stack) -> Result<Variant> {
        self.warm(Variant::new(&self.node, name, kind, stack, &self.programs))
    }

    /// One whose pods are masqueraded.
    pub(crate) fn masquerading(&mut self, name: &str, kind: Kind) -> Result<Variant> {
        self.warm(Variant::new(&self.node, name, kind, Stack::V4, &self.programs).masquerading())
    }

    fn warm(&mut self, variant: Variant) -> Result<Variant> {
        self.round_trip(&[&variant], 2, 1)?;
        Ok(variant)
    }

    /// Of each variant `pods` ADDs, then as many DELs, in an order shuffled round by round. Samples come in the
    /// variants' order.
    pub(crate) fn compare(&mut self, variants: &[&Variant], pods: usize) -> Result<Vec<Sample>> {
        self.round_trip(variants, pods, 1)
    }

    /// As many ADDs of one variant, `at_once` at any time, then the DELs in the same way.
    pub(crate) fn burst(&mut self, variant: &Variant, pods: usize, at_once: usize) -> Result<Sample> {
        Ok(self.round_trip(&[variant], pods, at_once)?.remove(0))
    }

    /// The first pods, made when they are first needed: run after run uses them again.
    pub(crate) fn pods(&mut self, count: usize) -> Vec<Pod> {
        for number in self.pods.len()..count {
            self.pods.push(self.node.pod(&format!("pod-{number}")));
        }
        self.pods[..count].to_vec()
    }

    /// A pod that no run uses.
    pub(crate) fn pod_apart(&self, name: &str) -> Pod {
        self.node.pod(name)
    }

    /// The command for people.
    pub(crate) fn command(&self) -> &Path {
        &self.programs.command
    }

    /// Something went wrong that a figure does not show.
    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        self.failures.push(what.into());
    }

    /// Every failed call and every wrong outcome so far.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    fn round_trip(&mut self, variants: &[&Variant], pods: usize, at_once: usize) -> Result<Vec<Sample>> {
        let added = self.add_all(variants, pods, at_once)?;
        self.del_all(added)
    }

    /// The first half of a run: the ADDs, not yet verified, so that nothing else happens meanwhile.
    pub(crate) fn add_all<'v>(
        &mut self,
        variants: &[&'v Variant],
        rounds: usize,
        at_once: usize,
    ) -> Result<Added<'v>> {
        let pods = self.pods(variants.len() * rounds);
        let before = variants.iter().map(|variant| remains(variant)).collect::<Result<Vec<_>>>()?;
        let turn =
            |(number, round): (usize, usize)| Turn { number, pod: pods[number * rounds + round].clone() };
        let order = interleave(variants.len(), rounds, &mut self.random);
        let turns = order.into_iter().map(turn).collect::<Vec<_>>();
        let calls = turns.iter().map(|turn| variants[turn.number].add(&turn.pod)).collect();
        let report = Batch { calls, at_once }.run()?;
        Ok(Added { variants: variants.to_vec(), before, turns, report, at_once })
    }

    /// The second half: the ADDs are verified, everything is deleted, and nothing is left.
    pub(crate) fn del_all(&mut self, added: Added<'_>) -> Result<Vec<Sample>> {
        let Added { variants, before, mut turns, report, at_once } = added;
        let mut samples = vec![Sample { adding: report.wall, ..Sample::default() }; variants.len()];
        let result = |(turn, call): (&Turn, &Measured)| (turn.pod.container_id.clone(), call.output.clone());
        let results = turns.iter().zip(&report.calls).map(result).collect::<BTreeMap<_, _>>();
        self.sort_adds(&variants, &turns, report.calls, &mut samples);
        self.random.shuffle(&mut turns);
        let del = |Turn { number, pod }: &Turn| variants[*number].del(pod, &results[&pod.container_id]);
        let report = Batch { calls: turns.iter().map(del).collect(), at_once }.run()?;
        self.sort_dels(&variants, &turns, report.calls, &mut samples);
        for (variant, before) in variants.iter().zip(before) {
            self.expect_remains(variant, &before)?;
        }
        Ok(samples)
    }

    fn sort_adds(&mut self, of: &[&Variant], turns: &[Turn], calls: Vec<Measured>, to: &mut [Sample]) {
        let mut given = vec![BTreeSet::new(); of.len()];
        for (Turn { number, pod }, call) in turns.iter().zip(calls) {
            match verified(of[*number], pod, &call, &mut given[*number]) {
                Ok(()) => to[*number].add.push(call),
                Err(wrong) => {
                    self.fail(format!("{:?}, ADD of {}: {wrong}", of[*number].kind, pod.container_id));
                }
            }
        }
    }

    fn sort_dels(&mut self, of: &[&Variant], turns: &[Turn], calls: Vec<Measured>, to: &mut [Sample]) {
        for (Turn { number, pod }, call) in turns.iter().zip(calls) {
            if call.exit == Some(0) {
                to[*number].del.push(call);
            } else {
                let (kind, id, said) = (of[*number].kind, &pod.container_id, call.output.trim());
                self.fail(format!("{kind:?}, DEL of {id}: exit {:?}, {said}", call.exit));
            }
        }
    }

    /// Waits until links and records are again what they were.
    fn expect_remains(&mut self, variant: &Variant, before: &Remains) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = remains(variant)?;
            if now == *before {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.fail(format!("{:?} left something: {now:?} in place of {before:?}", variant.kind));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What a DEL must not leave more of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remains {
    veths: usize,
    on_record: Option<usize>,
}

/// Those of now.
fn remains(variant: &Variant) -> Result<Remains> {
    let veths = variant.host.run(kernel::veths);
    Ok(Remains { veths, on_record: variant.on_record()? })
}

/// Whether the answer is right, no other pod of the variant has an address of it, and the pod has them all.
fn verified(
    variant: &Variant,
    pod: &Pod,
    answer: &Measured,
    given: &mut BTreeSet<String>,
) -> Result<(), String> {
    let addresses = variant.addresses(answer)?;
    if let Some(twice) = addresses.iter().find(|address| !given.insert((*address).clone())) {
        return Err(format!("{twice} was given twice"));
    }
    let there = pod.namespace.run(|| kernel::addresses_of(&pod.ifname));
    match addresses.iter().find(|address| !there.iter().any(|one| one.to_string() == **address)) {
        Some(missing) => Err(format!("the pod does not have {missing}, but {there:?}")),
        None => Ok(()),
    }
}
