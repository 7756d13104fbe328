//! What goes out, and what becomes of it.

use rialto_protocol::types::ShortStr;

use crate::model::ConsumerId;
use crate::queue::{Delivery, Settle};

use super::super::choices::Choices;
use super::super::naive::Given;
use super::publishing::check_body;
use super::{GETTERS, Pair, same};

impl Pair {
    /// Dispatches until nobody has room or nothing is left. What is to be sent stays for later.
    pub(super) fn drive(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        self.machine.dispatch(self.now, &mut self.out);
        self.load(choices, true)?;
        self.naive.dispatch(self.now.as_micros());
        Ok(())
    }

    /// As the broker does after a batch: dispatch, and take what is to be sent.
    pub(super) fn dispatch(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        self.drive(choices)?;
        let mut taken = Vec::new();
        let mut bodies = Ok(());
        self.machine.take_deliveries(|consumer, deliveries| {
            let read = deliveries.drain(..).map(|delivery| {
                if delivery.redelivered != (delivery.returns > 0) {
                    bodies = Err(format!(
                        "LSN {}: redelivered, but never returned, or the other way",
                        delivery.lsn
                    ));
                }
                if let Err(other) = check_body(delivery.lsn, &delivery.message) {
                    bodies = Err(other);
                }
                seen(&delivery)
            });
            taken.push((consumer.0, read.collect::<Vec<_>>()));
        });
        taken.sort();
        same("deliveries", taken, self.naive.take_deliveries())?;
        bodies
    }

    pub(super) fn settle(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        // Mostly a consumer that holds something, and tags that it holds.
        let holding = self.naive.consumers.iter().filter(|c| !c.held.is_empty()).collect::<Vec<_>>();
        let (id, first, last) = if holding.is_empty() || choices.one_in(10) {
            let id = choices.one_of(&[1, 2, 3, GETTERS[0]]);
            (id, choices.below(4), choices.below(6))
        } else {
            let consumer = holding[choices.below(holding.len() as u64) as usize];
            let tag = consumer.held[choices.below(consumer.held.len() as u64) as usize].tag;
            let first = if choices.one_in(4) { 1 } else { tag };
            (consumer.id, first, tag + choices.below(3))
        };
        let kind = choices.below(5);
        let reason = choices.one_in(3).then(|| ShortStr::truncated("no"));
        let settlement = match kind {
            0 | 4 => Settle::Ack,
            1 => Settle::Requeue,
            3 => Settle::Release,
            _ => Settle::Reject { reason },
        };
        let what = format!("settle consumer {id}, tags {first} to {last}, {settlement:?}");
        let naive = self.naive.settle(id, first, last, &settlement, self.now.as_micros());
        let settled = self.machine.settle(ConsumerId(id), first, last, settlement, self.now, &mut self.out);
        self.tally.settle_errors += u64::from(settled.is_err());
        same(&what, settled, naive)
    }

    pub(super) fn get(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        let (getter, auto_ack) = (choices.one_of(&GETTERS), choices.one_in(2));
        self.load_for_get(choices)?;
        let got = self.machine.get(ConsumerId(getter), auto_ack, self.now, &mut self.out);
        let got = got.map(|got| (seen(&got.delivery), got.remaining));
        same("get", got, self.naive.get(getter, auto_ack, self.now.as_micros()))
    }
}

fn seen(delivery: &Delivery) -> Given {
    (delivery.lsn.0, delivery.tag, delivery.delivery_count, delivery.returns)
}
