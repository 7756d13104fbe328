//! `consume_in_order QUEUE COUNT`: consumes the numbers from 0, acknowledges each by itself, and fails if one is missing,
//! comes twice or out of order.

use std::process::ExitCode;
use std::time::Duration;

use futures_lite::StreamExt;
use lapin::options::*;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

/// How many messages may be on their way, not acknowledged yet.
const PREFETCH: u16 = 1000;
/// How long the queue may be silent before the rest counts as lost.
const SILENCE: Duration = Duration::from_secs(60);

type Failure = Box<dyn std::error::Error>;

async fn consume(name: &str, count: u64) -> Result<(), Failure> {
    let url = std::env::var("CONFORMANCE_URL")?;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(
            name.into(),
            QueueDeclareOptions { durable: true, ..Default::default() },
            FieldTable::default(),
        )
        .await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let mut deliveries = channel
        .basic_consume(name.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    for wanted in 0..count {
        let delivery = tokio::time::timeout(SILENCE, deliveries.next())
            .await
            .map_err(|_| format!("nothing came for {SILENCE:?} after {wanted} messages"))?
            .ok_or("the consumer ended")??;
        let got: u64 = std::str::from_utf8(&delivery.data)?.parse()?;
        if got != wanted || delivery.redelivered {
            return Err(format!(
                "message {got} came where {wanted} was due (redelivered: {})",
                delivery.redelivered
            )
            .into());
        }
        delivery.ack(BasicAckOptions::default()).await?;
    }
    // Answered after all acks were taken: what is left then was one too many.
    let left = channel.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
    if left != 0 {
        return Err(format!("{left} messages are left").into());
    }
    println!("lapin: {count} consumed and acknowledged, in order");
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, name, count] = &arguments[..] else {
        eprintln!("consume_in_order QUEUE COUNT");
        return ExitCode::from(2);
    };
    let done = match count.parse() {
        Ok(count) => consume(name, count).await,
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lapin: {failure}");
            ExitCode::FAILURE
        }
    }
}
