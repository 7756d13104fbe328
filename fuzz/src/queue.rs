//! Targets for the queue machine: it does what its naive twin does.

use rialto::queue::model::{FromBytes, run};

/// How many operations of one input are run: the twin takes time for each message that waits.
const OPERATIONS_MAX: usize = 512;

/// Each byte is a choice: first what the queue is like, then operations and what they work on. Machine and twin
/// look the same after each.
pub fn queue_ops(data: &[u8]) {
    if let Err(difference) = run(&mut FromBytes::new(data), OPERATIONS_MAX, None) {
        panic!("{difference}");
    }
}
