//! Messages that came before.

use rialto_protocol::types::{FieldTable, FieldValue, Properties};

use crate::model::{DeduplicationOptions, MemoryGauge, Message, MessageRoute, OverflowRule, RoutingKey};

use super::*;

fn once(size: usize, ttl_ms: Option<u64>) -> QueueOptions {
    let arguments = FieldTable::new().with("x-message-deduplication", true);
    let defaults = DeduplicationOptions::from_arguments(&arguments).unwrap().unwrap();
    let deduplication = Some(DeduplicationOptions { size, ttl_ms, ..defaults });
    QueueOptions { deduplication, ..QueueOptions::default() }
}

fn publish(host: &mut Host, headers: FieldTable) -> Verdict {
    let route = MessageRoute { exchange: ExchangeName::default(), routing_key: RoutingKey::default() };
    let properties = Properties { headers: Some(headers), ..Properties::default() };
    let message = Message::new(route, &properties.encoded(), b"0123456789", &MemoryGauge::new());
    let publication = Publication { message, ..host.publication() };
    host.queue.publish(publication, host.now, &mut host.out)
}

fn key(key: &str) -> FieldTable {
    FieldTable::new().with("x-deduplication-header", key)
}

#[test]
fn a_duplicate_is_accepted_and_not_kept() {
    let mut host = host(once(10, None));
    assert_eq!(publish(&mut host, key("a")), Verdict::Accepted);
    assert_eq!(publish(&mut host, key("a")), Verdict::Duplicate);
    assert_eq!(publish(&mut host, key("b")), Verdict::Accepted);
    assert_eq!((host.queue.stats().totals.published, host.queue.stats().totals.duplicates), (2, 1));
    assert_eq!(host.drain(), [1, 3]);
    assert_eq!(publish(&mut host, key("a")), Verdict::Duplicate, "also when the first one is long gone");
}

#[test]
fn a_message_without_the_header_is_no_duplicate_of_anything() {
    let mut host = host(once(10, None));
    host.publish_many(2);
    for _ in 0..2 {
        assert_eq!(publish(&mut host, FieldTable::new().with("id", "a")), Verdict::Accepted);
    }
}

#[test]
fn a_key_is_forgotten_with_time_and_the_message_can_say_when() {
    let mut host = host(once(10, Some(100)));
    publish(&mut host, key("a"));
    publish(&mut host, key("b").with("x-cache-ttl", 10));
    host.pass(10);
    assert_eq!(publish(&mut host, key("a")), Verdict::Duplicate);
    assert_eq!(publish(&mut host, key("b")), Verdict::Accepted);
    host.pass(90);
    assert_eq!(publish(&mut host, key("a")), Verdict::Accepted);
}

#[test]
fn a_refused_message_may_come_again() {
    let options =
        QueueOptions { overflow: OverflowRule::RejectPublish, max_length: Some(0), ..once(10, None) };
    let mut host = host(options);
    for _ in 0..2 {
        assert_eq!(publish(&mut host, key("a")), Verdict::Rejected(RejectReason::MaxLength));
    }
}

#[test]
fn a_message_that_died_here_and_comes_back_is_not_a_duplicate() {
    let mut host = host(once(10, None));
    publish(&mut host, key("a"));
    let death = |queue: &str| {
        let death = FieldTable::new().with("queue", queue).with("reason", "rejected");
        FieldValue::Array(vec![FieldValue::Table(death)])
    };
    assert_eq!(publish(&mut host, key("a").with("x-death", death("elsewhere"))), Verdict::Duplicate);
    assert_eq!(publish(&mut host, key("a").with("x-death", death("jobs"))), Verdict::Accepted);
}

#[test]
fn a_message_that_goes_to_a_consumer_at_once_is_remembered_too() {
    let mut host = host(once(10, None));
    host.add(spec(1));
    assert_eq!(publish(&mut host, key("a")), Verdict::Accepted);
    assert_eq!(publish(&mut host, key("a")), Verdict::Duplicate);
    assert_eq!(host.deliveries(), [(1, vec![1])]);
}
