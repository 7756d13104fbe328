//! Where messages go.

use rialto_protocol::types::FieldValue;

use super::*;

#[test]
fn the_default_exchange_routes_by_queue_name() {
    let mut world = World::new(&[]);
    world.queue("q1");
    world.queue("q2");
    world.check("", "q1", "q1");
    world.check("", "nobody", "");
    assert_eq!(world.route("", &["q2", "q1", "q2"], None), "q1 q2");
    world.table.remove_queue(&queue("q1"));
    world.check("", "q1", "");
}

#[test]
fn a_direct_exchange_compares_the_whole_key() {
    let mut world =
        World::new(&["direct d", "d -> q1 red", "d -> q2 red", "d -> q2 green", "d -> q3 #", "d -> q4"]);
    for (key, expected) in
        [("red", "q1 q2"), ("green", "q2"), ("Red", ""), ("red.x", ""), ("#", "q3"), ("", "q4")]
    {
        world.check("d", key, expected);
    }
    world.unbind("d -> q1 red", FieldTable::new()).unwrap();
    world.check("d", "red", "q2");
}

#[test]
fn a_fanout_exchange_ignores_the_key_and_gives_each_queue_once() {
    let mut world = World::new(&["fanout f", "f -> q1 a", "f -> q2", "f -> q1 b"]);
    world.check("f", "x", "q1 q2");
    world.unbind("f -> q1 a", FieldTable::new()).unwrap();
    world.check("f", "", "q1 q2");
    world.unbind("f -> q1 b", FieldTable::new()).unwrap();
    world.check("f", "", "q2");
}

#[test]
fn a_topic_exchange_matches_words() {
    let mut world = World::new(&[
        "topic t",
        "t -> q1 a.b.c",
        "t -> q2 a.*.c",
        "t -> q3 a.#",
        "t -> q4 #.c",
        "t -> q5 #",
        "t -> q6 *",
        "t -> q7",
        "t -> q8 *.*.*.#",
        "t -> q9 #.#",
    ]);
    let table = [
        ("a.b.c", "q1 q2 q3 q4 q5 q8 q9"),
        ("a.x.c", "q2 q3 q4 q5 q8 q9"),
        ("a..c", "q2 q3 q4 q5 q8 q9"),
        ("a", "q3 q5 q6 q9"),
        ("c", "q4 q5 q6 q9"),
        ("b", "q5 q6 q9"),
        ("", "q5 q7 q9"),
        (".", "q5 q9"),
        ("x.y", "q5 q9"),
        ("x.y.z.w", "q5 q8 q9"),
    ];
    for (key, expected) in table {
        world.check("t", key, expected);
    }
}

#[test]
fn many_hashes_in_many_keys_end_in_bounded_time() {
    // Without memory of where it has been, a walk would try 2^100 ways and more.
    let hashes = ["#", "#.a", "#.a.#"].map(|part| [part; TOPIC_HASHES_MAX / 2].join("."));
    let mut world = World::new(&["topic t"]);
    for hashes in &hashes {
        world.run(&format!("t -> q1 {hashes}.end"));
    }
    let long = ["a"; TOPIC_WORDS_MAX].join(".");
    let all_as = &long[..253];
    world.check("t", all_as, "");
    world.check("t", &format!("{}.end", &all_as[..249]), "q1");
}

#[test]
fn topic_keys_have_limits_and_one_past_them_is_refused() {
    let mut world = World::new(&["topic t", "direct d"]);
    let table = [
        ("", TOPIC_WORDS_MAX, BindError::TooManyWords { max: TOPIC_WORDS_MAX }),
        ("#", TOPIC_HASHES_MAX, BindError::TooManyHashes { max: TOPIC_HASHES_MAX }),
    ];
    for (word, max, error) in table {
        let at = format!("q1 {}", vec![word; max].join("."));
        let past = format!("q1 {}", vec![word; max + 1].join("."));
        assert_eq!(world.bind(&format!("t -> {at}"), FieldTable::new()), Ok(true));
        assert_eq!(world.bind(&format!("t -> {past}"), FieldTable::new()), Err(error));
        assert_eq!(
            world.bind(&format!("d -> {past}"), FieldTable::new()),
            Ok(true),
            "a limit of topics only"
        );
    }
}

#[test]
fn exchanges_can_be_bound_to_exchanges() {
    let mut world = World::new(&[
        "topic t",
        "direct d",
        "fanout f",
        "t -> d orders.#",
        "t -> f orders.#",
        "d -> q1 orders.new",
        "f -> q1",
        "f -> q2",
        "t -> q2 #.new",
    ]);
    world.check("t", "orders.new", "q1 q2");
    world.check("t", "orders.old", "q1 q2");
    world.check("t", "x.new", "q2");
    world.check("d", "orders.new", "q1");
    assert!(world.cacheable());
}

#[test]
fn cycles_of_exchanges_visit_each_exchange_once() {
    let mut world = World::new(&[
        "fanout a", "fanout b", "fanout c", "a -> b", "b -> c", "c -> a", "a -> a", "c -> q1", "a -> q2",
    ]);
    for exchange in ["a", "b", "c"] {
        world.check(exchange, "", "q1 q2");
    }
}

#[test]
fn an_internal_exchange_can_be_reached_through_bindings() {
    let mut world = World::new(&["fanout f", "fanout i internal", "f -> i", "i -> q1"]);
    world.check("f", "", "q1");
    assert!(world.table.exchange("i").unwrap().options().internal);
}

#[test]
fn the_alternate_exchange_gets_what_matches_nothing() {
    let mut world = World::new(&[
        "direct d alternate=a1",
        "direct a1 alternate=a2",
        "fanout a2",
        "d -> q1 x",
        "a1 -> q2 y",
        "a2 -> q3",
    ]);
    world.check("d", "x", "q1");
    world.check("d", "y", "q2");
    world.check("d", "z", "q3");
    // One of two keys matches: that is not nothing.
    assert_eq!(world.route("d", &["x", "z"], None), "q1");
}

#[test]
fn an_alternate_exchange_is_per_exchange_and_a_bound_exchange_is_a_match() {
    // As route1: what counts is whether the exchange's own bindings match, not whether a queue is reached in the end.
    let mut world = World::new(&[
        "fanout f alternate=a",
        "direct d alternate=b",
        "fanout a",
        "fanout b",
        "f -> d",
        "d -> q1 x",
        "a -> q2",
        "b -> q3",
    ]);
    world.check("f", "x", "q1");
    world.check("f", "y", "q3");
    world.table.delete_exchange(&exchange("d"), false).unwrap();
    world.check("f", "x", "q2");
}

#[test]
fn cycles_of_alternate_exchanges_end() {
    let mut world = World::new(&["direct a alternate=b", "direct b alternate=a", "direct c alternate=c"]);
    world.check("a", "x", "");
    world.check("c", "x", "");
}

#[test]
fn an_alternate_exchange_may_be_missing_until_it_is_declared() {
    let mut world = World::new(&["direct d alternate=late"]);
    world.check("d", "x", "");
    let before = world.table.generation();
    world.run("fanout late");
    assert!(world.table.generation() > before);
    world.run("late -> q1");
    world.check("d", "x", "q1");
}

#[test]
fn the_default_exchange_can_be_an_alternate_exchange() {
    let mut world = World::new(&["direct d alternate="]);
    world.queue("q1");
    world.check("d", "q1", "q1");
}

#[test]
fn several_routing_keys_are_a_union() {
    let mut world =
        World::new(&["topic t", "direct d", "t -> q1 a.*", "t -> q2 b.#", "d -> q2 x", "d -> q1 y"]);
    assert_eq!(world.route("t", &["a.1", "b.1", "a.2"], None), "q1 q2");
    assert_eq!(world.route("d", &["x", "y"], None), "q1 q2");
    assert_eq!(world.route("d", &[], None), "");
}

#[test]
fn a_missing_exchange_is_named() {
    let table = RoutingTable::new();
    let input = RouteInput { exchange: "nowhere", routing_keys: &["k"], properties: RawProperties::EMPTY };
    let error = table.route(&input, &mut Routed::new()).unwrap_err();
    assert_eq!(error.text("/"), "no exchange 'nowhere' in vhost '/'");
    assert_eq!(error.reply_code().number(), 404);
}

#[test]
fn headers_decide_in_a_headers_exchange_and_its_results_are_not_cacheable() {
    let mut world = World::new(&["headers h", "fanout f", "f -> q9"]);
    let all = FieldTable::new().with("x-match", "all").with("type", "pdf").with("pages", 3);
    let any = FieldTable::new().with("x-match", "any").with("type", "pdf").with("pages", 3);
    world.bind("h -> q1", all).unwrap();
    world.bind("h -> q2", any.clone()).unwrap();
    world.bind("h -> q3", FieldTable::new()).unwrap();
    world.bind("h -> f", FieldTable::new().with("copy", FieldValue::Void)).unwrap();
    let headers = |pages: i64| FieldTable::new().with("type", "pdf").with("pages", pages);
    let table = [
        (None, "q3"),
        (Some(headers(3)), "q1 q2 q3"),
        (Some(headers(4)), "q2 q3"),
        (Some(headers(4).with("type", "png")), "q3"),
        (Some(headers(3).with("copy", false)), "q9 q1 q2 q3"),
    ];
    for (headers, expected) in table {
        assert_eq!(world.route("h", &["ignored"], headers.clone()), expected, "{headers:?}");
        assert!(!world.cacheable());
    }
    world.unbind("h -> q2", any).unwrap();
    assert_eq!(world.route("h", &[""], Some(headers(4))), "q3");
    world.check("f", "", "q9");
    assert!(world.cacheable());
}

#[test]
fn queues_are_found_oldest_first() {
    let mut world = World::new(&["fanout f", "fanout g"]);
    for name in ["q1", "q2", "q3", "q4"] {
        world.queue(name);
    }
    for line in ["g -> q4", "g -> q1", "f -> q3", "f -> g", "f -> q2", "f -> q4"] {
        world.run(line);
    }
    world.check("f", "", "q1 q2 q3 q4");
}

#[test]
fn consistent_hash_gives_each_message_to_one_destination() {
    let mut world = World::new(&[
        "x-consistent-hash h",
        "fanout f",
        "h -> qa 1",
        "h -> qb 2",
        "h -> f 1",
        "f -> qc",
        "f -> qd",
    ]);
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..100 {
        let found = world.route("h", &[&n.to_string()], None);
        assert!(world.cacheable(), "by routing key");
        assert_eq!(found, world.route("h", &[&n.to_string()], None), "the same each time");
        seen.insert(found);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["qa", "qb", "qc qd"]);
    world.unbind("h -> qa 1", FieldTable::new()).unwrap();
    world.unbind("h -> f 1", FieldTable::new()).unwrap();
    world.check("h", "any", "qb");
    world.unbind("h -> qb 2", FieldTable::new()).unwrap();
    world.check("h", "any", "");
}

#[test]
fn bindings_to_a_consistent_hash_exchange_have_weights_and_a_limit() {
    let mut world = World::new(&["x-consistent-hash h"]);
    let error = world.bind("h -> q none", FieldTable::new()).unwrap_err();
    assert_eq!(
        (error.reply_code().number(), &*error.to_string()),
        (406, "The binding key must be an integer: <<\"none\">>")
    );
    for n in 1..=HASH_BINDINGS_MAX {
        world.bind(&format!("h -> q {n}"), FieldTable::new()).unwrap();
    }
    let max = HASH_BINDINGS_MAX;
    assert_eq!(world.bind("h -> q 9999", FieldTable::new()), Err(BindError::TooManyWeights { max }));
    assert_eq!(world.bind("h -> q 1", FieldTable::new()), Ok(false), "it is there already");
}
