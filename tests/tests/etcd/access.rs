//! Whom etcd lets in, and whom the node trusts.

use etcd_client::{Certificate, Client, ConnectOptions, Identity, Permission, PermissionType, TlsOptions};
use podwire_tests::command::write_file;
use podwire_tests::etcd::Etcd;
use serde_json::{Value, json};

use super::{Agent, Bench, hint, source};

const CLUSTER: &[&str] = &["10.244.0.0/16"];

fn with(bench: &Bench, more: &Value) -> Value {
    let mut settings = bench.settings();
    let (all, more) = (settings.as_object_mut().expect("an object"), more.as_object().expect("an object"));
    all.extend(more.clone());
    settings
}

async fn refused(settings: &Value) -> String {
    Agent::start(source(settings, hint(1, CLUSTER))).lost().await.1
}

#[test]
fn both_sides_show_certificates() {
    let Some(bench) = Bench::new(Etcd::guarded) else { return };
    bench.run(async {
        let right = json!({ "ca": "/mnt/ca.pem", "certificate": "/mnt/node.pem", "key": "/mnt/node.key" });
        let mut agent = Agent::start(source(&with(&bench, &right), hint(1, CLUSTER)));
        assert_eq!(agent.pools().await, ["10.244.0.0/24"]);

        let stranger =
            json!({ "ca": "/mnt/ca.pem", "certificate": "/mnt/stranger.pem", "key": "/mnt/stranger.key" });
        for (wrong, named) in [
            (json!({ "ca": "/mnt/ca.pem" }), "ertificate"),
            (stranger, "ertificate"),
            (
                json!({ "ca": "/mnt/stranger.pem", "certificate": "/mnt/node.pem", "key": "/mnt/node.key" }),
                "UnknownIssuer",
            ),
            (json!({ "ca": "/mnt/etcd.key" }), "/mnt/etcd.key holds no CERTIFICATE"),
            (json!({ "ca": "/mnt/missing.pem" }), "/mnt/missing.pem cannot be read"),
        ] {
            let reason = refused(&with(&bench, &wrong)).await;
            assert!(reason.contains(named), "{wrong}: {reason}");
        }
    });
}

#[test]
fn users_have_passwords_and_rights() {
    let Some(bench) = Bench::new(Etcd::guarded) else { return };
    bench.run(async {
        let mut root = guard(&bench).await;
        write_file("/mnt/password", "sesame\n");
        write_file("/mnt/wrong", "mustard\n");
        let user = |file: &str| {
            let tls = json!({ "ca": "/mnt/ca.pem", "certificate": "/mnt/node.pem", "key": "/mnt/node.key" });
            let mut settings = with(&bench, &tls);
            settings["user"] = "podwire".into();
            settings["passwordFile"] = file.into();
            settings
        };
        let mut agent = Agent::start(source(&user("/mnt/password"), hint(1, CLUSTER)));
        assert_eq!(agent.pools().await, ["10.244.0.0/24"]);

        let reason = refused(&user("/mnt/wrong")).await;
        assert!(reason.contains("`passwordFile`"), "{reason}");
        let mut elsewhere = user("/mnt/password");
        elsewhere["prefix"] = "/other".into();
        let reason = refused(&elsewhere).await;
        assert!(reason.contains("--prefix=true /other/"), "{reason}");

        // All tokens of the user end with its password; the next request gets a new one.
        let mut other = Agent::start(source(&user("/mnt/password"), hint(2, CLUSTER)));
        other.has_peers(&["node1"]).await;
        root.user_change_password("podwire", "sesame").await.expect("root may");
        root.delete("/podwire/nodes/node1", None).await.expect("root may");
        other.posted.mark_unchanged();
        other.has_peers(&["node1"]).await;
        assert_eq!(agent.pools().await, ["10.244.0.0/24"]);
        agent.stop().await;
    });
}

/// Turns authentication on, with a user for the nodes: somebody who may do everything.
async fn guard(bench: &Bench) -> Client {
    let read = |file: &str| std::fs::read(file).expect("the test has made it");
    let identity = Identity::from_pem(read("/mnt/node.pem"), read("/mnt/node.key"));
    let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("/mnt/ca.pem"))).identity(identity);
    let options = ConnectOptions::new().with_tls(tls);
    let mut client = Client::connect([bench.server.url()], Some(options.clone())).await.expect("etcd runs");
    let all = Permission::new(PermissionType::Readwrite, "/podwire/").with_prefix();
    client.role_add("root").await.expect("everybody may");
    client.role_add("nodes").await.expect("everybody may");
    client.role_grant_permission("nodes", all).await.expect("everybody may");
    for (user, role) in [("root", "root"), ("podwire", "nodes")] {
        client.user_add(user, "sesame", None).await.expect("everybody may");
        client.user_grant_role(user, role).await.expect("everybody may");
    }
    client.auth_enable().await.expect("everybody may");
    let options = options.with_user("root", "sesame");
    Client::connect([bench.server.url()], Some(options)).await.expect("etcd runs")
}
