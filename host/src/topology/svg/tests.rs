use super::super::{Bridge, Node, Pod, Tunnel};
use super::*;
use crate::plan::Role;

/// A cluster seen from its first node.
fn cluster(peers: usize, pods: usize) -> Topology {
    let pod =
        |n: usize| Pod { name: format!("shop/web-{n}"), addresses: vec![format!("10.244.1.{}", n + 2)] };
    let bridge = Bridge {
        name: "cni0".to_owned(),
        addresses: vec!["10.244.1.1/24".to_owned()],
        pods: (0..pods).map(pod).collect(),
    };
    let here = Node {
        name: "node-0".to_owned(),
        is_here: true,
        addresses: vec!["192.168.1.11".to_owned()],
        routes: (1..=peers).map(|n| format!("10.244.{n}.0/24 via 192.168.1.{n}")).collect(),
        bridges: vec![bridge],
        ..Node::default()
    };
    let peer = |n: usize| Node {
        name: format!("node-{n}"),
        role: if n == 1 { Role::Router } else { Role::Host },
        addresses: vec![format!("192.168.1.{n}")],
        pools: vec![format!("10.244.{n}.0/24")],
        ..Node::default()
    };
    Topology {
        network: "192.168.1.0/24".to_owned(),
        nodes: std::iter::once(here).chain((1..=peers).map(peer)).collect(),
        tunnels: (2..=peers).map(|to| Tunnel { from: 0, to }).collect(),
    }
}

/// Whether every element that is opened is closed, in order, and no text has a bare mark of XML's.
fn assert_well_formed(svg: &str) {
    let body = svg.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").expect("a declaration");
    let mut open: Vec<&str> = Vec::new();
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("each < has its >");
        assert!(!text.contains('>'), "{text:?}");
        for entity in text.split('&').skip(1).chain(tag.split('&').skip(1)) {
            let name = entity.split_once(';').expect("each & has its ;").0;
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "{name}");
        }
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => (),
            None => open.push(tag.split(' ').next().expect("a name")),
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn every_size_is_well_formed() {
    assert_well_formed(&render(&Topology::default()));
    for (peers, pods) in [(0, 0), (1, 1), (3, 2), (7, 100), (50, 100)] {
        assert_well_formed(&render(&cluster(peers, pods)));
    }
}

#[test]
fn what_would_be_endless_is_counted() {
    let svg = render(&cluster(50, 100));
    for words in ["… and 88 more</text>", "… and 36 more nodes</text>", "… and 46 more routes</text>"] {
        assert_eq!(svg.matches(words).count(), 1, "{words}");
    }
    let svg = render(&cluster(15, 12));
    assert!(!svg.contains("more nodes") && !svg.contains("and 0 more"), "{svg}");
}

#[test]
fn names_are_words_and_nothing_else() {
    let mut topology = cluster(1, 1);
    topology.nodes[0].name = "<script>&\"'\u{1}".to_owned();
    topology.nodes[0].bridges[0].pods[0].name = "]]><x/>".to_owned();
    let svg = render(&topology);
    assert_well_formed(&svg);
    assert!(!svg.contains("<script") && !svg.contains("<x/>"));
    assert!(svg.contains("&lt;script&gt;&amp;&quot;&#39;\u{fffd}"), "{svg}");
}

#[test]
fn tunnels_are_dashed_and_only_there_if_there_are_any() {
    let mut topology = cluster(3, 1);
    assert!(render(&topology).contains(">VXLAN<"));
    topology.tunnels.clear();
    let svg = render(&topology);
    assert!(!svg.contains("VXLAN") && !svg.contains("dasharray"));
}

#[test]
fn nothing_lies_outside_of_the_picture() {
    for (peers, pods) in [(0, 0), (3, 2), (50, 100)] {
        let svg = render(&cluster(peers, pods));
        let size = |name: &str| numbers(&svg, name)[0];
        let (width, height) = (size("width"), size("height"));
        assert!(numbers(&svg, "x").into_iter().chain(numbers(&svg, "x2")).all(|x| x < width));
        assert!(numbers(&svg, "y").into_iter().chain(numbers(&svg, "y2")).all(|y| y < height));
    }
}

fn numbers(svg: &str, attribute: &str) -> Vec<u32> {
    let start = format!(" {attribute}=\"");
    let ends = svg.split(&start).skip(1).filter_map(|rest| rest.split('"').next());
    ends.map(|number| number.parse().expect("a number")).collect()
}
