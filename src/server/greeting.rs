//! The first bytes of a connection, which decide what it speaks.
//!
//! Inside of TLS or not, it is the native protocol or AMQP 0-9-1, each with its own first words; whatever else comes is
//! told what is spoken here, and sent away.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rialto_protocol::amqp::{HeaderCheck, PROTOCOL_HEADER, check_protocol_header};
use rialto_protocol::native::{PREFACE, PrefaceCheck, check_preface};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ServerOptions;
use super::read_buffer::ReadBuffer;
use super::tls_stream::TlsStream;
use super::transport::Transport;
use crate::model::TlsFacts;
use crate::tls::Acceptor;

/// How long a peer may take to hear the last words.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The type of the first record of TLS: a handshake (RFC 8446, section 5.1). No protocol of ours begins like that.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection that has said what it speaks.
#[derive(Debug)]
pub(super) struct Greeted {
    /// The way to the peer.
    pub(super) stream: Transport,
    /// What is spoken on it; its first words have been read.
    pub(super) protocol: Protocol,
    /// What is known of the encryption, if there is any.
    pub(super) tls: Option<TlsFacts>,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    /// The native protocol.
    Native,
    /// AMQP 0-9-1.
    Amqp,
}

/// Reads the first bytes. None: the peer has ended, or speaks something else and has been told.
pub(super) async fn greet(
    socket: TcpStream,
    peer: SocketAddr,
    only_tls: bool,
    input: &mut ReadBuffer,
    options: &ServerOptions,
) -> io::Result<Option<Greeted>> {
    let mut stream = Transport::Plain(socket);
    if poll_fn(|cx| input.poll_read(&mut stream, cx)).await? == 0 {
        return Ok(None);
    }
    let mut tls = None;
    match (&options.tls, stream) {
        (Some(acceptor), Transport::Plain(socket)) if input.bytes.first() == Some(&TLS_HANDSHAKE) => {
            (stream, tls) = encrypt(socket, acceptor, input, options.read_chunk).await?;
        }
        (_, plain) if !only_tls => stream = plain,
        _ => {
            tracing::info!(%peer, "connection refused: this address speaks TLS only, and its first bytes are none");
            return Ok(None);
        }
    }
    let protocol = protocol(&mut stream, peer, input).await?;
    Ok(protocol.map(|protocol| Greeted { stream, protocol, tls }))
}

/// Carries the handshake out. What was read is its beginning.
async fn encrypt(
    socket: TcpStream,
    acceptor: &Acceptor,
    input: &mut ReadBuffer,
    read_chunk: usize,
) -> io::Result<(Transport, Option<TlsFacts>)> {
    let begun = TlsStream::accept(socket, acceptor, &input.bytes, read_chunk);
    input.bytes.clear();
    input.settle();
    let mut stream = begun?;
    poll_fn(|cx| stream.poll_handshake(&mut input.bytes, cx)).await?;
    let facts = stream.facts(acceptor);
    Ok((Transport::Tls(Box::new(stream)), Some(facts)))
}

async fn protocol(
    stream: &mut Transport,
    peer: SocketAddr,
    input: &mut ReadBuffer,
) -> io::Result<Option<Protocol>> {
    loop {
        match (check_preface(&input.bytes), check_protocol_header(&input.bytes)) {
            (PrefaceCheck::Accepted, _) => {
                let _ = input.bytes.split_to(PREFACE.len());
                return Ok(Some(Protocol::Native));
            }
            (_, HeaderCheck::Accepted) => {
                let _ = input.bytes.split_to(PROTOCOL_HEADER.len());
                return Ok(Some(Protocol::Amqp));
            }
            (PrefaceCheck::NeedMore, _) | (_, HeaderCheck::NeedMore) => input.settle(),
            (PrefaceCheck::OtherVersion { .. } | PrefaceCheck::NotNative, HeaderCheck::Refused) => {
                let (what, answer) = refusal(&input.bytes);
                tracing::info!(%peer, "connection refused: its first bytes look like {what}");
                stream.write_all(answer).await?;
                let _ = timeout(PATIENCE, hang_up(stream, input)).await;
                return Ok(None);
            }
        }
        if poll_fn(|cx| input.poll_read(stream, cx)).await? == 0 {
            return Ok(None);
        }
    }
}

/// What a peer seems to speak instead, and what to say to it: each protocol answers a version that it does not have
/// with the one it has, and AMQP 0-9-1 (section 4.2.2) answers everything else.
fn refusal(first: &[u8]) -> (&'static str, &'static [u8]) {
    const HTTP: [&[u8]; 6] = [b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"OPTI"];
    if HTTP.iter().any(|method| first.starts_with(method)) {
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
                 This port speaks AMQP 0-9-1 and the Rialto protocol, not HTTP.\n";
        return ("HTTP, which is not spoken here", answer);
    }
    if first.starts_with(&PREFACE[..6]) {
        return ("another version of the Rialto protocol", &PREFACE);
    }
    let what = match first {
        [TLS_HANDSHAKE, 0x03, ..] => "TLS, which is not configured here (tls.cert); connect without it",
        [b'A', b'M', b'Q', b'P', ..] => "another version of AMQP; this broker speaks 0-9-1",
        _ => "no protocol that is spoken here",
    };
    (what, &PROTOCOL_HEADER)
}

/// Says that nothing more comes, and reads until the peer does the same. For [`PATIENCE`] at most.
pub(super) async fn hang_up(stream: &mut Transport, input: &mut ReadBuffer) -> io::Result<()> {
    stream.shutdown().await?;
    while poll_fn(|cx| input.poll_read(stream, cx)).await? > 0 {
        input.bytes.clear();
        input.settle();
    }
    Ok(())
}
