//! Publishers whose messages have the same deduplication key.

use super::*;

fn keyed(body: &[u8]) -> Vec<u8> {
    keyed_on(1, body)
}

fn keyed_on(channel: u16, body: &[u8]) -> Vec<u8> {
    let headers = FieldTable::new().with("x-deduplication-header", "a");
    let properties = Properties { headers: Some(headers), ..Properties::default() };
    let publish = BasicPublish { exchange: text("once"), routing_key: text("q"), ..Default::default() };
    let mut out = BytesMut::from(&encoded(channel, Method::BasicPublish(publish))[..]);
    put_content_header(channel, body.len() as u64, &properties.encoded(), &mut out);
    put_body(channel, body, 4096, &mut out);
    out.to_vec()
}

/// Two ends on a broker whose exchange `once` drops duplicates: one in a transaction, one that wants confirms.
fn ends() -> (End, End) {
    let broker = broker();
    let (mut one, mut other) = (End::open(&broker), End::open(&broker));
    one.asks(Method::ExchangeDeclare(ExchangeDeclare {
        exchange: text("once"),
        kind: text("direct"),
        no_wait: true,
        arguments: FieldTable::new().with("x-message-deduplication", true),
        ..Default::default()
    }));
    one.asks(declare("q", FieldTable::new()));
    let (queue, exchange, routing_key) = (text("q"), text("once"), text("q"));
    one.asks(Method::QueueBind(QueueBind {
        queue,
        exchange,
        routing_key,
        no_wait: true,
        ..Default::default()
    }));
    one.asks(Method::TxSelect(Default::default()));
    other.asks(Method::ConfirmSelect(ConfirmSelect { no_wait: true }));
    assert_eq!((one.methods().len(), other.methods().len()), (1, 0));
    (one, other)
}

fn ready(end: &mut End) -> u32 {
    end.asks(Method::QueueDeclare(QueueDeclare { queue: text("q"), passive: true, ..Default::default() }));
    match &end.methods()[..] {
        [Method::QueueDeclareOk(ok)] => ok.message_count,
        said => panic!("{said:?}"),
    }
}

fn nack(delivery_tag: u64) -> Method {
    Method::BasicNack(BasicNack { delivery_tag, ..Default::default() })
}

#[test]
fn nobody_is_told_that_a_message_is_there_which_may_yet_be_rolled_back() {
    let (mut one, mut other) = ends();
    one.hear(&keyed(b"in doubt"));
    other.hear(&keyed(b"sure"));
    assert_eq!(other.methods(), [nack(1)], "it is not known yet whether it is there");
    one.asks(Method::TxRollback(Default::default()));
    other.hear(&keyed(b"sure"));
    assert_eq!(other.methods(), [ack(2, false)]);
    assert_eq!(ready(&mut other), 1);
}

#[test]
fn what_was_committed_is_known_to_everybody() {
    let (mut one, mut other) = ends();
    one.hear(&[keyed(b"first"), keyed(b"again"), encoded(1, Method::TxCommit(Default::default()))].concat());
    assert_eq!(one.methods(), [Method::TxCommitOk(Default::default())], "its own repetition goes nowhere");
    other.hear(&keyed(b"again"));
    assert_eq!(other.methods(), [ack(1, false)]);
    assert_eq!(ready(&mut other), 1);
}

#[test]
fn a_transaction_behind_another_says_that_it_cannot_know() {
    let (mut one, mut other) = ends();
    one.hear(&keyed(b"in doubt"));
    other.asks(Method::ChannelClose(Default::default()));
    other.asks(Method::ChannelOpen(Default::default()));
    other.asks(Method::TxSelect(Default::default()));
    other.said();
    other.hear(&keyed(b"too"));
    let said = other.methods();
    assert!(matches!(closed(&said), (405, text) if text.contains("publish it again")), "{said:?}");
}

#[test]
fn another_channels_transaction_is_not_relied_on_either() {
    let (mut one, _other) = ends();
    one.hear(&keyed(b"in doubt"));
    let on_two = |method| encoded(2, method);
    one.hear(&on_two(Method::ChannelOpen(Default::default())));
    one.hear(&on_two(Method::ConfirmSelect(ConfirmSelect { no_wait: true })));
    one.said();
    one.hear(&keyed_on(2, b"sure"));
    assert_eq!(one.methods(), [nack(1)]);
}
