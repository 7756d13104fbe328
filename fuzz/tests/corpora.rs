//! Every kept input of every target, on every change, without a fuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use rialto_fuzz::TARGETS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = read.map(|entry| entry.expect("a folder can be listed").path()).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_passes_its_target() {
    let mut failed = Vec::new();
    let mut replayed = 0;
    for (name, target) in TARGETS {
        for file in files(&root().join("corpus").join(name)) {
            let data = fs::read(&file).expect("a corpus file can be read");
            replayed += 1;
            if catch_unwind(|| target(&data)).is_err() {
                failed.push(file);
            }
        }
    }
    println!("{replayed} inputs replayed");
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_target_has_a_binary_and_a_corpus_and_the_other_way_round() {
    let names: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        files(&root().join(folder))
            .iter()
            .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
            .collect()
    };
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("corpus"), names);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest can be read");
    for name in &names {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name} is not in Cargo.toml"
        );
        assert!(!files(&root().join("corpus").join(name)).is_empty(), "{name} has no seed");
    }
}
