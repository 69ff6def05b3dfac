//! Cases are read as they are written, and fail where they should.

use std::sync::LazyLock;

use super::*;
use crate::policy::Engine;

static BRIDGE: LazyLock<Policy> = LazyLock::new(|| {
    let component = include_bytes!("../../../../guests/bridge.wasm");
    Engine::new().unwrap().load_component(component, "bridge").unwrap()
});

/// What differs, for the default policy.
fn differences(case: &str) -> Vec<String> {
    let cases = read("a.toml", &format!("[[case]]\nname = \"x\"\npod = \"default/web\"\n{case}"));
    let outcomes = run(&BRIDGE, &cases.unwrap_or_else(|error| panic!("{error}")));
    outcomes.iter().flat_map(|outcome| &outcome.differences).map(ToString::to_string).collect()
}

fn unreadable(text: &str) -> String {
    read("a.toml", text).unwrap_err().to_string()
}

#[test]
fn what_is_not_as_expected_is_told_field_by_field() {
    for (expected, difference) in [
        ("addresses = ['10.244.1.3/24']", "addresses: expected 10.244.1.3/24, got 10.244.1.2/24"),
        ("addresses = ['10.244.1.2/32']", "addresses: expected 10.244.1.2/32, got 10.244.1.2/24"),
        ("addresses = ['in 10.244.1.128/25']", "addresses: expected in 10.244.1.128/25, got 10.244.1.2/24"),
        ("addresses = []", "addresses: expected none, got 10.244.1.2/24"),
        ("gateway = '10.244.1.9'", "gateway: expected 10.244.1.9, got 10.244.1.1"),
        ("routes = []", "routes: expected none, got default via 10.244.1.1"),
        (
            "routes = ['default via 10.244.1.1 mtu 1400']",
            "routes: expected default via 10.244.1.1 mtu 1400, got default via 10.244.1.1",
        ),
        ("wiring = 'routed'", "wiring: expected routed, got bridge"),
        ("bridge = 'br0'", "bridge: expected br0, got cni0"),
        ("hairpin = false", "hairpin: expected false, got true"),
        ("isolated = true", "isolated: expected true, got false"),
        ("mac = '0a:58:00:00:00:01'", "mac: expected 0a:58:00:00:00:01, got 0a:58:0a:f4:01:02"),
        ("mtu = 1400", "mtu: expected 1400, got none"),
        ("masquerade = true", "masquerade: expected true, got false"),
        (
            "dns = { nameservers = ['10.96.0.10'], search = ['a.b'] }",
            "dns: expected nameserver 10.96.0.10; search a.b, got none",
        ),
        (
            "sysctls = { 'net.ipv4.tcp_fin_timeout' = '9' }",
            "sysctls: expected net/ipv4/tcp_fin_timeout = 9, got none",
        ),
        (
            "refusal = 'denied'",
            "answer: expected a refusal of the kind denied, got a plan with the addresses [10.244.1.2/24]",
        ),
        (
            "broken-rule = 'mtu'",
            "answer: expected a plan whose mtu breaks a rule, got a plan with the addresses [10.244.1.2/24]",
        ),
    ] {
        assert_eq!(differences(&format!("expect.{expected}")), [difference]);
    }
    assert_eq!(differences("expect.host-interface = 'web'").len(), 1);
    assert_eq!(differences("expect = {}"), [] as [&str; 0]);
}

#[test]
fn a_refusal_has_its_reason_and_its_words() {
    let full = "held = ['10.244.1.0/24']\n";
    assert_eq!(differences(&format!("{full}expect.refusal = 'exhausted'")), [] as [&str; 0]);
    let wrong = differences(&format!("{full}expect.refusal = 'denied'\nexpect.message-contains = 'tenant'"));
    assert_eq!(wrong[0], "refusal: expected denied, got exhausted");
    assert!(
        wrong[1].starts_with("message-contains: expected \"tenant\", got \"no address is left"),
        "{wrong:?}"
    );
    let wrong = differences(&format!("{full}expect.mtu = 1500"));
    assert!(wrong[0].starts_with("answer: expected a plan, got a refusal: no address is left"), "{wrong:?}");
}

#[test]
fn a_rule_that_is_broken_can_be_expected() {
    let asked = "requested-addresses = ['10.244.1.255']\n";
    let expected = "expect.broken-rule = 'addresses[0].prefix'\nexpect.message-contains = 'broadcast'";
    assert_eq!(differences(&format!("{asked}{expected}")), [] as [&str; 0]);
    let wrong = differences(&format!("{asked}expect.broken-rule = 'mtu'"));
    assert_eq!(wrong, ["broken-rule: expected mtu, got addresses[0].prefix"]);
}

#[test]
fn what_happened_before_is_the_policys_own_doing() {
    let case = "after = ['a/1', 'a/2', 'del a/1']\nexpect.addresses = ['10.244.1.4']";
    assert_eq!(differences(case), [] as [&str; 0]);
    let none = differences("after = ['del a/1']\nexpect = {}");
    assert_eq!(none, ["after[0]: expected that this goes well, got no ADD before it is this pod's"]);
    let full = differences("held = ['10.244.1.2-10.244.1.254']\nafter = ['a/1']\nexpect = {}");
    assert!(full[0].starts_with("after[0]: expected that this goes well, got a refusal: "), "{full:?}");
}

#[test]
fn a_failed_case_shows_the_whole_plan() {
    let text = "[defaults]\npod = 'a/b'\n[[case]]\nname = 'x'\nexpect.mtu = 9000\n[[case]]\nname = 'y'\nexpect.wiring = 'bridge'";
    let outcomes = run(&BRIDGE, &read("a.toml", text).unwrap());
    assert!(outcomes[0].script.as_ref().is_some_and(|script| script.contains("ip link add")), "{outcomes:?}");
    assert!(!outcomes[0].passed() && outcomes[1].passed() && outcomes[1].script.is_none());
}

#[test]
fn what_is_written_wrong_is_named_with_what_was_meant() {
    for (text, words) in [
        ("[[case]]\nnam = 'x'", ["a.toml: ", "line 2", "did you mean `name`?"]),
        ("[[case]]\nname = 'x'\nexpect.adresses = []", ["line 3", "adresses", "did you mean `addresses`?"]),
        ("[[cases]]\nname = 'x'", ["cases", "line 1", "did you mean `case`?"]),
        ("[default]\npod = 'a/b'", ["default", "line 1", "did you mean `defaults`?"]),
        ("[[case]]\nname = 'x'\nexpect.dns.searhc = []", ["searhc", "line 3", "did you mean `search`?"]),
        ("[[case]]\nexpect = {}", ["case 1", "it has no `name`", ""]),
        ("[[case]]\nname = 'x'", ["case \"x\"", "no `expect`", ""]),
        ("[defaults]\nexpect = {}", ["defaults", "each case's own", ""]),
        ("[[case]]\nname = 'x'\npod = 'web'", ["line 3", "\"web\" is not NAMESPACE/NAME", ""]),
        ("[[case]]\nname = 'x'\npools = ['10.0.0.0/33']", ["line 3", "pools", ""]),
        ("[[case]]\nname = 'x'\nexpect = {}\npools = []", ["case \"x\"", "pools: ", ""]),
        ("[[case]]\nname = 'x'\nheld = ['10.0.0.0/8']", ["line 3", "more than 65536", ""]),
        ("[[case]]\nname = 'x'\nheld = 7", ["line 3", "neither a list of addresses", ""]),
        ("[[case]]\nname = 'x'\nexpect.routes = ['default by x']", ["line 3", "is no route, such as", ""]),
        (
            "[[case]]\nname = 'x'\nexpect.addresses = ['x']",
            ["line 3", "is no address that can be expected", ""],
        ),
        ("[[case]]\nname = 'x'\nexpect.refusal = 'full'", ["line 3", "unknown variant `full`", "exhausted"]),
        ("[[case]]\nname = 'x'\nexpect.message-contains = 'a'", ["case \"x\"", "wants a `refusal`", ""]),
        (
            "[[case]]\nname = 'x'\nexpect.refusal = 'denied'\nexpect.addresses = []",
            ["case \"x\"", "what is refused has no plan", ""],
        ),
    ] {
        let error = unreadable(text);
        assert!(words.iter().all(|word| error.contains(word)), "{words:?} are not all in {error}");
    }
}

#[test]
fn a_folder_without_cases_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::File::create(folder.path().join("notes.txt")).unwrap();
    assert!(load(folder.path()).unwrap_err().to_string().contains("has no cases"));
    assert!(
        load(&folder.path().join("absent.toml"))
            .unwrap_err()
            .to_string()
            .contains("absent.toml cannot be read")
    );
}
