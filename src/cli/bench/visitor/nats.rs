//! A visitor that speaks NATS.

use bytes::{Bytes, BytesMut};

use super::super::error::{BenchError, BenchResult};
use super::super::nats::CONNECT;
use super::script::{Script, Step};

/// NATS has no channels: the server has done all that was said when it answers the ping.
pub(super) fn stay(endpoint: &str) -> Script {
    let words = Bytes::from([CONNECT, "PING\r\n"].concat());
    Script {
        endpoint: endpoint.to_owned(),
        steps: vec![Step { words, awaits: "PONG", heard: Box::new(heard) }],
        // The answer to the pings that the server has sent meanwhile.
        heartbeat: Bytes::from_static(b"PONG\r\n"),
    }
}

fn heard(came: &mut BytesMut) -> BenchResult<bool> {
    while let Some(end) = came.iter().position(|&byte| byte == b'\n') {
        let line = came.split_to(end + 1);
        match &line[..] {
            b"PONG\r\n" => return Ok(true),
            line if line.starts_with(b"-ERR") => {
                return Err(BenchError::Refused(String::from_utf8_lossy(line.trim_ascii()).into_owned()));
            }
            _ => {}
        }
    }
    Ok(false)
}
