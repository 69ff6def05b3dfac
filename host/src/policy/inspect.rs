//! What a component wants and offers, read before it is compiled: so that one that cannot be a policy is
//! refused at once, with a sentence about what to do.

use wasmparser::component_types::ComponentEntityType;
use wasmparser::{CanonicalFunction, CanonicalOption, Parser, Payload, Validator};

use super::text::clean;
use super::{limits, settings, standin};

/// Interfaces with functions that the contract lets a policy import, any version of this line: that the
/// version is one that this podwire serves is checked when the component is linked.
const IMPORTS: [&str; 2] = ["podwire:policy/leases@0.3.", "podwire:policy/log@0.3."];

/// Functions of the contract.
const EXPORTS: [&str; 4] = ["check-config", "add", "del", "node"];

/// Components and modules within each other: toolchains write three or four. To validate them takes time that grows with
/// the square of it.
const MOST_NESTED: usize = 16;

/// Bytes of a component's own text in an error.
const QUOTE: usize = 300;

/// Why a component cannot be a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// [`limits::COMPONENT_BYTES`]
    #[error("the component is too large: it may have {} MiB at most", limits::COMPONENT_BYTES >> 20)]
    TooLarge,
    /// Something else.
    #[error("this is not a WebAssembly component: it does not begin as one")]
    NotWasm,
    /// A module of core WebAssembly.
    #[error(
        "this is a core WebAssembly module, and a policy is a component: if it was built for the world \
         podwire:policy/policy, `wasm-tools component new MODULE -o COMPONENT` makes one of it"
    )]
    CoreModule,
    /// Not valid, or with proposals of WebAssembly that policies cannot use.
    #[error("the component is not valid, or uses a proposal of WebAssembly that podwire switches off: {0}")]
    Invalid(String),
    /// More than any toolchain writes.
    #[error("the component is not valid: it has components within components, more than {MOST_NESTED} deep")]
    Nested,
    /// Functions that podwire does not have.
    #[error(
        "the component imports {0}, but a policy may import nothing except podwire:policy/leases and \
         podwire:policy/log of version 0.3, and WASI of version 0.2, for which there are stand-ins"
    )]
    Import(String),
    /// A function of the contract is missing.
    #[error("the component does not export {0:?}: a policy exports {list}", list = EXPORTS.join(", "))]
    Export(&'static str),
    /// A component of components.
    #[error(
        "the component is composed of others, and copying strings between them costs time that no fuel \
         bounds: build it as a single component"
    )]
    Composed,
    /// Strings that are not UTF-8.
    #[error(
        "the component passes strings as UTF-16, but podwire only takes UTF-8: choose it where it is built"
    )]
    Encoding,
}

/// What a component imports and exports at its outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// In its own order.
    pub imports: Vec<Import>,
    /// In its own order.
    pub exports: Vec<String>,
    composed: bool,
    other_encoding: bool,
}

/// An import of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Such as `podwire:policy/leases@0.3.0`.
    pub name: String,
    /// Whether it is more than types, which give a component no power.
    pub has_functions: bool,
}

impl Import {
    /// What the policy gets of it; none if there is no such thing for policies.
    pub fn gets(&self) -> Option<&'static str> {
        match () {
            () if !self.has_functions => Some("types only"),
            () if IMPORTS.iter().any(|ours| self.name.starts_with(ours)) => Some("the contract's functions"),
            () => standin::gets(&self.name),
        }
    }
}

/// Reads and validates a component.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Unfit> {
    if bytes.len() > limits::COMPONENT_BYTES {
        return Err(Unfit::TooLarge);
    }
    if Parser::is_core_wasm(bytes) {
        return Err(Unfit::CoreModule);
    }
    if !Parser::is_component(bytes) {
        return Err(Unfit::NotWasm);
    }
    if is_nested_too_deeply(bytes) {
        return Err(Unfit::Nested);
    }
    let invalid = |error: wasmparser::BinaryReaderError| Unfit::Invalid(clean(&error.to_string(), QUOTE));
    let types = Validator::new_with_features(settings::FEATURES).validate_all(bytes).map_err(invalid)?;
    let mut inspection = Inspection::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => inspection.read(&payload, depth == 0, &types).map_err(invalid)?,
        }
    }
    Ok(inspection)
}

/// Ends where the bytes make no sense: what is wrong there is the validator's to say.
fn is_nested_too_deeply(bytes: &[u8]) -> bool {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(_) => {}
            Err(_) => return false,
        }
        if depth > MOST_NESTED {
            return true;
        }
    }
    false
}

impl Inspection {
    fn read(
        &mut self,
        payload: &Payload<'_>,
        outside: bool,
        types: &wasmparser::types::Types,
    ) -> Result<(), wasmparser::BinaryReaderError> {
        match payload {
            Payload::ComponentImportSection(imports) if outside => {
                for import in imports.clone() {
                    let name = import?.name.name.to_owned();
                    let has_functions =
                        types.component_item_for_import(&name).is_none_or(|i| acts(&i.ty, types));
                    self.imports.push(Import { name, has_functions });
                }
            }
            Payload::ComponentExportSection(exports) if outside => {
                for export in exports.clone() {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                self.composed |= !outside;
                for function in functions.clone() {
                    self.other_encoding |= uses_other_encoding(&function?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the component can be a policy, as far as names tell.
    pub fn check(&self) -> Result<(), Unfit> {
        if let Some(import) = self.imports.iter().find(|import| import.gets().is_none()) {
            return Err(Unfit::Import(clean(&import.name, QUOTE)));
        }
        if let Some(missing) = EXPORTS.into_iter().find(|name| !self.exports.iter().any(|e| e == name)) {
            return Err(Unfit::Export(missing));
        }
        match (self.composed, self.other_encoding) {
            (true, _) => Err(Unfit::Composed),
            (_, true) => Err(Unfit::Encoding),
            (false, false) => Ok(()),
        }
    }
}

/// Whether an import is, or holds, anything but types.
fn acts(import: &ComponentEntityType, types: &wasmparser::types::Types) -> bool {
    match import {
        ComponentEntityType::Type { .. } => false,
        ComponentEntityType::Instance(id) => {
            types[*id].exports.values().any(|export| acts(&export.ty, types))
        }
        _ => true,
    }
}

fn uses_other_encoding(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.iter().any(|o| matches!(o, CanonicalOption::UTF16 | CanonicalOption::CompactUTF16))
        }
        _ => false,
    }
}
