//! Debian's podman wires containers with podwire in the place of `bridge`: the same assertions hold before and after.

use std::collections::BTreeSet;
use std::net::IpAddr;

use podwire_tests::podman::Podman;
use podwire_tests::traffic::{SERVED, Surroundings, Wired};
use podwire_tests::{Chain, Node, Plugin, kernel};
use serde_json::{Value, json};

/// What libcni in podman 4.3 speaks at most.
const VERSION: &str = "0.4.0";

/// Debian's `bridge` and `portmap`, or podwire in the place of the one or of both. Five addresses for pods.
fn plugins(kind: &str, with_portmap: bool) -> Vec<Value> {
    let mut first = json!({
        "type": kind, "bridge": "br0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "ranges": [[{ "subnet": "10.88.0.0/29" }]], "routes": [{ "dst": "0.0.0.0/0" }]
        }
    });
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true });
    if with_portmap {
        vec![first, portmap]
    } else {
        first["capabilities"] = json!({ "portMappings": true });
        vec![first]
    }
}

fn list(plugins: &[Value]) -> Value {
    json!({ "cniVersion": VERSION, "name": "pods", "plugins": plugins })
}

/// Every address that is free, of which each is then held.
fn free(node: &Node, plugins: &[Value]) -> BTreeSet<IpAddr> {
    let chain = Chain::new(node, VERSION, &plugins[..1]);
    let add = |i| chain.try_add(&node.pod(&format!("free{i}"))).ok();
    let ip = |result: Value| {
        result["ips"][0]["address"].as_str().and_then(|ip| ip.split('/').next()?.parse().ok())
    };
    (0..).map_while(add).map(|result| ip(result).expect("an address")).collect()
}

/// Two containers, of which the first has a port of the node.
fn pair(podman: &Podman, name: &str, port: u16) -> [Wired; 2] {
    let published = format!("{port}:{SERVED}");
    let server = podman.run_container(&format!("{name}-server"), &["--publish", &published]);
    [server, podman.run_container(&format!("{name}-neighbour"), &["--cap-add", "NET_RAW"])]
}

fn remove_pair(podman: &Podman, name: &str) {
    podman.remove(&format!("{name}-server"));
    podman.remove(&format!("{name}-neighbour"));
}

fn assert_wired(surroundings: &Surroundings<'_>, port: u16, [server, neighbour]: &[Wired; 2]) {
    surroundings.assert_neighbours(&[server, neighbour]);
    surroundings.assert_masqueraded(server);
    surroundings.assert_published(port, server, neighbour);
}

#[test]
fn containers_are_wired_and_leave_nothing() {
    for plugins in [plugins("bridge", true), plugins("podwire", false)] {
        let Some(node) = Node::enter() else { return };
        let plugin = Plugin::under_test(&node);
        if plugins[0]["type"] == "podwire" && plugin.does_not_promise("to know podwire's name") {
            return;
        }
        let surroundings = Surroundings::of(&node);
        let podman = Podman::start(&node, &plugin, &list(&plugins));
        let all @ [server, neighbour] = &pair(&podman, "a", 8080);
        assert_wired(&surroundings, 8080, all);
        podman.exec("a-neighbour", &format!("ping -c 1 -W 5 {}", server.ip));

        remove_pair(&podman, "a");
        // The one to the outside.
        assert_eq!(kernel::veths(), 1, "{}", plugins[0]["type"]);
        let rules = kernel::run("nft", "list ruleset");
        let traces = [server.ip.to_string(), neighbour.ip.to_string(), "8080".to_owned()];
        assert!(!traces.iter().any(|trace| rules.contains(trace)), "{}: {rules}", plugins[0]["type"]);
        assert_eq!(free(&node, &plugins).len(), 5, "{}", plugins[0]["type"]);
    }
}

#[test]
fn a_node_changes_over_under_its_containers() {
    let Some(node) = Node::enter() else { return };
    let plugin = Plugin::under_test(&node);
    if plugin.does_not_promise("to take another plugin's containers over") {
        return;
    }
    let surroundings = Surroundings::of(&node);
    let podman = Podman::start(&node, &plugin, &list(&plugins("bridge", true)));
    let old = pair(&podman, "old", 8080);
    assert_wired(&surroundings, 8080, &old);

    // One word.
    podman.change_list(&list(&plugins("podwire", true)));
    let new = pair(&podman, "new", 8081);
    assert_wired(&surroundings, 8080, &old);
    assert_wired(&surroundings, 8081, &new);
    surroundings.assert_neighbours(&[&old[0], &new[0]]);
    // One of each is wired anew: the DEL goes to who did it first, the ADD to podwire.
    for (server, port, pair) in [("old-server", 8080, &old), ("new-server", 8081, &new)] {
        podman.reload(server);
        assert_wired(&surroundings, port, pair);
    }

    remove_pair(&podman, "old");
    surroundings.assert_closed(8080);
    assert_wired(&surroundings, 8081, &new);

    // And podwire alone.
    podman.change_list(&list(&plugins("podwire", false)));
    let last = podman.run_container("last", &["--publish", &format!("8082:{SERVED}")]);
    surroundings.assert_masqueraded(&last);
    surroundings.assert_published(8082, &last, &new[0]);
    surroundings.assert_published(8081, &new[0], &last);
    // Of five addresses three are held: those of the old containers have come back.
    let held = BTreeSet::from([new[0].ip, new[1].ip, last.ip]);
    let free = free(&node, &plugins("podwire", false));
    assert!(free.is_disjoint(&held) && free.len() == 2, "{free:?} are free beside {held:?}");
}
