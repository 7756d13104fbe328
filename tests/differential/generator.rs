//! Traces from a seed.
//!
//! Invariants: the same seed gives the same trace; nothing in a trace depends on a race. So what dies in one queue
//! goes to a queue that nothing else flows into in the same step (`s0` for `q0`, …), messages never expire by the
//! clock, and prefetch windows over a whole channel are for one queue (the runner sees to that).
//! Not here: how a step is carried out (`runner`), whether it may be (the brokers).

use fastrand::Rng;
use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};

use super::operation::{ExchangeForm, Operation, Publication, QueueForm, Step, Target, Verdict};

/// Client connections of a trace.
pub(crate) const LINKS: usize = 2;
/// Channels that a trace uses on each.
pub(crate) const CHANNELS: u16 = 3;

/// Queues with neighbours in the topology; each has a sink for its dead letters.
pub(crate) const QUEUES: [&str; 6] = ["q0", "q1", "q2", "q3", "x0", "x1"];
pub(crate) const SINKS: [&str; 6] = ["s0", "s1", "s2", "s3", "sx0", "sx1"];
/// Exchanges that a trace makes and deletes: their first letter is their type, `i` is internal.
pub(crate) const EXCHANGES: [&str; 7] = ["d", "f", "t", "h", "i", "e", "g"];
const PREDECLARED: [&str; 5] = ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"];
const KEYS: [&str; 10] = ["a", "b", "c", "a.b", "b.c", "a.b.c", "", ".", "a..b", "a.b.c.a"];
const PATTERNS: [&str; 12] =
    ["*", "#", "a.*", "*.b", "a.#", "#.c", "*.#", "#.b.#", "*.*", "a.*.c", "#.#", "*.b.*"];
/// Arguments of queue.declare that we accept and ignore.
pub(crate) const IGNORED: [&str; 3] = ["x-queue-mode", "x-queue-version", "x-queue-master-locator"];
const TAGS: [&str; 6] = ["c1", "c2", "c3", "c4", "c5", ""];

/// Makes the steps of one episode.
pub(crate) struct Generator {
    seed: u64,
    rng: Rng,
    made: usize,
}

/// How many of an episode's first steps only build its topology.
const PRELUDE: usize = 24;

impl Generator {
    pub(crate) fn new(seed: u64) -> Generator {
        Generator { seed, rng: Rng::with_seed(seed), made: 0 }
    }

    /// A whole episode.
    pub(crate) fn episode(seed: u64, steps: usize) -> Vec<Step> {
        let mut generator = Generator::new(seed);
        (0..steps).map(|_| generator.step()).collect()
    }

    fn step(&mut self) -> Step {
        self.made += 1;
        let operation = if self.made <= PRELUDE { self.building() } else { self.anything() };
        let link = self.rng.usize(..LINKS);
        let channel = self.rng.u16(1..=CHANNELS);
        Step { link, channel, operation }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(..of.len())].clone()
    }

    fn building(&mut self) -> Operation {
        match self.rng.u32(..10) {
            0..5 => {
                let queue = self.queue();
                let form = home_queue(self.seed, &queue);
                Operation::DeclareQueue { queue, form, passive: false, no_wait: false }
            }
            5..7 => {
                let exchange = self.pick(&EXCHANGES).to_owned();
                let form = home_exchange(self.seed, &exchange);
                Operation::DeclareExchange { exchange, form, passive: false, no_wait: false }
            }
            _ => self.bind(),
        }
    }

    fn anything(&mut self) -> Operation {
        match self.rng.u32(..1000) {
            0..90 => self.declare_queue(),
            90..135 => self.declare_exchange(),
            135..155 => Operation::DeleteQueue {
                queue: self.queue(),
                if_unused: self.chance(40),
                if_empty: self.chance(40),
                no_wait: self.chance(20),
            },
            155..170 => Operation::DeleteExchange {
                exchange: self.exchange(),
                if_unused: self.chance(50),
                no_wait: self.chance(20),
            },
            170..235 => self.bind(),
            235..255 => {
                let (queue, exchange, routing_key, arguments) = self.binding();
                Operation::Unbind { queue, exchange, routing_key, arguments }
            }
            255..275 => {
                let (destination, source) = (self.pick(&EXCHANGES).to_owned(), self.exchange());
                let (routing_key, arguments) = self.binding_rule(&source);
                let no_wait = self.chance(20);
                Operation::BindExchange { destination, source, routing_key, arguments, no_wait }
            }
            275..283 => {
                let (destination, source) = (self.pick(&EXCHANGES).to_owned(), self.exchange());
                let (routing_key, arguments) = self.binding_rule(&source);
                let no_wait = self.chance(20);
                Operation::UnbindExchange { destination, source, routing_key, arguments, no_wait }
            }
            283..295 => Operation::Purge { queue: self.queue(), no_wait: self.chance(20) },
            295..560 => {
                let count = if self.chance(30) { self.rng.usize(2..6) } else { 1 };
                let publications = (0..count).map(|_| self.publication(count == 1));
                Operation::Publish(publications.collect())
            }
            560..575 => Operation::PublishExpired { queue: self.queue() },
            575..655 => Operation::Get { queue: self.queue(), no_ack: self.chance(30) },
            655..725 => self.consume(),
            725..745 => Operation::Cancel { tag: self.pick(&TAGS).to_owned(), no_wait: self.chance(20) },
            745..770 => Operation::Qos {
                size: if self.chance(2) { 1 } else { 0 },
                count: self.pick(&[0, 1, 1, 2, 3, 5, 10]),
                global: self.chance(30),
            },
            770..935 => self.settle(),
            935..945 => Operation::Recover { requeue: !self.chance(5), asynchronous: self.chance(30) },
            945..955 => Operation::SelectConfirms { no_wait: self.chance(20) },
            955..960 => Operation::SelectTx,
            960..973 => Operation::Commit,
            973..978 => Operation::Rollback,
            978..982 => Operation::Flow { active: self.chance(80) },
            982..983 => Operation::OpenAgain,
            983..995 => Operation::CloseChannel,
            995..996 => Operation::UseClosed,
            _ => Operation::CloseConnection,
        }
    }

    /// Any queue: mostly one that may exist.
    fn queue(&mut self) -> String {
        match self.rng.u32(..100) {
            0..70 => self.pick(&QUEUES).to_owned(),
            70..90 => self.pick(&SINKS).to_owned(),
            90..94 => format!("${}", self.rng.usize(..4)),
            94..98 => String::new(),
            98 => "amq.reserved".to_owned(),
            _ => "nowhere".to_owned(),
        }
    }

    /// Any exchange: mostly one that may exist.
    fn exchange(&mut self) -> String {
        match self.rng.u32(..100) {
            0..80 => self.pick(&EXCHANGES).to_owned(),
            80..93 => self.pick(&PREDECLARED).to_owned(),
            93..97 => String::new(),
            97 => "amq.reserved".to_owned(),
            _ => "nowhere".to_owned(),
        }
    }

    fn declare_queue(&mut self) -> Operation {
        let queue = self.queue();
        let mut form = home_queue(self.seed, &queue);
        match self.rng.u32(..100) {
            0..70 => {}
            70..75 => form.durable = !form.durable,
            75..80 => form.auto_delete = !form.auto_delete,
            80..85 => form.exclusive = !form.exclusive,
            85..90 => form.arguments = FieldTable::new(),
            _ => {
                let (name, value) = self.any_argument();
                form.arguments.insert(text(&name), value);
            }
        }
        Operation::DeclareQueue { queue, form, passive: self.chance(12), no_wait: self.chance(12) }
    }

    fn declare_exchange(&mut self) -> Operation {
        let exchange = self.exchange();
        let mut form = home_exchange(self.seed, &exchange);
        match self.rng.u32(..100) {
            0..75 => {}
            75..79 => form.durable = !form.durable,
            79..83 => form.auto_delete = !form.auto_delete,
            83..87 => form.internal = !form.internal,
            87..92 => form.kind = self.pick(&["direct", "fanout", "topic", "headers"]),
            92..94 => form.kind = "bogus",
            94..96 => form.arguments = form.arguments.with("x-unknown", 1),
            _ => {
                let values = [FieldValue::text("f"), FieldValue::text("nowhere"), FieldValue::I32(1)];
                form.arguments = form.arguments.with("alternate-exchange", self.pick(&values));
            }
        }
        Operation::DeclareExchange { exchange, form, passive: self.chance(12), no_wait: self.chance(12) }
    }

    /// An argument of queue.declare, good or bad.
    fn any_argument(&mut self) -> (String, FieldValue) {
        let names = [
            "x-message-ttl",
            "x-expires",
            "x-max-length",
            "x-max-length-bytes",
            "x-overflow",
            "x-dead-letter-exchange",
            "x-dead-letter-routing-key",
            "x-max-priority",
            "x-single-active-consumer",
            "x-queue-type",
            "x-unknown",
        ];
        let values = [
            FieldValue::I32(-1),
            FieldValue::I32(0),
            FieldValue::U8(5),
            FieldValue::I16(7),
            FieldValue::I32(255),
            FieldValue::I32(256),
            FieldValue::I64(600_000),
            FieldValue::I64(1 << 40),
            FieldValue::Bool(true),
            FieldValue::Bool(false),
            FieldValue::text(""),
            FieldValue::text("bogus"),
            FieldValue::text("d"),
            FieldValue::text("drop-head"),
            FieldValue::text("reject-publish"),
            FieldValue::text("reject-publish-dlx"),
            FieldValue::text("lazy"),
            FieldValue::text("classic"),
            FieldValue::F64(1.5),
            FieldValue::Void,
            FieldValue::Table(FieldTable::new()),
            FieldValue::Array(vec![]),
            FieldValue::Timestamp(1),
        ];
        // Seldom: we ignore them, and an episode ends where RabbitMQ does not.
        let ignored = self.chance(5);
        let name = if ignored { self.pick(&IGNORED) } else { self.pick(&names) };
        let value = match (name, self.chance(50)) {
            // A queue that a pass of time would delete makes a race.
            ("x-expires" | "x-message-ttl", true) => FieldValue::I32(600_000),
            ("x-expires" | "x-message-ttl", false) => loop {
                let value = self.pick(&values);
                let time = value.as_int();
                if time.is_none_or(|time| time <= 0 || time >= 600_000) {
                    break value;
                }
            },
            // Where dead letters go is the home form's business.
            ("x-dead-letter-exchange", _) => self.pick(&[FieldValue::I32(1), FieldValue::text("nowhere")]),
            ("x-dead-letter-routing-key", _) => self.pick(&[FieldValue::I32(1), FieldValue::text("nowhere")]),
            ("x-single-active-consumer", true) => FieldValue::Bool(true),
            ("x-overflow", true) => FieldValue::text(self.pick(&["drop-head", "reject-publish"])),
            ("x-queue-type", true) => FieldValue::text("classic"),
            // Of another type it makes RabbitMQ fail instead of answer: nothing to compare.
            ("x-queue-master-locator", _) => FieldValue::text(self.pick(&["min-masters", "bogus", ""])),
            ("x-queue-mode", true) => FieldValue::text("default"),
            _ => self.pick(&values),
        };
        (name.to_owned(), value)
    }

    fn bind(&mut self) -> Operation {
        let (queue, exchange, routing_key, arguments) = self.binding();
        Operation::Bind { queue, exchange, routing_key, arguments, no_wait: self.chance(15) }
    }

    fn binding(&mut self) -> (String, String, String, FieldTable) {
        let queue = self.queue();
        if let Some(index) = SINKS.iter().position(|&sink| sink == queue) {
            // A sink takes dead letters and nothing else.
            return (queue, "d".to_owned(), format!("dl{index}"), FieldTable::new());
        }
        let exchange = self.exchange();
        let (routing_key, arguments) = self.binding_rule(&exchange);
        (queue, exchange, routing_key, arguments)
    }

    /// A key and arguments that make sense for this exchange, mostly.
    fn binding_rule(&mut self, exchange: &str) -> (String, FieldTable) {
        let is_topic = ["t", "amq.topic"].contains(&exchange);
        let routing_key =
            if is_topic && self.chance(80) { self.pick(&PATTERNS) } else { self.pick(&KEYS) }.to_owned();
        let is_headers = ["h", "amq.headers", "amq.match"].contains(&exchange);
        let arguments = if is_headers { self.header_rule() } else { FieldTable::new() };
        (routing_key, arguments)
    }

    fn header_rule(&mut self) -> FieldTable {
        let mut rule = FieldTable::new();
        match self.rng.u32(..100) {
            0..30 => rule = rule.with("x-match", FieldValue::text("all")),
            30..60 => rule = rule.with("x-match", FieldValue::text("any")),
            60..70 => rule = rule.with("x-match", FieldValue::text("all-with-x")),
            70..80 => rule = rule.with("x-match", FieldValue::text("any-with-x")),
            80..82 => rule = rule.with("x-match", FieldValue::text("bogus")),
            82..84 => rule = rule.with("x-match", 1),
            _ => {}
        }
        for _ in 0..self.rng.u32(..3) {
            let (name, value) = self.header();
            rule.insert(name, value);
        }
        rule
    }

    fn header(&mut self) -> (ShortStr, FieldValue) {
        let name = self.pick(&["k1", "k2", "k3", "x-k"]);
        let value = match self.rng.u32(..8) {
            0..2 => FieldValue::text("v"),
            2 => FieldValue::text("w"),
            3 => FieldValue::I32(1),
            4 => FieldValue::I64(1),
            5 => FieldValue::Void,
            6 => FieldValue::Bool(true),
            _ => FieldValue::F64(1.0),
        };
        (text(name), value)
    }

    fn publication(&mut self, alone: bool) -> Publication {
        let (exchange, routing_key) = match self.rng.u32(..1000) {
            0..350 => (String::new(), self.pick(&QUEUES).to_owned()),
            // With a neighbour in the same step a sink's order would be a race.
            350..400 if alone => (String::new(), self.pick(&SINKS).to_owned()),
            400..420 => (String::new(), format!("${}", self.rng.usize(..4))),
            420..440 => (String::new(), self.pick(&KEYS).to_owned()),
            440..950 => {
                let exchange = self.pick(&EXCHANGES[..]);
                // The internal one refuses; not too often.
                let exchange = if exchange == "i" && self.chance(70) { "f" } else { exchange };
                (exchange.to_owned(), self.pick(&KEYS).to_owned())
            }
            950..993 => (self.pick(&PREDECLARED).to_owned(), self.pick(&KEYS).to_owned()),
            993..996 => ("nowhere".to_owned(), "a".to_owned()),
            _ => (String::new(), "nowhere".to_owned()),
        };
        let to_sink = SINKS.contains(&routing_key.as_str());
        Publication {
            exchange,
            routing_key,
            mandatory: self.chance(25),
            immediate: self.rng.u32(..1000) < 2,
            properties: self.properties(to_sink),
            body_len: match self.rng.u32(..100) {
                0..5 => 0,
                5..90 => 12,
                90..97 => 300,
                97..99 => 5000,
                _ => 140_000,
            },
        }
    }

    fn properties(&mut self, to_sink: bool) -> Properties {
        let mut properties = Properties::default();
        if self.chance(10) {
            properties.delivery_mode = Some(self.pick(&[1, 2]));
        }
        if self.chance(30) {
            properties.priority = Some(self.pick(&[0, 1, 2, 5, 9, 255]));
        }
        if self.chance(30) {
            let mut headers = FieldTable::new();
            for _ in 0..self.rng.u32(..3) {
                let (name, value) = self.header();
                headers.insert(name, value);
            }
            if self.chance(20) && !to_sink {
                let keys = (0..self.rng.u32(..3)).map(|_| {
                    let (queue, key) = (self.pick(&QUEUES), self.pick(&KEYS));
                    FieldValue::text(if self.chance(50) { queue } else { key })
                });
                let keys: Vec<_> = keys.collect();
                let name = self.pick(&["CC", "CC", "BCC"]);
                headers.insert(text(name), FieldValue::Array(keys));
            }
            if self.rng.u32(..1000) < 15 {
                let value = self.pick(&[FieldValue::text("q0"), FieldValue::I32(1), FieldValue::Void]);
                let name = self.pick(&["CC", "BCC"]);
                headers.insert(text(name), value);
            }
            properties.headers = Some(headers);
        }
        if self.chance(8) {
            properties.expiration = Some(text(self.pick(&["600000", "3600000"])));
        }
        if self.rng.u32(..1000) < 8 {
            let bad = ["", "x", "-1", "1.5", " 1", "1 ", "+600000", "0x10", "99999999999999"];
            properties.expiration = Some(text(self.pick(&bad)));
        }
        if self.chance(4) {
            properties.user_id = Some(text(if self.chance(80) { "guest" } else { "other" }));
        }
        if self.chance(5) {
            properties.content_type = Some(text("text/plain"));
            properties.content_encoding = Some(text("identity"));
            properties.correlation_id = Some(text("correlation"));
            properties.reply_to = Some(text("q0"));
            properties.message_id = Some(text("id"));
            properties.timestamp = Some(1_700_000_000);
            properties.kind = Some(text("kind"));
            properties.app_id = Some(text("app"));
            properties.cluster_id = Some(text("cluster"));
        }
        properties
    }

    fn consume(&mut self) -> Operation {
        let mut arguments = FieldTable::new();
        match self.rng.u32(..100) {
            0..20 => arguments = arguments.with("x-priority", self.pick(&[-1, 1, 5])),
            20..22 => arguments = arguments.with("x-priority", FieldValue::text("high")),
            22..24 => arguments = arguments.with("x-unknown", FieldValue::text("any")),
            _ => {}
        }
        Operation::Consume {
            queue: self.queue(),
            tag: self.pick(&TAGS).to_owned(),
            no_ack: self.chance(25),
            exclusive: self.chance(10),
            no_local: self.chance(5),
            no_wait: self.chance(12),
            arguments,
        }
    }

    fn settle(&mut self) -> Operation {
        let target = match self.rng.u32(..1000) {
            0..950 => Target::Nth(if self.chance(60) { 0 } else { self.rng.usize(..20) }),
            950..980 => Target::Zero,
            _ => Target::Unknown,
        };
        let verdict = match self.rng.u32(..100) {
            0..45 => Verdict::Ack,
            45..75 => Verdict::Nack { requeue: self.chance(50) },
            _ => Verdict::Reject { requeue: self.chance(50) },
        };
        let multiple = !matches!(verdict, Verdict::Reject { .. })
            && match target {
                Target::Zero => self.chance(80),
                _ => self.chance(30),
            };
        Operation::Settle { target, verdict, multiple }
    }
}

/// A name that is short.
pub(crate) fn text(name: impl AsRef<str>) -> ShortStr {
    ShortStr::new(name).expect("names of traces are short")
}

/// A generator of its own for everything that belongs to a name in an episode.
fn rng_of(seed: u64, name: &str) -> Rng {
    let folded =
        name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Rng::with_seed(folded)
}

/// How a queue is mostly declared in this episode.
fn home_queue(seed: u64, name: &str) -> QueueForm {
    let mut rng = rng_of(seed, name);
    let mut form = QueueForm {
        durable: rng.u32(..100) < 25,
        exclusive: name.starts_with('x') || (name.is_empty() && rng.bool()),
        auto_delete: rng.u32(..100) < 15,
        arguments: FieldTable::new(),
    };
    let mut arguments = FieldTable::new();
    if SINKS.contains(&name) {
        if rng.u32(..100) < 20 {
            form.arguments = arguments.with("x-max-length", 3);
        }
        return form;
    }
    if let Some(index) = QUEUES.iter().position(|&queue| queue == name) {
        match rng.u32(..100) {
            0..35 => {
                arguments = arguments
                    .with("x-dead-letter-exchange", FieldValue::text(""))
                    .with("x-dead-letter-routing-key", FieldValue::text(SINKS[index]));
            }
            35..50 => {
                arguments = arguments
                    .with("x-dead-letter-exchange", FieldValue::text("d"))
                    .with("x-dead-letter-routing-key", FieldValue::text(format!("dl{index}")));
            }
            50..54 => {
                // To itself: nothing else may make a letter of it, or it would go round for ever.
                form.arguments = arguments
                    .with("x-dead-letter-exchange", FieldValue::text(""))
                    .with("x-dead-letter-routing-key", FieldValue::text(name));
                return form;
            }
            54..58 => arguments = arguments.with("x-dead-letter-exchange", FieldValue::text("nowhere")),
            _ => {}
        }
    }
    match rng.u32(..100) {
        0..8 => arguments = arguments.with("x-message-ttl", 0),
        8..14 => arguments = arguments.with("x-message-ttl", FieldValue::I64(600_000)),
        _ => {}
    }
    match rng.u32(..100) {
        0..15 => arguments = arguments.with("x-max-length", rng.i32(0..4)),
        15..22 => arguments = arguments.with("x-max-length-bytes", rng.i32(0..400)),
        _ => {}
    }
    match rng.u32(..100) {
        0..10 => arguments = arguments.with("x-overflow", FieldValue::text("reject-publish")),
        10..16 => arguments = arguments.with("x-overflow", FieldValue::text("reject-publish-dlx")),
        16..20 => arguments = arguments.with("x-overflow", FieldValue::text("drop-head")),
        _ => {}
    }
    match rng.u32(..100) {
        0..18 => arguments = arguments.with("x-max-priority", rng.i32(1..10)),
        18..28 => arguments = arguments.with("x-single-active-consumer", true),
        28..32 => arguments = arguments.with("x-expires", 600_000),
        32..36 => arguments = arguments.with("x-queue-type", FieldValue::text("classic")),
        36..40 => arguments = arguments.with("x-queue-mode", FieldValue::text("lazy")),
        _ => {}
    }
    form.arguments = arguments;
    form
}

/// How an exchange is mostly declared in this episode.
fn home_exchange(seed: u64, name: &str) -> ExchangeForm {
    let mut rng = rng_of(seed, name);
    let kind = match name {
        "d" | "amq.direct" | "" => "direct",
        "f" | "i" | "amq.fanout" => "fanout",
        "t" | "amq.topic" => "topic",
        "h" | "amq.headers" | "amq.match" => "headers",
        _ => ["direct", "fanout", "topic"][rng.usize(..3)],
    };
    let predeclared = name.starts_with("amq.") || name.is_empty();
    let mut form = ExchangeForm {
        kind,
        durable: predeclared || rng.u32(..100) < 25,
        auto_delete: !predeclared && rng.u32(..100) < 20,
        internal: name == "i",
        arguments: FieldTable::new(),
    };
    if name == "e" || name == "t" && rng.bool() {
        form.arguments = form.arguments.with("alternate-exchange", FieldValue::text("f"));
    }
    form
}
