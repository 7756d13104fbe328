//! What others see of a connection and its channels.

use super::*;
use crate::broker::{ChannelInfo, ChannelMode};
use crate::session::testing::{held_log, journal};

fn channel(broker: &Broker, number: u16) -> Arc<ChannelInfo> {
    broker.connections()[0].channels.get(crate::model::ChannelId(number)).expect("the channel is open")
}

#[test]
fn a_connection_is_listed_with_what_was_agreed_on_and_what_its_client_says_of_itself() {
    let broker = broker();
    let properties = FieldTable::new().with("product", "shop").with("version", "2");
    let end = End::open_as(&broker, properties.clone());
    let [info] = &broker.connections()[..] else { panic!("one connection") };
    assert_eq!((info.user.as_str(), info.mechanism.as_str(), info.vhost.as_str()), ("guest", "PLAIN", "/"));
    assert_eq!((info.client.as_str(), info.client_properties()), ("shop 2", properties));
    let agreed = (info.frame_max, info.channel_max, info.heartbeat);
    assert_eq!(agreed, (131_072, 2047, Some(Duration::from_secs(10))));
    assert_eq!(info.link.name(), "127.0.0.1:5000 -> 127.0.0.1:5672");
    assert_eq!(
        broker.connection_named("127.0.0.1:5000 -> 127.0.0.1:5672").map(|found| found.id),
        Some(info.id)
    );
    assert_eq!(info.channels.len(), 1);
    drop(end);
    assert_eq!(broker.connection_count(), 0);
}

#[test]
fn a_channel_shows_its_consumers_and_what_they_have_not_acknowledged() {
    let broker = broker();
    let mut end = End::open(&broker);
    end.asks(declare("q", FieldTable::new()));
    end.asks(Method::BasicQos(BasicQos { prefetch_size: 0, prefetch_count: 7, global: false }));
    end.asks(consume("q"));
    end.hear(&[plain("q", b"1"), plain("q", b"2"), plain("q", b"3")].concat());
    assert_eq!(end.deliveries().len(), 3);
    let info = channel(&broker, 1);
    assert_eq!((info.prefetch.get(), info.consumers.get(), info.unacked.get()), (7, 1, 3));
    end.asks(ack(2, false));
    assert_eq!(info.unacked.get(), 2);
    end.asks(Method::BasicCancel(BasicCancel { consumer_tag: text("c"), no_wait: true }));
    assert_eq!((info.consumers.get(), info.unacked.get()), (0, 2));
    end.asks(ack(0, true));
    assert_eq!(info.unacked.get(), 0);
    end.asks(Method::ChannelClose(Default::default()));
    assert!(broker.connections()[0].channels.is_empty());
}

#[test]
fn a_channel_shows_what_is_not_committed() {
    let broker = broker();
    let mut end = End::open(&broker);
    end.asks(declare("q", FieldTable::new()));
    end.hear(&plain("q", b"0"));
    end.asks(Method::BasicGet(BasicGet { queue: text("q"), no_ack: false }));
    end.asks(Method::TxSelect(Default::default()));
    let info = channel(&broker, 1);
    assert_eq!((info.mode(), info.unacked.get()), (ChannelMode::Transaction, 1));
    end.hear(&[plain("q", b"1"), plain("nobody", b"2")].concat());
    end.asks(ack(1, false));
    let figures = || (info.uncommitted.get(), info.acks_uncommitted.get(), info.unacked.get());
    assert_eq!(figures(), (2, 1, 0));
    end.asks(Method::TxRollback(Default::default()));
    assert_eq!(figures(), (0, 0, 1));
}

#[test]
fn a_channel_shows_what_its_publisher_waits_for() {
    let (log, broker) = held_log();
    let mut end = End::open(&broker);
    let durable = QueueDeclare { queue: text("q"), durable: true, no_wait: true, ..Default::default() };
    end.asks(Method::QueueDeclare(durable));
    end.asks(Method::ConfirmSelect(Default::default()));
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
    end.hear(&[publish("q", &persistent, b"1"), publish("q", &persistent, b"2")].concat());
    end.hear(&publish("q", &persistent, b"3"));
    let info = channel(&broker, 1);
    assert_eq!((info.mode(), info.unconfirmed.get()), (ChannelMode::Confirm, 3));
    log.commit(journal(1).journal.0);
    end.said();
    assert_eq!(info.unconfirmed.get(), 1);
}

#[test]
fn a_connection_that_is_closed_from_outside_is_told_why() {
    let broker = broker();
    let mut end = End::open(&broker);
    let id = broker.connections()[0].id;
    assert!(broker.close_connection(id, "Closed via management plugin"));
    assert_eq!(closed(&end.methods()), (320, "CONNECTION_FORCED - Closed via management plugin"));
    assert!(broker.connections().is_empty() && !broker.close_connection(id, "again"));
    let _other = End::open(&broker);
    assert_eq!(broker.close_connections("all", |info| info.user == "guest"), 1);
}
