//! All or nothing: whatever is wrong, and whenever the broker is killed; and the file of a start.

use std::fs;
use std::sync::Arc;

use fastrand::Rng;

use super::*;
use crate::admin::definitions::load::LOADED;
use crate::broker::Broker;
use crate::model::{ManualClock, QueueName};
use crate::store::journal::JournalOptions;
use crate::store::{SimDisk, Store, StoreOptions};

/// A broker on a disk. Its catalog is written by hand, or by a thread.
struct World {
    broker: Broker,
    catalog: Arc<crate::store::Catalog>,
}

impl World {
    fn open(disk: &SimDisk) -> World {
        let journal =
            JournalOptions { segment_size: 64 << 10, nonce_seed: Some(7), ..JournalOptions::default() };
        let options = StoreOptions { journal, ..StoreOptions::default() };
        let clock = Arc::new(ManualClock::new());
        let store = Store::open(Arc::new(disk.clone()), clock.clone(), options, &mut |_| {}).unwrap();
        store.keep_vhosts([VhostName::new("/").unwrap()]).unwrap();
        let Store { journal, catalog, contents, .. } = store;
        let builder = Broker::in_memory().clock(clock).without_guest();
        World { broker: builder.restore(journal, catalog.clone(), contents).unwrap(), catalog }
    }

    fn import(&self, json: &Value) -> Result<usize, String> {
        let mut findings = Findings::default();
        let taken = take(&self.broker, json.to_string().as_bytes(), None, &mut findings);
        taken.map(|(items, _)| items).map_err(|_| findings.text())
    }

    fn exported(&self) -> Value {
        export::export(&self.broker, "4.1.0", "here")
    }

    fn loaded(&self) -> bool {
        self.broker.parameters().iter().any(|row| row.name == LOADED)
    }
}

/// One of everything, and some that is there already.
fn definitions() -> Value {
    json!({
        "vhosts": [{"name": "v"}, {"name": "/", "description": "changed", "limits": {"max-queues": 9}}],
        "users": [{"name": "new", "tags": "", "password_hash": ""}, {"name": "known", "tags": "ops", "password_hash": ""}],
        "permissions": [{"user": "new", "vhost": "v", "configure": "", "write": "", "read": ""}],
        "topic_permissions": [{"user": "known", "vhost": "/", "exchange": "amq.topic", "write": "a", "read": ""}],
        "queues": [{"vhost": "v", "name": "q", "durable": true}, {"vhost": "/", "name": "q", "durable": true}],
        "exchanges": [{"vhost": "v", "name": "x", "type": "headers"}],
        "bindings": [
            {"vhost": "/", "source": "fleeting", "destination": "there", "destination_type": "queue"},
            {"vhost": "v", "source": "x", "destination": "q", "destination_type": "queue"},
        ],
        "policies": [{"vhost": "/", "name": "p", "pattern": ".*", "definition": {"max-length": 1}}],
        "parameters": [{"vhost": "/", "component": "shovel", "name": "s", "value": {"a": 1}}],
        "global_parameters": [{"name": "g", "value": 7}],
    })
}

/// The same, with an error that only shows when nearly all of it is made.
fn wrong_at_the_end() -> Value {
    let mut definitions = definitions();
    definitions["bindings"][1]["arguments"] = json!({"x-match": "perhaps"});
    definitions
}

/// A disk with some things on it.
fn disk() -> (SimDisk, Value) {
    let disk = SimDisk::new();
    let world = World::open(&disk);
    let there = json!({"users": [{"name": "known", "tags": "", "password_hash": ""}],
        "queues": [{"vhost": "/", "name": "there", "durable": true}],
        "exchanges": [{"vhost": "/", "name": "fleeting", "type": "direct", "durable": true, "auto_delete": true}]});
    assert_eq!(world.import(&there), Ok(3));
    world.catalog.pump();
    let before = world.exported();
    world.catalog.close();
    (disk, before)
}

/// What every crash leaves from here on; the disk is driven by the catalog's own thread meanwhile.
fn after_crashes(disk: &SimDisk, what: impl FnOnce(&World)) -> Vec<(Value, bool)> {
    let world = World::open(disk);
    world.catalog.pump();
    let from = disk.operations();
    let thread = world.catalog.spawn_writer().unwrap();
    what(&world);
    world.catalog.close();
    thread.join().unwrap();
    let mut rng = Rng::with_seed(17);
    let images = (from..=disk.operations()).map(|at| disk.image_at(at, &mut rng));
    let images: Vec<_> = images.chain([disk.only_synced()]).collect();
    let found = images.iter().map(|image| {
        let world = World::open(image);
        (world.exported(), world.loaded())
    });
    found.collect()
}

#[test]
fn after_a_crash_an_import_is_there_as_a_whole_or_not_at_all() {
    let (disk, before) = disk();
    let mut after = Value::Null;
    let found = after_crashes(&disk, |world| {
        assert_eq!(world.import(&definitions()), Ok(14));
        after = world.exported();
    });
    assert_ne!(before, after);
    for (found, _) in &found {
        assert!(*found == before || *found == after, "{found:#}");
    }
    assert!(found.iter().any(|(found, _)| *found == before));
    assert_eq!(found.last().unwrap().0, after, "what was answered for is safe");
}

#[test]
fn after_a_crash_nothing_is_there_of_an_import_that_was_refused() {
    let (disk, before) = disk();
    let found = after_crashes(&disk, |world| {
        let errors = world.import(&wrong_at_the_end()).unwrap_err();
        assert!(errors.starts_with("bindings[1]: "), "{errors}");
        assert_eq!(world.exported(), before);
    });
    assert!(found.len() > 1);
    for (found, _) in found {
        assert_eq!(found, before);
    }
}

#[test]
fn a_file_of_definitions_is_taken_over_together_with_the_note_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    fs::write(&file, definitions().to_string()).unwrap();
    let (disk, before) = disk();
    let found = after_crashes(&disk, |world| load_definitions(&world.broker, &file).unwrap());
    for (found, is_loaded) in &found {
        assert_eq!(*found != before, *is_loaded);
    }
    assert!(found.last().unwrap().1);
}

#[test]
fn a_file_of_definitions_is_taken_over_again_only_when_it_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    let write = |definitions: &Value| fs::write(&file, definitions.to_string()).unwrap();
    let world = World::open(&SimDisk::new());
    let broker = &world.broker;
    let mut set = json!({"users": [{"name": "u", "tags": "", "password_hash": ""}],
        "queues": [{"vhost": "/", "name": "q", "durable": true}]});
    write(&set);
    load_definitions(broker, &file).unwrap();
    let vhost = broker.vhost("/").unwrap();
    let has_queue = || vhost.has_queue("q");
    assert!(has_queue() && broker.access().user("u").is_some() && broker.access().user("guest").is_none());
    // What is changed at run time stays so.
    vhost.take_back_queue(&QueueName::new("q").unwrap(), &mut crate::broker::Turn::new());
    load_definitions(broker, &file).unwrap();
    assert!(!has_queue());
    set["queues"][0]["durable"] = json!("yes");
    set["policies"] = json!([{"vhost": "nowhere", "name": "p", "pattern": "(", "definition": {}}]);
    write(&set);
    let before = world.exported();
    let error = load_definitions(broker, &file).unwrap_err().to_string();
    for told in [
        "definitions.json",
        "nothing was taken over",
        "queues[0].durable",
        "policies[0].pattern",
        "policies[0].definition",
    ] {
        assert!(error.contains(told), "{told}: {error}");
    }
    assert_eq!(world.exported(), before);
    set["queues"][0]["durable"] = json!(true);
    set["policies"] = json!([]);
    set["shards"] = json!([]);
    write(&set);
    load_definitions(broker, &file).unwrap();
    assert!(has_queue());
    fs::remove_file(&file).unwrap();
    assert!(load_definitions(broker, &file).unwrap_err().to_string().contains("definitions.json"));
}
