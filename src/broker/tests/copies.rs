//! `CC` and `BCC`: more routing keys, from the publish to the dead letter.

use rialto_protocol::types::{FieldTable, FieldValue, Properties};

use super::*;

#[test]
fn copies_go_to_their_keys_and_each_queue_gets_one() {
    let mut world = World::new();
    for queue in ["own", "cc", "bcc"] {
        world.queue(queue);
    }
    let table = FieldTable::new().with("CC", texts(&["cc", "own"])).with("BCC", texts(&["bcc", "cc"]));
    assert_eq!(world.publish("", "own", &headers(table), "m"), Ok(3));
    for queue in ["own", "cc", "bcc"] {
        assert_eq!(world.drain(queue), ["m"], "{queue}");
    }
}

#[test]
fn consumers_see_cc_but_never_bcc() {
    let mut world = World::new();
    world.queue("cc");
    let table = FieldTable::new().with("CC", texts(&["cc"])).with("k", 1);
    let published = headers(table.clone().with("BCC", texts(&["secret"])));
    world.publish("", "nobody", &published, "m").unwrap();
    let got = world.get("cc").unwrap();
    assert_eq!(got.message.properties().decode(), headers(table));
    assert_eq!(&**got.message.routing_key(), "nobody", "the key it was published with");
}

#[test]
fn copies_that_are_no_list_are_refused() {
    let mut world = World::new();
    world.queue("q");
    let table = FieldTable::new().with("CC", "q");
    let error = refused(world.publish("", "q", &headers(table), "m"));
    assert_eq!(error, (406, r#"invalid message: {unacceptable_type_in_header,"CC",longstr}"#.to_owned()));
    assert!(world.drain("q").is_empty());
}

#[test]
fn a_route_with_copies_is_not_to_be_remembered() {
    let mut world = World::new();
    world.queue("q");
    let remembered = |table: FieldTable| {
        let encoded = headers(table).encoded();
        let raw = RawProperties::check(&encoded).unwrap();
        let resolved = world.vhost.resolve("", "q", raw, ME, &mut Routed::new()).unwrap();
        resolved.generation.is_some()
    };
    assert!(remembered(FieldTable::new().with("k", 1)));
    assert!(!remembered(FieldTable::new().with("CC", FieldValue::Array(Vec::new()))));
}

#[test]
fn a_dead_letter_is_published_with_its_copies() {
    let mut world = World::new();
    world.queue_with("q", FieldTable::new().with("x-dead-letter-exchange", "").with("x-message-ttl", 0));
    let once = FieldTable::new().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "end");
    world.queue_with("copy", once.with("x-message-ttl", 10));
    world.queue("end");
    world.queue("not-here");
    // It reaches `q` alone at first: an exchange with that one binding.
    world.exchange("fanout", "x", FieldTable::new()).unwrap();
    world.bind("x", "q", "");
    let table = FieldTable::new().with("CC", texts(&["copy", "not-here"]));
    world.publish("x", "gone", &headers(table), "m").unwrap();
    assert_eq!(world.drain("not-here"), ["m"], "the dead letter has the keys of its message");
    world.advance(10);
    assert_eq!(world.drain("end"), ["m"]);
    assert!(world.drain("not-here").is_empty(), "a dead-letter key replaces all others");
}

#[test]
fn properties_are_stored_as_they_were_published() {
    let mut world = World::new();
    world.queue("q");
    let published = Properties { priority: Some(4), ..headers(FieldTable::new().with("k", 1)) };
    world.publish("", "q", &published, "m").unwrap();
    assert_eq!(world.get("q").unwrap().message.properties_bytes(), &*published.encoded());
}
