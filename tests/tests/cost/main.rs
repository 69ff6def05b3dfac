//! What one call of the plugin costs, in figures that do not depend on what else the machine does: system
//! calls, page faults, memory, instructions.
//!
//! Of the plugin as it goes onto a node, so only with the feature `plugin-build`: `make cost` builds it first.
//! What is counted is the process that the runtime waits for, nothing that outlives it. Every case is warm:
//! the bridge is there, and the policy compiled.

mod limits;
mod measure;
mod record;

use podwire_tests::network::{V4, V6};
use podwire_tests::{Call, Network, Node, Plugin};
use record::Figures;

/// A call that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Add,
    AddDualStack,
    Del,
}

impl Case {
    const ALL: [Self; 3] = [Self::Add, Self::AddDualStack, Self::Del];

    fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::AddDualStack => "add-dual-stack",
            Self::Del => "del",
        }
    }

    /// The call, with everything done that comes before it.
    fn prepare(self, node: &Node, plugin: &Plugin) -> Call {
        let pools: &[&str] = if self == Self::AddDualStack { &[V4, V6] } else { &[V4] };
        let network = Network::new("1.1.0", pools);
        plugin.add(&network, &node.pod("first")).result();
        let pod = node.pod("other");
        if self != Self::Del {
            return plugin.call("ADD", &network, &pod);
        }
        plugin.add(&network, &pod).result();
        plugin.call("DEL", &network, &pod)
    }
}

/// The optimised plugin: any other has other costs.
fn plugin(node: &Node) -> Plugin {
    assert!(std::env::var_os("PODWIRE_PLUGIN").is_some(), "PODWIRE_PLUGIN names no plugin: use `make cost`");
    Plugin::under_test(node).in_system_folders()
}

/// Measures each case on a node of its own, and panics with all that they complain of.
fn assert_each(measure: impl Fn(Case, &Plugin, &Call) -> Result<(), String>) {
    let mut complaints = Vec::new();
    for case in Case::ALL {
        let Some(node) = Node::enter() else { return };
        let plugin = plugin(&node);
        let call = case.prepare(&node, &plugin);
        complaints.extend(measure(case, &plugin, &call).err().map(|why| format!("{}: {why}", case.name())));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_call_makes_few_system_calls() {
    assert_each(|case, plugin, call| limits::system_calls(case, &measure::system_calls(plugin, call)));
}

#[test]
fn a_call_touches_few_pages() {
    assert_each(|case, plugin, call| limits::page_faults(case, measure::page_faults(plugin, call)));
}

#[test]
fn a_call_takes_little_memory() {
    assert_each(|_, plugin, call| limits::peak_memory(measure::peak_memory(plugin, call)));
}

#[test]
fn a_call_executes_the_instructions_on_record() {
    let mut figures = Figures::default();
    for case in Case::ALL {
        let Some(node) = Node::enter() else { return };
        let plugin = plugin(&node);
        let call = case.prepare(&node, &plugin);
        figures.insert(case.name(), measure::instructions(&plugin, &call, case.name()));
    }
    record::keep(&figures);
}

/// A hypervisor answers for it: ten questions take 70 µs.
#[test]
fn a_call_does_not_ask_what_the_processor_has() {
    assert_each(|_, plugin, call| limits::none(&measure::executed(plugin, call, "cpuid"), "cpuid"));
}
