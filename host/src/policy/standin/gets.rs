//! What each of WASI's interfaces gives a policy, in an operator's words.

/// None if there is nothing for policies of that name.
pub(in crate::policy) fn gets(import: &str) -> Option<&'static str> {
    Some(match super::interface(import)? {
        "wasi:cli/environment" => "no variables, no arguments",
        "wasi:cli/stdin" => "an input that is at its end",
        "wasi:cli/stdout" => "the policy's log, as notes",
        "wasi:cli/stderr" => "the policy's log, as warnings",
        "wasi:cli/terminal-stdin" | "wasi:cli/terminal-stdout" | "wasi:cli/terminal-stderr" => "no terminal",
        "wasi:clocks/monotonic-clock" => "a clock that stands still at its first nanosecond",
        "wasi:clocks/wall-clock" => "a clock that stands still at the beginning of 1970",
        "wasi:filesystem/preopens" => "no folders",
        "wasi:io/poll" => "nothing that has to be waited for",
        "wasi:io/streams" => "the streams of standard input, output and error",
        "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => {
            "bytes that follow from the request: the same for the same one"
        }
        super::MODULE_LOADER => "no modules but those that the component was built with",
        _ => "nothing: a call of one of its functions ends the policy's",
    })
}
