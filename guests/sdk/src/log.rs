//! Notes for the operator: each is one line on the plugin's standard error, after the policy's name. In
//! unit tests they go to the test's standard error, and [`notes`](crate::testing::notes) has them.

/// For whoever develops the policy.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// For the record.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// What somebody should look at.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// What went wrong.
pub fn error(message: &str) {
    write(Level::Error, message);
}

use crate::raw::log::Level;

#[cfg(target_arch = "wasm32")]
fn write(level: Level, message: &str) {
    crate::raw::log::log(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
#[expect(clippy::print_stderr, reason = "the only reader of a unit test's notes is its terminal")]
fn write(level: Level, message: &str) {
    extern crate std;
    std::eprintln!("{level:?}: {message}");
    crate::testing::note(message);
}
