//! A session's [`Turn`], kept out of what the session shows of itself.

use std::fmt;

use crate::broker::Turn;

/// See the module.
#[derive(Default)]
pub(super) struct TurnBox(pub(super) Turn);

impl fmt::Debug for TurnBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}
