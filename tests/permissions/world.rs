//! A broker with an operator, a worker whose rights change, and somebody to sweep up.

use std::sync::Arc;

use bytes::Bytes;
use rialto::access::{
    Access, AccessOptions, Credentials, HashCost, Permission, RabbitHashing, Tags, User, UserLimits,
};
use rialto::broker::{Broker, Turn, Vhost};
use rialto::model::{
    ConnectionId, ExchangeFlags, ExchangeName, QueueFlags, QueueName, RoutingKey, VhostName,
};
use rialto::routing::Destination;
use rialto::server::Embedded;
use rialto_protocol::native::Login;
use rialto_protocol::types::FieldTable;
use tokio::runtime::Runtime;

use crate::amqp::{Client, Closed, Options};
use crate::support::peer::{Peer, login, name};

/// Who works, with this password and whatever rights a test gives.
pub(crate) const WORKER: &str = "worker";
pub(crate) const PASSWORD: &str = "open sesame";

/// Nobody's connection: what a test does behind everybody's back.
const NOBODY: ConnectionId = ConnectionId(0);

pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) embedded: Embedded,
}

impl World {
    /// The worker may do nothing in the vhost `/`, but may enter it; there is a vhost `other` that it may not enter.
    pub(crate) fn start() -> World {
        Self::with(AccessOptions::default(), &[])
    }

    /// With other options, and more vhosts.
    pub(crate) fn with(options: AccessOptions, more: &[&str]) -> World {
        let cost = HashCost { memory_kib: 64, passes: 1, scram_rounds: 4096 };
        let access = Access::new(AccessOptions { cost, ..options });
        access.put_user(User::new(WORKER, weak(PASSWORD), Tags::default()));
        access.put_user(User::new(
            "slow",
            Credentials::new(PASSWORD, &cost).expect("short"),
            Tags::default(),
        ));
        let names = ["/", "other"].iter().chain(more);
        let vhosts: Vec<_> = names.map(|name| VhostName::new(*name).expect("short")).collect();
        access.put_permission(Permission::full("slow", vhosts[0].clone()));
        let broker = Broker::in_memory().access(access).vhosts(vhosts).build();
        let runtime = Runtime::new().expect("a runtime");
        let embedded = runtime.block_on(Embedded::start(broker)).expect("a free port");
        let world = World { runtime, embedded };
        world.allow("", "", "");
        world
    }

    pub(crate) fn access(&self) -> &Arc<Access> {
        self.embedded.broker().access()
    }

    pub(crate) fn vhost(&self) -> Arc<Vhost> {
        self.embedded.broker().vhost("/").expect("the default vhost")
    }

    /// Sets what the worker may configure, write and read in `/`, from now on.
    pub(crate) fn allow(&self, configure: &str, write: &str, read: &str) {
        let vhost = VhostName::new("/").expect("short");
        let permission = Permission::new(WORKER, vhost, configure, write, read).expect("good patterns");
        assert!(self.access().put_permission(permission));
    }

    /// Sets the worker anew.
    pub(crate) fn set_worker(&self, tags: Tags, limits: UserLimits) {
        self.access().put_user(User::new(WORKER, weak(PASSWORD), tags).with_limits(limits));
    }

    /// Sets another user, with the worker's password.
    pub(crate) fn put_user(&self, name: &str, tags: Tags) {
        self.access().put_user(User::new(name, weak(PASSWORD), tags));
    }

    /// The worker over AMQP, with channel 1 open.
    pub(crate) fn amqp(&self) -> Client {
        let mut client = self.log_in(WORKER, "/").expect("the worker is let in");
        client.open_channel(1);
        client
    }

    pub(crate) fn log_in(&self, user: &str, vhost: &str) -> Result<Client, Option<Closed>> {
        let response = Bytes::from(format!("\0{user}\0{PASSWORD}"));
        let options = Options { response, vhost: vhost.to_owned(), ..Options::default() };
        Client::log_in(self.embedded.address(), &options)
    }

    /// The worker over the native protocol.
    pub(crate) fn native(&self) -> Peer {
        self.runtime
            .block_on(Peer::log_in(&self.embedded, plain_login(WORKER, "/")))
            .expect("the worker is let in")
    }

    /// The queues `q` with a message and `r`, the exchanges `x` (direct) and `y` (topic), bound to `q` and `x` by the
    /// key `k`: whatever is missing is made again, and what operations have made is taken away.
    pub(crate) fn furnish(&self) {
        let (vhost, mut turn) = (self.vhost(), Turn::new());
        turn.begin(self.embedded.broker().now());
        let plain = FieldTable::new();
        for queue in vhost.queues() {
            vhost.delete_queue(queue.name(), false, false, NOBODY, &mut turn).expect("nobody's own queue");
        }
        for exchange in ["x", "y", "new"] {
            vhost.delete_exchange(&ExchangeName::from(name(exchange)), false).expect("not predeclared");
        }
        for queue in ["q", "r"] {
            let queue = QueueName::from(name(queue));
            vhost
                .declare_queue_from(&queue, QueueFlags::default(), &plain, NOBODY, &mut turn)
                .expect("a queue");
        }
        for (exchange, kind) in [("x", "direct"), ("y", "topic")] {
            let exchange = ExchangeName::from(name(exchange));
            vhost
                .declare_exchange_from(&exchange, kind, ExchangeFlags::default(), plain.clone())
                .expect("it");
        }
        let (x, key) = (ExchangeName::from(name("x")), RoutingKey::from(name("k")));
        let y = ExchangeName::from(name("y"));
        vhost.bind(&y, &Destination::Exchange(x.clone()), key.clone(), &plain).expect("a binding");
        vhost.bind_queue(&x, "q", key, plain, NOBODY).expect("a binding");
        turn.finish(self.embedded.broker());
    }
}

/// A login over the native protocol.
pub(crate) fn plain_login(user: &str, vhost: &str) -> Login {
    let response = Bytes::from(format!("\0{user}\0{PASSWORD}"));
    Login { response, vhost: name(vhost), ..login(0) }
}

/// A hash that costs nothing to check.
fn weak(password: &str) -> Credentials {
    Credentials::new_rabbitmq(password, RabbitHashing::Sha256)
}
