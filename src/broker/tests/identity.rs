//! Users, permissions, vhosts and parameters as they are changed at run time and outlive the broker.

use super::counting::consume;
use super::durable::{Durable, ENDS, End};
use super::*;
use crate::access::{
    Credentials, HashCost, Operation, Origin, Permission, Principal, Protocol, Step, Tags, TopicPermission,
    User, UserLimits,
};
use crate::model::{QueueType, VhostLimits, VhostOptions};
use crate::store::ParameterRow;

const CHEAP: HashCost = HashCost { memory_kib: 8, passes: 1, scram_rounds: 2 };

fn name(name: &str) -> VhostName {
    VhostName::new(name).unwrap()
}

fn user(name: &str, password: &str) -> User {
    User::new(name, Credentials::new(password, &CHEAP).unwrap(), Tags::from_list("monitoring,ops"))
}

fn permission(user: &str, vhost: &str, write: &str) -> Permission {
    Permission::new(user, name(vhost), "", write, ".*").unwrap()
}

fn log_in(broker: &Broker, user: &str, password: &str) -> Option<Principal> {
    let origin = Origin::plain("127.0.0.1:1".parse().unwrap(), Protocol::Amqp);
    match broker.access().check_password(user, password, &origin, broker.now()).run_in_place() {
        Step::Done(principal) => Some(principal),
        _ => None,
    }
}

fn parameter(vhost: Option<&str>, component: &str) -> ParameterRow {
    ParameterRow {
        vhost: vhost.map(name),
        component: component.to_owned(),
        name: "p".to_owned(),
        value: "{\"a\":[1]}".to_owned(),
    }
}

#[test]
fn parameters_have_limits_and_refusals_name_them() {
    let limits = Limits { parameters_max: 2, parameter_size_max: 9, ..Limits::default() };
    let world = World::with_limits(limits);
    let set = |name: &str, value: &str| {
        let row = ParameterRow { name: name.to_owned(), value: value.to_owned(), ..parameter(None, "") };
        world.broker.set_parameter(row)
    };
    set("one", "{\"a\":[1]}").unwrap();
    let (code, text) = refused(set("two", "{\"a\":[10]}"));
    assert!(code == 406 && text.contains("more than 9 bytes (topology.parameter_size_max)"), "{text}");
    set("two", "2").unwrap();
    let (code, text) = refused(set("three", "3"));
    assert!(code == 406 && text.contains("limit of 2 (topology.parameters_max)"), "{text}");
    set("two", "22").unwrap();
}

#[test]
fn users_permissions_vhosts_and_parameters_outlive_the_broker() {
    for end in ENDS {
        let mut durable = Durable::new();
        let broker = durable.world.broker.clone();
        let options = VhostOptions {
            description: "orders".to_owned(),
            tags: vec!["a".to_owned()],
            default_queue_type: Some(QueueType::Quorum),
            protected_from_deletion: true,
        };
        let limits = VhostLimits { max_connections: Some(7), max_queues: None };
        let user_limits = UserLimits { max_connections: Some(1), max_channels: Some(2) };
        broker.add_vhost("v", options.clone()).unwrap();
        broker.set_vhost_limits("v", limits).unwrap();
        broker.put_user(user("alice", "wonder")).unwrap();
        broker.set_user_limits("alice", user_limits).unwrap();
        broker.set_permission(permission("alice", "v", "^o")).unwrap();
        let topic = TopicPermission::new("alice", name("v"), exchange("amq.topic"), "^{username}\\.", ".*");
        broker.set_topic_permission(topic.unwrap()).unwrap();
        broker.set_parameter(parameter(None, "")).unwrap();
        broker.set_parameter(parameter(Some("v"), "shovel")).unwrap();
        broker.delete_user("guest").unwrap();
        durable.sync();
        drop(broker);

        let durable = durable.restart(end, 0);
        let broker = &durable.world.broker;
        let alice = log_in(broker, "alice", "wonder").unwrap();
        assert!(log_in(broker, "alice", "other").is_none() && log_in(broker, "guest", "guest").is_none());
        assert_eq!((alice.tags().to_string(), alice.user().limits), ("monitoring,ops".into(), user_limits));
        assert!(alice.user().credentials.scram().is_some());
        assert!(alice.enter("/").is_err());
        let pass = alice.enter("v").unwrap();
        let publish = |exchange, routing_key| {
            let is_topic = exchange == "amq.topic";
            pass.check(&Operation::Publish { exchange, routing_key, is_topic }).is_ok()
        };
        assert!(publish("orders", "") && !publish("x", "") && !publish("amq.topic", "bob.1"), "{end:?}");
        let vhost = broker.vhost("v").unwrap();
        assert_eq!((&*vhost.options(), vhost.limits()), (&options, limits));
        assert_eq!(broker.parameters(), [parameter(None, ""), parameter(Some("v"), "shovel")]);
    }
}

#[test]
fn guest_is_there_until_there_is_another_and_it_is_deleted() {
    let durable = Durable::new();
    assert!(log_in(&durable.world.broker, "guest", "guest").unwrap().enter("/").is_ok());
    let mut durable = durable;
    durable.sync();
    let mut durable = durable.restart(End::PowerCut, 0);
    let guest = log_in(&durable.world.broker, "guest", "guest").unwrap();
    assert!(guest.tags().administrator && guest.enter("/").is_ok());
    durable.world.broker.put_user(user("bob", "b")).unwrap();
    durable.sync();
    let durable = durable.restart(End::PowerCut, 0);
    assert_eq!(durable.world.broker.access().users_len(), 2, "it goes only if somebody deletes it");
}

/// Makes the vhost anew, with a queue, in the middle of its deletion.
struct MakesItAnew(Broker);

impl std::task::Wake for MakesItAnew {
    fn wake(self: Arc<Self>) {
        let MakesItAnew(broker) = &*self;
        broker.add_vhost("/", VhostOptions::default()).unwrap();
        let (vhost, mut turn) = (broker.vhost("/").unwrap(), Turn::new());
        let options =
            ExchangeOptions::from_arguments("fanout", true, false, false, FieldTable::new()).unwrap();
        vhost.declare_exchange(&exchange("x"), options).unwrap();
        let options = QueueOptions::from_declare(true, false, false, &FieldTable::new()).unwrap();
        vhost.declare_queue(&QueueName::new("new").unwrap(), options, ME, &mut turn).unwrap();
        turn.finish(broker);
    }
}

#[test]
fn a_vhost_that_is_made_anew_while_the_old_one_goes_keeps_what_is_declared_in_it() {
    let mut durable = Durable::new();
    let broker = durable.world.broker.clone();
    let queue = durable.world.queue("q");
    durable.world.exchange("fanout", "x", FieldTable::new()).unwrap();
    consume(&mut durable.world, &queue, true);
    let waker = Arc::new(MakesItAnew(broker.clone())).into();
    assert!(durable.world.outbox.poll_woken(&mut std::task::Context::from_waker(&waker)).is_pending());
    let old = durable.world.vhost.clone();
    broker.delete_vhost("/", &mut durable.world.turn).unwrap();
    assert!(broker.vhost("/").is_some(), "it was made anew meanwhile");
    // Who is still in the old one changes nothing of the new one.
    old.delete_exchange(&exchange("x"), false).unwrap();
    durable.world.vhost = broker.vhost("/").unwrap();
    durable.send("new", &["1"]);
    durable.sync();
    drop(broker);

    let mut durable = durable.restart(End::PowerCut, 0);
    assert_eq!(durable.drain("new"), ["1"]);
    durable.world.bind("x", "new", "");
}

#[test]
fn a_vhost_goes_with_everything_and_comes_back_empty() {
    for end in ENDS {
        let mut durable = Durable::new();
        let broker = durable.world.broker.clone();
        durable.world.queue("q");
        durable.send("q", &["1", "2"]);
        broker.put_user(user("bob", "b")).unwrap();
        broker.set_permission(permission("bob", "/", ".*")).unwrap();
        broker.set_parameter(parameter(Some("/"), "shovel")).unwrap();
        durable.sync();
        let pass = log_in(&broker, "bob", "b").unwrap().enter("/").unwrap();
        let publish = Operation::Publish { exchange: "x", routing_key: "", is_topic: false };
        assert!(pass.check(&publish).is_ok());
        broker.delete_vhost("/", &mut durable.world.turn).unwrap();
        assert!(pass.check(&publish).is_err(), "who still holds a pass may do nothing with it");
        assert!(broker.vhost("/").is_none() && broker.parameters().is_empty());
        let none = FieldTable::new();
        let options = QueueOptions::from_declare(true, false, false, &none).unwrap();
        let late = durable.world.declare("late", options);
        assert!(matches!(late, Err(BrokerError::NoVhost { .. })), "{late:?}");
        assert!(broker.delete_vhost("/", &mut durable.world.turn).is_err());
        durable.sync();
        drop(broker);

        let durable = durable.restart(end, 0);
        assert!(durable.world.vhost.queues().is_empty(), "{end:?}");
        assert!(log_in(&durable.world.broker, "bob", "b").unwrap().enter("/").is_err());
    }
}

#[test]
fn what_cannot_be_set_is_refused_with_what_is_wrong() {
    let broker = World::new().broker;
    let told = |result: Result<Commit, BrokerError>| result.unwrap_err().to_string();
    assert!(told(broker.put_user(user("", "x"))).contains("must not be empty"));
    assert!(told(broker.put_user(user("a\nb", "x"))).contains("control characters"));
    assert!(told(broker.put_user(user(&"x".repeat(256), "x"))).contains("at most 255"));
    assert_eq!(told(broker.delete_user("nobody")), "no user 'nobody'");
    assert_eq!(told(broker.set_permission(permission("nobody", "/", ""))), "no user 'nobody'");
    assert_eq!(told(broker.set_permission(permission("guest", "no", ""))), "vhost 'no' not found");
    assert!(told(broker.clear_permission("nobody", "/")).contains("no permission"));
    assert!(told(broker.clear_topic_permission("guest", "/", None)).contains("no topic permission"));
    assert!(told(broker.add_vhost("", VhostOptions::default())).contains("must not be empty"));
    assert!(told(broker.clear_parameter(None, "", "p")).contains("no parameter 'p'"));
    let long = VhostOptions { description: "x".repeat(2000), ..VhostOptions::default() };
    assert!(told(broker.add_vhost("v", long)).contains("1024 bytes"));
    let access = broker.access();
    access.put_file_user(User::new("file", Credentials::plain("p"), Tags::default()), None);
    assert!(told(broker.put_user(user("file", "x"))).contains("settings file"));
    assert!(told(broker.delete_user("file")).contains("settings file"));
    broker.set_permission(permission("file", "/", "^only$")).unwrap();
    let pass = log_in(&broker, "file", "p").unwrap().enter("/").unwrap();
    assert!(pass.check(&Operation::DeleteQueue { queue: "q" }).is_err(), "what was set holds in that vhost");
}

#[test]
fn limits_of_users_and_vhosts_hold() {
    let access = crate::access::Access::new(AccessOptions { users_max: 2, ..AccessOptions::default() });
    let limits = Limits { vhosts_max: 2, ..Limits::default() };
    let broker = Broker::in_memory().access(access).limits(limits).build();
    broker.put_user(user("one", "x")).unwrap();
    broker.put_user(user("one", "y")).unwrap();
    assert!(broker.put_user(user("two", "x")).unwrap_err().to_string().contains("limit of 2"));
    broker.add_vhost("v", VhostOptions::default()).unwrap();
    broker.add_vhost("v", VhostOptions::default()).unwrap();
    assert!(broker.add_vhost("w", VhostOptions::default()).unwrap_err().to_string().contains("limit of 2"));
    let mut world = World::new();
    world.broker.set_vhost_limits("/", VhostLimits { max_queues: Some(1), ..Default::default() }).unwrap();
    world.queue("one");
    let options = QueueOptions::from_declare(true, false, false, &FieldTable::new()).unwrap();
    let refused = world.declare("two", options.clone()).unwrap_err().to_string();
    assert_eq!(refused, "cannot declare queue 'two': queue limit in vhost '/' (1) is reached");
    // Queues that nobody declares do not count, and are not refused.
    let delayed = FieldTable::new().with("x-delayed-type", "direct");
    let flags = crate::model::ExchangeFlags::default();
    let declare = |name: &str| {
        world.vhost.declare_exchange_from(&exchange(name), "x-delayed-message", flags, delayed.clone())
    };
    declare("later").unwrap();
    assert_eq!((world.vhost.queues().len(), world.vhost.declared_queue_count()), (2, 1));
    world.broker.set_vhost_limits("/", VhostLimits { max_queues: Some(2), ..Default::default() }).unwrap();
    world.queue("two");
    let refused = world.declare("three", options).unwrap_err().to_string();
    assert!(refused.ends_with("(2) is reached"), "{refused}");
}

#[test]
fn a_vhosts_default_queue_type_is_what_queues_get_that_name_none() {
    let mut world = World::new();
    let options = VhostOptions { default_queue_type: Some(QueueType::Quorum), ..VhostOptions::default() };
    world.broker.add_vhost("/", options).unwrap();
    let mut declare = |name: &str, exclusive: bool| {
        let flags = crate::model::QueueFlags { durable: true, exclusive, auto_delete: false };
        let name = QueueName::new(name).unwrap();
        let declared = world.vhost.declare_queue_from(&name, flags, &FieldTable::new(), ME, &mut world.turn);
        declared.unwrap().queue.options().queue_type
    };
    assert_eq!(declare("q", false), QueueType::Quorum);
    assert_eq!(declare("q", false), QueueType::Quorum, "declared again it is the same");
    assert_eq!(declare("own", true), QueueType::Classic, "an exclusive queue cannot be of it");
}
