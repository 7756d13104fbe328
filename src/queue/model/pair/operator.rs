//! What is done from outside: looking, taking out, purging, pausing, other options.

use crate::model::{Lsn, QueueOptions};
use crate::queue::{BrowsePlace, Browsed};

use super::super::choices::Choices;
use super::options::options;
use super::publishing::check_body;
use super::{Pair, same};

impl Pair {
    /// Goes through all that waits, in steps, and through all that is delivered.
    pub(super) fn look(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        let (mut seen, mut after) = (Vec::new(), None);
        let step = 1 + choices.below(5) as usize;
        loop {
            let before = seen.len();
            for found in self.machine.browse(after, step, self.now) {
                let messages = match found {
                    Browsed::Message(message) => vec![message],
                    Browsed::Run { run, until } => {
                        let messages = self.read(&run)?;
                        run.browsed(messages, until).collect()
                    }
                };
                for message in messages {
                    if Some(message.place) <= after {
                        continue;
                    }
                    let lsn = message.place.lsn();
                    check_body(lsn, &message.message)?;
                    seen.push(lsn.0);
                    after = Some(message.place);
                }
            }
            if seen.len() == before {
                break;
            }
        }
        self.tally.looked_at += seen.len() as u64;
        same("seen", seen, self.naive.listed(self.now.as_micros()))?;

        let (mut unacked, mut after) = (Vec::new(), None);
        loop {
            let page = self.machine.unacked(after, step, self.now, |_| true);
            let Some(last) = page.last() else { break };
            after = Some((last.consumer, last.tag));
            unacked.extend(
                page.into_iter().map(|it| (it.consumer.0, it.tag, it.lsn.0, it.given.as_micros() / 100_000)),
            );
        }
        same("unacked", unacked, self.naive.unacked())
    }

    /// Takes a message out that waits, or one that does not.
    pub(super) fn take_out(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        let waiting: Vec<_> = self.naive.waiting().map(|message| message.lsn).collect();
        let lsn = match waiting.is_empty() || choices.one_in(6) {
            true => choices.below(self.next_lsn),
            false => waiting[choices.below(waiting.len() as u64) as usize],
        };
        let place = self.machine.places_of(&[Lsn(lsn)])[0];
        same("is there", place.is_some(), waiting.contains(&lsn))?;
        // Who does not know where it is may have known it before.
        let place = place.unwrap_or(BrowsePlace::Ready { priority: 0, lsn: Lsn(lsn) });
        while let Some(run) = self.machine.page_wanted_for_taking(place, self.now, &mut self.out) {
            self.page_in(&run, choices)?;
        }
        let taken = self.machine.take_out(place, self.now, &mut self.out);
        taken.iter().try_for_each(|message| check_body(Lsn(lsn), message))?;
        same("taken out", taken.is_some(), self.naive.take_out(lsn, self.now.as_micros()))
    }

    pub(super) fn purge(&mut self) -> Result<(), String> {
        let purged = self.machine.purge(self.now, &mut self.out);
        same("purge", purged, self.naive.purge(self.now.as_micros()))
    }

    pub(super) fn pause(&mut self, choices: &mut impl Choices) {
        // Mostly it goes on.
        let paused = choices.one_in(3);
        self.tally.pauses += u64::from(paused);
        self.machine.set_paused(paused);
        self.naive.paused = paused;
    }

    /// Other options, of which only those count that can change.
    pub(super) fn set_options(&mut self, choices: &mut impl Choices) {
        let declared = self.machine.options().clone();
        let options = options(choices);
        let naive = QueueOptions {
            durable: declared.durable,
            auto_delete: declared.auto_delete,
            max_priority: declared.max_priority,
            default_priority: declared.default_priority,
            single_active_consumer: declared.single_active_consumer,
            ..options.clone()
        };
        self.machine.set_options(options, self.now, &mut self.out);
        self.naive.set_options(naive, self.now.as_micros());
    }
}
