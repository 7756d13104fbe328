//! What became of the messages of one run, counted.

use std::fmt;
use std::time::Duration;

use rialto_client::{Error, Outcome};

use crate::cli::output::{grouped, messages, note};

/// Reasons that are told one by one; what comes after them is only counted.
const REASONS_TOLD: usize = 5;

/// Counts, and the first reasons.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) confirmed: u64,
    pub(super) unroutable: u64,
    pub(super) rejected: u64,
    reasons: Vec<String>,
}

impl Tally {
    /// Counts messages that the broker has.
    pub(super) fn confirm(&mut self, count: u64) {
        self.confirmed += count;
    }

    /// Counts a message that the broker does not have. `number` counts the messages of the run from 1.
    pub(super) fn fail(&mut self, number: u64, outcome: &Outcome) {
        match outcome {
            Outcome::Unroutable { .. } => self.unroutable += 1,
            _ => self.rejected += 1,
        }
        self.tell(number, outcome);
    }

    /// Counts a message that was never sent.
    pub(super) fn refuse(&mut self, number: u64, error: &Error) {
        self.rejected += 1;
        self.tell(number, error);
    }

    fn tell(&mut self, number: u64, reason: &impl fmt::Display) {
        if self.reasons.len() < REASONS_TOLD {
            self.reasons.push(format!("message {}: {reason}", grouped(number)));
        }
    }

    /// All messages with an outcome.
    pub(super) fn total(&self) -> u64 {
        self.confirmed + self.unroutable + self.rejected
    }

    /// Whether the command has failed: without `--mandatory` it is no failure to reach no queue.
    pub(super) fn is_bad(&self, mandatory: bool) -> bool {
        self.rejected > 0 || (mandatory && self.unroutable > 0)
    }

    /// Tells the counts on stderr; when quiet, only if something is wrong.
    pub(super) fn report(&self, took: Duration, quiet: bool) {
        if quiet && self.unroutable + self.rejected == 0 {
            return;
        }
        for reason in &self.reasons {
            note(format_args!("{reason}"));
        }
        note(format_args!("{}", self.summary(took)));
    }

    fn summary(&self, took: Duration) -> String {
        let mut text = format!("published {}: {} confirmed", messages(self.total()), grouped(self.confirmed));
        for (count, what) in [(self.unroutable, "reached no queue"), (self.rejected, "rejected")] {
            if count > 0 {
                text.push_str(&format!(", {} {what}", grouped(count)));
            }
        }
        // The rate of a single message says nothing.
        if self.total() > 1 {
            let rate = self.total() as f64 / took.as_secs_f64().max(1e-9);
            text.push_str(&format!(" ({:.2} s, {} per second)", took.as_secs_f64(), grouped(rate as u64)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_what_is_wrong_only_where_something_is() {
        let mut tally = Tally::default();
        tally.confirm(1);
        assert_eq!(tally.summary(Duration::from_secs(1)), "published 1 message: 1 confirmed");
        tally.confirm(1999);
        assert_eq!(
            tally.summary(Duration::from_secs(2)),
            "published 2,000 messages: 2,000 confirmed (2.00 s, 1,000 per second)"
        );
        tally.fail(7, &Outcome::Unroutable { returned: None });
        let text = tally.summary(Duration::from_secs(2));
        assert!(text.contains("2,001 messages: 2,000 confirmed, 1 reached no queue"), "{text}");
    }

    #[test]
    fn reaching_no_queue_is_a_failure_only_of_mandatory_messages() {
        let mut tally = Tally::default();
        tally.fail(1, &Outcome::Unroutable { returned: None });
        assert!(!tally.is_bad(false) && tally.is_bad(true));
        tally.fail(2, &Outcome::Rejected { code: 406, reason: Default::default() });
        assert!(tally.is_bad(false));
    }

    #[test]
    fn only_the_first_reasons_are_kept() {
        let mut tally = Tally::default();
        (1..=1000).for_each(|number| tally.fail(number, &Outcome::Unroutable { returned: None }));
        assert_eq!((tally.reasons.len(), tally.unroutable), (REASONS_TOLD, 1000));
    }
}
