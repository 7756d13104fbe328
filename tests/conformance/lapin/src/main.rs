//! lapin against the broker at CONFORMANCE_URL.

mod suite;

use std::process::ExitCode;

use futures_lite::StreamExt;
use lapin::message::BasicGetMessage;
use lapin::options::*;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Error, ErrorKind, ExchangeKind,
};

use suite::{Failure, Suite, within};

type Done = Result<(), Failure>;

async fn connect() -> Result<Connection, Failure> {
    let url = std::env::var("CONFORMANCE_URL")?;
    Ok(within("a connection", Connection::connect(&url, ConnectionProperties::default())).await??)
}

fn table<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in fields {
        table.insert(key.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// A queue of this connection, with arguments; its name.
async fn queue(channel: &Channel, arguments: FieldTable) -> Result<ShortString, Failure> {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    Ok(channel.queue_declare("".into(), options, arguments).await?.name().clone())
}

async fn publish(channel: &Channel, to: &ShortString, body: &[u8], properties: BasicProperties) -> Done {
    channel.basic_publish("".into(), to.clone(), BasicPublishOptions::default(), body, properties).await?;
    Ok(())
}

async fn ready(channel: &Channel, name: &ShortString) -> Result<u32, Failure> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    Ok(channel.queue_declare(name.clone(), options, FieldTable::default()).await?.message_count())
}

/// Waits for a message and takes it.
async fn get(channel: &Channel, name: &ShortString, no_ack: bool) -> Result<BasicGetMessage, Failure> {
    within("a message", async {
        loop {
            if let Some(message) = channel.basic_get(name.clone(), BasicGetOptions { no_ack }).await? {
                return Ok(message);
            }
            tokio::task::yield_now().await;
        }
    })
    .await?
}

async fn until_ready(channel: &Channel, name: &ShortString, count: u32) -> Done {
    within("messages that are ready", async {
        while ready(channel, name).await? != count {
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await?
}

fn soft(error: &Error) -> Option<AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft.clone()),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

async fn properties_and_headers(suite: &mut Suite) -> Done {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    let name = queue(&channel, FieldTable::default()).await?;
    suite.check("a name was made", name.as_str().starts_with("amq.gen-"), true);
    let values = [
        ("boolean", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-8)),
        ("u8", AMQPValue::ShortShortUInt(200)),
        ("i16", AMQPValue::ShortInt(-300)),
        ("u16", AMQPValue::ShortUInt(60_000)),
        ("i32", AMQPValue::LongInt(-70_000)),
        ("u32", AMQPValue::LongUInt(4_000_000_000)),
        ("i64", AMQPValue::LongLongInt(-5_000_000_000)),
        ("f32", AMQPValue::Float(1.5)),
        ("f64", AMQPValue::Double(-2.25)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
        ("text", text("ü")),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("void", AMQPValue::Void),
        (
            "array",
            AMQPValue::FieldArray(FieldArray::from(vec![
                AMQPValue::LongInt(1),
                text("two"),
                AMQPValue::Void,
            ])),
        ),
        ("table", AMQPValue::FieldTable(table([("inner", AMQPValue::Boolean(false))]))),
    ];
    let properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("utf8".into())
        .with_headers(table(values.clone()))
        .with_delivery_mode(2)
        .with_priority(7)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("600000".into())
        .with_message_id("m".into())
        .with_timestamp(1_700_000_000)
        .with_type("t".into())
        .with_user_id("guest".into())
        .with_app_id("a".into())
        .with_cluster_id("k".into());
    publish(&channel, &name, b"body", properties.clone()).await?;
    let message = get(&channel, &name, true).await?;
    suite.check("body", &message.data[..], &b"body"[..]);
    let headers = message.properties.headers().clone().unwrap_or_default();
    for (key, value) in values {
        suite.check(key, headers.inner().get(key), Some(&value));
    }
    suite.check("all properties", &message.properties, &properties);
    Ok(())
}

async fn bodies(suite: &mut Suite) -> Done {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    let name = queue(&channel, FieldTable::default()).await?;
    for size in [0_usize, 1, 131_064, 131_065, 2_000_001] {
        let body: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
        publish(&channel, &name, &body, BasicProperties::default()).await?;
        suite.check(&format!("{size} bytes"), get(&channel, &name, true).await?.data == body, true);
    }
    Ok(())
}

async fn confirms(suite: &mut Suite) -> Done {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let name = queue(&channel, FieldTable::default()).await?;
    let mut pending = Vec::new();
    for number in 0..500_u32 {
        let options = BasicPublishOptions::default();
        let body = number.to_string();
        pending.push(
            channel
                .basic_publish("".into(), name.clone(), options, body.as_bytes(), BasicProperties::default())
                .await?,
        );
    }
    let mut acknowledged = 0;
    for confirm in pending {
        acknowledged += u32::from(within("a confirm", confirm).await?? == Confirmation::Ack(None));
    }
    suite.check("acknowledged", acknowledged, 500);
    suite.check("all there", ready(&channel, &name).await?, 500);

    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let confirm = channel
        .basic_publish("".into(), "conformance.none".into(), options, b"back", BasicProperties::default())
        .await?;
    let confirmation = within("a confirm", confirm).await??;
    suite.check("an unroutable message is acknowledged", confirmation.is_ack(), true);
    let returned = confirmation.take_message();
    suite.check(
        "after its return",
        returned.as_ref().map(|message| (message.reply_code, message.reply_text.as_str().to_owned())),
        Some((312, "NO_ROUTE".to_owned())),
    );
    suite.check("which has the body", returned.map(|message| message.data.clone()), Some(b"back".to_vec()));

    let full = queue(
        &channel,
        table([("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))]),
    )
    .await?;
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let options = BasicPublishOptions::default();
        let confirm =
            channel.basic_publish("".into(), full.clone(), options, b"x", BasicProperties::default()).await?;
        outcomes.push(within("a confirm", confirm).await??.is_ack());
    }
    suite.check("reject-publish is a nack", outcomes, vec![true, false]);
    Ok(())
}

async fn consuming(suite: &mut Suite) -> Done {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(10, BasicQosOptions::default()).await?;
    let name = queue(&channel, FieldTable::default()).await?;
    for number in 0..200_u32 {
        publish(&channel, &name, number.to_string().as_bytes(), BasicProperties::default()).await?;
    }
    let mut consumer = channel
        .basic_consume(name.clone(), "tag".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    let (mut bodies, mut tags) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let delivery = within("a delivery", consumer.next()).await?.ok_or("the consumer ended")??;
        bodies.push(String::from_utf8(delivery.data.clone())?.parse::<u32>()?);
        tags.push(delivery.delivery_tag);
        delivery.ack(BasicAckOptions::default()).await?;
    }
    suite.check("order", bodies, (0..200).collect::<Vec<u32>>());
    suite.check("delivery tags", tags, (1..=200).collect::<Vec<u64>>());
    channel.basic_cancel("tag".into(), BasicCancelOptions::default()).await?;
    publish(&channel, &name, b"later", BasicProperties::default()).await?;
    suite.check("cancelled", get(&channel, &name, true).await?.data.clone(), b"later".to_vec());
    Ok(())
}

async fn settling(suite: &mut Suite) -> Done {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    let dead = queue(&channel, FieldTable::default()).await?;
    let name = queue(
        &channel,
        table([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(dead.as_str()))]),
    )
    .await?;
    for body in [b"1", b"2", b"3"] {
        publish(&channel, &name, body, BasicProperties::default()).await?;
    }
    let mut last = None;
    for _ in 0..3 {
        last = Some(get(&channel, &name, false).await?);
    }
    last.ok_or("no message")?.nack(BasicNackOptions { multiple: true, requeue: true }).await?;
    until_ready(&channel, &name, 3).await?;
    let first = get(&channel, &name, false).await?;
    suite.check(
        "requeued to its place, marked",
        (first.data.clone(), first.redelivered),
        (b"1".to_vec(), true),
    );
    first.reject(BasicRejectOptions { requeue: false }).await?;
    let rejected = get(&channel, &dead, true).await?;
    let headers = rejected.properties.headers().clone().unwrap_or_default();
    suite.check("x-first-death-reason", headers.inner().get("x-first-death-reason"), Some(&text("rejected")));
    let deaths = headers
        .inner()
        .get("x-death")
        .and_then(|deaths| deaths.as_array())
        .map(|deaths| deaths.as_slice().len());
    suite.check("one death", deaths, Some(1));
    get(&channel, &name, false).await?;
    channel.basic_recover(BasicRecoverOptions { requeue: true }).await?;
    suite.check("recovered", ready(&channel, &name).await?, 2);
    Ok(())
}

async fn exchanges(suite: &mut Suite) -> Done {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    let number = std::process::id();
    for (kind, pattern, arguments, key) in [
        (ExchangeKind::Direct, "k", FieldTable::default(), "k"),
        (ExchangeKind::Fanout, "", FieldTable::default(), "any"),
        (ExchangeKind::Topic, "a.#", FieldTable::default(), "a.b.c"),
        (ExchangeKind::Headers, "", table([("x-match", text("all")), ("h", AMQPValue::LongInt(1))]), ""),
    ] {
        let exchange: ShortString = format!("conformance.lapin.{number}.{pattern}{key}").into();
        let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
        channel.exchange_declare(exchange.clone(), kind.clone(), options, FieldTable::default()).await?;
        let name = queue(&channel, FieldTable::default()).await?;
        channel
            .queue_bind(
                name.clone(),
                exchange.clone(),
                pattern.into(),
                QueueBindOptions::default(),
                arguments,
            )
            .await?;
        let properties = BasicProperties::default().with_headers(table([("h", AMQPValue::LongInt(1))]));
        channel
            .basic_publish(exchange.clone(), key.into(), BasicPublishOptions::default(), b"x", properties)
            .await?;
        let message = get(&channel, &name, true).await?;
        suite.check(
            &format!("{kind:?}"),
            (message.exchange.as_str(), message.routing_key.as_str()),
            (exchange.as_str(), key),
        );
        channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await?;
    }
    Ok(())
}

async fn transactions(suite: &mut Suite) -> Done {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    let reader = connection.create_channel().await?;
    let name = queue(&reader, FieldTable::default()).await?;
    channel.tx_select().await?;
    publish(&channel, &name, b"1", BasicProperties::default()).await?;
    suite.check(
        "not before commit",
        reader.basic_get(name.clone(), BasicGetOptions { no_ack: true }).await?.is_none(),
        true,
    );
    channel.tx_commit().await?;
    suite.check("after", get(&reader, &name, true).await?.data.clone(), b"1".to_vec());
    publish(&channel, &name, b"2", BasicProperties::default()).await?;
    channel.tx_rollback().await?;
    channel.tx_commit().await?;
    suite.check("rolled back", ready(&reader, &name).await?, 0);
    Ok(())
}

async fn refusals(suite: &mut Suite) -> Done {
    let connection = connect().await?;
    let missing = QueueDeclareOptions { passive: true, ..Default::default() };
    let channel = connection.create_channel().await?;
    let error = channel.queue_declare("conformance.none".into(), missing, FieldTable::default()).await.err();
    suite.check("404", error.as_ref().and_then(soft), Some(AMQPSoftError::NOTFOUND));
    suite.check(
        "its text",
        error.is_some_and(|error| error.to_string().contains("no queue 'conformance.none' in vhost '/'")),
        true,
    );
    let channel = connection.create_channel().await?;
    let error = channel
        .exchange_declare(
            "amq.nonsense".into(),
            ExchangeKind::Direct,
            Default::default(),
            FieldTable::default(),
        )
        .await
        .err();
    suite.check("403", error.as_ref().and_then(soft), Some(AMQPSoftError::ACCESSREFUSED));
    let channel = connection.create_channel().await?;
    let name = queue(&channel, FieldTable::default()).await?;
    let other = connect().await?;
    let stranger = other.create_channel().await?;
    let error = stranger.queue_declare(name.clone(), missing, FieldTable::default()).await.err();
    suite.check("405", error.as_ref().and_then(soft), Some(AMQPSoftError::RESOURCELOCKED));
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let error = channel
        .exchange_declare("amq.direct".into(), ExchangeKind::Fanout, options, FieldTable::default())
        .await
        .err();
    suite.check("406", error.as_ref().and_then(soft), Some(AMQPSoftError::PRECONDITIONFAILED));
    suite.check("the connection works on", connection.create_channel().await.is_ok(), true);

    let url = std::env::var("CONFORMANCE_URL")?;
    let nowhere = url.replace("%2f", "nowhere");
    let refused =
        within("an answer", Connection::connect(&nowhere, ConnectionProperties::default())).await?.err();
    let hard = refused.as_ref().and_then(|error| match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.kind().clone()),
        _ => None,
    });
    suite.check("530", hard, Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)));
    let wrong = url.replace("guest:guest", "guest:wrong");
    let refused =
        within("an answer", Connection::connect(&wrong, ConnectionProperties::default())).await?.err();
    suite.check("a wrong password", refused.as_ref().and_then(soft), Some(AMQPSoftError::ACCESSREFUSED));
    Ok(())
}

async fn cancelled_by_the_broker(suite: &mut Suite) -> Done {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    let name = queue(&channel, FieldTable::default()).await?;
    let mut consumer = channel
        .basic_consume(name.clone(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    suite.check("a tag was made", consumer.tag().as_str().starts_with("amq.ctag-"), true);
    let other = connection.create_channel().await?;
    other.queue_delete(name, QueueDeleteOptions::default()).await?;
    suite.check("the stream ends", within("the end", consumer.next()).await?.is_none(), true);
    Ok(())
}

async fn direct_reply_to(suite: &mut Suite) -> Done {
    let connection = connect().await?;
    let client = connection.create_channel().await?;
    let server = connection.create_channel().await?;
    let requests = queue(&server, FieldTable::default()).await?;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut replies = client
        .basic_consume("amq.rabbitmq.reply-to".into(), "".into(), options, FieldTable::default())
        .await?;
    for number in 0..20_u32 {
        let properties = BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into());
        publish(&client, &requests, number.to_string().as_bytes(), properties).await?;
    }
    for _ in 0..20 {
        let request = get(&server, &requests, true).await?;
        let to = request.properties.reply_to().clone().ok_or("no reply-to")?;
        publish(&server, &to, &request.data, BasicProperties::default()).await?;
    }
    let mut got = Vec::new();
    for _ in 0..20 {
        let reply = within("a reply", replies.next()).await?.ok_or("the consumer ended")??;
        got.push(String::from_utf8(reply.data)?);
    }
    suite.check("replies", got, (0..20).map(|number: u32| number.to_string()).collect::<Vec<_>>());
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut suite = Suite::default();
    suite.scenario("properties_and_headers", properties_and_headers).await;
    suite.scenario("bodies", bodies).await;
    suite.scenario("confirms", confirms).await;
    suite.scenario("consuming", consuming).await;
    suite.scenario("settling", settling).await;
    suite.scenario("exchanges", exchanges).await;
    suite.scenario("transactions", transactions).await;
    suite.scenario("refusals", refusals).await;
    suite.scenario("cancelled_by_the_broker", cancelled_by_the_broker).await;
    suite.scenario("direct_reply_to", direct_reply_to).await;
    if suite.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
