//! The bundled client over TLS.

use rialto::config::{CertificateSettings, ClientVerify, TlsSettings, TlsVersion};
use rialto_client::{Error, Message};

use crate::certificates::{Certificates, connect};
use crate::support::{drain, fill_numbers, next, numbers, publish, soon};

#[tokio::test(flavor = "multi_thread")]
async fn one_address_speaks_both_plain_and_encrypted() {
    let certificates = Certificates::new();
    let (broker, _) = certificates.broker(&certificates.settings(ClientVerify::None)).await;
    let encrypted = connect(certificates.client(&broker)).await.expect("a connection");
    let plain = crate::support::connect(&broker).await;
    encrypted.queue("tasks").declare().await.expect("a queue");
    fill_numbers(&encrypted, "tasks", 100).await;
    assert_eq!(drain(&plain, "tasks").await, numbers(100));
    encrypted.close().await.expect("an end in good order");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_many_messages_arrive_as_they_were_sent() {
    let certificates = Certificates::new();
    let settings = TlsSettings { min_version: TlsVersion::V1_3, ..certificates.settings(ClientVerify::None) };
    let (broker, _) = certificates.broker(&settings).await;
    let client = connect(certificates.client(&broker)).await.expect("a connection");
    client.queue("tasks").declare().await.expect("a queue");
    let body = |n: usize| (0..n).map(|at| (at * 31 + n) as u8).collect::<Vec<u8>>();
    let lengths = [1, 16 << 10, (16 << 10) + 1, 1 << 20, 5 << 20, 100];
    for length in lengths {
        publish(&client, "", "tasks", Message::new(body(length))).await;
    }
    let mut consumer = client.consume("tasks").prefetch(2).start().await.expect("a consumer");
    for length in lengths {
        let delivery = next(&mut consumer).await;
        assert!(delivery.body()[..] == body(length), "{length}");
        delivery.ack().expect("the connection lives");
    }
    fill_numbers(&client, "tasks", 20_000).await;
    for number in numbers(20_000) {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.text(), Some(&*number));
        delivery.ack().expect("the connection lives");
    }
}

/// What the client says of a connection that it cannot have.
async fn refused(certificates: &Certificates, settings: &TlsSettings, name: &str) -> String {
    let (broker, _) = certificates.broker(settings).await;
    match connect(certificates.client(&broker).server_name(name)).await {
        Err(error @ (Error::Tls { .. } | Error::Connect { .. } | Error::ConnectionLost { .. })) => {
            error.to_string()
        }
        other => panic!("expected an error of TLS, and got {other:?}"),
    }
}

#[tokio::test]
async fn a_client_refuses_a_broker_that_it_does_not_know() {
    let certificates = Certificates::new();
    let settings = certificates.settings(ClientVerify::None);
    let told = refused(&certificates, &settings, "other.example").await;
    assert!(told.contains("not valid for name"), "{told}");

    certificates.issue("server", "localhost", 0);
    let told = refused(&certificates, &settings, "localhost").await;
    assert!(told.contains("expired"), "{told}");

    let strangers = Certificates::of_strangers();
    let (broker, _) = strangers.broker(&strangers.settings(ClientVerify::None)).await;
    let told = connect(certificates.client(&broker)).await.expect_err("a stranger").to_string();
    assert!(told.contains("authority that is not trusted"), "{told}");
}

#[tokio::test]
async fn a_broker_that_wants_certificates_lets_in_who_has_a_good_one_and_nobody_else() {
    let certificates = Certificates::new();
    let (broker, _) = certificates.broker(&certificates.settings(ClientVerify::Required)).await;
    let with = |files: &Certificates, user: &str| {
        let (certificate, key) = (files.read(&format!("{user}.pem")), files.read(&format!("{user}.key")));
        certificates.client(&broker).identity(&certificate, &key).expect("a certificate and its key")
    };
    certificates.issue_client("ann", 1);
    let client = connect(with(&certificates, "ann")).await.expect("a connection");
    client.queue("tasks").declare().await.expect("a queue");

    certificates.issue_client("late", 0);
    let strangers = Certificates::of_strangers();
    strangers.issue_client("eve", 1);
    for bad in [certificates.client(&broker), with(&certificates, "late"), with(&strangers, "eve")] {
        // With TLS 1.3 the client learns of it when it reads.
        let error = connect(bad).await.expect_err("no certificate, or a bad one");
        assert!(
            matches!(error, Error::Tls { .. } | Error::Connect { .. } | Error::ConnectionLost { .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn who_asks_for_another_name_is_shown_its_certificate() {
    let certificates = Certificates::new();
    certificates.issue("other", "mq.example.org", 30);
    let sni = CertificateSettings {
        names: vec!["mq.example.org".to_owned()],
        cert: certificates.path("other.pem"),
        key: certificates.path("other.key"),
    };
    let settings = TlsSettings { sni: vec![sni], ..certificates.settings(ClientVerify::None) };
    let (broker, _) = certificates.broker(&settings).await;
    for name in ["localhost", "mq.example.org"] {
        connect(certificates.client(&broker).server_name(name)).await.expect(name);
    }
}

#[tokio::test]
async fn tls_where_there_is_none_is_told_as_that() {
    let certificates = Certificates::new();
    let broker = crate::support::start().await;
    let error = soon("an error", certificates.client(&broker).connect()).await.expect_err("no TLS there");
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}
