//! The prefetch limit of a whole channel.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

#[test]
fn consumers_of_one_queue_share_the_room_of_their_channel() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    let qos =
        |prefetch_count| Method::BasicQos(BasicQos { prefetch_count, global: true, ..Default::default() });
    assert!(client.call(1, qos(1)).is_ok());
    assert!(client.call(1, Method::QueueDeclare(declare_exclusive("shared"))).is_ok());
    for tag in ["one", "two"] {
        assert!(client.call(1, Method::BasicConsume(consume("shared", tag))).is_ok());
    }
    for _ in 0..5 {
        client.send_content(1, publish("", "shared"), &Properties::default(), b"body");
    }
    client.deliveries(1, 1);
    client.sync(1).unwrap_or_else(|closed| panic!("{closed}"));
    // Both consumers have found the window full by now. Its end lets both go on.
    client.send(1, qos(0));
    let mut tags: Vec<_> =
        client.deliveries(1, 4).into_iter().map(|(deliver, _)| deliver.consumer_tag.to_string()).collect();
    tags.sort();
    assert_eq!(tags, ["one", "one", "two", "two"]);
    client.close();
    fixture.survives();
}
