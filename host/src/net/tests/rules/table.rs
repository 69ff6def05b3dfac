use std::sync::Barrier;

use super::*;
use crate::plan::SpoofCheck;

/// A plan with everything.
fn whole(number: u8) -> Checked {
    let mut plan = bridged(number, &["10.244.1.0/24", "fd00:244:1::/64"]);
    plan.traffic.masquerade = except(&["10.244.0.0/16"]);
    plan.traffic.spoof_check = SpoofCheck { mac: true, address: true };
    let port = 8000 + u16::from(number);
    plan.traffic.port_mappings = vec![
        mapping(Protocol::Tcp, None, port, 80),
        mapping(Protocol::Udp, Some("192.168.1.11"), port, 53),
        mapping(Protocol::Sctp, Some("::"), port, 9),
    ];
    plan
}

#[test]
fn what_nobody_asks_for_makes_no_table() {
    isolated(|| {
        let plan = bridged(2, &["10.244.1.0/24"]);
        rules::apply(&plan).expect("nothing to do");
        rules::remove(&plan).expect("nothing to do");
        assert_eq!(differences(&plan), [""; 0]);
        assert!(ruleset().is_empty(), "{:?}", ruleset());
    });
}

#[test]
fn what_is_removed_leaves_no_element() {
    isolated(|| {
        let plans = [whole(2), whole(3), Checked { wiring: Wiring::Routed, ..whole(4) }];
        for plan in &plans {
            rules::apply(plan).expect("applied");
            assert_eq!(differences(plan), [""; 0]);
        }
        // Each has two addresses masqueraded; of each family a claim and two mappings; the interface twice, a hardware
        // address and two addresses checked.
        assert_eq!(elements(), plans.len() * 13);
        for (removed, plan) in plans.iter().enumerate() {
            rules::remove(plan).expect("removed");
            let left: Vec<_> = plans[removed + 1..].iter().map(differences).collect();
            assert!(left.iter().all(Vec::is_empty), "{left:?}");
            assert!(!differences(plan).is_empty());
            rules::remove(plan).expect("twice");
        }
        assert_eq!(elements(), 0);
        rules::remove_all().expect("removed");
        assert!(ruleset().is_empty(), "{:?}", ruleset());
        rules::remove_all().expect("twice");
        rules::remove(&plans[0]).expect("without a table");
    });
}

#[test]
fn what_somebody_removed_is_missed_and_does_not_keep_the_rest() {
    isolated(|| {
        let plan = whole(2);
        rules::apply(&plan).expect("applied");
        run("nft delete element inet podwire ports4 { tcp . 8002 }");
        run("nft flush chain bridge podwire spoof_prerouting");
        let expected = [
            "rules of the nftables chain bridge podwire spoof_prerouting: expected 2, found 0",
            "tcp port 8002 in the nftables set inet podwire ports4: expected present, found none",
        ];
        let mut found = differences(&plan);
        found.sort();
        assert_eq!(found, expected);
        rules::remove(&plan).expect("removed");
        assert_eq!(elements(), 0);
    });
}

#[test]
fn a_rule_in_anothers_place_is_missed() {
    isolated(|| {
        let mut plan = bridged(2, &["10.244.1.0/24"]);
        plan.traffic.masquerade = except(&["10.244.0.0/16"]);
        rules::apply(&plan).expect("applied");
        let shown = output("nft -a list table inet podwire");
        let last = shown.lines().rfind(|line| line.contains("masquerade fully-random")).expect("the rule");
        let chain = shown.split_whitespace().skip_while(|word| *word != "chain").nth(1).expect("a name");
        let handle = last.rsplit(' ').next().expect("a number");
        run(&format!("nft replace rule inet podwire {chain} handle {handle} accept"));
        let expected = format!(
            "rules of the nftables chain inet podwire {chain}: expected podwire's own, found another as number 6"
        );
        assert_eq!(differences(&plan), [expected]);
    });
}

#[test]
fn a_port_that_leads_to_another_pod_meanwhile_stays() {
    isolated(|| {
        let (old, mut new) = (whole(2), whole(3));
        new.traffic.port_mappings.clone_from(&old.traffic.port_mappings);
        rules::apply(&old).expect("applied");
        rules::remove(&old).expect("removed");
        rules::apply(&new).expect("applied");
        let difference = "tcp port 8002 in the nftables set inet podwire ports4: expected 10.244.1.2:80, found 10.244.1.3:80";
        assert!(differences(&old).contains(&difference.to_owned()), "{:?}", differences(&old));
        rules::remove(&old).expect("a late DEL");
        assert_eq!(differences(&new), [""; 0]);
    });
}

#[test]
fn many_at_once_make_one_table() {
    isolated(|| {
        for _ in 0..10 {
            let start = Barrier::new(8);
            scope(|scope| {
                for number in 2..10 {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        rules::apply(&whole(number)).expect("applied");
                    });
                }
            });
            for number in 2..10 {
                assert_eq!(differences(&whole(number)), [""; 0]);
            }
            rules::remove_all().expect("removed");
        }
    });
}

#[test]
fn others_tables_stay() {
    isolated(|| {
        run("nft add table inet stranger");
        run("nft add set inet stranger masquerade4 { type ipv4_addr; }");
        run("nft add element inet stranger masquerade4 { 10.244.1.2 }");
        let before = output("nft list ruleset");
        let plan = whole(2);
        rules::apply(&plan).expect("applied");
        rules::remove(&plan).expect("removed");
        rules::remove_all().expect("removed");
        assert_eq!(output("nft list ruleset"), before);
    });
}

/// An operator may save and restore the node's rules.
#[test]
fn nft_takes_what_it_shows() {
    isolated(|| {
        let plan = whole(2);
        rules::apply(&plan).expect("applied");
        let shown = output("nft list ruleset");
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(shown.as_bytes()).expect("written");
        rules::remove_all().expect("removed");
        run(&format!("nft -f {}", file.path().display()));
        assert_eq!(output("nft list ruleset"), shown);
        assert_eq!(differences(&plan), [""; 0]);
    });
}

#[test]
fn hundreds_of_ports_fit_and_go() {
    isolated(|| {
        let mut plan = bridged(2, &["10.244.1.0/24", "fd00:244:1::/64"]);
        plan.traffic.port_mappings = (1..=500).map(|port| mapping(Protocol::Tcp, None, port, port)).collect();
        rules::apply(&plan).expect("applied");
        assert_eq!(elements(), 1002);
        rules::remove(&plan).expect("removed");
        assert_eq!(elements(), 0);
        rules::remove(&plan).expect("a thousand are missing");
    });
}
