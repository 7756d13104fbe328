//! What a document cannot say of arguments, since JSON cannot: it is in the log, for in the document nobody would see it.
//!
//! Invariant: however many arguments there are, an export writes a bounded number of lines.

use std::fmt;

use rialto_protocol::types::FieldTable;
use serde_json::Value;

use crate::model::{json_from_table, lost_in_json};

/// Things that are told one by one, in an export; those beyond are only counted.
const TOLD_MAX: u64 = 100;

/// What is lost of the arguments of one export.
#[derive(Debug, Default)]
pub(super) struct Lost(u64);

impl Lost {
    /// The arguments of a thing, as they go into the document.
    pub(super) fn arguments(&mut self, thing: impl fmt::Display, table: &FieldTable) -> Value {
        if let Some((argument, what)) = lost_in_json(table) {
            self.0 += 1;
            if self.0 <= TOLD_MAX {
                tracing::warn!(
                    "definitions: argument {argument:?} of {thing} has {what}, which JSON cannot say: it is exported as \
                     something else, and whoever imports it gets that"
                );
            }
        }
        json_from_table(table)
    }

    /// Tells how many there were besides. All that have something lost are counted.
    pub(super) fn finish(self) -> u64 {
        if let Some(more) = self.0.checked_sub(TOLD_MAX).filter(|more| *more > 0) {
            tracing::warn!(more, "definitions: so it is with arguments of other things");
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::types::FieldValue;

    use super::*;

    #[test]
    fn a_thing_whose_arguments_json_cannot_say_is_counted() {
        let mut lost = Lost::default();
        lost.arguments("queue 'a'", &FieldTable::new().with("x-max-length", 5));
        lost.arguments("queue 'b'", &FieldTable::new().with("since", FieldValue::Timestamp(7)));
        assert_eq!(lost.finish(), 1);
    }
}
