//! AMQP sessions on one broker, without sockets, and a native one beside them: operations from a script, or bytes.
//!
//! What must hold: no panic, no endless loop, output that is whole frames of legal methods (see `ear`) and does not
//! grow while nobody reads it, and, when all sessions are gone, a broker that keeps nothing of them.
//! Rooms: `client` (a session with both ends of its socket), `speech` (what clients say), `ear` (what they hear).

mod client;
mod ear;
mod speech;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rialto::broker::{Broker, Limits, Turn};
use rialto::model::{ConnectionId, ExchangeName, ManualClock, Timestamp};
use rialto::session::Session;

use crate::script::Script;
use crate::session::Peer;
use client::Client;

/// The first byte says how the rest is to be taken: as bytes from a client that has logged in, or has not, in pieces
/// of some size; or as a script for all of them.
pub fn amqp_session(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else { return };
    let mut world = World::new(how);
    let step = 1 + usize::from(how / 4);
    match how % 8 {
        0 => world.feed(data, step),
        1 => world.feed(data, data.len().max(1)),
        2 => {
            world.clients[0] = Client::accepted(&world.broker, world.now);
            world.feed(data, step);
        }
        // Mostly in a world with something in it.
        how => {
            if how != 7 {
                let mut said = BytesMut::new();
                speech::declare_all(&mut said);
                world.clients[0].says_bytes(&said);
            }
            world.settle();
            world.play(&mut Script(data));
        }
    }
    world.end(how);
}

struct World {
    broker: Broker,
    clock: Arc<ManualClock>,
    /// The time that sessions live by.
    now: Timestamp,
    clients: Vec<Client>,
    neighbour: Peer,
    turn: Turn,
}

impl World {
    fn new(how: u8) -> World {
        let clock = Arc::new(ManualClock::new());
        let mut limits = Limits {
            memory_budget: 1 << 20,
            queue_budget: 60_000,
            outbox_bytes: 64 << 10,
            queues_max: 16,
            ..Limits::default()
        };
        limits.queue.deaths_max = 4;
        limits.queue.consumers_max = 8;
        limits.routing.bindings_max = 64;
        let broker = Broker::in_memory().clock(clock.clone()).limits(limits).build();
        let now = Timestamp::from_millis(1);
        let clients = (0..3).map(|n| Client::connect(&broker, n + how / 8, now)).collect();
        let neighbour = Peer::connect(&broker, now);
        World { broker, clock, now, clients, neighbour, turn: Turn::new() }
    }

    fn feed(&mut self, data: &[u8], step: usize) {
        self.clients.iter_mut().for_each(Client::babbles);
        for piece in data.chunks(step) {
            self.clients[0].says_bytes(piece);
            self.clients[0].hear(usize::MAX, self.now);
            self.settle();
        }
    }

    /// Everybody hears what there is and writes what they have, until all is quiet.
    fn settle(&mut self) {
        for _ in 0..3 {
            for client in &mut self.clients {
                client.hear(usize::MAX, self.now);
                client.session.handle_outbox(self.now);
                client.write(usize::MAX, self.now);
            }
            self.neighbour.session.handle_outbox(self.now);
            self.neighbour.write(usize::MAX, self.now);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.now = self.now.plus(time);
        self.broker.run_timers(&mut self.turn);
        let now = self.now;
        for client in &mut self.clients {
            while client.session.next_deadline().is_some_and(|deadline| deadline <= now) {
                let before = client.session.next_deadline();
                client.session.handle_time(now);
                if client.session.next_deadline() == before {
                    break;
                }
            }
        }
    }

    fn play(&mut self, script: &mut Script<'_>) {
        while !script.0.is_empty() {
            let who = usize::from(script.below(4));
            let step = script.below(24);
            match (step, self.clients.get_mut(who)) {
                (0, _) => self.pass(Duration::from_millis(script.byte().into())),
                (1, _) if script.seldom(64) => {
                    self.pass(Duration::from_millis(u64::from(script.byte()) << script.below(10)));
                }
                (2, _) => {
                    self.broker.review_pressure(&mut self.turn);
                }
                (3 | 4, _) => self.settle(),
                (5, Some(client)) => client.write(usize::from(script.byte()) * 64, self.now),
                (6, Some(client)) => client.session.handle_outbox(self.now),
                (7, Some(client)) => client.session.handle_time(self.now),
                (8, Some(client)) if script.seldom(48) => {
                    match script.below(3) {
                        0 => client.session.handle_disconnect(self.now),
                        1 => client.session.handle_shutdown("maintenance", self.now),
                        // Dropped by what follows.
                        _ => {}
                    }
                    self.clients[who] = Client::connect(&self.broker, script.byte(), self.now);
                }
                (9, Some(client)) => {
                    for _ in 0..=script.below(4) {
                        client.say(script);
                    }
                    // Up to anywhere.
                    client.hear(usize::from(script.byte()) << script.below(4), self.now);
                }
                (_, Some(client)) => {
                    for _ in 0..=script.below(6) {
                        client.say(script);
                    }
                    client.hear(usize::MAX, self.now);
                }
                (_, None) => {
                    for _ in 0..=script.below(4) {
                        self.neighbour.say(script);
                    }
                    self.neighbour.hear(self.now);
                    self.neighbour.write(usize::MAX, self.now);
                }
            }
            self.replace_the_gone(script);
        }
        self.settle();
    }

    fn replace_the_gone(&mut self, script: &mut Script<'_>) {
        // The neighbour's bodies are its own.
        if !self.clients.iter().all(Client::knows_bodies) {
            self.clients.iter_mut().for_each(Client::babbles);
        }
        for client in &mut self.clients {
            if client.is_closed() {
                client.write(usize::MAX, self.now);
                client.session.handle_disconnect(self.now);
                let babbles = !client.knows_bodies();
                *client = Client::connect(&self.broker, script.byte(), self.now);
                if babbles {
                    client.babbles();
                }
            }
        }
        if self.neighbour.closed || self.neighbour.session.is_finished() {
            self.neighbour.session.handle_disconnect(self.now);
            self.neighbour = Peer::connect(&self.broker, self.now);
        }
    }

    /// All are gone, each in its way, and nothing of them is left.
    fn end(mut self, how: u8) {
        for (n, mut client) in self.clients.drain(..).enumerate() {
            match (usize::from(how / 16) + n) % 3 {
                0 => client.session.handle_disconnect(self.now),
                1 => {
                    client.write(usize::MAX, self.now);
                    client.session.handle_shutdown("the end", self.now);
                    client.write(usize::MAX, self.now);
                    client.session.handle_time(self.now.plus(Duration::from_secs(60)));
                    assert!(client.session.is_finished());
                }
                _ => {}
            }
        }
        self.neighbour.session.handle_disconnect(self.now);
        drop(self.neighbour);
        assert!(self.broker.connections().is_empty(), "a connection is still listed");
        let vhost = self.broker.vhost("/").expect("the vhost is there");
        self.turn.begin(self.broker.now());
        for queue in vhost.queues() {
            let stats = queue.stats();
            let held = (stats.unacked, stats.unacked_bytes, stats.consumers);
            assert_eq!(held, (0, 0, 0), "queue {} of nobody: {stats:?}", queue.name());
            assert_eq!(queue.owner(), None, "queue {} outlives its owner", queue.name());
        }
        for exchange in ["e", "f", "hash", "later", "once"] {
            let name = ExchangeName::new(exchange).expect("a short name");
            vhost.delete_exchange(&name, false).expect("no one's exchange");
        }
        for queue in vhost.queues() {
            vhost
                .delete_queue(queue.name(), false, false, ConnectionId(0), &mut self.turn)
                .expect("no one's queue");
        }
        self.turn.finish(&self.broker);
        assert_eq!(vhost.queues().len(), 0);
        assert_eq!(self.broker.memory_bytes(), 0, "messages that are in no queue");
        assert_eq!(self.broker.timers_len(), 0, "timers of queues that are gone");
    }
}
