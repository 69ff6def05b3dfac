//! Which blocks nodes get.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use etcd_client::{Client, DeleteOptions};
use podwire::agent::source::etcd::OwnHint;
use podwire::agent::source::{Board, Source};
use podwire::plan::Role;
use podwire_tests::etcd::Etcd;

use super::{Agent, Bench, client, expire, hint, reservations, source};

const CLUSTER: &[&str] = &["10.244.0.0/16", "fd00:10:244::/48"];

#[test]
fn a_hundred_nodes_at_once_share_no_block() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let settings = bench.settings();
        let mut agents: Vec<_> =
            (1..=100).map(|n| Agent::start(source(&settings, hint(n, CLUSTER)))).collect();
        let mut blocks = BTreeSet::new();
        for agent in &mut agents {
            let seen = agent.sees(|seen| seen.peers.len() == 99).await;
            assert_eq!(seen.own.pools.len(), 2, "one of each family");
            blocks.extend(seen.own.pools);
        }
        let expected = |n: u8| [format!("10.244.{n}.0/24"), format!("fd00:10:244:{n:x}::/64")];
        let expected: BTreeSet<_> =
            (0..100).flat_map(expected).map(|text| text.parse().expect("a block")).collect();
        assert_eq!(blocks, expected, "the lowest, each once");
    });
}

/// Killed before its first packet, after its last, and between: polls of its future are the steps that it takes.
#[test]
fn nodes_killed_at_any_step_neither_share_a_block_nor_lose_one() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let settings = bench.settings();
        let killed = (1..=60).map(|steps| {
            let mut source = source(&settings, hint(steps, CLUSTER));
            tokio::spawn(async move {
                let (board, posted) = Board::new();
                let mut told = posted.clone();
                // One that has its blocks waits for others, for ever if they are dead.
                tokio::select! {
                    () = kill_after(steps, source.follow(&board)) => (),
                    _ = told.changed() => (),
                }
                posted.borrow().as_ref().map(|membership| membership.own.pools.clone())
            })
        });
        let mut before = Vec::new();
        for task in killed.collect::<Vec<_>>() {
            before.push(task.await.expect("it did not panic"));
        }
        assert!(before.iter().any(Option::is_some) && before.iter().any(Option::is_none), "{before:?}");

        let mut agents: Vec<_> =
            (1..=60).map(|n| Agent::start(source(&settings, hint(n, CLUSTER)))).collect();
        let mut blocks = BTreeSet::new();
        for (agent, before) in agents.iter_mut().zip(before) {
            let own = agent.sees(|_| true).await.own;
            assert!(before.is_none_or(|pools| pools == own.pools), "it had other blocks before");
            blocks.extend(own.pools);
        }
        assert_eq!(blocks.len(), 120);
        assert_eq!(reservations(&mut client(&bench).await).await.len(), 120, "none is lost");
    });
}

/// Drops those agents that have not ended, and all that they left in etcd.
async fn end(client: &mut Client, agents: [Agent; 2]) {
    for agent in agents.into_iter().filter(|agent| !agent.task.is_finished()) {
        agent.stop().await;
    }
    client.delete("/podwire/", Some(DeleteOptions::new().with_prefix())).await.expect("etcd answers");
}

async fn kill_after<T>(steps: u8, future: impl Future<Output = T>) {
    let (mut future, mut left) = (pin!(future), steps);
    poll_fn(|context| match (left, future.as_mut().poll(context)) {
        (0, _) | (_, Poll::Ready(_)) => Poll::Ready(()),
        (_, Poll::Pending) => {
            left -= 1;
            Poll::Pending
        }
    })
    .await;
}

#[test]
fn a_node_that_returns_gets_its_block_and_a_new_one_does_not() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let (settings, mut client) = (bench.settings(), client(&bench).await);
        let mut first = Agent::start(source(&settings, hint(1, CLUSTER)));
        let pools = first.pools().await;
        let mut second = Agent::start(source(&settings, hint(2, CLUSTER)));
        second.has_peers(&["node1"]).await;
        first.stop().await;
        expire(&mut client, "node1").await;
        second.has_peers(&[]).await;

        let mut third = Agent::start(source(&settings, hint(3, CLUSTER)));
        assert_eq!(third.pools().await, ["10.244.2.0/24", "fd00:10:244:2::/64"]);
        let mut again = Agent::start(source(&settings, hint(1, CLUSTER)));
        assert_eq!(again.pools().await, pools);
        second.has_peers(&["node1", "node3"]).await;
    });
}

#[test]
fn without_a_free_block_that_of_a_node_long_gone_is_taken_over() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let (settings, mut client) = (bench.settings(), client(&bench).await);
        let start = |n| Agent::start(source(&settings, hint(n, &["10.244.0.0/23"])));
        let (mut first, mut second) = (start(1), start(2));
        let (block, _) = (second.pools().await, first.pools().await);
        let (_, reason) = start(3).lost().await;
        assert!(reason.contains("2 blocks of /24") && reason.contains("10.244.0.0/23"), "{reason}");

        let gone = second.stop().await;
        expire(&mut client, "node2").await;
        let mut third = start(3);
        assert_eq!(third.pools().await, block);
        assert!(third.remarks()[0].contains("was taken over from node2"), "{:?}", third.remarks());

        first.stop().await;
        expire(&mut client, "node1").await;
        let mut back = Agent::start(gone);
        assert_ne!(back.pools().await, block);
        let remarks = back.remarks();
        assert!(
            remarks.iter().any(|r| r.contains("is no longer this node's") && r.contains(&block[0])),
            "{remarks:?}"
        );
    });
}

#[test]
fn a_block_goes_to_its_node_or_to_the_next_never_to_both() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let (settings, mut client) = (bench.settings(), client(&bench).await);
        let start = |n| Agent::start(source(&settings, hint(n, &["10.244.0.0/24"])));
        for new in 2..12 {
            let mut old = start(new - 1);
            let block = old.pools().await;
            old.stop().await;
            expire(&mut client, &format!("node{}", new - 1)).await;
            let (mut both, mut won) = ([start(new - 1), start(new)], Vec::new());
            for agent in &mut both {
                // One that gets no block ends, and posts nothing.
                if agent.posted.wait_for(Option::is_some).await.is_ok() {
                    won.push(agent.pools().await);
                }
            }
            assert_eq!(won, [block]);
            end(&mut client, both).await;
        }
    });
}

/// Its old block, of which it may still have pods, is nobody's as long as it is a member, even if it cannot use it.
#[test]
fn nothing_is_taken_from_a_member() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let (settings, mut client) = (bench.settings(), client(&bench).await);
        let start = |n| Agent::start(source(&settings, hint(n, &["10.244.0.0/24"])));
        for new in 2..12 {
            let mut old = start(new - 1);
            old.pools().await;
            old.stop().await;
            let name = format!("node{}", new - 1);
            expire(&mut client, &name).await;
            let own = OwnHint { role: Role::Router, ..hint(new - 1, &[]) };
            let (mut router, mut taker) = (Agent::start(source(&settings, own)), start(new));
            router.pools().await;
            taker.posted.wait_for(Option::is_some).await.ok();
            let block = client.get("/podwire/blocks/10.244.0.0/24", None).await.expect("etcd answers");
            let member = client.get(format!("/podwire/nodes/{name}"), None).await.expect("etcd answers");
            let (block, member) = (&block.kvs()[0], &member.kvs()[0]);
            let was_before = block.mod_revision() < member.create_revision();
            assert!(block.value() == name.as_bytes() || was_before, "taken from a member");
            end(&mut client, [router, taker]).await;
        }
    });
}

#[test]
fn blocks_of_another_size_are_gone_round_and_named() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let mut settings = bench.settings();
        let mut first = Agent::start(source(&settings, hint(1, &["10.244.0.0/16"])));
        assert_eq!(first.pools().await, ["10.244.0.0/24"]);
        first.stop().await;
        settings["nodeBlock"] = serde_json::json!({ "ipv4": 26 });
        let mut second = Agent::start(source(&settings, hint(2, &["10.244.0.0/16"])));
        assert_eq!(second.pools().await, ["10.244.1.0/26"]);
        let mut again = Agent::start(source(&settings, hint(1, &["10.244.0.0/16"])));
        assert_eq!(again.pools().await, ["10.244.1.64/26"]);
        assert!(
            again.remarks()[0].contains("10.244.0.0/24 is reserved for this node"),
            "{:?}",
            again.remarks()
        );
    });
}

#[test]
fn a_router_is_a_member_without_a_block() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let own = OwnHint { role: Role::Router, ..hint(9, &[]) };
        let mut router = Agent::start(source(&bench.settings(), own));
        let mut host = Agent::start(source(&bench.settings(), hint(1, CLUSTER)));
        let seen = host.sees(|seen| seen.peers.len() == 1).await;
        assert_eq!((seen.peers[0].role, seen.peers[0].pools.len()), (Role::Router, 0));
        assert_eq!(router.pools().await, [""; 0]);
        assert_eq!(reservations(&mut client(&bench).await).await.len(), 2, "the host's");
    });
}
