//! Request and reply: ask a service that listens on a queue, and wait for its answer.
//!
//! A request says where its reply goes (`reply_to`) and carries a number that the reply repeats (`correlation_id`).
//! The client's `rpc` does both, and the waiting. Several servers on the same queue share the requests.
//!
//! Run it: `cargo run --example request_reply [rialto://user:password@host:port/vhost]`

mod common;

use std::time::Duration;

use rialto_client::{Client, Error, Outcome, Result};

#[tokio::main]
async fn main() -> common::Outcome {
    let (client, _broker) = common::connect().await?;
    client.queue("example.squares").exclusive().declare().await?;
    tokio::spawn(serve(client.clone()));

    let squares = client.rpc("", "example.squares")?;
    for number in [3, 12, 111] {
        let reply = squares.call(number.to_string(), Duration::from_secs(5)).await?;
        println!("the square of {number} is {}", reply.text().unwrap_or("unreadable"));
    }

    // Nobody serves cubes: that is known at once, not after the timeout.
    let cubes = client.rpc("", "example.cubes")?;
    match cubes.call("3", Duration::from_secs(5)).await {
        Err(Error::NotConfirmed(Outcome::Unroutable { .. })) => println!("nobody computes cubes"),
        other => return Err(format!("expected to be told that nobody serves this: {other:?}").into()),
    }
    client.close().await?;
    Ok(())
}

/// The service.
async fn serve(client: Client) -> Result<()> {
    let mut requests = client.consume("example.squares").prefetch(10).start().await?;
    while let Some(request) = requests.next().await {
        let request = request?;
        let answer = match request.text().and_then(|text| text.parse::<u64>().ok()) {
            Some(number) => (number * number).to_string(),
            None => "not a number".to_owned(),
        };
        // The reply is safe before the request goes: a service that dies in between is asked again.
        request.reply(answer).await?.await?.accepted()?;
        request.ack()?;
    }
    Ok(())
}
