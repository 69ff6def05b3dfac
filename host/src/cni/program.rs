//! The name by which the runtime executed this process. Knows nothing of what it may mean.
//!
//! The kernel hands it over beside the environment (getauxval(3), AT_EXECFN), so that it costs no call: std has no
//! arguments to offer where `main` is C's and libc is musl, nor rustix its own way where the plugin is static.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The file's name; a link's own, not that of what it leads to.
pub(super) fn program() -> Option<OsString> {
    // SAFETY: has no conditions; the answer is 0 if the kernel handed nothing over.
    let path = unsafe { libc::getauxval(libc::AT_EXECFN) };
    let path: *const libc::c_char = std::ptr::with_exposed_provenance(usize::try_from(path).ok()?);
    if path.is_null() {
        return None;
    }
    // SAFETY: the kernel's string ends with a zero, and stays where it is as long as the process.
    let path = unsafe { CStr::from_ptr(path) };
    Path::new(OsStr::from_bytes(path.to_bytes())).file_name().map(OsStr::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_knows_its_own_name() {
        let path = std::env::current_exe().expect("a test knows its own file");
        assert_eq!(program().as_deref(), path.file_name());
    }
}
