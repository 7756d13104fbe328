//! The queue machine against a naive model of itself: for the model test and the fuzz target, not for users.
//!
//! `run` makes a queue and its naive twin, does the same random operations to both, and compares everything
//! that can be seen: answers, deliveries with their tags, dead letters, what the journal is told, counts,
//! deadlines. In half of the runs messages are paged out, spilled, loaded again and restored into a new queue at random
//! moments, of which the twin knows nothing but that a restart forgets transient messages and consumers. Choices come
//! from a seed or from a fuzzer's bytes. A `Mutation` plants a bug in the twin, to prove that the comparison would find
//! it in the machine.

mod choices;
mod mutation;
mod naive;
mod pair;
mod run;
mod stored;
mod tally;

pub use choices::{Choices, FromBytes, Seeded};
pub use mutation::Mutation;
pub use run::{Difference, run};
pub use tally::Tally;
