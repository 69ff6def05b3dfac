//! `podwire lab`: it stands, it is undone without a trace, and it notices what is wrong.

use podwire_tests::command::{Podwire, children, kill};
use podwire_tests::lab::Bench;

fn holder(bench: &Bench) -> u32 {
    let [holder] = bench.processes.others()[..] else { panic!("one process holds a lab that is up") };
    holder
}

#[test]
fn the_lectures_three_nodes_reach_each_other_and_go_without_a_trace() {
    let Some(bench) = Bench::new() else { return };
    let said = bench.up(&["--nodes", "3", "--pods", "2"]);
    for line in [
        "node1    bridge cni0 created",
        "node1    route 10.244.2.0/24 via 192.168.1.12 added",
        "node3    ADD pod3-2 → 10.244.3.3/24",
        "  └── node3 192.168.1.13",
        "            └── pod3-2 10.244.3.3",
    ] {
        assert!(said.lines().any(|said| said == line), "{line:?} is not in\n{said}");
    }
    let answers = bench.lab(&["ping"]).done();
    assert_eq!(answers.matches('→').count(), 30, "{answers}");
    assert!(answers.contains("\n30 of 30 pairs answered, with the sender's own address as the source"));
    let status = bench.lab(&["status"]).done();
    assert_eq!(status.matches("as it should be: 1 bridge, 2 routes").count(), 3, "{status}");
    bench.assert_unchanged();
    bench.lab(&["down"]).done();
    bench.assert_nothing_is_left();
    assert_eq!(bench.lab(&["down"]).done(), "no lab is running\n");
}

#[test]
fn a_router_holds_the_routes_instead_of_the_nodes() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--router", "--nodes", "3", "--pods", "1"]);
    assert!(bench.lab(&["ping"]).done().contains("\n6 of 6 pairs answered"));
    for node in ["node1", "node2", "node3"] {
        let routes = bench.sh(node, "ip route | grep -v ' proto kernel '");
        assert_eq!(routes.trim(), "default via 192.168.1.1 dev eth0 proto static");
    }
    let routes = bench.sh("router", "ip route | grep -c '^10.244.[123].0/24 via 192.168.1.1[123] dev eth0'");
    assert_eq!(routes.trim(), "3");
    // Nobody has been told of a shorter way: every packet goes by the router.
    assert_eq!(bench.sh("node1", "ip route show cache"), "");
    bench.lab(&["status"]).done();
}

#[test]
fn the_smallest_lab_is_one_pod() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--nodes", "1", "--pods", "1"]);
    bench.lab(&["status"]).done();
    assert_eq!(bench.lab(&["ping"]).failed(), "podwire: a ping needs two pods, and the lab has 1\n");
    bench.lab(&["down"]).done();
    let said = bench.up(&["--nodes", "1", "--pods", "0"]);
    assert!(said.contains("└── cni0 10.244.1.1/24\n"), "{said}");
    for wrong in [["--nodes", "0"], ["--nodes", "241"], ["--pods", "254"]] {
        assert_eq!(bench.lab(&["up", wrong[0], wrong[1]]).exit, Some(2));
    }
}

#[test]
fn pods_come_and_go_while_it_stands() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--nodes", "2", "--pods", "1"]);
    let said = bench.lab(&["add", "db/postgres", "web", "--node", "node2"]).done();
    assert_eq!(said, "node2    ADD postgres → 10.244.2.3/24\nnode2    ADD web → 10.244.2.4/24\n");
    assert!(bench.lab(&["ping"]).done().contains("\n12 of 12 pairs answered"));
    assert!(bench.lab(&["status"]).done().contains("└── web 10.244.2.4\n"));
    bench.lab(&["delete", "postgres"]).done();
    assert!(bench.lab(&["ping"]).done().contains("\n6 of 6 pairs answered"));
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/10-podwire.conflist");
    let again = bench.lab(&["add", "db/postgres", "--conf", conf, "--node", "node2"]).done();
    assert_eq!(again, "node2    ADD postgres → 10.244.2.5/24\n");
    for (arguments, why) in [
        (["add", "pod1-1"], "the lab has a pod1-1 already"),
        (["add", "web"], "the lab has a web already"),
        (["delete", "nobody"], r#"the lab has no pod "nobody""#),
    ] {
        assert_eq!(bench.lab(&arguments).failed(), format!("podwire: {why}\n"));
    }
    let nowhere = bench.lab(&["add", "other", "--node", "node9"]).failed();
    assert_eq!(nowhere, "podwire: the lab has no node \"node9\": it has node1, node2\n");
    bench.lab(&["down"]).done();
    bench.assert_nothing_is_left();
}

#[test]
fn a_command_keeps_its_arguments_its_exit_status_and_its_node() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--nodes", "1", "--pods", "1"]);
    let printed = bench.lab(&["exec", "pod1-1", "--", "printf", "<%s>", "a b", "--help", "", "$x"]).done();
    assert_eq!(printed, "<a b><--help><><$x>");
    assert_eq!(bench.lab(&["exec", "pod1-1", "sh", "-c", "exit 7"]).exit, Some(7));
    assert_eq!(bench.lab(&["exec", "pod1-1", "sh", "-c", "kill -TERM $$"]).exit, None);
    assert!(bench.sh("pod1-1", "ip -o -4 address show dev eth0").contains(" 10.244.1.2/24 "));
    assert!(bench.sh("switch", "ip -o link show br0").contains("br0"));
    assert_eq!(bench.sh("node1", "echo $PODWIRE_ROOT").trim(), "/run/podwire-lab/node1");
    let elsewhere = Podwire::on(&bench.node).by(["env", "-C", "/usr"]).inside(&bench.processes);
    assert_eq!(elsewhere.run(&["lab", "exec", "node1", "pwd"]).done(), "/usr\n");
}

#[test]
fn a_command_that_cannot_be_run_says_why() {
    let Some(bench) = Bench::new() else { return };
    assert_eq!(
        bench.lab(&["exec", "pod1-1", "true"]).failed(),
        "podwire: no lab is running: `podwire lab up` starts one\n"
    );
    bench.up(&["--nodes", "2", "--pods", "1"]);
    for unknown in ["pod1-2", "router", "../run", ""] {
        let said = bench.lab(&["exec", unknown, "true"]).failed();
        let known = "it has switch, node1, node2, pod1-1, pod2-1";
        assert_eq!(said, format!("podwire: the lab has no {unknown:?}: {known}\n"));
    }
    let said = bench.lab(&["exec", "pod1-1", "no-such-program"]).failed();
    assert_eq!(said, "podwire: no-such-program cannot be run: No such file or directory (os error 2)\n");
    assert_eq!(bench.lab(&["exec", "pod1-1"]).exit, Some(2));
}

#[test]
fn there_is_one_lab_at_a_time() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--nodes", "1", "--pods", "1"]);
    let said = bench.lab(&["up"]).failed();
    assert_eq!(said, "podwire: a lab is running already: `podwire lab down` ends it\n");
    bench.lab(&["status"]).done();
    kill(holder(&bench));
    bench.assert_nothing_is_left();
    bench.lab(&["ping"]).failed();
    bench.up(&["--nodes", "1", "--pods", "2"]);
    bench.lab(&["ping"]).done();
}

#[test]
fn two_that_start_at_once_do_not_leave_one_that_nobody_finds() {
    let Some(bench) = Bench::new() else { return };
    let up = ["lab", "up", "--nodes", "1", "--pods", "1"];
    let both = [bench.podwire.start(&up), bench.podwire.start(&up)].map(|started| started.finish().exit);
    assert!(matches!(both, [Some(0), Some(1)] | [Some(1), Some(0)]), "{both:?}");
    bench.lab(&["down"]).done();
    bench.assert_nothing_is_left();
}

#[test]
fn a_lab_whose_building_is_killed_is_gone() {
    let Some(bench) = Bench::new() else { return };
    let (alone, kept) = (&["--pods", "1"][..], &["--pods", "1", "--agents"][..]);
    for (moment, with) in [
        ("switch", alone),
        ("node1    a machine", alone),
        ("node1    ADD pod1-1", alone),
        ("node2    route", alone),
        ("node2    agent started", kept),
    ] {
        let mut up = bench.podwire.start(&[&["lab", "up", "--nodes", "2"], with].concat());
        up.wait_for_line_with(moment);
        kill(children(up.id())[0]);
        bench.assert_nothing_is_left();
    }
    bench.up(&["--nodes", "1", "--pods", "0"]);
}

#[test]
fn what_still_runs_inside_ends_with_the_lab() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--nodes", "1", "--pods", "1"]);
    let endless = bench.podwire.start(&["lab", "exec", "pod1-1", "--", "sh", "-c", "echo up; exec sleep 1d"]);
    let mut endless = endless;
    endless.wait_for_line_with("up");
    bench.lab(&["down"]).done();
    assert_ne!(endless.finish().exit, Some(0));
    bench.assert_nothing_is_left();
}

#[test]
fn a_user_without_privilege_gets_the_same_lab() {
    let Some(bench) = Bench::for_nobody() else { return };
    bench.up(&["--nodes", "2", "--pods", "1"]);
    assert!(bench.lab(&["ping"]).done().contains("\n2 of 2 pairs answered"));
    bench.lab(&["status"]).done();
    assert_eq!(bench.lab(&["exec", "pod1-1", "sh", "-c", "exit 7"]).exit, Some(7));
    bench.lab(&["up"]).failed();
    bench.lab(&["down"]).done();
    bench.assert_nothing_is_left();
    bench.up(&["--router", "--nodes", "2", "--pods", "1"]);
    bench.lab(&["ping"]).done();
    kill(holder(&bench));
    bench.assert_nothing_is_left();
}

#[test]
fn a_missing_route_is_noticed() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--nodes", "2", "--pods", "1"]);
    bench.sh("node1", "ip route add blackhole 10.244.2.0/25");
    let said = bench.lab(&["ping"]).no();
    // One way the request is lost; the other way it arrives, and the answer is lost.
    assert!(said.contains("LOST: the request does not arrive"), "{said}");
    assert!(said.contains("UNANSWERED: the request arrives, the answer does not"), "{said}");
    assert!(said.contains("\n0 of 2 pairs answered"), "{said}");
    bench.sh("node1", "ip route del blackhole 10.244.2.0/25; ip route del 10.244.2.0/24");
    let said = bench.lab(&["ping"]).no();
    assert!(said.contains("→ pod2-1     10.244.2.2      LOST"), "{said}");
    let said = bench.lab(&["status"]).no();
    assert!(said.contains("node1    differs: route 10.244.2.0/24 via 192.168.1.12"), "{said}");
    assert!(said.contains("node2    as it should be: 1 bridge, 1 route\n"), "{said}");
}

#[test]
fn translation_is_noticed() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--nodes", "2", "--pods", "1"]);
    bench.sh(
        "node1",
        "nft add table ip nat && \
         nft add chain ip nat out '{ type nat hook postrouting priority 100; }' && \
         nft add rule ip nat out ip saddr 10.244.1.0/24 oifname eth0 masquerade",
    );
    let said = bench.lab(&["ping"]).no();
    assert!(said.contains("TRANSLATED: arrives from 192.168.1.11"), "{said}");
    assert!(said.contains("\n1 of 2 pairs answered"), "{said}");
}
