//! The policy that podwire brings along, for nodes on which none is installed under its name.
//!
//! build.rs says which component it is.

use std::sync::LazyLock;

use crate::names::{Digest, PolicyName};

/// The component.
pub(super) const COMPONENT: &[u8] = include_bytes!(env!("PODWIRE_BUILTIN"));

/// Computed when podwire was built: an ADD has no time for it.
pub(super) static DIGEST: LazyLock<Digest> =
    LazyLock::new(|| env!("PODWIRE_BUILTIN_DIGEST").parse().expect("build.rs writes digests"));

/// Its digest, if that is its name.
pub(super) fn named(name: &PolicyName) -> Option<Digest> {
    (*name == PolicyName::default()).then(|| *DIGEST)
}

/// Whether it has that digest.
pub(super) fn is(digest: &Digest) -> bool {
    *digest == *DIGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_components() {
        assert_eq!(crate::registry::digest(COMPONENT), *DIGEST);
    }

    #[cfg(feature = "compiler")]
    #[test]
    fn it_has_no_imports_but_the_contracts() {
        crate::policy::inspect(COMPONENT).unwrap().check().unwrap();
    }
}
