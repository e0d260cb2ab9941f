//! Compiles the `.proto` files with a compiler in pure Rust, and keeps the descriptor set for server
//! reflection and the JSON form.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let mut files: Vec<PathBuf> = fs::read_dir(root.join("temper/v1"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.push(root.join("externalscaler/externalscaler.proto"));
    files.sort();
    let descriptors = protox::compile(&files, [&root])?;
    let set = PathBuf::from(env::var("OUT_DIR")?).join("protocol.binpb");
    fs::write(set, descriptors.encode_to_vec())?;
    // Names let one generic function read the JSON form of any message.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    // Their debug forms must not show secrets: `convert/access.rs` has others.
    config.skip_debug([
        ".temper.v1.CreateTokenResponse",
        ".externalscaler.ScaledObjectRef",
    ]);
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    println!("cargo::rerun-if-changed={}", root.display());
    Ok(())
}
