//! Writes the seeds of the queue target: `cargo run --example queue_seeds`.
//!
//! A seed is a run of pseudo-random choices that reaches a good part of the rules.

use std::fs;
use std::path::Path;

use rialto::queue::model::{Choices, Seeded};

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/queue_ops");
    fs::create_dir_all(&folder).expect("the corpus can be created");
    for seed in 0..8 {
        let mut choices = Seeded::new(seed);
        let bytes: Vec<u8> = (0..1500).map(|_| choices.below(256) as u8).collect();
        fs::write(folder.join(format!("seed_{seed}")), bytes).expect("a seed can be written");
    }
}
