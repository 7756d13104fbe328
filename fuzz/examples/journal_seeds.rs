//! Writes the seeds of the journal's targets: `cargo run --example journal_seeds`.

use std::fs;
use std::path::Path;

use rialto_fuzz::DAMAGE_FILES;

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).expect("the corpus can be created");
        fs::write(folder.join(name), bytes).expect("a seed can be written");
    };
    let segments = (DAMAGE_FILES)();
    let mut whole = vec![0];
    for segment in &segments {
        whole.extend_from_slice(&(segment.bytes.len() as u16).to_be_bytes());
        whole.extend_from_slice(&segment.bytes);
    }
    put("journal_recovery", "whole_log", &whole);
    for (number, segment) in segments.iter().enumerate() {
        // Records as metadata that are sealed anew.
        for (record, offset) in segment.records.iter().enumerate() {
            let head = &segment.bytes[*offset as usize..];
            let number_at =
                |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (meta_len, entries_len) = (number_at(8) as usize, number_at(12) as u16);
            let mut bytes = vec![1];
            bytes.extend_from_slice(&entries_len.to_be_bytes());
            bytes.extend_from_slice(&head[32..32 + meta_len]);
            put("journal_recovery", &format!("metadata_{number}_{record}"), &bytes);
        }
    }
    put("journal_recovery", "behind_a_header", &[2, 0x9e, 0x37, 1, 2, 3]);
    put("journal_recovery", "zeros", &[0; 600]);
    put("journal_damage", "untouched", &[]);
    put("journal_damage", "flips", &[0, 0, 0, 200, 1, 0, 1, 1, 7, 64, 0, 2, 0, 10, 255]);
    put("journal_damage", "torn", &[1, 2, 1, 40, 0, 5, 2, 0, 0, 200]);
    put("journal_damage", "lost_trailer", &[1, 0, 2, 200, 0]);
    put("journal_damage", "twice", &[3, 2, 0, 128, 200, 3, 1, 0, 128, 250]);
    put("journal_damage", "gone", &[1, 1, 0, 0, 0]);
    put("journal_damage", "shifted", &[4, 1, 0, 140, 9, 4, 2, 0, 3, 5]);
}
