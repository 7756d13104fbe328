//! What the socket tests share: a broker in this process, the bundled client, and a peer that speaks frames.
//!
//! Rules of these tests: real sockets; time is the broker's hand-moved clock; whatever happens in another task is
//! awaited as a condition. [`PATIENCE`] only turns a hang into a failure: no test passes because of it.

pub(crate) mod peer;

use std::future::Future;
use std::time::Duration;

use rialto::broker::{Broker, Limits};
use rialto::queue::QueueStats;
use rialto::server::{Embedded, ServerOptions};
use rialto_client::{Client, Consumer, DeliveredMessage, Delivery, Error, FieldValue, Message, Result};

/// How long a test waits for what must happen before it says that it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A broker whose clock stands still until the test moves it.
pub(crate) async fn start() -> Embedded {
    Embedded::with_manual_clock().await.expect("a free port on the loopback interface")
}

/// A broker with other limits and options, on the real clock.
pub(crate) async fn start_with(limits: Limits, options: ServerOptions) -> Embedded {
    let broker = Broker::in_memory().limits(limits).build();
    Embedded::start_with(broker, options).await.expect("a free port on the loopback interface")
}

/// A client that gives up, rather than hang, when its connection is lost.
pub(crate) async fn connect(broker: &Embedded) -> Client {
    Client::connect(&broker.url()).await.expect("a broker that lets guests in")
}

/// A broker and a client of it.
pub(crate) async fn start_and_connect() -> (Embedded, Client) {
    let broker = start().await;
    let client = connect(&broker).await;
    (broker, client)
}

/// Publishes one message and waits until it is confirmed.
pub(crate) async fn publish(client: &Client, exchange: &str, key: &str, message: impl Into<Message>) {
    let confirm = client.publish(exchange, key, message).await.expect("room to publish");
    soon("a confirm", confirm).await.and_then(|outcome| outcome.accepted()).expect("a confirmed message");
}

/// Publishes bodies to a queue, in order, and waits until they are confirmed.
pub(crate) async fn fill(client: &Client, queue: &str, bodies: impl IntoIterator<Item = &str>) {
    let bodies: Vec<_> = bodies.into_iter().map(|body| Message::new(body.to_owned())).collect();
    let publisher = client.publisher("", queue).expect("a short name");
    let confirm = publisher.publish_batch(bodies).await.expect("room to publish");
    soon("confirms", confirm).await.and_then(|outcome| outcome.accepted()).expect("confirmed messages");
}

/// Bodies `1` to `count`.
pub(crate) fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|n| n.to_string()).collect()
}

/// Publishes `1` to `count` to a queue.
pub(crate) async fn fill_numbers(client: &Client, queue: &str, count: usize) {
    let numbers = numbers(count);
    fill(client, queue, numbers.iter().map(String::as_str)).await;
}

/// Takes and acknowledges everything that is ready; the bodies, in order.
pub(crate) async fn drain(client: &Client, queue: &str) -> Vec<String> {
    let queue = client.queue(queue);
    let mut bodies = Vec::new();
    while let Some(delivery) = queue.get().await.expect("the queue exists") {
        bodies.push(text(&delivery));
        delivery.ack().expect("the connection lives");
    }
    bodies
}

/// The next delivery of a consumer that is to have one.
pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    soon("a delivery", consumer.next()).await.expect("the consumer goes on").expect("a delivery")
}

/// The next deliveries, unsettled.
pub(crate) async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        deliveries.push(next(consumer).await);
    }
    deliveries
}

/// The next deliveries' bodies, acknowledged.
pub(crate) async fn take_bodies(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let deliveries = take(consumer, count).await;
    let bodies = bodies(&deliveries);
    for delivery in deliveries {
        delivery.ack().expect("the connection lives");
    }
    bodies
}

/// The bodies of deliveries.
pub(crate) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| text(delivery)).collect()
}

/// The body of a message that is text.
pub(crate) fn text(message: &DeliveredMessage) -> String {
    message.text().expect("a text").to_owned()
}

/// Waits until everything that this client has said before was carried out, and until what that has made the
/// broker send it has arrived. (An answer leaves ahead of the deliveries of the same turn, so the second answer
/// comes behind them.)
pub(crate) async fn settled(client: &Client) {
    for _ in 0..2 {
        client.exchange("").exists().await.expect("an answer");
    }
}

/// Checks that nothing waits for a consumer of this client.
pub(crate) async fn assert_idle(client: &Client, consumer: &mut Consumer) {
    settled(client).await;
    if let Some(delivery) = at_hand(consumer.next()).await {
        panic!("expected nothing, and got {:?}", delivery.map(|delivery| delivery.map(|d| text(&d))));
    }
}

/// What a future has without waiting.
pub(crate) async fn at_hand<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = std::future::ready(()) => None,
    }
}

/// Waits for something that must happen, and says what if it does not.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Waits until a condition holds that another task brings about.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            // The pace of looking, not a guess at how long it takes.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(what, holds).await;
}

/// Figures of a queue, straight from the broker; none if there is no such queue.
pub(crate) fn stats(broker: &Embedded, queue: &str) -> Option<QueueStats> {
    let vhost = broker.broker().vhost("/").expect("the default vhost");
    let found = vhost.queues().into_iter().find(|found| found.name().as_str() == queue);
    found.filter(|queue| !queue.is_closed()).map(|queue| queue.stats())
}

/// How many messages are ready and how many unacked in a queue, once what this client said was carried out.
pub(crate) async fn depth(client: &Client, queue: &str) -> (i64, i64) {
    let facts = client.queue(queue).info().await.expect("the queue exists");
    let number = |name| facts.get(name).and_then(FieldValue::as_int).expect("a number");
    (number("messages_ready"), number("messages_unacknowledged"))
}

/// The code and text of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T>) -> (u16, String) {
    match result.expect_err("a refusal") {
        Error::Refused { code, text, .. } => (code, text.to_string()),
        other => panic!("expected a refusal, and got {other}"),
    }
}

/// The history of a dead letter: queue, reason and count, the latest death first.
pub(crate) fn deaths(message: &DeliveredMessage) -> Vec<(String, String, i64)> {
    let Some(FieldValue::Array(deaths)) = message.header("x-death") else { return Vec::new() };
    let death = |death: &FieldValue| {
        let FieldValue::Table(death) = death else { panic!("{death} is no table") };
        let text = |name| death.get(name).and_then(FieldValue::as_str).expect("a text").to_owned();
        let count = death.get("count").and_then(FieldValue::as_int).expect("a count");
        (text("queue"), text("reason"), count)
    };
    deaths.iter().map(death).collect()
}

/// One entry of [`deaths`].
pub(crate) fn death(queue: &str, reason: &str, count: i64) -> (String, String, i64) {
    (queue.to_owned(), reason.to_owned(), count)
}
