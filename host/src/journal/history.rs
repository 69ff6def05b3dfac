//! The leases of an earlier moment, as far as they follow from the journal and from what is on record now.
//!
//! Attachments are numbered in the order in which they were recorded, and a release tells the number that had been
//! given last: so it is known exactly which came before which, however many processes were at work. Whoever held
//! an address at a moment that the journal still knows either gave it back later, which the journal knows too, or
//! has it still. Not known are
//!
//! - of earlier boots: attachments whose decision the journal has dropped and that lasted until the boot's end;
//! - releases whose entry could not be written: the attachment counts as one that ended at once;
//! - releases by host-local, while its leases are taken over;
//! - addresses handed out and given back before the journal begins, which might have been the last of their block;
//! - how long addresses rest, to the second and by the wall clock, which may have been set meanwhile.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Decision, Entry, Fact, Facts, Outcome, Release, Time};
use crate::leases::{Attachment, Error, Holder, Intent, Range, Sequence, Steps, View};
use crate::plan::Checked;

/// What is on record now.
#[derive(Debug, Default)]
pub struct Present {
    /// Of this boot.
    pub boot: String,
    /// All of them.
    pub attachments: Vec<Attachment>,
}

/// Who held what, and when.
#[derive(Debug, Default)]
pub struct History {
    held: Vec<Held>,
    /// Of each address, who held it, or had it as a gateway.
    at: BTreeMap<IpAddr, Vec<Use>>,
}

/// One attachment's addresses, for as long as it was on record.
#[derive(Debug)]
struct Held {
    boot: String,
    sequence: Sequence,
    holder: Holder,
    addresses: Vec<IpAddr>,
    gateways: BTreeSet<IpAddr>,
    /// None: until the boot's end, or until now.
    end: Option<End>,
}

impl Held {
    fn boxed_holder(&self) -> Box<Holder> {
        Box::new(self.holder.clone())
    }
}

#[derive(Debug, Clone, Copy)]
struct End {
    after: Sequence,
    /// Until when its addresses rest, in seconds since 1970.
    rest_until: u64,
}

#[derive(Debug, Clone, Copy)]
struct Use {
    /// Whose.
    by: usize,
    is_gateway: bool,
}

type Known = BTreeMap<(String, Sequence), Held>;

impl History {
    /// What `present` holds must have been read before the entries were.
    pub fn new(entries: &[Entry<'_>], present: &Present) -> Self {
        let mut known = Known::new();
        for entry in entries {
            match entry {
                Entry::Decision(decision) => learn_decision(&mut known, decision),
                Entry::Release(release) => learn_release(&mut known, release),
                Entry::Change(_) => {}
            }
        }
        learn_present(&mut known, present);
        Self::indexed(known.into_values().collect())
    }

    fn indexed(held: Vec<Held>) -> Self {
        let mut at = BTreeMap::<IpAddr, Vec<Use>>::new();
        for (by, one) in held.iter().enumerate() {
            for address in &one.addresses {
                at.entry(*address).or_default().push(Use { by, is_gateway: false });
            }
            for gateway in &one.gateways {
                at.entry(*gateway).or_default().push(Use { by, is_gateway: true });
            }
        }
        Self { held, at }
    }
}

fn learn_decision(known: &mut Known, decision: &Decision<'_>) {
    let (Some(sequence), Outcome::Plan(plan)) = (decision.sequence, &decision.outcome) else { return };
    let key = (decision.boot.to_string(), sequence);
    known.entry(key).or_insert_with_key(|(boot, sequence)| {
        let request = &decision.request;
        let pod = request.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
        Held {
            boot: boot.clone(),
            sequence: *sequence,
            holder: Holder { network: request.network.clone(), attachment: request.attachment.clone(), pod },
            addresses: plan.addresses.iter().map(|address| address.prefix.addr()).collect(),
            gateways: Intent::gateways_of(plan),
            end: None,
        }
    });
}

fn learn_release(known: &mut Known, release: &Release) {
    let key = (release.boot.clone(), release.sequence);
    let held = known.entry(key).or_insert_with_key(|(boot, sequence)| Held {
        boot: boot.clone(),
        sequence: *sequence,
        holder: release.holder.clone(),
        addresses: release.addresses.clone(),
        gateways: release.gateways.iter().copied().collect(),
        end: None,
    });
    held.end =
        Some(End { after: release.after, rest_until: release.time.seconds.saturating_add(release.rest) });
}

fn learn_present(known: &mut Known, present: &Present) {
    let newest = present.attachments.iter().map(|attachment| attachment.sequence).max();
    let numbers: BTreeSet<Sequence> = present.attachments.iter().map(|there| there.sequence).collect();
    for attachment in &present.attachments {
        let key = (present.boot.clone(), attachment.sequence);
        known.entry(key).or_insert_with_key(|(boot, sequence)| Held {
            boot: boot.clone(),
            sequence: *sequence,
            holder: attachment.intent.holder(),
            addresses: attachment.intent.addresses().collect(),
            gateways: attachment.intent.gateways(),
            end: None,
        });
    }
    // What came later may be there by now.
    let looked_at = |held: &Held| held.boot == present.boot && Some(held.sequence) <= newest;
    for held in known.values_mut().filter(|held| held.end.is_none() && looked_at(held)) {
        if !numbers.contains(&held.sequence) {
            held.end = Some(End { after: held.sequence, rest_until: 0 });
        }
    }
}

/// How an address was used at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Held,
    Gateway,
}

/// The leases just before a decision: what it was told then, and where that was not asked, what follows from the
/// history.
pub(super) struct Moment {
    history: Arc<History>,
    boot: String,
    /// Before the attachment of this number was recorded.
    before: Sequence,
    time: Time,
    facts: Facts,
    unrecorded: Cell<u64>,
}

impl Moment {
    pub(super) fn new(history: &Arc<History>, decision: &Decision<'_>, before: Sequence) -> Self {
        Self {
            history: Arc::clone(history),
            boot: decision.boot.to_string(),
            before,
            time: decision.time,
            facts: decision.facts.clone(),
            unrecorded: Cell::new(0),
        }
    }

    /// How many questions were not asked then.
    pub(super) fn unrecorded(&self) -> u64 {
        self.unrecorded.get()
    }

    /// Why the plan could not have been recorded, if somebody else had what it needs.
    pub(super) fn conflict(&self, plan: &Checked) -> Option<Error> {
        let of_addresses = plan.addresses.iter().find_map(|address| self.in_the_way(address.prefix.addr()));
        of_addresses.or_else(|| {
            Intent::gateways_of(plan).into_iter().find_map(|gateway| match self.standing(gateway)? {
                (Standing::Held, held) => Some(Error::GatewayHeld { gateway, holder: held.boxed_holder() }),
                (Standing::Gateway, _) => None,
            })
        })
    }

    fn in_the_way(&self, address: IpAddr) -> Option<Error> {
        let (standing, held) = self.standing(address)?;
        let holder = held.boxed_holder();
        Some(match (standing, held.end) {
            (Standing::Gateway, _) => Error::AddressIsGateway { address },
            (Standing::Held, Some(end)) if !self.is_on_record(held) => {
                Error::AddressRests { address, holder, seconds: end.rest_until - self.time.seconds }
            }
            (Standing::Held, _) => Error::AddressHeld { address, holder },
        })
    }

    fn standing(&self, address: IpAddr) -> Option<(Standing, &Held)> {
        self.standing_of(self.history.at.get(&address)?)
    }

    fn standing_of<'h>(&'h self, uses: &[Use]) -> Option<(Standing, &'h Held)> {
        uses.iter().rev().find_map(|one| {
            let held = &self.history.held[one.by];
            match one.is_gateway {
                true => self.is_on_record(held).then_some((Standing::Gateway, held)),
                false => (self.is_on_record(held) || self.rests(held)).then_some((Standing::Held, held)),
            }
        })
    }

    fn was_recorded(&self, held: &Held) -> bool {
        held.boot == self.boot && held.sequence < self.before
    }

    fn is_on_record(&self, held: &Held) -> bool {
        self.was_recorded(held) && held.end.is_none_or(|end| end.after >= self.before)
    }

    fn rests(&self, held: &Held) -> bool {
        self.was_recorded(held) && held.end.is_some_and(|end| self.time.seconds < end.rest_until)
    }

    fn told<T>(&self, answer: impl Fn(&Fact) -> Option<T>) -> Option<T> {
        let told = self.facts.told.iter().find_map(answer);
        self.unrecorded.set(self.unrecorded.get() + u64::from(told.is_none()));
        told
    }

    /// Addresses in use among these positions, in order.
    fn used<'a>(
        &'a self,
        range: &'a Range,
        positions: RangeInclusive<u128>,
    ) -> impl Iterator<Item = (u128, Standing)> + 'a {
        let (first, last) = positions.into_inner();
        let used = self.history.at.range(range.at(first)..=range.at(last));
        used.filter_map(|(address, uses)| Some((range.position(*address)?, self.standing_of(uses)?.0)))
    }

    fn gap(&self, range: &Range, first: u128, last: u128, steps: &mut Steps) -> Result<Option<u128>, Error> {
        let mut candidate = first;
        for (position, _) in self.used(range, first..=last) {
            steps.take()?;
            if position > candidate {
                break;
            }
            if position == last {
                return Ok(None);
            }
            candidate = position + 1;
        }
        Ok(Some(candidate))
    }
}

impl View for Moment {
    fn holder_of(&self, asked: IpAddr, steps: &mut Steps) -> Result<Option<Holder>, Error> {
        steps.take()?;
        let told = self.told(|fact| match fact {
            Fact::HolderOf { address, holder } if *address == asked => Some(holder.clone()),
            _ => None,
        });
        let held = || match self.standing(asked)? {
            (Standing::Held, held) => Some(held.holder.clone()),
            (Standing::Gateway, _) => None,
        };
        Ok(told.unwrap_or_else(held))
    }

    fn first_free(
        &self,
        asked: IpNet,
        from: Option<IpAddr>,
        steps: &mut Steps,
    ) -> Result<Option<IpAddr>, Error> {
        let told = self.told(|fact| match fact {
            Fact::FirstFree { block, start, free } if (*block, *start) == (asked, from) => Some(*free),
            _ => None,
        });
        if let Some(free) = told {
            return Ok(free);
        }
        Range::usable(asked).first_free(from, |range, first, last| self.gap(range, first, last, steps))
    }

    fn last_taken(&self, asked: IpNet, steps: &mut Steps) -> Result<Option<IpAddr>, Error> {
        steps.take()?;
        let told = self.told(|fact| match fact {
            Fact::LastTaken { block, last } if *block == asked => Some(*last),
            _ => None,
        });
        if let Some(last) = told {
            return Ok(last);
        }
        let addresses = self.history.at.range(asked.network()..=asked.broadcast());
        let taken = addresses.flat_map(|(address, uses)| {
            let holders = uses.iter().filter(|one| !one.is_gateway).map(|one| &self.history.held[one.by]);
            holders.filter(|held| self.was_recorded(held)).map(move |held| (held.sequence, *address))
        });
        Ok(taken.max().map(|(_, address)| address))
    }

    fn taken(&self, asked: IpNet, steps: &mut Steps) -> Result<u64, Error> {
        let told = self.told(|fact| match fact {
            Fact::Taken { block, count } if *block == asked => Some(*count),
            _ => None,
        });
        if let Some(count) = told {
            return Ok(count);
        }
        let range = Range::whole(asked);
        let (first, last) = range.positions();
        let mut count = 0;
        for (_, standing) in self.used(&range, first..=last) {
            steps.take()?;
            count += u64::from(standing == Standing::Held);
        }
        Ok(count)
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
