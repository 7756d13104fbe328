//! One run: a queue and its naive twin, as many random operations as are asked for, and a look at both after each.

use std::fmt;

use super::choices::Choices;
use super::mutation::Mutation;
use super::pair::Pair;
use super::tally::Tally;

/// Where machine and twin differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// How many operations were done before.
    pub operation: usize,
    /// What was being done, and what both say.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {}: {}", self.operation, self.what)
    }
}

/// Does up to `operations` random operations to a random queue and its twin, and compares after each.
///
/// # Errors
/// The first difference.
///
/// # Panics
/// If the machine's own invariants are broken.
pub fn run(
    choices: &mut impl Choices,
    operations: usize,
    mutation: Option<Mutation>,
) -> Result<Tally, Difference> {
    let mut pair = Pair::new(choices, mutation);
    for operation in 0..operations {
        if choices.is_spent() {
            break;
        }
        let at = |what| Difference { operation, what };
        pair.step(choices).map_err(at)?;
        pair.compare().map_err(at)?;
    }
    pair.finish(choices).map_err(|what| Difference { operation: operations, what })
}
