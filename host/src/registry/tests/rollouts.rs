//! Versions that are activated, tried, taken back and withdrawn.

use super::*;
use crate::journal::{Time, What};
use crate::names::{AttachmentId, NetworkName};

/// After so many faults a version is withdrawn.
const LIMIT: u32 = 3;

/// Three policies, each with a digest of its own, installed under one name in this order; none is active.
fn three(node: &Node) -> [Installed; 3] {
    [1, 2, 3].map(|pages| {
        let guest = Guest { pages, ..Guest::default() };
        node.registry.install(&"p".parse().unwrap(), &guest.build(), BY).unwrap()
    })
}

fn network(name: &str) -> NetworkName {
    name.parse().unwrap()
}

impl Node {
    /// What decides for the pod, and what is asked beside it.
    fn chosen(&self, of: &str, pod: &str) -> Chosen {
        self.registry.choose(&"p".parse().unwrap(), &network(of), Some(pod)).unwrap()
    }

    fn decides(&self, of: &str) -> Installed {
        self.chosen(of, "shop/web").decides
    }

    fn fails(&self, version: &Installed, of: &str) -> Option<What> {
        let attachment =
            AttachmentId { container_id: "c1".parse().unwrap(), ifname: "eth0".parse().unwrap() };
        let occasion = Occasion { network: &network(of), attachment: &attachment };
        self.registry.failed(version, occasion, "it\nfailed", LIMIT).unwrap().map(|change| change.what)
    }

    fn fails_often(&self, version: &Installed, of: &str) -> Option<What> {
        (1..LIMIT).for_each(|_| assert_eq!(self.fails(version, of), None));
        self.fails(version, of)
    }
}

#[test]
fn a_name_goes_back_version_by_version() {
    let node = node();
    let [a, b, c] = three(&node);
    for version in [&a, &b, &a, &c] {
        node.registry.activate(version, None, BY).unwrap();
        assert_eq!(node.active("p").unwrap(), *version);
    }
    for expected in [&a, &b] {
        node.registry.roll_back(&a.name, None, BY).unwrap();
        assert_eq!(node.active("p").unwrap(), *expected);
    }
    let error = node.registry.roll_back(&a.name, None, BY).unwrap_err();
    assert!(matches!(error, Error::NothingBefore { .. }), "{error}");
    assert_eq!(node.active("p").unwrap(), b);
}

#[test]
fn a_name_remembers_a_bounded_number_of_versions() {
    let mut standing = Standing::default();
    let name = "p".parse().unwrap();
    for number in 0..40 {
        let digest = Digest([number; 32]);
        standing.activate(&name, None, Version { digest, at: Time::now(), by: BY.into() });
    }
    assert_eq!(standing.everywhere.previous.len(), 16);
    assert_eq!(standing.everywhere.previous[0].digest, Digest([38; 32]));
}

#[test]
fn versions_are_found_by_the_beginning_of_their_digests() {
    let node = node();
    let [a, _, c] = three(&node);
    let find = |text: &str| node.registry.find(&text.parse().unwrap());
    assert_eq!(find("p").unwrap(), c);
    assert_eq!(find(&format!("p@{}", &hex(&a.digest)[..8])).unwrap(), a);
    assert_eq!(find(&format!("p@{}", a.digest)).unwrap(), a);
    assert!(matches!(find("p@000000"), Err(Error::NoVersion { .. })));
    assert!(matches!(find("q"), Err(Error::NotInstalled { .. })));
    assert!(find("bridge").unwrap().is_builtin());
    // Installed again, it is the last one.
    node.registry.install(&a.name, &Guest::default().build(), BY).unwrap();
    assert_eq!(find("p").unwrap(), a);
}

#[test]
fn a_network_can_have_a_version_of_its_own() {
    let node = node();
    let [a, b, c] = three(&node);
    let blue = network("blue");
    node.registry.activate(&a, None, BY).unwrap();
    node.registry.activate(&b, Some(&blue), BY).unwrap();
    assert_eq!((node.decides("red"), node.decides("blue")), (a.clone(), b.clone()));
    // What is tried elsewhere is none of its business, and the other way round.
    node.registry.try_out(&c, None, Trial::Shadow, BY).unwrap();
    assert_eq!(node.chosen("red", "web").shadow, Some(c.clone()));
    assert_eq!(node.chosen("blue", "web").shadow, None);
    let change = node.registry.roll_back(&a.name, Some(&blue), BY).unwrap();
    assert_eq!(change.network, Some(blue));
    assert_eq!(node.decides("blue"), a);
    assert_eq!(node.chosen("blue", "web").shadow, Some(c));
}

#[test]
fn a_canary_decides_for_its_share_of_pods_each_time_alike() {
    let node = node();
    let [a, b, _] = three(&node);
    let error = node.registry.try_out(&b, None, Trial::Canary(10), BY).unwrap_err();
    assert!(matches!(error, Error::NotActive { .. }), "nothing to try it beside: {error}");
    node.registry.activate(&a, None, BY).unwrap();
    node.registry.try_out(&b, None, Trial::Canary(10), BY).unwrap();
    let error = node.registry.try_out(&a, None, Trial::Canary(10), BY).unwrap_err();
    assert!(matches!(error, Error::IsActive { .. }), "{error}");
    let pods: Vec<_> = (0..1_000).map(|pod| format!("shop/web-{pod}")).collect();
    let tried = || pods.iter().filter(|pod| node.chosen("red", pod).decides == b).collect::<Vec<_>>();
    let first = tried();
    assert!((60..140).contains(&first.len()), "{} of a thousand", first.len());
    assert_eq!(tried(), first);
    // For nobody in particular, the active one.
    assert_eq!(node.registry.choose(&a.name, &network("red"), None).unwrap().decides, a);
    let change = node.registry.roll_back(&a.name, None, BY).unwrap();
    assert_eq!(change.what, What::Withdrawn { digest: b.digest });
    assert!(tried().is_empty());
    node.registry.try_out(&b, None, Trial::Canary(10), BY).unwrap();
    node.registry.activate(&b, None, BY).unwrap();
    assert_eq!(node.standing("p").everywhere.candidate, None);
}

#[test]
fn a_version_that_fails_too_often_is_taken_out_of_use() {
    let node = node();
    let [a, b, _] = three(&node);
    for version in [&a, &b] {
        node.registry.activate(version, None, BY).unwrap();
    }
    let what = What::FellBack { from: b.digest, to: a.digest, faults: LIMIT };
    assert_eq!(node.fails_often(&b, "red"), Some(what));
    assert_eq!(node.decides("red"), a);
    let fell_back = node.standing("p").everywhere.fell_back.unwrap();
    assert_eq!((fell_back.from, fell_back.to), (b.digest, a.digest));
    // An ADD that had begun before changes nothing any more.
    assert_eq!(node.fails(&b, "red"), None);
    // Nothing is left to go back to: the version that failed is none.
    assert_eq!(node.fails_often(&a, "red"), None);
    assert_eq!((node.decides("red"), a.faults().unwrap()), (a.clone(), LIMIT));
    // Activated anew, it has a clean record, and the fall back is answered.
    node.registry.activate(&b, None, BY).unwrap();
    assert_eq!((b.faults().unwrap(), node.standing("p").everywhere.fell_back), (0, None));
}

#[test]
fn a_version_goes_back_to_one_with_a_clean_record() {
    let node = node();
    let [a, b, _] = three(&node);
    node.registry.activate(&a, None, BY).unwrap();
    assert_eq!(node.fails_often(&a, "red"), None);
    node.registry.activate(&b, None, BY).unwrap();
    assert!(node.fails_often(&b, "red").is_some());
    assert_eq!((node.decides("red"), a.faults().unwrap()), (a.clone(), 0));
}

#[test]
fn a_candidate_that_fails_too_often_is_withdrawn_where_it_was_tried() {
    let node = node();
    let [a, b, _] = three(&node);
    let blue = network("blue");
    node.registry.activate(&a, None, BY).unwrap();
    for (scope, of, trial) in [(None, "red", Trial::Canary(50)), (Some(&blue), "blue", Trial::Shadow)] {
        node.registry.try_out(&b, scope, trial, BY).unwrap();
        let what = What::FellBack { from: b.digest, to: a.digest, faults: LIMIT };
        assert_eq!(node.fails_often(&b, of), Some(what));
        let standing = node.standing("p");
        assert_eq!(standing.rollout(scope).unwrap().candidate, None);
        assert!(standing.rollout(scope).unwrap().fell_back.is_some());
        assert_eq!(node.decides(of), a);
    }
}

#[test]
fn a_network_of_its_own_falls_back_alone() {
    let node = node();
    let [a, b, _] = three(&node);
    let blue = network("blue");
    node.registry.activate(&a, None, BY).unwrap();
    node.registry.activate(&b, Some(&blue), BY).unwrap();
    assert!(node.fails_often(&b, "blue").is_some());
    assert_eq!((node.decides("blue"), node.decides("red")), (a.clone(), a));
}

#[test]
fn in_the_place_of_a_version_that_fails_the_built_in_one_decides() {
    let node = node();
    let builtin = node.active("bridge").unwrap();
    let installed = node.install("bridge", &other());
    assert!(node.fails_often(&installed, "red").is_some());
    assert_eq!(node.active("bridge").unwrap(), builtin);
}

#[test]
fn a_fault_is_a_line_that_only_root_reads() {
    let node = node();
    let [a, ..] = three(&node);
    node.registry.activate(&a, None, BY).unwrap();
    node.fails(&a, "red");
    let file = a.dir.join("faults");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.ends_with("Z c1/eth0 red it failed\n") && text.lines().count() == 1, "{text:?}");
    set_permissions(&a.dir, Permissions::from_mode(0o777)).unwrap();
    assert!(a.faults().is_err());
}

#[test]
fn the_record_of_faults_has_an_end() {
    let node = node();
    let [a, ..] = three(&node);
    node.registry.activate(&a, None, BY).unwrap();
    let attachment = AttachmentId { container_id: "c1".parse().unwrap(), ifname: "eth0".parse().unwrap() };
    let occasion = Occasion { network: &network("red"), attachment: &attachment };
    for _ in 0..100 {
        node.registry.failed(&a, occasion, &"é".repeat(2_000), 0).unwrap();
    }
    assert!(a.dir.join("faults").metadata().unwrap().len() <= (64 << 10) + 1_024);
}

#[test]
fn a_version_in_use_is_not_removed() {
    let node = node();
    let [a, b, c] = three(&node);
    for version in [&a, &b] {
        node.registry.activate(version, None, BY).unwrap();
    }
    node.registry.try_out(&c, None, Trial::Shadow, BY).unwrap();
    for used in [&b, &c] {
        assert!(matches!(node.registry.remove_version(used, BY), Err(Error::InUse { .. })));
        assert!(used.dir.exists());
    }
    node.registry.remove_version(&a, BY).unwrap();
    assert!(!a.dir.exists());
    node.registry.roll_back(&a.name, None, BY).unwrap();
    assert!(matches!(node.registry.roll_back(&a.name, None, BY), Err(Error::NothingBefore { .. })));
}

#[test]
fn what_decides_is_not_tried_beside_itself() {
    let node = node();
    let [a, b, c] = three(&node);
    let blue = network("blue");
    for version in [&a, &b] {
        node.registry.activate(version, None, BY).unwrap();
    }
    // Gone back to what is tried.
    node.registry.try_out(&a, None, Trial::Shadow, BY).unwrap();
    assert!(node.fails_often(&b, "red").is_some());
    assert_eq!(node.chosen("red", "web"), Chosen { decides: a.clone(), shadow: None });
    assert_eq!(node.fails_often(&a, "red"), None, "there is nothing to go back to");
    // Everywhere is what a network had for a trial.
    node.registry.try_out(&c, Some(&blue), Trial::Canary(10), BY).unwrap();
    node.registry.activate(&c, None, BY).unwrap();
    assert_eq!(node.standing("p").rollout(Some(&blue)).unwrap().candidate, None);
}

#[test]
fn as_many_faults_are_counted_as_a_node_allows() {
    const MANY: u32 = 200;
    let node = node();
    let [a, b, _] = three(&node);
    for version in [&a, &b] {
        node.registry.activate(version, None, BY).unwrap();
    }
    let attachment = AttachmentId { container_id: "c1".parse().unwrap(), ifname: "eth0".parse().unwrap() };
    let occasion = Occasion { network: &network("red"), attachment: &attachment };
    let fails = || node.registry.failed(&b, occasion, &"x".repeat(2_000), MANY).unwrap();
    assert!((1..MANY).all(|_| fails().is_none()));
    assert!(fails().is_some(), "{} faults", b.faults().unwrap());
}

#[test]
fn what_has_no_version_of_it_any_more_is_not_given_one_back() {
    let node = node();
    let [a, ..] = three(&node);
    // The same component has another name, so it is still there.
    node.registry
        .install(&"q".parse().unwrap(), &Guest { pages: 1, ..Guest::default() }.build(), BY)
        .unwrap();
    node.registry.remove(&a.name, BY).unwrap();
    let error = node.registry.activate(&a, None, BY).unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error}");
}

#[test]
fn who_may_only_look_keeps_nobody_waiting() {
    use rustix::fs::{FlockOperation, flock};

    let node = node();
    let [a, ..] = three(&node);
    for directory in [&a.dir, &node.registry.policies] {
        let _lock = compiled::lock(directory).unwrap();
        let anybodys = fs::File::open(directory).unwrap();
        flock(&anybodys, FlockOperation::NonBlockingLockExclusive).expect("it keeps nobody from anything");
        assert_eq!(directory.join("lock").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
