//! Exchanges come and go.

use super::*;

/// Expects a declare to fail with this code and text.
#[track_caller]
fn check_refused(world: &mut World, line: &str, code: u16, text: &str) {
    let error = world.declare(line).unwrap_err();
    assert_eq!((error.reply_code().number(), &*error.text("/")), (code, text), "{line}");
}

#[test]
fn the_predeclared_exchanges_are_there() {
    let table = RoutingTable::new();
    let mut listed: Vec<String> = table
        .exchanges()
        .map(|x| {
            assert!(x.options().durable && !x.options().auto_delete && x.is_predeclared());
            format!("{}:{}:{}", x.name(), x.options().kind, x.options().internal)
        })
        .collect();
    listed.sort();
    let expected = [
        ":direct:false",
        "amq.direct:direct:false",
        "amq.fanout:fanout:false",
        "amq.headers:headers:false",
        "amq.match:headers:false",
        "amq.rabbitmq.trace:topic:true",
        "amq.topic:topic:false",
    ];
    assert_eq!(listed, expected);
}

#[test]
fn declaring_again_is_fine_if_nothing_differs() {
    let mut world = World::new(&["topic t durable alternate=a"]);
    let generation = world.table.generation();
    assert_eq!(world.declare("topic t durable alternate=a"), Ok(Declared::Existed));
    assert_eq!(world.declare("direct amq.direct durable"), Ok(Declared::Existed));
    assert_eq!(world.table.generation(), generation);
}

#[test]
fn a_difference_is_told_with_both_values() {
    let mut world = World::new(&["direct x", "fanout y durable auto-delete internal alternate=a"]);
    let start = |argument: &str, name: &str| {
        format!("inequivalent arg '{argument}' for exchange '{name}' in vhost '/': received ")
    };
    let table = [
        ("topic x", "type", "'topic' but current is 'direct'"),
        ("direct x durable", "durable", "'true' but current is 'false'"),
        ("direct x auto-delete", "auto_delete", "'true' but current is 'false'"),
        ("direct x internal", "internal", "'true' but current is 'false'"),
        ("direct x alternate=b", "alternate-exchange", "the value 'b' of type 'longstr' but current is none"),
        (
            "fanout y durable auto-delete internal",
            "alternate-exchange",
            "none but current is the value 'a' of type 'longstr'",
        ),
    ];
    for (line, argument, values) in table {
        let name = line.split(' ').nth(1).unwrap();
        check_refused(&mut world, line, 406, &format!("{}{values}", start(argument, name)));
    }
}

#[test]
fn unknown_arguments_are_not_compared() {
    let mut table = RoutingTable::new();
    let options = |arguments| ExchangeOptions { arguments, ..ExchangeOptions::default() };
    table.declare_exchange(exchange("x"), options(FieldTable::new().with("x-colour", "red"))).unwrap();
    let again = table.declare_exchange(exchange("x"), options(FieldTable::new()));
    assert_eq!(again, Ok(Declared::Existed));
    assert_eq!(table.exchange("x").unwrap().options().arguments.len(), 1, "the first declare's stay");
}

#[test]
fn reserved_names_and_the_default_exchange_are_refused() {
    let mut world = World::new(&[]);
    check_refused(&mut world, "direct ", 403, "operation not permitted on the default exchange");
    check_refused(&mut world, "direct amq.x", 403, "exchange name 'amq.x' contains reserved prefix 'amq.*'");
    let start = "inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': ";
    let text = format!("{start}received 'topic' but current is 'direct'");
    check_refused(&mut world, "topic amq.direct durable", 406, &text);
}

#[test]
fn exchanges_have_a_limit_and_redeclaring_at_it_is_fine() {
    let limits = RoutingLimits { exchanges_max: 8, ..RoutingLimits::default() };
    let mut world = World::new(&[]);
    world.table = RoutingTable::with_limits(limits);
    world.run("direct last");
    let text = "cannot declare exchange 'more' in vhost '/': limit of 8 exchanges (topology.exchanges_per_vhost_max) is reached";
    check_refused(&mut world, "direct more", 406, text);
    assert_eq!(world.declare("direct last"), Ok(Declared::Existed));
}

#[test]
fn bindings_have_a_limit_and_binding_again_at_it_is_fine() {
    let limits = RoutingLimits { bindings_max: 2, ..RoutingLimits::default() };
    let mut world = World::new(&[]);
    world.table = RoutingTable::with_limits(limits);
    ["direct d", "d -> q1 a", "d -> q1 b"].iter().for_each(|line| world.run(line));
    let error = world.bind("d -> q1 c", FieldTable::new()).unwrap_err();
    assert_eq!(error, BindError::TooMany { max: 2 });
    assert_eq!(
        error.text("/"),
        "cannot bind in vhost '/': limit of 2 bindings (topology.bindings_per_vhost_max) is reached"
    );
    assert_eq!(world.bind("d -> q1 b", FieldTable::new()), Ok(false));
    world.check("d", "c", "");
}

#[test]
fn deleting_what_does_not_exist_succeeds() {
    let mut table = RoutingTable::new();
    assert_eq!(table.delete_exchange(&exchange("x"), true), Ok(DeletedExchange::default()));
    assert_eq!(table.remove_queue(&queue("q")), Removed::default());
}

#[test]
fn predeclared_exchanges_cannot_be_deleted() {
    let mut table = RoutingTable::new();
    let mut text = |name| {
        let error = table.delete_exchange(&exchange(name), false).unwrap_err();
        assert_eq!(error.reply_code().number(), 403);
        error.text("/")
    };
    assert_eq!(text(""), "operation not permitted on the default exchange");
    assert_eq!(text("amq.topic"), "deletion of system exchange 'amq.topic' in vhost '/' not allowed");
}

#[test]
fn an_exchange_with_bindings_is_in_use_but_one_that_is_bound_to_is_not() {
    let mut world = World::new(&["direct a", "direct b", "a -> b k"]);
    let error = world.table.delete_exchange(&exchange("a"), true).unwrap_err();
    assert_eq!((error.reply_code().number(), &*error.text("/")), (406, "exchange 'a' in vhost '/' in use"));
    let deleted = world.table.delete_exchange(&exchange("b"), true).unwrap();
    assert!(deleted.existed);
    assert_eq!(deleted.removed.bindings.len(), 1);
    assert!(world.table.delete_exchange(&exchange("a"), true).unwrap().existed);
}

#[test]
fn deleting_an_exchange_removes_its_bindings_both_ways() {
    let mut world =
        World::new(&["direct a", "fanout b", "direct c", "a -> b k", "b -> c", "b -> q1", "b -> b"]);
    let deleted = world.table.delete_exchange(&exchange("b"), false).unwrap();
    assert_eq!(deleted.removed.bindings.len(), 4);
    assert_eq!(world.table.bindings_len(), 0);
    assert_eq!(world.table.exchange("a").unwrap().bindings_from(), 0);
    assert_eq!(world.table.exchange("c").unwrap().bindings_to(), 0);
    world.run("fanout b");
    world.check("b", "", "");
}

#[test]
fn bindings_are_idempotent_and_told_apart_by_key_and_arguments() {
    let mut world = World::new(&["direct d"]);
    let red = || FieldTable::new().with("colour", "red").with("size", 1);
    let red_sorted_otherwise = FieldTable::new().with("size", 1).with("colour", "red");
    assert_eq!(world.bind("d -> q1 k", FieldTable::new()), Ok(true));
    assert_eq!(world.bind("d -> q1 k", red()), Ok(true));
    assert_eq!(world.bind("d -> q1 l", red()), Ok(true));
    let generation = world.table.generation();
    assert_eq!(world.bind("d -> q1 k", FieldTable::new()), Ok(false));
    assert_eq!(world.bind("d -> q1 k", red_sorted_otherwise), Ok(false));
    assert_eq!(world.table.generation(), generation);
    assert_eq!(
        world.bind("d -> q1 k", red().with("size", 1_i64)),
        Ok(true),
        "another type is another binding"
    );
    assert!(world.unbind("d -> q1 k", red()).unwrap().existed);
    assert!(!world.unbind("d -> q1 k", red()).unwrap().existed);
    world.check("d", "k", "q1");
}

#[test]
fn bindings_need_both_ends_but_undoing_does_not() {
    let mut world = World::new(&["direct d"]);
    world.queue("q1");
    let table = [
        ("", to_exchange("d"), 403, "operation not permitted on the default exchange"),
        ("d", to_exchange(""), 403, "operation not permitted on the default exchange"),
        ("x", to_exchange("d"), 404, "no exchange 'x' in vhost '/'"),
        ("d", to_exchange("x"), 404, "no exchange 'x' in vhost '/'"),
        ("d", Destination::Queue(QueueId(99)), 404, "no queue '99' in vhost '/'"),
    ];
    let none = FieldTable::new();
    for (source, destination, code, text) in table {
        let error = world.table.bind(&exchange(source), &destination, key("k"), &none).unwrap_err();
        assert_eq!((error.reply_code().number(), &*error.text("/")), (code, text));
        let undone = world.table.unbind(&exchange(source), &destination, &key("k"), &none);
        assert_eq!(undone.is_ok(), code == 404, "{source:?} {destination:?}");
    }
    assert!(!world.unbind("d -> q1 never", FieldTable::new()).unwrap().existed);
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_and_not_before() {
    let mut world = World::new(&["direct d auto-delete", "direct e", "e -> d x", "d -> q1 a", "d -> q2 a"]);
    assert_eq!(world.unbind("d -> q1 a", FieldTable::new()).unwrap().removed.exchanges, []);
    let gone = world.unbind("d -> q2 a", FieldTable::new()).unwrap();
    assert!(gone.existed);
    assert_eq!(gone.removed.exchanges, [exchange("d")]);
    assert_eq!(gone.removed.bindings.len(), 2, "the undone one, and the one that led to the exchange");
    assert!(world.table.exchange("d").is_none());
    assert_eq!(world.table.exchange("e").unwrap().bindings_from(), 0);
}

#[test]
fn an_auto_delete_exchange_that_was_never_bound_stays() {
    let mut world = World::new(&["direct d auto-delete", "direct e", "e -> d x"]);
    world.unbind("e -> d x", FieldTable::new()).unwrap();
    assert!(world.table.exchange("d").is_some());
}

#[test]
fn auto_deletion_cascades_up_a_chain() {
    let mut world = World::new(&[
        "fanout a auto-delete",
        "fanout b auto-delete",
        "fanout c auto-delete",
        "fanout keeps",
        "a -> b",
        "b -> c",
        "c -> q1",
        "keeps -> a",
    ]);
    let removed = world.table.remove_queue(&queue("q1"));
    assert_eq!(removed.exchanges, [exchange("c"), exchange("b"), exchange("a")]);
    assert_eq!(removed.bindings.len(), 4);
    assert_eq!(world.table.bindings_len(), 0);
    assert!(world.table.exchange("keeps").is_some());
}

#[test]
fn auto_deletion_ends_in_cycles_and_at_oneself() {
    let mut world =
        World::new(&["fanout a auto-delete", "fanout b auto-delete", "a -> b", "b -> a", "a -> a"]);
    let deleted = world.table.delete_exchange(&exchange("b"), false).unwrap();
    assert_eq!(deleted.removed.exchanges, [], "it is still bound to itself");
    let gone = world.unbind("a -> a", FieldTable::new()).unwrap();
    assert_eq!(gone.removed.exchanges, [exchange("a")]);
    assert_eq!(world.table.exchanges().len(), 7);
}

#[test]
fn a_long_cascade_does_not_use_the_stack() {
    let mut world = World::new(&["fanout x0 auto-delete"]);
    for n in 1..20_000 {
        world.run(&format!("fanout x{n} auto-delete"));
        world.run(&format!("x{n} -> x{}", n - 1));
    }
    world.run("x0 -> q1");
    world.check("x19999", "", "q1");
    let removed = world.table.remove_queue(&queue("q1"));
    assert_eq!(removed.exchanges.len(), 20_000);
}

#[test]
fn x_match_is_checked_by_headers_exchanges_only() {
    let mut world = World::new(&["headers h", "direct d"]);
    let value = FieldTable::new().with("x-match", "some");
    let error = world.bind("h -> q1", value.clone()).unwrap_err();
    let text = "Invalid x-match field value 'some'; expected all, any, all-with-x, or any-with-x";
    assert_eq!((error.reply_code().number(), &*error.text("/")), (406, text));
    let error = world.bind("h -> q1", FieldTable::new().with("x-match", 1)).unwrap_err();
    assert_eq!(error.text("/"), "Invalid x-match field type signedint (value 1); expected longstr");
    assert_eq!(world.bind("d -> q1", value), Ok(true));
}

#[test]
fn a_queue_that_comes_again_has_no_old_bindings() {
    let mut world = World::new(&["direct d", "d -> q1 a", "d -> q1 b"]);
    assert!(!world.table.add_queue(queue("q1"), QueueId(77)), "the name is taken");
    assert_eq!(world.table.remove_queue(&queue("q1")).bindings.len(), 2);
    assert!(world.table.add_queue(queue("q1"), QueueId(77)));
    world.check("d", "a", "");
    world.check("", "q1", "q1");
}

#[test]
fn the_generation_grows_with_every_change() {
    let mut world = World::new(&["direct d"]);
    let mut last = world.table.generation();
    let mut grown = |world: &World| {
        let now = world.table.generation();
        assert!(now > last);
        last = now;
    };
    world.queue("q1");
    grown(&world);
    world.run("d -> q1 k");
    grown(&world);
    world.unbind("d -> q1 k", FieldTable::new()).unwrap();
    grown(&world);
    world.table.remove_queue(&queue("q1"));
    grown(&world);
    world.table.delete_exchange(&exchange("d"), false).unwrap();
    grown(&world);
}
