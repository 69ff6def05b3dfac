//! Small policies for tests, written as WebAssembly text around the contract's core functions, and leases
//! to show them.

use std::cell::Cell;
use std::net::IpAddr;

use ipnet::IpNet;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::leases::{Error, Holder, Steps, View};
use crate::names::AttachmentId;
use crate::plan::{AddRequest, Node};

/// The instructions of a policy's functions. As it is, it answers yes to all: `add` is an interface without
/// addresses.
pub(crate) struct Guest {
    /// Fields of the module: imports first.
    pub(crate) fields: &'static str,
    pub(crate) check_config: &'static str,
    pub(crate) add: &'static str,
    pub(crate) node: &'static str,
    pub(crate) pages: u32,
}

/// The answer `ok` to `add`, at address 1024: all zeros, but for the case `routed` of the wiring, which
/// stands at 4 (the plan) + 12.
const ROUTED: &str = "(i32.store8 (i32.const 1040) (i32.const 1)) (i32.const 1024)";

impl Default for Guest {
    fn default() -> Self {
        Self { fields: "", check_config: "(i32.const 1024)", add: ROUTED, node: "(i32.const 1024)", pages: 1 }
    }
}

impl Guest {
    /// A policy that answers `add` after these instructions.
    pub(crate) fn adds_after(instructions: &str, fields: &'static str) -> Vec<u8> {
        let add: &'static str = format!("{instructions} {ROUTED}").leak();
        Self { fields, add, ..Self::default() }.build()
    }

    /// The core module, as a compiler for WebAssembly would make it.
    pub(crate) fn module(&self) -> Vec<u8> {
        let Self { fields, check_config, add, node, pages } = self;
        let text = format!(
            r#"(module
                {fields}
                (memory (export "memory") {pages})
                (global $heap (mut i32) (i32.const 4096))
                (func (export "check-config") (param $config i32) (param $len i32) (result i32) {check_config})
                (func (export "add") (param $request i32) (result i32) {add})
                (func (export "del") (param $request i32) (result i32) (i32.const 1024))
                (func (export "node") (param i32) (result i32) {node})
                (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and
                        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                        (i32.sub (i32.const 0) (local.get $align))))
                    (global.set $heap (i32.add (local.get $at) (local.get $size)))
                    (local.get $at)))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// The component.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut wit = wit_parser::Resolve::default();
        let package = wit.push_str("policy.wit", include_str!("../../../wit/policy.wit")).unwrap();
        let world = wit.select_world(&[package], Some("policy")).unwrap();
        let mut module = self.module();
        embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }
}

/// Leases that are all alike, and count how often they are asked.
#[derive(Default)]
pub(crate) struct Leases {
    pub(crate) asked: Cell<u32>,
    /// What each question costs.
    pub(crate) walk: u64,
}

impl Leases {
    fn asked(&self, steps: &mut Steps) -> Result<(), Error> {
        self.asked.set(self.asked.get() + 1);
        steps.0 = steps.0.checked_sub(self.walk).ok_or(Error::TooManySteps)?;
        Ok(())
    }
}

impl View for Leases {
    fn holder_of(&self, _: IpAddr, steps: &mut Steps) -> Result<Option<Holder>, Error> {
        self.asked(steps).map(|()| None)
    }

    fn first_free(
        &self,
        block: IpNet,
        _: Option<IpAddr>,
        steps: &mut Steps,
    ) -> Result<Option<IpAddr>, Error> {
        self.asked(steps).map(|()| block.hosts().next())
    }

    fn last_taken(&self, _: IpNet, steps: &mut Steps) -> Result<Option<IpAddr>, Error> {
        self.asked(steps).map(|()| None)
    }

    fn taken(&self, _: IpNet, steps: &mut Steps) -> Result<u64, Error> {
        self.asked(steps).map(|()| 7)
    }
}

/// An ADD for a container that nothing is special about.
pub(crate) fn request() -> AddRequest {
    AddRequest {
        network: "pods".parse().unwrap(),
        attachment: AttachmentId { container_id: "c1".parse().unwrap(), ifname: "eth0".parse().unwrap() },
        pod: None,
        node: Node {
            name: "node1".into(),
            addresses: Vec::new(),
            pools: vec!["10.244.1.0/24".parse().unwrap()],
            cluster: vec!["10.244.0.0/16".parse().unwrap()],
        },
        requested_addresses: Vec::new(),
        range_sets: None,
        requested_routes: Vec::new(),
        operators_bridge: None,
        port_mappings: Vec::new(),
        bandwidth: None,
        requested_mac: None,
        config: "{}".into(),
    }
}
