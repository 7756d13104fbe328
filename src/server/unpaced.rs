//! TCP that is not paced within a machine.
//!
//! BBR, which many systems choose for the sake of long ways, sends in measured portions: a timer holds back what within
//! one machine only has to be copied. That costs up to half of the rate. Whether a socket is paced is
//! decided when its connection begins and can be changed only one way, to paced (`sk_pacing_status` in Linux): so all
//! begin unpaced, and those from other machines get back what the system would have chosen.
//!
//! Invariant: these are hints; where the system does not know them, connections serve as well, only slower.

use std::io;
use std::net::{SocketAddr, TcpStream as BlockingStream, ToSocketAddrs};
use std::os::fd::AsFd;

use rustix::net::sockopt::{set_tcp_congestion, set_tcp_nodelay, tcp_congestion};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect as connect_socket, socket_with};
use tokio::net::{TcpListener, TcpStream};

/// A congestion control that does not pace, which every Linux has and lets everybody choose (`tcp(7)`, `TCP_CONGESTION`).
const UNPACED: &str = "reno";

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    /// What connections from other machines are given back.
    usual: Option<String>,
}

impl Listener {
    /// Listens there.
    ///
    /// # Errors
    /// The address is in use or cannot be had.
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Listener> {
        let listener = TcpListener::bind(address).await?;
        let usual = begin_unpaced(&listener);
        Ok(Listener { listener, usual })
    }

    /// Where it listens, with the port that the system chose.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.listener.accept().await?;
        if let Some(usual) = &self.usual
            && !is_here(peer, || socket.local_addr())
        {
            let _ = set_tcp_congestion(&socket, usual);
        }
        Ok((socket, peer))
    }
}

/// Has what a listening socket accepts begin unpaced. Says what the system would have chosen, if that is another.
pub(crate) fn begin_unpaced(listener: &impl AsFd) -> Option<String> {
    let usual = tcp_congestion(listener).ok().filter(|usual| usual != UNPACED)?;
    set_tcp_congestion(listener, UNPACED).ok()?;
    Some(usual)
}

/// Connects, unpaced within the machine, for writes that were put together already: none waits for more (`TCP_NODELAY`).
///
/// # Errors
/// The host has no address, or nobody listens at any of them.
pub(crate) fn connect(to: impl ToSocketAddrs) -> io::Result<BlockingStream> {
    let mut failed = io::ErrorKind::AddrNotAvailable.into();
    for address in to.to_socket_addrs()? {
        match connect_to(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn connect_to(address: SocketAddr) -> io::Result<BlockingStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.ip().to_canonical().is_loopback() {
        let _ = set_tcp_congestion(&socket, UNPACED);
    }
    set_tcp_nodelay(&socket, true)?;
    connect_socket(&socket, &address)?;
    Ok(socket.into())
}

/// Whether the peer is on this machine: at its loopback address, or at the one that it has connected to.
fn is_here(peer: SocketAddr, ours: impl FnOnce() -> io::Result<SocketAddr>) -> bool {
    peer.ip().to_canonical().is_loopback() || ours().is_ok_and(|ours| ours.ip() == peer.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn within_a_machine_both_ends_are_unpaced() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // Not every machine has IPv6.
            let Ok(listener) = Listener::bind(address.parse().unwrap()).await else { continue };
            let ours = connect(listener.local_addr().unwrap()).unwrap();
            let (theirs, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, ours.local_addr().unwrap());
            assert_eq!(tcp_congestion(&ours).unwrap(), UNPACED);
            assert_eq!(tcp_congestion(&theirs).unwrap(), UNPACED);
            assert!(ours.nodelay().unwrap());
        }
    }

    #[test]
    fn who_is_on_this_machine_is_told_by_the_addresses() {
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 1);
        let cases = [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.9", "127.0.0.1", true),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", true),
            ("::1", "::1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.8", "192.0.2.7", false),
            ("2001:db8::1", "2001:db8::2", false),
        ];
        for (peer, ours, here) in cases {
            assert_eq!(is_here(at(peer), || Ok(at(ours))), here, "{peer} to {ours}");
        }
    }

    #[test]
    fn where_nobody_listens_is_an_error() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(connect(nobody).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
