//! From an address to a connection that is logged in.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rialto_protocol::native::{Command, LOGIN_FRAME_MAX, Login, PREFACE, Welcome, decode_frame};
use rialto_protocol::types::{FieldTable, ShortStr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::transport::Transport;
use crate::address::{Address, DEFAULT_PORT, DEFAULT_TLS_PORT};
use crate::error::{Error, Result, short};
use crate::options::Options;

/// Channels that a client needs.
const CHANNELS_NEEDED: u16 = 6;

/// A connection that is logged in.
pub(crate) struct Link {
    pub(crate) stream: Transport,
    pub(crate) welcome: Welcome,
    /// What was read behind `Welcome`.
    pub(crate) read_ahead: BytesMut,
}

/// Connects and logs in, within the connect timeout.
pub(crate) async fn establish(address: &Address, options: &Options) -> Result<Link> {
    let after = options.connect_timeout;
    match timeout(after, connect_and_login(address, options)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Timeout { what: format!("connect to {}", address.endpoint()), after }),
    }
}

async fn connect_and_login(address: &Address, options: &Options) -> Result<Link> {
    let failed = |source| Error::Connect { address: address.endpoint(), source: Arc::new(source) };
    let mut stream = Transport::connect(address, options).await?;
    let mut out = BytesMut::from(&PREFACE[..]);
    Command::Login(login(address, options)?).encode(0, &mut out);
    stream.write_all(&out).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;

    let mut buf = BytesMut::with_capacity(4096);
    loop {
        refuse_strangers(&buf)?;
        refuse_http(&buf).map_err(failed)?;
        let broken = |problem| Error::Protocol { problem };
        if let Some(frame) =
            decode_frame(&mut buf, LOGIN_FRAME_MAX).map_err(|error| broken(error.to_string()))?
        {
            match frame.command().map_err(|error| broken(error.to_string()))? {
                None => continue,
                Some(Command::Welcome(welcome)) if welcome.channel_max < CHANNELS_NEEDED => {
                    let problem = format!(
                        "it allows {} channels and the client needs {CHANNELS_NEEDED}",
                        welcome.channel_max
                    );
                    return Err(Error::Incompatible { problem });
                }
                Some(Command::Welcome(welcome)) => return Ok(Link { stream, welcome, read_ahead: buf }),
                Some(Command::Close(closing)) => {
                    return Err(Error::LoginRefused { code: closing.code, text: closing.text });
                }
                Some(Command::Challenge(_)) => {
                    let problem = "it asks for more than a password or a certificate says".into();
                    return Err(Error::Incompatible { problem });
                }
                Some(other) => return Err(broken(format!("{} before Welcome", other.kind().name()))),
            }
        }
        if stream.read_buf(&mut buf).await.map_err(failed)? == 0 {
            return Err(Error::ConnectionLost { reason: "the peer hung up during the login".into() });
        }
    }
}

/// A broker of another version answers with its preface, an AMQP-only broker with that of AMQP.
fn refuse_strangers(buf: &[u8]) -> Result<()> {
    let problem = match buf {
        [b'R', b'I', b'A', b'L', b'T', b'O', major, minor, ..] => {
            format!("it speaks version {major}.{minor}, and this client {}.{}", PREFACE[6], PREFACE[7])
        }
        [b'A', b'M', b'Q', b'P', ..] => "it speaks AMQP only".into(),
        _ => return Ok(()),
    };
    Err(Error::Incompatible { problem })
}

/// The broker's HTTP API, or another web server. The letters cannot begin a frame: as a length they are beyond any
/// limit before `Welcome`. It is as if no broker was there, so it is tried again: a proxy may stand in for one that
/// restarts.
fn refuse_http(buf: &[u8]) -> io::Result<()> {
    match buf.starts_with(b"HTTP") {
        true => Err(io::Error::other(format!(
            "an HTTP server answers there; use the port of AMQP and the native protocol, {DEFAULT_PORT} unless \
             configured otherwise ({DEFAULT_TLS_PORT} for TLS)"
        ))),
        false => Ok(()),
    }
}

fn login(address: &Address, options: &Options) -> Result<Login> {
    let mut properties = FieldTable::new()
        .with("product", "rialto-client")
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("platform", "Rust");
    if let Some(name) = &options.name {
        properties = properties.with("connection_name", name.as_str());
    }
    let (mechanism, response) = match options.tls.is_login {
        // RFC 4422, appendix A: no authorization identity, so the one of the certificate.
        true => ("EXTERNAL", Bytes::new()),
        // RFC 4616: authorization identity (none), NUL, user, NUL, password.
        false => ("PLAIN", Bytes::from(format!("\0{}\0{}", address.user, address.password))),
    };
    Ok(Login {
        mechanism: ShortStr::truncated(mechanism),
        response,
        vhost: short("vhost", &address.vhost)?,
        frame_max: options.frame_max,
        heartbeat_ms: u32::try_from(options.heartbeat.as_millis()).unwrap_or(u32::MAX),
        properties,
    })
}
