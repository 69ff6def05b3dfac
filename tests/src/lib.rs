//! What podwire's integration tests stand on: a machine of a test's own, a plugin called as libcni calls
//! it, and a real container runtime.
//!
//! | module | owns | must not know |
//! | --- | --- | --- |
//! | [`node`] | a private node: namespaces, mounts, pods | plugins |
//! | [`kernel`] | what the kernel has: links, addresses, routes; and what files hold | plugins |
//! | [`reach`] | whether packets arrive, and from whom | how the way was made |
//! | [`network`] | network configurations | processes |
//! | [`plugin`] | one call of a plugin: environment, standard input, what came back | pods' wiring |
//! | [`chain`] | a list of plugins, run as libcni runs it | what the plugins do |
//! | [`command`] | the command for people: arguments, what came back; processes of a test's own | networks |
//! | [`lab`] | a machine on which labs are started | what happens in them |
//! | [`traffic`] | what is asserted of pods' packets, alike for every plugin and runtime | who wired the pods |
//! | [`containerd`] | a containerd of the test's own and its CRI | podwire |
//! | [`podman`] | a podman of the test's own and its containers | podwire |
//! | [`etcd`] | an etcd of the test's own | what is kept there |
//! | [`registry`] | an OCI registry of the test's own | policies |
//! | [`kubernetes`] | an API server of the test's own: list and watch of Nodes | podwire |
//! | `image` | the image that their containers run | runtimes |
//! | `supervisor` | processes and control groups that end with the test | runtimes |
//!
//! The plugin under test is `podwire-cni` beside the tests, or the file that `PODWIRE_PLUGIN` names. If that
//! file is called `bridge`, it is taken for the reference plugin of containernetworking-plugins and gets a
//! configuration of its own: tests that the reference passes too show that the harness itself is right. With
//! `PODWIRE_CONFIGURATION=bridge` podwire gets that configuration too, its own name in it.
//!
//! Whatever cannot be set up panics: a test without its ground is a failed test. The one exception is a
//! missing privilege, see [`node::Node::enter`].

pub mod chain;
pub mod command;
pub mod containerd;
pub mod etcd;
mod image;
pub mod kernel;
pub mod kubernetes;
pub mod lab;
pub mod network;
pub mod node;
pub mod plugin;
pub mod podman;
pub mod reach;
pub mod registry;
mod supervisor;
pub mod traffic;

pub use chain::Chain;
pub use command::Podwire;
pub use network::Network;
pub use node::{Namespace, Node, Pod};
pub use plugin::{Call, CniError, Outcome, Plugin};
pub use reach::{assert_reaches, receive};
