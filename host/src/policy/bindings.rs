//! The contract as Rust: generated from wit/policy.wit.
#![allow(missing_docs, unreachable_pub)] // Generated; the WIT has the documentation.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

wasmtime::component::bindgen!({
    path: "../wit/policy.wit",
    world: "policy",
    imports: { default: trappable },
    additional_derives: [serde::Serialize, serde::Deserialize],
});

use self::podwire::policy::types::SpoofCheck;

// What passes between podwire and a policy's process; flags get none of the derives above.
impl Serialize for SpoofCheck {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [Self::MAC, Self::ADDRESS].map(|flag| self.contains(flag)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SpoofCheck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let set = <[bool; 2]>::deserialize(deserializer)?;
        let flags = [Self::MAC, Self::ADDRESS].into_iter().zip(set).filter(|(_, is_set)| *is_set);
        Ok(flags.fold(Self::empty(), |all, (flag, _)| all | flag))
    }
}
