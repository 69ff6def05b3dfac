//! The ledger in memory, held against the database: random histories must end alike in both.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{Ledger, Steps};
use super::*;
use crate::plan::AddRequest;
use crate::policy::testing::request;

/// Small ones that fill up, a part of another, and ones of which a walk must not see the others.
const BLOCKS: [&str; 6] =
    ["10.0.0.0/29", "10.0.0.4/30", "10.1.0.4/31", "10.0.0.0/8", "fd00::8/125", "fd00::/64"];

const ADDRESSES: [&str; 7] =
    ["10.0.0.1", "10.0.0.2", "10.0.0.5", "10.1.0.4", "fd00::9", "fd00::a", "192.0.2.1"];

#[derive(Debug, Clone)]
enum Step {
    Reserve { container: u8, interface: u8, address: usize, gateway: Option<usize> },
    Release { container: u8, rests: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reserve = (0..9u8, 0..9u8, 0..ADDRESSES.len(), prop::option::of(0..ADDRESSES.len()));
    let reserve = reserve.prop_map(|(container, interface, address, gateway)| Step::Reserve {
        container,
        interface,
        address,
        gateway,
    });
    let release = (0..9u8, any::<bool>()).prop_map(|(container, rests)| Step::Release { container, rests });
    prop::collection::vec(prop_oneof![3 => reserve, 1 => release], 1..40)
}

/// What the intent says, as a trial would have asked for it.
fn asked(intent: &Intent) -> AddRequest {
    let mut asked =
        AddRequest { attachment: intent.attachment.clone(), pod: intent.pod.clone(), ..request() };
    asked.node.pools.clone_from(&intent.pools);
    asked
}

/// Everything that a policy can ask, in words.
fn seen(view: &dyn View) -> Vec<String> {
    let mut seen = Vec::new();
    for block in BLOCKS.map(net) {
        let mut steps = Steps(1_000);
        for start in ADDRESSES.map(ip) {
            seen.push(format!("{:?}", view.first_free(block, Some(start), &mut steps)));
        }
        seen.push(format!(
            "{:?} {:?}",
            view.taken(block, &mut steps),
            view.first_free(block, None, &mut steps)
        ));
        seen.push(format!("{block}: {steps:?}"));
        // Of two steps, the walk of many rows has too few.
        seen.push(format!("{:?}", view.taken(block, &mut Steps(2)).map_err(|error| error.to_string())));
    }
    let holders = ADDRESSES.map(|address| format!("{:?}", view.holder_of(ip(address), &mut Steps(1))));
    seen.into_iter().chain(holders).collect()
}

fn take(scratch: &Scratch, ledger: &Ledger, step: &Step) {
    match step {
        Step::Reserve { container, interface, address, gateway } => {
            let mut intent = intent(&format!("c{container}"), &[ADDRESSES[*address]]);
            intent.plan.host_interface = format!("pw{interface}").parse().expect("a name");
            intent.plan.addresses[0].gateway = gateway.map(|gateway| ip(ADDRESSES[gateway]));
            let mut transaction = scratch.store.transaction_at(1).expect("open");
            let blocks =
                |view: &dyn View| BLOCKS.map(|block| view.last_taken(net(block), &mut Steps(1)).ok());
            assert_eq!(blocks(ledger), blocks(&transaction));
            let said = ledger.reserve(&asked(&intent), &intent.plan).map_err(|error| kind(&error));
            let expected = transaction.reserve(intent).map(drop).map_err(|error| kind(&error));
            assert_eq!(said, expected);
            if expected.is_ok() {
                transaction.commit().expect("committed");
            }
        }
        Step::Release { container, rests } => {
            let id = id(&format!("c{container}"));
            let mut transaction = scratch.store.transaction_at(1).expect("open");
            let on_record = transaction.attachment(&id).expect("readable");
            let addresses: Vec<_> = on_record.iter().flat_map(|there| there.intent.addresses()).collect();
            assert_eq!(ledger.release(&id, *rests), addresses);
            let Some(there) = on_record else { return };
            let rest = if *rests { Duration::from_secs(60) } else { Duration::ZERO };
            let _ = transaction.release(&id, there.sequence, rest).expect("possible");
            transaction.commit().expect("committed");
        }
    }
}

/// The variant: what else an error says depends on clocks and counters.
fn kind(error: &Error) -> String {
    format!("{error:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_says_what_the_database_says(steps in steps()) {
        let (scratch, ledger) = (Scratch::new(), Ledger::new());
        for step in &steps {
            take(&scratch, &ledger, step);
            let transaction = scratch.store.transaction_at(1).expect("open");
            prop_assert_eq!(seen(&ledger), seen(&transaction));
        }
    }
}
