//! A component that a person names: a file, or what is installed.

use std::borrow::Cow;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::names::PolicyName;
use crate::registry::Registry;

/// Its bytes, and how it is called in what is printed.
pub(super) struct Component {
    pub(super) label: String,
    pub(super) bytes: Cow<'static, [u8]>,
}

impl Component {
    /// A file goes first: a policy of that name can be told apart by a digest.
    pub(super) fn find(registry: &Registry, text: &str) -> Result<Self> {
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        match name.parse::<PolicyName>() {
            Ok(name) if !Path::new(text).exists() => {
                let installed = match digest {
                    None => registry.active(&name)?,
                    Some(digest) => registry.installed(&name, digest.parse()?)?,
                };
                Ok(Self { label: installed.to_string(), bytes: registry.component(&installed)? })
            }
            _ => Self::read(Path::new(text)).with_context(|| format!("{text} cannot be a policy")),
        }
    }

    fn read(path: &Path) -> Result<Self> {
        Ok(Self { label: path.display().to_string(), bytes: Cow::Owned(super::read(path)?) })
    }
}
