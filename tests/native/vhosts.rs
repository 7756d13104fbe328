//! Vhosts know nothing of each other.

use rialto::broker::Broker;
use rialto::model::VhostName;
use rialto::server::Embedded;
use rialto_client::{Client, ListKind};

use crate::support::*;

#[tokio::test]
async fn the_same_names_in_two_vhosts_are_different_things() {
    let names = ["one", "two"].map(|name| VhostName::new(name).unwrap());
    let broker = Broker::in_memory().vhosts(names).build();
    let broker = Embedded::start(broker).await.unwrap();
    let one = Client::connect(&format!("{}/one", broker.url())).await.unwrap();
    let two = Client::connect(&format!("{}/two", broker.url())).await.unwrap();
    one.exchange("x").fanout().declare().await.unwrap();
    two.exchange("x").topic().declare().await.unwrap();
    for client in [&one, &two] {
        client.queue("q").declare().await.unwrap();
        client.queue("q").bind("x", "k").await.unwrap();
    }
    publish(&one, "x", "k", "for one").await;
    assert_eq!(depth(&two, "q").await, (0, 0));
    assert_eq!(drain(&one, "q").await, ["for one"]);
    one.queue("q").delete().await.unwrap();
    assert_eq!(two.list(ListKind::Queues).all().await.unwrap().len(), 1);
    assert!(Client::connect(&format!("{}/three", broker.url())).await.is_err());
}
