//! The examples as programs.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Long enough to build an example.
pub const BUILD: Duration = Duration::from_secs(600);

/// Builds an example, unless `cargo test` has done so, and returns its program.
pub fn program(example: &str) -> PathBuf {
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--features", "testing", "--example", example])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(build.success());
    // This test is in `<target>/<profile>/deps`, but Cargo has built the example with the profile `dev`.
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    target.join("debug/examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX))
}
