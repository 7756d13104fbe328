//! The way back: a real RabbitMQ takes what was exported here. Where none is installed there is nothing to ask.

#[path = "../support/rabbitmq.rs"]
mod node;

use serde_json::Value;

use self::node::Node;
use super::{EXPORT, SECTIONS, World, rows};

#[tokio::test]
async fn a_rabbitmq_takes_what_is_exported_and_says_the_same() {
    let Some(node) = Node::start() else { return };
    let world = World::new();
    assert_eq!(world.import(EXPORT).await.0, 200);
    // One of our own hashes, of an algorithm that it has not: it takes the user all the same.
    let user = serde_json::json!({"password": "wonder", "tags": ""});
    assert_eq!(world.call("PUT", "users/ours", &user).await.0, 201);
    let exported = world.get("definitions").await;
    let (status, text) = node.call("POST", "definitions", &exported.to_string()).unwrap();
    assert_eq!((status, text.as_str()), (204, ""));
    let (_, text) = node.call("GET", "definitions", "").unwrap();
    let there: Value = serde_json::from_str(&text).unwrap();
    for section in SECTIONS.into_iter().filter(|section| !["global_parameters", "users"].contains(section)) {
        let (is, was) = (rows(&there, section), rows(&exported, section));
        let differs = was.iter().find(|row| !is.contains(row));
        assert_eq!(differs, None, "{section} lost it");
    }
    let hashes = |document: &Value| {
        let users = document["users"].as_array().unwrap().iter();
        let mut hashes: Vec<_> =
            users.map(|user| (user["name"].to_string(), user["password_hash"].to_string())).collect();
        hashes.sort();
        hashes
    };
    assert_eq!(hashes(&there), hashes(&exported), "whoever had a password has it still");
}
