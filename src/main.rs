//! The `rialto` command. Everything is in the library, where tests reach it; here is only what a process needs.

use std::process::ExitCode;

/// Messages are allocated by one thread and freed by another, which this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rialto::cli::run().into()
}
