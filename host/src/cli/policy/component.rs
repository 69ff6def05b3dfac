//! A component that a person names: a file, or what is installed.

use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;

use crate::registry::{Named, Registry};

/// Its bytes, and how it is called in what is printed.
pub(super) struct Component {
    pub(super) label: String,
    pub(super) bytes: Cow<'static, [u8]>,
}

impl Component {
    /// A file goes first: a policy of that name can be told apart by a digest.
    pub(super) fn find(registry: &Registry, text: &str) -> Result<Self> {
        let path = Path::new(text);
        match text.parse::<Named>() {
            Ok(named) if !path.exists() => {
                let installed = registry.find(&named)?;
                Ok(Self { label: installed.to_string(), bytes: registry.component(&installed)? })
            }
            _ => Ok(Self { label: text.to_owned(), bytes: Cow::Owned(super::read(path)?) }),
        }
    }
}
