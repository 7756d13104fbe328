//! What goes back to its queue.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

#[test]
fn all_that_a_consumer_gives_back_is_there_before_any_of_it_comes_again() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    let arguments = FieldTable::new().with("x-max-length", 2);
    let short_queue = QueueDeclare { arguments, ..declare_exclusive("short") };
    for queue in [short_queue, declare_exclusive("other")] {
        assert!(client.call(1, Method::QueueDeclare(queue)).is_ok());
    }
    assert!(client.call(1, Method::BasicConsume(consume("short", "tag"))).is_ok());
    for (queue, body) in [("short", b"one"), ("short", b"two"), ("other", b"gap"), ("short", b"end")] {
        client.send_content(1, publish("", queue), &Properties::default(), body);
        match queue {
            "other" => assert!(client.call(1, get("other", false)).is_ok()),
            _ => assert_eq!(client.deliveries(1, 1).len(), 1),
        }
    }
    // Three are one more than the queue may hold: the first is dropped, not delivered before the third is back.
    client.send(1, Method::BasicRecover(BasicRecover { requeue: true }));
    let bodies: Vec<_> = client.deliveries(1, 2).into_iter().map(|(_, content)| content.body).collect();
    assert_eq!(bodies, [b"two", b"end"]);
    client.close();
    fixture.survives();
}
