//! A blocking connection with a broker that is measured: a socket, as it is or with TLS around it.
//!
//! Not here: what is spoken on it (`native`, `amqp`).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};

use rialto_client::Address;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::error::{BenchError, BenchResult, Doing};
use crate::server::unpaced::connect;
use crate::tls::dev::Authority;

/// Encrypted bytes that are read, or made, at a time.
const CHUNK: usize = 256 << 10;

/// The authority that all brokers of this run have their certificates from, and what trusts it alone.
static TRUST: OnceLock<(Authority, Arc<ClientConfig>)> = OnceLock::new();

/// See the module.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct TlsStream {
    socket: TcpStream,
    tls: ClientConnection,
    /// What was read and not taken apart lies at these places.
    encrypted: Vec<u8>,
    start: usize,
    end: usize,
}

/// The authority of this run.
pub(super) fn authority() -> BenchResult<&'static Authority> {
    trust().map(|(authority, _)| authority)
}

fn trust() -> BenchResult<&'static (Authority, Arc<ClientConfig>)> {
    if let Some(trust) = TRUST.get() {
        return Ok(trust);
    }
    let failed = |error: &dyn std::fmt::Display| BenchError::Process(format!("cannot prepare TLS: {error}"));
    let authority = Authority::new("Rialto bench CA").map_err(|error| failed(&error))?;
    let mut roots = RootCertStore::empty();
    let certificate =
        CertificateDer::from_pem_slice(authority.certificate().as_bytes()).map_err(|error| failed(&error))?;
    roots.add(certificate).map_err(|error| failed(&error))?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TRUST.get_or_init(|| (authority, Arc::new(config))))
}

impl Stream {
    /// Connects, and encrypts if the address says so.
    pub(super) fn connect(address: &Address) -> BenchResult<Stream> {
        let endpoint = || format!("cannot connect to {}", address.endpoint());
        let mut socket = connect((address.host.as_str(), address.port)).doing(endpoint)?;
        if !address.is_tls {
            return Ok(Stream::Plain(socket));
        }
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| BenchError::Options(format!("{:?} is no name for a certificate", address.host)))?;
        let (_, config) = trust()?;
        let mut tls =
            ClientConnection::new(config.clone(), name).map_err(io::Error::other).doing(endpoint)?;
        tls.set_buffer_limit(Some(CHUNK));
        tls.complete_io(&mut socket).doing(|| format!("no TLS with {}", address.endpoint()))?;
        Ok(Stream::Tls(Box::new(TlsStream { socket, tls, encrypted: vec![0; CHUNK], start: 0, end: 0 })))
    }

    /// Whether something has come that the socket does not tell of any more.
    pub(super) fn has_more(&mut self) -> bool {
        match self {
            Stream::Plain(_) => false,
            // Nothing is new to it: it only says what it holds.
            Stream::Tls(stream) => {
                stream.tls.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
            }
        }
    }

    /// The socket, to end it or to change how it waits.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.socket,
        }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(into),
            Stream::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TlsStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // All that is there and fits, as a socket gives it: the generator counts by reads.
        let mut taken = 0;
        loop {
            match self.tls.reader().read(&mut into[taken..]) {
                Ok(0) => return Ok(taken),
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if taken == into.len() || (taken > 0 && self.start == self.end) {
                return Ok(taken);
            }
            if self.start == self.end {
                (self.start, self.end) = (0, self.socket.read(&mut self.encrypted)?);
                if self.end == 0 {
                    return Ok(0);
                }
            }
            let mut rest = &self.encrypted[self.start..self.end];
            self.start += self.tls.read_tls(&mut rest)?;
            self.tls
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.tls.writer().write(bytes)?;
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
