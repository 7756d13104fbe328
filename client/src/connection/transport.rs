//! The way to the broker: a TCP connection, as it is or with TLS around it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;

use crate::address::Address;
use crate::error::{Error, Result};
use crate::options::Options;

/// Encrypted bytes that are read at once. The library asks for 4 KiB at a time, a system call each without this.
const READ_AHEAD: usize = 256 << 10;

/// Encrypted bytes that may wait for the socket.
const UNSENT_MAX: usize = 256 << 10;

/// A congestion control that does not pace, which every Linux lets everybody choose (`tcp(7)`, `TCP_CONGESTION`).
#[cfg(target_os = "linux")]
const UNPACED: &[u8] = b"reno";

/// What is under the encryption.
type Buffered = BufReader<TcpStream>;

/// See the module.
pub(crate) enum Transport {
    /// Not encrypted.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<Buffered>>),
}

/// The half that is read from.
pub(crate) enum ReadHalf {
    Plain(OwnedReadHalf),
    Tls(tokio::io::ReadHalf<Box<TlsStream<Buffered>>>),
}

/// The half that is written to. Flush it: encrypted bytes may wait in it.
pub(crate) enum WriteHalf {
    Plain(OwnedWriteHalf),
    Tls(tokio::io::WriteHalf<Box<TlsStream<Buffered>>>),
}

impl Transport {
    /// Connects, and encrypts if the address says so.
    pub(crate) async fn connect(address: &Address, options: &Options) -> Result<Transport> {
        let failed = |source| Error::Connect { address: address.endpoint(), source: Arc::new(source) };
        let tls = match address.is_tls {
            true => Some((options.tls.config()?, options.tls.server_name(address)?)),
            false => None,
        };
        let socket = reach(&address.host, address.port).await.map_err(failed)?;
        let Some((config, name)) = tls else { return Ok(Transport::Plain(socket)) };
        let socket = BufReader::with_capacity(READ_AHEAD, socket);
        let connecting = TlsConnector::from(config)
            .connect_with(name, socket, |tls| tls.set_buffer_limit(Some(UNSENT_MAX)));
        match connecting.await {
            Ok(stream) => Ok(Transport::Tls(Box::new(stream))),
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(problem) => Err(Error::Tls { address: address.endpoint(), problem: explained(problem) }),
                None => Err(failed(error)),
            },
        }
    }

    pub(crate) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Transport::Plain(socket) => {
                let (read, write) = socket.into_split();
                (ReadHalf::Plain(read), WriteHalf::Plain(write))
            }
            Transport::Tls(stream) => {
                let (read, write) = tokio::io::split(stream);
                (ReadHalf::Tls(read), WriteHalf::Tls(write))
            }
        }
    }
}

fn explained(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, CertificateError, InvalidMessage};
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is from an authority that is not trusted here".to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            "its certificate is not signed by the authority of that name that is trusted here; was the authority made anew?"
                .to_owned()
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS there; is it configured, and is this its port?".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate from this client".to_owned()
        }
        error => error.to_string(),
    }
}

/// Connects to the first of the host's addresses where somebody listens.
async fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::ErrorKind::AddrNotAvailable.into();
    for address in lookup_host((host, port)).await? {
        match reach_at(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn reach_at(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Frames are batched by ourselves; the kernel must not wait for more.
    socket.set_nodelay(true)?;
    // A hint, and only before it connects: BBR paces what within a machine only has to be copied.
    #[cfg(target_os = "linux")]
    if address.ip().to_canonical().is_loopback() {
        let _ = SockRef::from(&socket).set_tcp_congestion(UNPACED);
    }
    socket.connect(address).await
}

/// Calls the same function of either stream.
macro_rules! either {
    ($self:ident, $kind:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            $kind::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            $kind::Tls(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, Transport, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, Transport, stream => stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, Transport, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, Transport, stream => stream.poll_shutdown(cx))
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, ReadHalf, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, WriteHalf, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, WriteHalf, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, WriteHalf, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, WriteHalf, stream => stream.poll_shutdown(cx))
    }
}
