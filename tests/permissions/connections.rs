//! Limits of connections and channels, and connections that are closed from outside.

use bytes::Bytes;
use rialto::access::{Permission, Tags, UserLimits};
use rialto::model::{VhostLimits, VhostName};
use rialto_protocol::native::{ListOf, Request, Response};

use crate::amqp::*;
use crate::support::peer::Peer;
use crate::world::{PASSWORD, WORKER, World, plain_login};

#[test]
fn a_user_has_as_many_connections_as_it_may_have_over_both_protocols() {
    let world = World::start();
    let limits = UserLimits { max_connections: Some(2), max_channels: None };
    world.set_worker(Tags::default(), limits);
    world.allow("", "", "");
    let first = world.amqp();
    let _second = world.native();
    let refused = world.log_in(WORKER, "/").map(drop).expect_err("one too many").expect("a close");
    let text = "NOT_ALLOWED - connection refused for user 'worker': user connection limit (2) is reached";
    assert_eq!((refused.code, refused.text.as_str()), (530, text));
    let refused = world.runtime.block_on(Peer::log_in(&world.embedded, plain_login(WORKER, "/")));
    assert_eq!(refused.map(drop).expect_err("one too many").code, 530);
    first.close();
    let broker = world.embedded.broker();
    world.runtime.block_on(crate::support::until("it is gone", || broker.connection_count() == 1));
    world.amqp();
}

#[test]
fn a_user_has_as_many_channels_as_it_may_have_over_all_connections() {
    let world = World::start();
    world.set_worker(Tags::default(), UserLimits { max_connections: None, max_channels: Some(2) });
    world.allow("", "", "");
    let _first = world.amqp();
    let mut second = world.amqp();
    let refused = second.call(2, Method::ChannelOpen(ChannelOpen {})).expect_err("one too many");
    let text = "NOT_ALLOWED - number of channels opened for user 'worker' has reached the maximum allowed user limit \
                of (2)";
    assert_eq!((refused.channel, refused.code, refused.text.as_str()), (0, 530, text));
    let broker = world.embedded.broker();
    world.runtime.block_on(crate::support::until("it is gone", || broker.connection_count() == 1));
    world.amqp();
}

#[test]
fn a_user_enters_only_the_vhosts_where_it_has_a_permission() {
    let world = World::start();
    let refused = world.log_in(WORKER, "other").map(drop).expect_err("no permission").expect("a close");
    let text = "NOT_ALLOWED - access to vhost 'other' refused for user 'worker'";
    assert_eq!((refused.code, refused.text.as_str(), refused.class, refused.method), (530, text, 10, 40));
    let refused = world.runtime.block_on(Peer::log_in(&world.embedded, plain_login(WORKER, "other")));
    assert_eq!(refused.map(drop).expect_err("no permission").code, 403);
}

/// Code, text, class and method as a RabbitMQ 3.10.8 was heard to say them.
#[test]
fn refused_connections_hear_what_rabbitmq_says() {
    let world = World::start();
    let table = FieldTable::new().with("LOGIN", WORKER).with("PASSWORD", "wrong").encoded();
    let plain = |password: &str| Bytes::from(format!("\0{WORKER}\0{password}"));
    let refused = |mechanism: &'static str, response: Bytes, vhost: &str| {
        let options = Options { mechanism, response, vhost: vhost.to_owned(), ..Options::default() };
        let closed = Client::log_in(world.embedded.address(), &options).map(drop);
        let Closed { code, text, class, method, .. } = closed.expect_err("refused").expect("a close");
        (code, text, class, method)
    };
    let login = |mechanism: &str| {
        let text = "ACCESS_REFUSED - Login was refused using authentication mechanism";
        (403, format!("{text} {mechanism}. For details see the broker logfile."), 0, 0)
    };
    assert_eq!(refused("PLAIN", plain("wrong"), "/"), login("PLAIN"));
    assert_eq!(refused("PLAIN", Bytes::from_static(b"\0nobody\0x"), "/"), login("PLAIN"));
    assert_eq!(refused("AMQPLAIN", Bytes::copy_from_slice(&table[4..]), "/"), login("AMQPLAIN"));
    let open = |text: &str| (530, format!("NOT_ALLOWED - {text}"), 10, 40);
    assert_eq!(refused("PLAIN", plain(PASSWORD), "nowhere"), open("vhost nowhere not found"));
    let denied = "access to vhost 'other' refused for user 'worker'";
    assert_eq!(refused("PLAIN", plain(PASSWORD), "other"), open(denied));
    let limits = VhostLimits { max_connections: Some(0), ..VhostLimits::default() };
    world.embedded.broker().set_vhost_limits("/", limits).expect("a vhost");
    let full = "access to vhost '/' refused for user 'worker': connection limit (0) is reached";
    assert_eq!(refused("PLAIN", plain(PASSWORD), "/"), open(full));
    world.set_worker(Tags::default(), UserLimits { max_connections: Some(0), max_channels: None });
    world.embedded.broker().set_vhost_limits("/", VhostLimits::default()).expect("a vhost");
    let full = "connection refused for user 'worker': user connection limit (0) is reached";
    assert_eq!(refused("PLAIN", plain(PASSWORD), "/"), open(full));
}

#[test]
fn connections_are_closed_from_outside_with_a_reason() {
    let world = World::start();
    let (mut amqp, native) = (world.amqp(), world.native());
    let broker = world.embedded.broker();
    assert_eq!(broker.close_connections("user 'worker' is deleted", |info| info.user == WORKER), 2);
    let closed = amqp.closed(0);
    assert_eq!((closed.code, closed.text.as_str()), (320, "CONNECTION_FORCED - user 'worker' is deleted"));
    let closed = world.runtime.block_on(native.closed());
    assert_eq!((closed.code, &*closed.text), (320, "CONNECTION_FORCED - user 'worker' is deleted"));
}

#[test]
fn what_passes_over_a_connection_is_counted() {
    let world = World::start();
    let mut client = world.amqp();
    let [info] = &world.embedded.broker().connections()[..] else { panic!("one connection") };
    let before = (info.link.traffic.received.get(), info.link.traffic.sent.get());
    client.sync(1).expect("an answer");
    let traffic = &info.link.traffic;
    assert!(traffic.received.get() > before.0 && traffic.sent.get() > before.1, "{traffic:?}");
    assert!(traffic.reads.get() > 0 && traffic.writes.get() > 0, "{traffic:?}");
}

#[test]
fn connections_to_other_vhosts_are_listed_for_whoever_may_look_over_all() {
    let world = World::start();
    let elsewhere = VhostName::new("other").expect("short");
    world.access().put_permission(Permission::full("slow", elsewhere));
    let _other = world.log_in("slow", "other").expect("let in");
    let listed = |peer: &mut Peer| {
        let request = Request::List { what: ListOf::Connections, after: Default::default(), limit: 10 };
        match world.runtime.block_on(peer.request(request)) {
            Ok(Response::Page { rows, .. }) => rows.len(),
            other => panic!("no page: {other:?}"),
        }
    };
    let mut worker = world.native();
    assert_eq!(listed(&mut worker), 1, "its own");
    world.set_worker(Tags::from_list("monitoring"), UserLimits::default());
    assert_eq!(listed(&mut world.native()), 3, "both of the worker, and the other");
}
