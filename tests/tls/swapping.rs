//! New certificates under load: no connection is dropped, and new ones get the new certificate.

use rialto::config::{ClientVerify, TlsSettings};
use rialto_client::{Message, Reconnect};

use crate::certificates::{Certificates, connect};
use crate::support::{soon, take_bodies, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_under_load_drops_no_connection() {
    const MESSAGES: usize = 30_000;
    let certificates = Certificates::new();
    let settings = TlsSettings {
        reload_interval: std::time::Duration::from_millis(10),
        ..certificates.settings(ClientVerify::None)
    };
    let (broker, acceptor) = certificates.broker(&settings).await;
    // Whose connection is lost, fails.
    let unforgiving = || certificates.client(&broker).reconnect(Reconnect::never());
    let (from, to) = (connect(unforgiving()).await.unwrap(), connect(unforgiving()).await.unwrap());
    from.queue("tasks").declare().await.unwrap();
    let mut consumer = to.consume("tasks").prefetch(MESSAGES as u32).start().await.unwrap();
    let publisher = from.publisher("", "tasks").unwrap();
    let publishing = tokio::spawn(async move {
        let mut last = None;
        for number in 1..=MESSAGES {
            last = Some(
                publisher.publish(Message::new(number.to_string())).await.expect("the connection lives"),
            );
        }
        last.expect("a message").await.and_then(|outcome| outcome.accepted()).expect("a confirmed message");
    });

    let mut next = 1;
    for swap in 0..5 {
        let bodies = take_bodies(&mut consumer, MESSAGES / 6).await;
        for body in bodies {
            assert_eq!(body, next.to_string());
            next += 1;
        }
        let name = format!("swap-{swap}.example");
        certificates.issue("server", &name, 30);
        until("the new certificate", || acceptor.certificates()[0].names == [name.clone()]).await;
        let new = connect(unforgiving().server_name(&name)).await.expect("the new certificate is shown");
        new.close().await.expect("an end in good order");
    }
    let rest = MESSAGES - 5 * (MESSAGES / 6);
    assert_eq!(take_bodies(&mut consumer, rest).await.last(), Some(&MESSAGES.to_string()));
    soon("the publisher", publishing).await.expect("no panic");
    // Both connections are those of the beginning.
    assert_eq!(broker.broker().connections().len(), 2);
}
