//! The broker under test.

use std::env;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto::broker::{Broker, Limits};
use rialto::server::{Embedded, ServerOptions};
use rialto::session::SessionOptions;
use tokio::runtime::Runtime;

use crate::amqp::methods::*;
use crate::amqp::*;

/// A broker that survives what the tests do to it.
pub(crate) struct Fixture {
    address: SocketAddr,
    ours: Option<(Embedded, Runtime)>,
}

impl Fixture {
    /// Rialto in this process, or the broker that `RIALTO_AMQP` names.
    pub(crate) fn start() -> Fixture {
        if let Ok(named) = env::var("RIALTO_AMQP") {
            let address = named.to_socket_addrs().expect("host:port").next().expect("an address");
            return Fixture { address, ours: None };
        }
        Self::ours(|_| {})
    }

    /// Rialto with other options, whatever `RIALTO_AMQP` says.
    pub(crate) fn ours(options: impl FnOnce(&mut SessionOptions)) -> Fixture {
        Self::limited(Limits::default(), options)
    }

    /// Rialto with other limits and options.
    pub(crate) fn limited(limits: Limits, options: impl FnOnce(&mut SessionOptions)) -> Fixture {
        let mut session = SessionOptions::default();
        options(&mut session);
        let runtime = Runtime::new().expect("a runtime");
        let broker = Broker::in_memory().limits(limits).build();
        let options = ServerOptions { session: Arc::new(session), ..ServerOptions::default() };
        let embedded = runtime.block_on(Embedded::start_with(broker, options)).expect("a free port");
        Fixture { address: embedded.address(), ours: Some((embedded, runtime)) }
    }

    /// Whether [`Fixture::start`] gives our own broker.
    pub(crate) fn would_be_ours() -> bool {
        env::var_os("RIALTO_AMQP").is_none()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Our own broker.
    pub(crate) fn broker(&self) -> &Broker {
        let (embedded, _) = self.ours.as_ref().expect("only our own broker can be looked into");
        embedded.broker()
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn on_channel(&self) -> Client {
        Client::on_channel(self.address)
    }

    /// Stops the broker while connections are open.
    pub(crate) fn stop(mut self) {
        let (embedded, runtime) = self.ours.take().expect("only our own broker is stopped");
        assert!(runtime.block_on(embedded.stop()), "all connections end in time");
    }

    /// Another connection is served, and nothing is left of those that are gone.
    pub(crate) fn survives(&self) {
        let mut other = self.on_channel();
        let declared = other.call(1, Method::QueueDeclare(declare_exclusive("")));
        let Ok(Method::QueueDeclareOk(declared)) = declared else { panic!("{declared:?}") };
        other.send_content(1, publish("", &declared.queue), &Properties::default(), b"still there?");
        let got = other.call(1, get(&declared.queue, true));
        assert!(matches!(got, Ok(Method::BasicGetOk(_))), "{got:?}");
        other.close();
        let Some((embedded, _)) = &self.ours else { return };
        let broker = embedded.broker();
        until("all connections end", || broker.connections().is_empty());
        until("their queues go", || broker.vhost("/").expect("the vhost is there").queues().is_empty());
        until("their memory is free", || broker.memory_bytes() == 0);
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        // Not to spin while the broker's threads work towards it.
        std::thread::sleep(Duration::from_millis(1));
    }
}
