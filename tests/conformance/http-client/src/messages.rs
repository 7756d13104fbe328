//! Messages over HTTP.

use serde_json::json;

use crate::suite::Suite;
use crate::{Done, Place, table};

pub fn run(suite: &mut Suite) {
    suite.scenario("messages", messages);
}

fn messages(suite: &mut Suite) -> Done {
    let place = Place::new("messages")?;
    let (api, vhost) = (&place.api, place.vhost.as_str());
    api.declare_quorum_queue(vhost, "q")?;
    let properties = table([
        ("delivery_mode", json!(2)),
        ("content_type", json!("text/plain")),
        ("message_id", json!("17")),
        ("headers", json!({"size": 3, "deep": {"list": [1, "two", true]}})),
    ]);
    let routed = api.publish_message(vhost, "amq.default", "q", "a body: ü", properties.clone());
    let routed = suite.read("publish", routed);
    suite.check("routed", routed.map(|answer| answer.routed), Some(true));
    let lost = api.publish_message(vhost, "amq.default", "nowhere", "a body", table([]));
    let lost = suite.read("publish", lost);
    suite.check("to no queue", lost.map(|answer| answer.routed), Some(false));
    suite.refused("no exchange", api.publish_message(vhost, "nothing", "q", "a body", table([])), 404);

    for (mode, redelivered) in
        [("ack_requeue_true", false), ("reject_requeue_true", true), ("ack_requeue_false", true)]
    {
        let found = suite.read(mode, api.get_messages(vhost, "q", 5, mode)).unwrap_or_default();
        suite.check("one message", found.len(), 1);
        for message in found {
            suite.check("payload", message.payload.as_str(), "a body: ü");
            suite.check("encoding", message.payload_encoding.as_str(), "string");
            suite.check("bytes", message.payload_bytes, 10);
            suite.check("key", message.routing_key.as_str(), "q");
            suite.check("redelivered", message.redelivered, redelivered);
            suite.check("others", message.message_count, 0);
            for (key, wanted) in &properties {
                suite.check(key, message.properties.0.get(key), Some(wanted));
            }
        }
    }
    suite.count("an empty queue", api.get_messages(vhost, "q", 1, "ack_requeue_false"), 0);
    Ok(())
}
