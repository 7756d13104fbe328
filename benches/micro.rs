//! How long small pieces of the broker's work take, a table: `cargo bench --bench micro [-- NAME]`.
//!
//! A row is a piece; times are of one whole piece, items are its messages. Times of a machine that does other things
//! meanwhile say little: `scripts/instructions` counts the same pieces.

mod workloads;

use std::cell::RefCell;

use divan::Bencher;
use divan::counter::ItemsCount;
use workloads::WORKLOADS;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

// One piece a sample: each is made ready by itself, and long enough for the clock.
#[divan::bench(args = WORKLOADS.map(|(name, _)| name), sample_size = 1, sample_count = 200)]
fn of(bencher: Bencher, name: &str) {
    let entry = WORKLOADS.iter().find(|(own, _)| *own == name);
    let (_, make) = entry.expect("names come from the table");
    let workload = RefCell::new(make());
    let items = ItemsCount::new(workload.borrow().operations());
    bencher
        .counter(items)
        .with_inputs(|| workload.borrow_mut().prepare())
        .bench_local_values(|()| workload.borrow_mut().work());
}
