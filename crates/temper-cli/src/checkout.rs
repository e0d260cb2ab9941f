//! What `make setup` put beside a program that was built in a checkout: `.local`, the default for what
//! nobody named.

use std::path::{Path, PathBuf};

use temper_data::Inputs;

/// The inputs with the mirror folder, where no other is named.
pub fn with_mirror(mut inputs: Inputs) -> Inputs {
    if inputs.mirror.is_empty() {
        let program = std::env::current_exe().ok();
        let found = program.and_then(|program| local(&program, "mirror"));
        inputs.mirror.extend(found);
    }
    inputs
}

/// The PostgreSQL installation, the folder that holds `bin`.
pub fn postgres() -> Option<PathBuf> {
    local(&std::env::current_exe().ok()?, "postgres")
}

/// A program of a checkout is `target/{profile}/{name}` in it.
fn local(program: &Path, name: &str) -> Option<PathBuf> {
    let checkout = program.ancestors().nth(3)?;
    let found = checkout.join(".local").join(name);
    (checkout.join("Cargo.toml").is_file() && found.is_dir()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_checkout_that_is_set_up_has_something_to_offer() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("target/debug/temper");
        let mirror = folder.path().join(".local/mirror");
        std::fs::create_dir_all(&mirror).unwrap();
        assert_eq!(local(&program, "mirror"), None, "no checkout");
        std::fs::write(folder.path().join("Cargo.toml"), "").unwrap();
        assert_eq!(local(&program, "mirror"), Some(mirror));
        assert_eq!(local(&program, "postgres"), None, "not set up");
    }
}
