//! Who is a member, and what is read of others.

use podwire_tests::etcd::Etcd;

use super::{Agent, Bench, address, client, hint, source};

const CLUSTER: &[&str] = &["10.244.0.0/16"];

#[test]
fn a_name_belongs_to_one_machine() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let settings = bench.settings();
        let mut first = Agent::start(source(&settings, hint(1, CLUSTER)));
        let pools = first.pools().await;
        let mut other = hint(1, CLUSTER);
        other.addresses = vec![address(77)];
        let (_, reason) = Agent::start(source(&settings, other)).lost().await;
        assert!(reason.contains("node1") && reason.contains("192.168.1.1:"), "{reason}");

        // The same machine: an agent that was killed and started anew, with one address more.
        let mut own = hint(1, CLUSTER);
        own.addresses.push(address(78));
        let mut second = Agent::start(source(&settings, own));
        assert_eq!(second.pools().await, pools);
        let (_, reason) = first.lost().await;
        assert!(reason.contains("another agent has written /podwire/nodes/node1"), "{reason}");
    });
}

#[test]
fn what_cannot_be_read_is_passed_over_and_named() {
    let Some(bench) = Bench::new(Etcd::open) else { return };
    bench.run(async {
        let mut client = client(&bench).await;
        for (key, value) in
            [("nodes/node7", "{}"), ("nodes/a/b", "{}"), ("blocks/x", "node8"), ("blocks/10.244.0.0/24", "")]
        {
            client.put(format!("/podwire/{key}"), value, None).await.expect("etcd answers");
        }
        let mut agent = Agent::start(source(&bench.settings(), hint(1, CLUSTER)));
        assert_eq!(*agent.sees(|_| true).await.peers, []);
        let remarks = agent.remarks();
        for key in ["nodes/node7", "nodes/a/b", "blocks/x", "blocks/10.244.0.0/24"] {
            assert!(remarks.iter().any(|remark| remark.contains(key)), "{key}: {remarks:?}");
        }
        assert_eq!(agent.pools().await, ["10.244.1.0/24"], "the other is somebody's");

        let record = r#"{"addresses": ["192.168.1.7"], "pools": ["10.244.7.0/24"]}"#;
        client.put("/podwire/nodes/node7", record, None).await.expect("etcd answers");
        agent.has_peers(&["node7"]).await;
        client.put("/podwire/nodes/node7", "nonsense", None).await.expect("etcd answers");
        agent.has_peers(&[]).await;
        client.delete("/podwire/nodes/node7", None).await.expect("etcd answers");
        agent
            .remarks
            .wait_for(|told| !told.iter().any(|remark| remark.contains("node7")))
            .await
            .expect("it runs");
    });
}
