//! What every error must be to help the person who reads it.

/// Marks of programs talking to themselves.
const NOISE: [&str; 8] =
    ["failed to", "Err(", "Some(", "None", "Os {", "unwrap", "error: error", "wasm backtrace"];

/// Panics unless a message is a sentence for people: one line, of bounded length, and no heap of "failed to".
#[track_caller]
pub(crate) fn assert_helpful(message: &str) {
    assert!(message.split_whitespace().count() >= 4, "not a sentence: {message:?}");
    assert!(message.len() <= 2 * 4096, "{} bytes long: {message:?}", message.len());
    assert!(!message.chars().any(char::is_control), "not one line: {message:?}");
    for noise in NOISE {
        assert!(!message.contains(noise), "{noise:?} is in {message:?}");
    }
}
