//! What happens to a node when etcd, the connection or the lease goes.

use etcd_client::Compare;
use etcd_client::{CompareOp, Txn, TxnOp, TxnOpResponse};
use podwire_tests::etcd::Etcd;
use serde_json::json;

use super::{Agent, Bench, client, expire, hint, source};

const CLUSTER: &[&str] = &["10.244.0.0/16"];

#[test]
fn a_lease_that_ran_out_is_renewed_with_the_same_block() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let mut client = client(&bench).await;
        let mut first = Agent::start(source(&bench.settings(), hint(1, CLUSTER)));
        let mut second = Agent::start(source(&bench.settings(), hint(2, CLUSTER)));
        let pools = first.pools().await;
        second.has_peers(&["node1"]).await;
        expire(&mut client, "node1").await;
        // The key comes back by itself, under another lease.
        loop {
            let is_there = Compare::version("/podwire/nodes/node1", CompareOp::Greater, 0);
            let txn = Txn::new().when([is_there]).and_then([TxnOp::get("/podwire/nodes/node1", None)]);
            let answer = client.txn(txn).await.expect("etcd answers");
            if let Some(TxnOpResponse::Get(found)) = answer.op_responses().first() {
                assert_eq!(found.kvs()[0].version(), 1, "it is a new key");
                break;
            }
        }
        second.has_peers(&["node1"]).await;
        assert_eq!(first.pools().await, pools);
        first.stop().await;
    });
}

#[test]
fn a_lease_is_renewed_before_it_runs_out() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let (mut settings, mut client) = (bench.settings(), client(&bench).await);
        settings["leaseSeconds"] = 4.into();
        let mut agent = Agent::start(source(&settings, hint(1, CLUSTER)));
        agent.pools().await;
        let found = client.get("/podwire/nodes/node1", None).await.expect("etcd answers");
        let lease = found.kvs()[0].lease();
        let mut least = i64::MAX;
        loop {
            let left = client.lease_time_to_live(lease, None).await.expect("etcd answers").ttl();
            assert!(left > 0, "it ran out");
            if left > least {
                break;
            }
            least = left;
        }
        agent.stop().await;
    });
}

#[test]
fn without_etcd_a_node_stays_what_it_is() {
    let Some(mut bench) = Bench::new(Etcd::open) else { return };
    let settings = bench.settings();
    let source = source(&settings, hint(1, CLUSTER));
    let (mut agent, pools) = bench.runtime.block_on(async {
        let mut agent = Agent::start(source);
        let pools = agent.pools().await;
        (agent, pools)
    });
    bench.server.kill();
    let (source, posted) = bench.runtime.block_on(async {
        agent.posted.mark_unchanged();
        let posted = agent.posted.clone();
        let (source, reason) = agent.lost().await;
        assert!(reason.contains("the connection to etcd at http://127.0.0.1:2379 ended"), "{reason}");
        let (source, reason) = Agent::start(source).lost().await;
        assert!(reason.contains("cannot be reached") && reason.contains("refused"), "{reason}");
        (source, posted)
    });
    assert!(!posted.has_changed().unwrap_or(false), "nothing was posted");
    bench.server.start();
    bench.run(async {
        let mut client = client(&bench).await;
        let before = client.get("/podwire/nodes/node1", None).await.expect("etcd answers");
        let mut agent = Agent::start(source);
        assert_eq!(agent.pools().await, pools);
        let after = client.get("/podwire/nodes/node1", None).await.expect("etcd answers");
        assert_eq!(before.kvs()[0].mod_revision(), after.kvs()[0].mod_revision(), "it was never away");
    });
}

#[test]
fn another_endpoint_helps_out() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let settings = json!({ "endpoints": ["http://127.0.0.1:1", bench.server.url()] });
        let mut agent = Agent::start(source(&settings, hint(1, CLUSTER)));
        assert_eq!(agent.pools().await, ["10.244.0.0/24"]);
    });
}
