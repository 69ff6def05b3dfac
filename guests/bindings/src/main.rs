//! Writes guests/c/bindings, what `wit-bindgen c --no-helpers` makes of the contract: `cargo run -p bindings`.
//!
//! They are committed, so that a policy in C needs no generator.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use wit_bindgen_core::{Files, wit_parser::Resolve};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let folder = guests().join("c/bindings");
    for (name, content) in generate()?.iter() {
        fs::File::create(folder.join(name))?.write_all(content)?;
    }
    Ok(())
}

fn guests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn generate() -> Outcome<Files> {
    let mut wit = Resolve::default();
    let package = wit.push_file(guests().join("../wit/policy.wit"))?;
    let world = wit.select_world(&[package], Some("policy"))?;
    let mut files = Files::default();
    let options = wit_bindgen_c::Opts { no_helpers: true, ..Default::default() };
    options.build().generate(&mut wit, world, &mut files)?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_follows_from_the_contract() {
        let files = generate().unwrap();
        assert_eq!(files.iter().count(), 3);
        for (name, content) in files.iter() {
            let committed = fs::read(guests().join("c/bindings").join(name)).unwrap();
            assert!(committed == content, "guests/c/bindings/{name} is another: cargo run -p bindings");
        }
    }
}
