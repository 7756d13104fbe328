//! Does a small piece of the broker's work again and again, for a tool that counts instructions.
//!
//! `instructions` alone lists the pieces with their operations; `instructions NAME ROUNDS` does one. Only what happens
//! in `counted_piece` is to be counted. Run by `scripts/instructions`.

mod workloads;

use std::process::ExitCode;

use workloads::{WORKLOADS, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pieces before the first that counts: pools are filled, tables have grown.
const WARM_UP: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [] => {
            for (name, make) in WORKLOADS {
                println!("{name} {}", make().operations());
            }
            ExitCode::SUCCESS
        }
        [name, rounds] => {
            let entry = WORKLOADS.iter().find(|(own, _)| own == name);
            let (Some((_, make)), Ok(rounds)) = (entry, rounds.parse()) else {
                eprintln!("there is no such piece, or {rounds} is no number");
                return ExitCode::from(2);
            };
            run(&mut *make(), rounds);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: instructions [NAME ROUNDS]");
            ExitCode::from(2)
        }
    }
}

fn run(workload: &mut dyn Workload, rounds: usize) {
    for _ in 0..WARM_UP {
        workload.prepare();
        workload.work();
    }
    for _ in 0..rounds {
        workload.prepare();
        counted_piece(workload);
    }
}

/// Told from all else by its name.
#[inline(never)]
fn counted_piece(workload: &mut dyn Workload) {
    workload.work();
}
