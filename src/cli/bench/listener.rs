//! Which process listens on a port of this machine, from `/proc`.
//!
//! For brokers that were started by someone else, or behind a script: what their CPU costs is asked by process.
//! Not here: sockets in other network namespaces. A broker in a container is found as the proxy before it, if at all.

use std::fs;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;

/// `st` of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// The process that listens at `endpoint` (host and port), if that is on this machine and may be seen.
pub(super) fn listener_at(endpoint: &str) -> Option<u32> {
    let mut addresses = endpoint.to_socket_addrs().ok()?;
    // An address that can be bound is one of this machine.
    let here = addresses.find(|address| TcpListener::bind((address.ip(), 0)).is_ok())?;
    listener_on(here.port())
}

/// The process that listens on a port of this machine.
pub(super) fn listener_on(port: u16) -> Option<u32> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|&pid: &u32| holds(pid, &inodes))
}

/// Name of a process, as the kernel shortens it.
pub(super) fn process_name(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

/// Whether a process has one of these sockets open.
fn holds(pid: u32, sockets: &[String]) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|link| sockets.iter().any(|socket| link == Path::new(socket)))
}

/// Inodes of the sockets in a table that listen on a port: `sl local_address rem_address st … inode`.
fn listening(table: &str, port: u16) -> Vec<String> {
    let on_port = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (_, local_port) = fields.next()?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let matches = u16::from_str_radix(local_port, 16) == Ok(port) && state == LISTENING;
        matches.then(|| inode.to_owned())
    };
    table.lines().filter_map(on_port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1629 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31337 1 0 100 0 0 10 0\n   \
            1: 0100007F:1629 0100007F:9D2C 01 00000000:00000000 00:00000000 00000000     0        0 31338 1 0 20 4 0 10 -1\n   \
            2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31339 1 0 100 0 0 10 0\n";
        assert_eq!(listening(table, 5673), ["31337"]);
        assert_eq!(listening(table, 22), ["31339"]);
        assert!(listening(table, 80).is_empty());
    }

    #[test]
    fn who_listens_here_is_found_and_who_listens_elsewhere_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(listener_at(&address.to_string()), Some(std::process::id()));
        assert!(process_name(std::process::id()).is_some_and(|name| !name.is_empty()));
        // A documentation address (RFC 5737) is nobody's own.
        assert_eq!(listener_at(&format!("192.0.2.1:{}", address.port())), None);
    }
}
