//! What exists: lists in pages, and facts about one thing.

use rialto_client::{FieldTable, FieldValue, ListKind};

use crate::support::*;

fn field<'a>(row: &'a FieldTable, name: &str) -> &'a str {
    row.get(name).and_then(FieldValue::as_str).unwrap_or_else(|| panic!("no text {name} in {row}"))
}

fn number(row: &FieldTable, name: &str) -> i64 {
    row.get(name).and_then(FieldValue::as_int).unwrap_or_else(|| panic!("no number {name} in {row}"))
}

#[tokio::test]
async fn every_queue_is_listed_once_whatever_the_page_size() {
    let (_broker, client) = start_and_connect().await;
    let names: Vec<_> = (0..25).map(|n| format!("q{n:02}")).collect();
    for name in &names {
        client.queue(name).declare().await.unwrap();
    }
    for page_size in [1, 7, 25, 1000] {
        let rows = client.list(ListKind::Queues).page_size(page_size).all().await.unwrap();
        let listed: Vec<_> = rows.iter().map(|row| field(row, "name")).collect();
        assert_eq!(listed, names, "page size {page_size}");
    }
}

#[tokio::test]
async fn what_stays_shows_exactly_once_while_others_come_and_go() {
    let (_broker, client) = start_and_connect().await;
    for n in (0..20).step_by(2) {
        client.queue(&format!("q{n:02}")).declare().await.unwrap();
    }
    let mut list = client.list(ListKind::Queues).page_size(2);
    let mut stayed = Vec::new();
    let mut n = 1;
    while let Some(row) = list.next().await.unwrap() {
        let name = field(&row, "name").to_owned();
        if n < 20 {
            client.queue(&format!("q{n:02}")).declare().await.unwrap();
            client.queue(&name).delete().await.unwrap();
            n += 2;
        }
        if name[1..].parse::<u32>().unwrap().is_multiple_of(2) {
            stayed.push(name);
        }
    }
    let expected: Vec<_> = (0..20).step_by(2).map(|n| format!("q{n:02}")).collect();
    assert_eq!(stayed, expected, "each was there until it had been shown");
}

#[tokio::test]
async fn exchanges_include_the_predeclared_ones() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("mine").topic().durable().declare().await.unwrap();
    let rows = client.list(ListKind::Exchanges).page_size(3).all().await.unwrap();
    let listed: Vec<_> = rows.iter().map(|row| (field(row, "name"), field(row, "type"))).collect();
    for expected in [("", "direct"), ("amq.topic", "topic"), ("amq.headers", "headers"), ("mine", "topic")] {
        assert!(listed.contains(&expected), "{listed:?}");
    }
}

#[tokio::test]
async fn bindings_tell_both_ends_key_and_arguments() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").headers().declare().await.unwrap();
    client.queue("q").declare().await.unwrap();
    let arguments = FieldTable::new().with("colour", "red").with("x-match", "any");
    client.queue("q").bind_with("x", "k", arguments.clone()).await.unwrap();
    client.exchange("x").bind("amq.fanout", "").await.unwrap();
    let rows = client.list(ListKind::Bindings).page_size(1).all().await.unwrap();
    let find = |source| rows.iter().find(|row| field(row, "source") == source).expect("the binding");
    let to_queue = find("x");
    assert_eq!((field(to_queue, "destination"), field(to_queue, "destination_type")), ("q", "queue"));
    assert_eq!(field(to_queue, "routing_key"), "k");
    assert_eq!(to_queue.get("arguments"), Some(&FieldValue::Table(arguments)));
    assert_eq!(field(find("amq.fanout"), "destination_type"), "exchange");
}

#[tokio::test]
async fn connections_have_the_names_that_their_clients_gave() {
    let (broker, client) = start_and_connect().await;
    let named = rialto_client::Client::builder(&broker.url()).unwrap().name("order service");
    let named = named.connect().await.unwrap();
    let rows = client.list(ListKind::Connections).all().await.unwrap();
    assert_eq!(rows.len(), 2);
    let row = rows.iter().find(|row| field(row, "name") == "order service").expect("the named one");
    assert_eq!((field(row, "user"), field(row, "vhost")), ("guest", "/"));
    named.close().await.unwrap();
    until("the connection to go", || broker.broker().connections().len() == 1).await;
}

#[tokio::test]
async fn consumers_tell_what_holds_them_up() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    fill(&client, "q", ["1", "2"]).await;
    let mut consumer = client.consume("q").prefetch(1).tag("worker").priority(3).start().await.unwrap();
    let _held = next(&mut consumer).await;
    let rows = client.list(ListKind::Consumers).all().await.unwrap();
    let row = rows.first().expect("the consumer");
    assert_eq!((field(row, "queue"), field(row, "consumer_tag")), ("q", "worker"));
    assert_eq!((number(row, "prefetch_count"), number(row, "priority"), number(row, "unacked")), (1, 3, 1));
    assert_eq!(field(row, "state"), "paused: prefetch is used up");
}

#[tokio::test]
async fn a_queues_facts_count_ready_and_unacked() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_priority(5).declare().await.unwrap();
    fill_numbers(&client, "q", 3).await;
    let _held = client.queue("q").get().await.unwrap();
    let facts = client.queue("q").info().await.unwrap();
    assert_eq!((number(&facts, "messages"), number(&facts, "messages_ready")), (3, 2));
    assert_eq!(number(&facts, "messages_unacknowledged"), 1);
    assert!(facts.get("arguments").unwrap().to_string().contains("x-max-priority"));
}
