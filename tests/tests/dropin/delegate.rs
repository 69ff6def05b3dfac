//! Another plugin gives the addresses, and things go wrong.

use std::fs;

use podwire_tests::command::write_program;
use podwire_tests::{Chain, Plugin, kernel};
use serde_json::json;

use crate::{Node, address};

/// A plugin that gives addresses by itself, counted from 2, and writes down who holds which.
const POOL: &str = r#"#!/bin/sh
mkdir -p /run/pool
config=$(cat)
echo "$CNI_COMMAND ${CNI_CONTAINERID:-nobody} $(echo "$config" | grep -c '"ipam"')" >>/run/pool.calls
case $CNI_COMMAND in
ADD)
    i=2
    while ! mkdir "/run/pool/$i" 2>/dev/null; do i=$((i + 1)); done
    echo "$CNI_CONTAINERID" >"/run/pool/$i/holder"
    [ ! -e /run/pool.slow ] || { touch /run/pool.asked; while [ -e /run/pool.slow ]; do :; done; }
    echo "{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"10.99.0.$i/24\", \"gateway\": \"10.99.0.1\"}]}"
    ;;
DEL) rm -rf $(grep -lx "$CNI_CONTAINERID" /run/pool/*/holder 2>/dev/null | xargs -r dirname) ;;
esac
"#;

fn pool(node: &Node) -> Chain {
    Plugin::under_test(node).folder_with_its_name();
    write_program("/run/cni-bin/pool", POOL);
    let plugin = json!({ "type": "podwire", "bridge": "br0", "isGateway": true, "ipam": { "type": "pool" } });
    Chain::new(node, "1.1.0", &[plugin])
}

fn calls() -> Vec<String> {
    fs::read_to_string("/run/pool.calls").unwrap_or_default().lines().map(str::to_owned).collect()
}

fn is_held(number: u8) -> bool {
    fs::exists(format!("/run/pool/{number}")).expect("readable")
}

#[test]
fn a_second_add_takes_nothing_from_the_running_pod() {
    let Some(node) = Node::enter() else { return };
    let (chain, pod) = (pool(&node), node.pod("a"));
    let result = chain.add(&pod);
    assert_eq!(chain.try_add(&pod).expect_err("it is there").error().code, 104);
    assert!(is_held(2) && calls() == ["ADD container-a 1"], "{:?}", calls());
    chain.check(&pod, &result);
}

#[test]
fn a_delete_waits_for_the_plugin_that_is_being_asked() {
    let Some(node) = Node::enter() else { return };
    let (chain, pod) = (pool(&node), node.pod("a"));
    fs::File::create("/run/pool.slow").expect("made");
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| chain.try_add(&pod));
        kernel::eventually("the plugin is asked", || fs::exists("/run/pool.asked").expect("readable"));
        let deleting = scope.spawn(|| chain.del_saying(&pod, "{"));
        fs::remove_file("/run/pool.slow").expect("there");
        adding.join().expect("no panic").expect("wired");
        deleting.join().expect("no panic").done();
    });
    assert!(!is_held(2) && kernel::veths() == 0, "{:?}", calls());
}

#[test]
fn a_delete_needs_neither_the_plugin_nor_a_configuration() {
    let Some(node) = Node::enter() else { return };
    let (chain, pod) = (pool(&node), node.pod("a"));
    for stdin in ["{", r#"{"cniVersion": "9.9", "name": "pods"}"#, ""] {
        chain.add(&pod);
        chain.del_saying(&pod, stdin).done();
        assert!(!is_held(2), "the plugin hears of it, with the configuration of the ADD");
    }
    let result = chain.add(&pod);
    fs::remove_file("/run/cni-bin/pool").expect("there");
    chain.del(&pod, &result);
    chain.del(&node.pod("unknown"), &json!({ "cniVersion": "1.0.0" }));
    assert_eq!(kernel::veths(), 0);
}

#[test]
fn what_is_collected_is_given_back() {
    let Some(node) = Node::enter() else { return };
    let (chain, stays, goes) = (pool(&node), node.pod("stays"), node.pod("goes"));
    let kept = address(&chain.add(&stays), 0);
    chain.add(&goes);
    chain.gc(&[&stays]).done();
    assert_eq!((is_held(2), is_held(3), kept.to_string().as_str()), (true, false, "10.99.0.2"));
    assert!(calls().contains(&"DEL container-goes 1".to_owned()), "{:?}", calls());
    fs::remove_file("/run/cni-bin/pool").expect("there");
    chain.gc(&[]).error();
    assert_eq!(kernel::veths(), 0, "it goes on");
}

#[test]
fn a_plugin_that_gives_nothing_or_needs_the_interface_is_an_error() {
    let Some(node) = Node::enter() else { return };
    let (chain, pod) = (pool(&node), node.pod("a"));
    write_program("/run/cni-bin/pool", "#!/bin/sh\ncat >/dev/null\necho '{\"cniVersion\": \"1.0.0\"}'\n");
    let error = chain.try_add(&pod).expect_err("no address").error();
    assert!(error.code == 110 && error.message.contains("no address"), "{error:?}");
    let plugin = json!({ "type": "podwire", "ipam": { "type": "dhcp" } });
    let chain = Chain::new(&node, "1.0.0", &[plugin]);
    chain.del(&pod, &json!({ "cniVersion": "1.0.0" }));
    let error = chain.try_add(&pod).expect_err("too early").error();
    assert!(error.code == 2 && error.message.contains("dhcp"), "{error:?}");
}
