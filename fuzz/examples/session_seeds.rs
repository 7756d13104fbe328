//! Writes the seeds of `native_session`: `cargo run --example session_seeds`.

use std::fs;
use std::path::Path;

use bytes::BytesMut;
use rialto_protocol::native::*;
use rialto_protocol::types::{FieldTable, ShortStr};

/// A working client, as bytes behind a login.
fn client() -> BytesMut {
    let mut out = BytesMut::new();
    let text = ShortStr::truncated;
    let mut request = |correlation, request| Command::Request { correlation, request }.encode(1, &mut out);
    let (passive, durable, exclusive, auto_delete) = (false, false, true, false);
    let arguments = FieldTable::new().with("x-max-length", 2);
    request(
        1,
        Request::DeclareQueue { name: text("q"), passive, durable, exclusive, auto_delete, arguments },
    );
    let consume = Consume {
        queue: text("q"),
        consumer: 1,
        tag: text("t"),
        auto_ack: false,
        exclusive: false,
        prefetch: 1,
        credit: Some((9, 999)),
        arguments: FieldTable::new(),
    };
    request(2, Request::Consume(consume));
    request(3, Request::Get { queue: text("q"), auto_ack: false });
    Command::DefineRoute { route: 1, exchange: text(""), routing_key: text("q") }.encode(1, &mut out);
    let mut frame = PublishWriter::begin(1, 1, true, &mut out);
    frame.run(RouteRef::Defined(1), true, &mut out);
    frame.entry(&[], b"one", &mut out);
    frame.entry(&[], b"two", &mut out);
    frame.finish(&mut out);
    let settlement = Settlement::Reject { reason: text("no") };
    Command::Settle(Settle { consumer: 1, settlement, ranges: vec![(1, 1)] }).encode(1, &mut out);
    Command::Request { correlation: 4, request: Request::Cancel { consumer: 1 } }.encode(1, &mut out);
    Command::CloseChannel { correlation: 5 }.encode(1, &mut out);
    out
}

/// Bytes that mean nothing in particular: scripts do many things whatever they say.
fn script(mut state: u32, len: usize) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::once(2).chain(std::iter::repeat_with(&mut next).take(len)).collect()
}

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/native_session");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("client-whole"), [&[1][..], &client()].concat())?;
    fs::write(folder.join("client-by-bytes"), [&[0][..], &client()].concat())?;
    for seed in 1..=8 {
        fs::write(folder.join(format!("script-{seed}")), script(seed, 100 * seed as usize))?;
    }
    Ok(())
}
