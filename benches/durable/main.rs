//! The real broker on a real disk, with confirms: backlogs, fan-outs, old messages, full disks.
//!
//! `cargo bench --bench durable -- SCENARIO [NUMBERS]`:
//! - `backlog [messages] [bytes]` (10000000 128): publishes them into one durable queue; kills and restarts the broker,
//!   then stops and restarts it; takes all out again. Rates, memory, times.
//! - `fanout [queues] [bytes] [messages]` (1000 1048576 20): what a message for so many durable queues takes on disk.
//! - `old-message [gigabytes] [bytes]` (10 16384): one message is never acknowledged while so much goes through beside it.
//! - `full FOLDER`: publishes until the disk is full, takes messages out, goes on, kills, and counts. The folder should be
//!   on a small file system of its own: `truncate -s 400M disk; mkfs.ext4 -q disk; mount -o loop disk FOLDER`.
//!
//! The others write below the folder for temporary files, which `TMPDIR` names. Every scenario panics where something
//! confirmed is lost or out of order.
#![cfg(unix)]

mod backlog;
mod broker;
mod fanout;
mod full;
mod old_message;
mod traffic;

use std::future::Future;
use std::path::Path;

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |at: usize, default: u64| match words.get(at) {
        Some(word) => word.parse().unwrap_or_else(|_| panic!("{word} is no number")),
        None => default,
    };
    match words.first().map(String::as_str) {
        Some("backlog") => run(backlog::run(number(1, 10_000_000), number(2, 128) as usize)),
        Some("fanout") => run(fanout::run(number(1, 1000), number(2, 1 << 20) as usize, number(3, 20))),
        Some("old-message") => run(old_message::run(number(1, 10), number(2, 16 << 10) as usize)),
        Some("full") => {
            let folder = words.get(1).expect("full needs a folder on a small file system");
            run(full::run(Path::new(folder)));
        }
        _ => {
            println!("small runs of each; see benches/durable/main.rs for what can be asked");
            run(backlog::run(100_000, 128));
            run(fanout::run(100, 1 << 20, 5));
            run(old_message::run(1, 16 << 10));
        }
    }
}

fn run(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads to run on").block_on(scenario);
}
