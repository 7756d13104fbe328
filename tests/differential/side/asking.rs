//! Questions whose answers tell that all consequences of a step have arrived.

use super::*;

impl Side {
    /// Asks every queue for its counts, twice.
    pub(super) fn probe_queues(&mut self) {
        for link in 0..=CONTROL {
            let of_link = |owner: &Option<usize>| owner.unwrap_or(CONTROL) == link;
            let names: Vec<_> = self
                .queues
                .iter()
                .filter(|(_, owner)| of_link(owner))
                .map(|(name, _)| name.clone())
                .collect();
            let mut names: Vec<_> = [&names[..], &names[..]].concat();
            while !names.is_empty() && !self.links[link].is_closed {
                names = self.probe(link, names);
            }
        }
    }

    pub(super) fn open_probe(&mut self, link: usize) {
        if !std::mem::replace(&mut self.links[link].has_probe, true) {
            self.put(link, PROBE, Method::ChannelOpen(ChannelOpen {}));
        }
    }

    /// Asks for these queues; gives those that were not answered since one before them did not exist.
    fn probe(&mut self, link: usize, names: Vec<String>) -> Vec<String> {
        self.open_probe(link);
        for name in &names {
            let queue = self.wire_name(name);
            self.put(
                link,
                PROBE,
                Method::QueueDeclare(QueueDeclare { queue, passive: true, ..Default::default() }),
            );
        }
        self.links[link].client.flush();
        for (index, name) in names.iter().enumerate() {
            let from = self.heard.len();
            let exists = self.await_on(link, PROBE, |method| matches!(method, Method::QueueDeclareOk(_)));
            // Deliveries may have come between; what was said to the probe is not part of the trace.
            let is_probe =
                |heard: &mut Heard| matches!(heard, Heard::Event(_, event) if event.channel == PROBE);
            let answer = self.heard.extract_if(from.., is_probe).last();
            if self.links[link].is_closed {
                return Vec::new();
            }
            if let (true, Some(Heard::Event(_, Event { method: Method::QueueDeclareOk(declared), .. }))) =
                (exists, &answer)
            {
                let counts = (declared.message_count, declared.consumer_count);
                self.counts.insert(name.clone(), counts);
                self.states.insert(name.clone(), format!("{} ready, {} consumers", counts.0, counts.1));
                continue;
            }
            let Some(Heard::Event(_, event)) = answer else { panic!("no answer from the probe") };
            let closed = Closed::of(&event).expect("the probe was closed");
            let state = if closed.code == 404 { "does not exist".to_owned() } else { closed.to_string() };
            self.states.insert(name.clone(), state);
            self.links[link].has_probe = false;
            self.counts.remove(name);
            self.queues.remove(name);
            return names[index + 1..].iter().filter(|&other| other != name).cloned().collect();
        }
        Vec::new()
    }

    /// Asks every channel that may be told something, twice, one question behind the answer to the other.
    pub(super) fn ask_channels(&mut self) {
        for _ in 0..2 {
            let all =
                (0..LINKS).flat_map(|link| self.open_channels(link).into_iter().map(move |at| (link, at)));
            let is_told = |&(link, channel): &(usize, u16)| {
                let is_asked = (link, channel) == self.at;
                is_asked || self.channel(link, channel).is_some_and(|channel| !channel.consumers.is_empty())
            };
            let open: Vec<_> = all.filter(is_told).collect();
            for &(link, channel) in &open {
                self.put(link, channel, access_request());
            }
            (0..LINKS).for_each(|link| self.links[link].client.flush());
            // Their answers come in any order.
            let heard = self.heard.len();
            for (link, channel) in open {
                let answered = self.heard[heard..].iter().any(|heard| heard.answers(link, channel));
                if !answered && self.links[link].channels.contains_key(&channel) {
                    self.await_on(link, channel, |method| matches!(method, Method::AccessRequestOk(_)));
                }
            }
        }
    }

    /// Waits for confirms, and for cancellations of consumers whose queue is gone.
    pub(super) fn await_debts(&mut self) {
        for link in 0..LINKS {
            for number in self.open_channels(link) {
                while let Some(channel) = self.channel(link, number) {
                    let unconfirmed =
                        channel.confirms.as_ref().is_some_and(|(_, pending)| !pending.is_empty());
                    let uncancelled = channel
                        .consumers
                        .values()
                        .any(|queue| self.states.get(queue).is_some_and(|state| state == "does not exist"));
                    if !unconfirmed && !uncancelled {
                        break;
                    }
                    let is_one = |method: &Method| {
                        matches!(method, Method::BasicAck(_) | Method::BasicNack(_) | Method::BasicCancel(_))
                    };
                    if !self.await_on(link, number, is_one) {
                        break;
                    }
                }
            }
        }
    }
}
