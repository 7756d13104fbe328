//! A visitor that speaks AMQP 0-9-1.

use bytes::{Buf, Bytes, BytesMut};
use rialto_client::Address;
use rialto_protocol::amqp::{
    ChannelOpen, ConnectionClose, ConnectionOpen, ConnectionTuneOk, FRAME_MAX_DEFAULT, FrameKind, Method,
    MethodId, PROTOCOL_HEADER, QueueDeclare, QueueDelete, put_heartbeat, split_frame,
};
use rialto_protocol::types::ShortStr;

use super::super::amqp::{CHANNEL, start_ok};
use super::super::error::{BenchError, BenchResult};
use super::script::{Script, Step};

/// Seconds, as clients and brokers mostly agree on.
const HEARTBEAT: u16 = 60;

/// Channels of a connection: no broker grants fewer.
const CHANNEL_MAX: u16 = 100;

pub(super) fn stay(address: &Address) -> Script {
    let tune_ok =
        ConnectionTuneOk { channel_max: CHANNEL_MAX, frame_max: FRAME_MAX_DEFAULT, heartbeat: HEARTBEAT };
    let open = ConnectionOpen { virtual_host: ShortStr::truncated(&address.vhost) };
    // The one step that has no answer, and so no wait: clients say what comes next behind it.
    let mut agreed = BytesMut::new();
    Method::from(tune_ok).encode(0, &mut agreed);
    Method::from(open).encode(0, &mut agreed);
    let mut heartbeat = BytesMut::new();
    put_heartbeat(&mut heartbeat);
    Script {
        endpoint: address.endpoint(),
        steps: vec![
            step(Bytes::from_static(&PROTOCOL_HEADER), MethodId::CONNECTION_START),
            step(encoded(0, start_ok(address, "rialto bench")), MethodId::CONNECTION_TUNE),
            step(agreed.freeze(), MethodId::CONNECTION_OPEN_OK),
            step(encoded(CHANNEL, ChannelOpen {}), MethodId::CHANNEL_OPEN_OK),
        ],
        heartbeat: heartbeat.freeze(),
    }
}

pub(super) fn pass(address: &Address, queue: &str) -> Script {
    let mut script = stay(address);
    let queue = ShortStr::truncated(queue);
    let declare = QueueDeclare { queue: queue.clone(), exclusive: true, ..QueueDeclare::default() };
    let delete = QueueDelete { queue, ..QueueDelete::default() };
    script.steps.extend([
        step(encoded(CHANNEL, declare), MethodId::QUEUE_DECLARE_OK),
        step(encoded(CHANNEL, delete), MethodId::QUEUE_DELETE_OK),
        step(encoded(0, ConnectionClose::default()), MethodId::CONNECTION_CLOSE_OK),
    ]);
    script
}

pub(super) fn look(address: &Address, queue: &str) -> Script {
    let mut script = stay(address);
    let declare =
        QueueDeclare { queue: ShortStr::truncated(queue), passive: true, ..QueueDeclare::default() };
    script.steps.push(step(encoded(CHANNEL, declare), MethodId::QUEUE_DECLARE_OK));
    script
}

fn step(words: Bytes, answer: MethodId) -> Step {
    Step { words, awaits: answer.name(), heard: Box::new(move |came| heard(came, answer)) }
}

fn encoded(channel: u16, method: impl Into<Method>) -> Bytes {
    let mut out = BytesMut::new();
    method.into().encode(channel, &mut out);
    out.freeze()
}

fn heard(came: &mut BytesMut, answer: MethodId) -> BenchResult<bool> {
    loop {
        let unreadable = |error: &dyn std::fmt::Display| {
            BenchError::Protocol(format!("{error} (does it speak AMQP 0-9-1?)"))
        };
        let Some((frame, len)) = split_frame(came, FRAME_MAX_DEFAULT).map_err(|error| unreadable(&error))?
        else {
            return Ok(false);
        };
        if frame.kind == FrameKind::Method {
            let method = MethodId::of(frame.payload);
            if method == Some(answer) {
                came.advance(len);
                return Ok(true);
            }
            return Err(match Method::decode(frame.payload).map_err(|error| unreadable(&error))? {
                Method::ConnectionClose(close) => {
                    BenchError::Refused(format!("{} {}", close.reply_code, close.reply_text.as_str()))
                }
                Method::ChannelClose(close) => {
                    BenchError::Refused(format!("{} {}", close.reply_code, close.reply_text.as_str()))
                }
                other => BenchError::Protocol(format!("{other:?}, where {} was due", answer.name())),
            });
        }
        came.advance(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto_protocol::amqp::{ChannelOpenOk, QueueDeleteOk};

    #[test]
    fn an_answer_is_heard_when_it_is_whole_and_heartbeats_are_passed_over() {
        let mut whole = BytesMut::new();
        put_heartbeat(&mut whole);
        whole.extend_from_slice(&encoded(CHANNEL, ChannelOpenOk::default()));
        for cut in 0..whole.len() {
            let mut came = BytesMut::from(&whole[..cut]);
            assert!(!heard(&mut came, MethodId::CHANNEL_OPEN_OK).unwrap(), "{cut} bytes");
            came.extend_from_slice(&whole[whole.len() - (whole.len() - cut)..]);
            assert!(heard(&mut came, MethodId::CHANNEL_OPEN_OK).unwrap() && came.is_empty());
        }
    }

    #[test]
    fn another_answer_is_an_error_and_a_refusal_is_told_in_the_brokers_words() {
        let mut came = BytesMut::from(&encoded(CHANNEL, QueueDeleteOk::default())[..]);
        assert!(matches!(heard(&mut came, MethodId::CHANNEL_OPEN_OK), Err(BenchError::Protocol(_))));
        let close = ConnectionClose {
            reply_code: 530,
            reply_text: ShortStr::truncated("NOT_ALLOWED - no such vhost"),
            ..ConnectionClose::default()
        };
        let mut came = BytesMut::from(&encoded(0, close)[..]);
        let error = heard(&mut came, MethodId::CONNECTION_OPEN_OK).unwrap_err();
        assert_eq!(error.to_string(), "the broker says: 530 NOT_ALLOWED - no such vhost");
    }
}
