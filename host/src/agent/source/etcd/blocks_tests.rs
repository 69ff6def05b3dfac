use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().expect("a block")
}

fn reserved(text: &str, owner: &str, revision: i64) -> Reservation {
    Reservation { text: text.to_owned(), block: net(text).trunc(), owner: owner.to_owned(), revision }
}

fn space(cluster: &[&str], length: u8) -> Space {
    let cluster: Vec<_> = cluster.iter().map(|text| net(text)).collect();
    Space::of_families(&cluster, |_| length).pop().expect("one family")
}

fn choose(space: &Space, reserved: &[Reservation], members: &[&str]) -> Result<Choice, Exhausted> {
    space.choose("own", reserved, &members.iter().copied().collect())
}

#[test]
fn the_first_node_gets_the_first_block() {
    assert_eq!(choose(&space(&["10.244.0.0/16"], 24), &[], &[]), Ok(Choice::Free(net("10.244.0.0/24"))));
    assert_eq!(choose(&space(&["fd00:1::/48"], 64), &[], &[]), Ok(Choice::Free(net("fd00:1::/64"))));
}

#[test]
fn a_node_that_returns_gets_its_block() {
    let own = reserved("10.244.7.0/24", "own", 3);
    assert_eq!(
        choose(&space(&["10.244.0.0/16"], 24), std::slice::from_ref(&own), &[]),
        Ok(Choice::Kept(own))
    );
}

#[test]
fn what_was_reserved_for_another_cluster_is_not_kept() {
    let space = space(&["10.244.0.0/16"], 24);
    for text in ["10.9.0.0/24", "10.244.0.0/25", "10.244.0.0/16", "fd00::/64", "10.244.0.9/24"] {
        let choice = choose(&space, &[reserved(text, "own", 1)], &[]);
        assert!(!matches!(choice, Ok(Choice::Kept(_))), "{text}: {choice:?}");
    }
}

#[test]
fn other_sizes_are_gone_round() {
    let taken = [reserved("10.244.0.128/25", "a", 1), reserved("10.244.2.0/23", "b", 2)];
    let space = space(&["10.244.0.0/16"], 24);
    assert_eq!(choose(&space, &taken, &[]), Ok(Choice::Free(net("10.244.1.0/24"))));
    let more = [&taken[..], &[reserved("10.244.1.0/24", "c", 3)]].concat();
    assert_eq!(choose(&space, &more, &[]), Ok(Choice::Free(net("10.244.4.0/24"))));
    assert!(matches!(choose(&space, &[reserved("0.0.0.0/0", "c", 3)], &[]), Err(Exhausted::Full { .. })));
}

#[test]
fn the_next_block_of_the_cluster_follows_the_first() {
    let space = space(&["10.9.0.0/24", "10.1.0.0/24"], 24);
    assert_eq!(choose(&space, &[], &[]), Ok(Choice::Free(net("10.1.0.0/24"))));
    let first = [reserved("10.1.0.0/24", "a", 1)];
    assert_eq!(choose(&space, &first, &[]), Ok(Choice::Free(net("10.9.0.0/24"))));
}

#[test]
fn the_ends_of_the_address_space_are_no_trap() {
    let v4 = space(&["255.255.255.0/24"], 25);
    let taken = [reserved("255.255.255.0/25", "a", 1), reserved("255.255.255.128/25", "b", 2)];
    assert_eq!(choose(&v4, &taken[..1], &[]), Ok(Choice::Free(net("255.255.255.128/25"))));
    assert!(choose(&v4, &taken, &["a", "b"]).is_err());
    let v6 = space(&["::/0"], 1);
    let taken = [reserved("::/1", "a", 1), reserved("8000::/1", "b", 2)];
    assert_eq!(choose(&v6, &taken[..1], &[]), Ok(Choice::Free(net("8000::/1"))));
    assert!(choose(&v6, &taken, &["a", "b"]).is_err());
}

#[test]
fn only_without_a_free_block_one_is_taken_over() {
    let space = space(&["10.1.0.0/23"], 24);
    let taken = [reserved("10.1.0.0/24", "younger", 9), reserved("10.1.1.0/24", "older", 4)];
    assert_eq!(choose(&space, &taken[..1], &[]), Ok(Choice::Free(net("10.1.1.0/24"))));
    assert_eq!(choose(&space, &taken, &[]), Ok(Choice::TakenOver(taken[1].clone())));
    assert_eq!(choose(&space, &taken, &["older"]), Ok(Choice::TakenOver(taken[0].clone())));
}

#[test]
fn a_full_cluster_says_its_numbers() {
    let space = space(&["10.1.0.0/23"], 24);
    let taken =
        [reserved("10.1.0.0/24", "a", 1), reserved("10.1.1.0/24", "b", 2), reserved("10.2.0.0/24", "c", 3)];
    let error = choose(&space, &taken, &["a", "b"]).expect_err("full").to_string();
    assert!(error.contains("10.1.0.0/23") && error.contains("2 blocks of /24"), "{error}");
    assert!(error.contains("2 are reserved"), "{error}");
    let error = choose(&self::space(&["10.1.0.0/25"], 24), &[], &[]).expect_err("too small").to_string();
    assert!(error.contains("no block of /24"), "{error}");
}

#[test]
fn each_family_of_the_cluster_is_asked_for() {
    let cluster = [net("fd00::/48"), net("10.1.0.0/16"), net("10.2.0.0/16")];
    let lengths: Vec<u8> =
        Space::of_families(&cluster, |block| if block.max_prefix_len() == 32 { 24 } else { 64 })
            .iter()
            .map(|space| space.length)
            .collect();
    assert_eq!(lengths, [24, 64]);
}

/// Blocks below one of few bits, of either family, so that a plain count is the measure.
fn small(family: bool, offset: u128, length: u8) -> IpNet {
    let text = if family { "10.1.0.0" } else { "fd00::" };
    let base = number(text.parse().expect("an address"));
    let (bits, top) = if family { (32, 24) } else { (128, 120) };
    let first = (base + (offset & 0xff)) & (!0 << (bits - top - u32::from(length)));
    let address: IpAddr = match family {
        true => IpAddr::V4(u32::try_from(first).expect("below 2^32").into()),
        false => IpAddr::V6(first.into()),
    };
    IpNet::new(address, u8::try_from(top).expect("small") + length).expect("a length")
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

proptest! {
    #[test]
    fn a_free_block_is_the_lowest_that_overlaps_nothing(
        family: bool,
        length in 1u8..=6,
        taken in proptest::collection::vec((0u128..256, 0u8..=8), 0..24),
    ) {
        let cluster = small(family, 0, 0);
        let space = Space::of_families(&[cluster], |block| block.prefix_len() + length).pop().expect("one");
        let taken: Vec<_> = taken
            .into_iter()
            .filter(|(_, length)| *length > 0)
            .map(|(offset, length)| reserved(&small(family, offset, length).to_string(), "other", 1))
            .collect();
        let mut all = cluster.subnets(cluster.prefix_len() + length).expect("it fits");
        let expected = all.find(|block| !taken.iter().any(|r| overlap(&r.block, block)));
        match choose(&space, &taken, &["other"]) {
            Ok(Choice::Free(block)) => prop_assert_eq!(Some(block), expected),
            Err(Exhausted::Full { .. }) => prop_assert_eq!(None, expected),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn nodes_that_come_and_go_never_overlap(
        family: bool,
        moves in proptest::collection::vec((0usize..12, 1u8..=4, any::<bool>()), 1..60),
    ) {
        let mut held: Vec<Reservation> = Vec::new();
        let mut members: Vec<String> = Vec::new();
        for (revision, (node, length, comes)) in (1i64..).zip(moves) {
            let name = format!("node{node}");
            members.retain(|member| *member != name);
            if !comes {
                continue;
            }
            let space = Space::of_families(&[small(family, 0, 0)], |c| c.prefix_len() + length).pop().expect("one");
            let present = members.iter().map(String::as_str).collect();
            if let Ok(choice) = space.choose(&name, &held, &present) {
                held.retain(|r| r.block != choice.block());
                prop_assert!(!held.iter().any(|r| overlap(&r.block, &choice.block())));
                held.push(reserved(&choice.block().to_string(), &name, revision));
                members.push(name);
            }
        }
    }
}
