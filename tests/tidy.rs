//! The source tree itself: arrows between rooms run one way, and nothing stays behind that should not.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms of the broker crate and what each may name. `ARCHITECTURE.md` draws the same arrows.
const ARROWS: [(&str, &[&str]); 13] = [
    ("model", &[]),
    ("routing", &["model"]),
    ("queue", &["model"]),
    ("store", &["model"]),
    ("access", &["model"]),
    ("broker", &["access", "model", "queue", "routing", "store"]),
    ("session", &["access", "broker", "model", "queue", "routing"]),
    ("config", &["model"]),
    ("log", &["config"]),
    ("admin", &["access", "broker", "config", "log", "model", "queue", "routing", "store", "tls"]),
    ("tls", &["config", "model"]),
    (
        "server",
        &[
            "access", "admin", "broker", "config", "log", "model", "queue", "routing", "session", "store",
            "tls",
        ],
    ),
    ("cli", &["broker", "config", "log", "model", "server", "store", "tls"]),
];

/// Crates that pure rooms must not know: no IO, no task, no clock inside the machines.
const PURE: [&str; 4] = ["access", "model", "routing", "queue"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The code of a file without comments and without its tests, which may know more.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test_room(path: &Path) -> bool {
    path.components()
        .any(|part| ["tests", "tests.rs", "testing.rs"].iter().any(|test| part.as_os_str() == *test))
}

#[test]
fn arrows_between_rooms_run_one_way() {
    let mut wrong = Vec::new();
    for (room, may_name) in ARROWS {
        let folder = root().join("src").join(room);
        for path in sources(&folder).into_iter().filter(|path| !is_test_room(path)) {
            let code = code(&path);
            for (other, _) in ARROWS {
                let named =
                    code.contains(&format!("crate::{other}::")) || code.contains(&format!("crate::{other};"));
                if named && other != room && !may_name.contains(&other) {
                    wrong.push(format!("{} names {other}, which {room} must not know", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_has_its_arrows() {
    let mut rooms: Vec<_> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    rooms.sort();
    let mut drawn: Vec<_> = ARROWS.iter().map(|(room, _)| (*room).to_owned()).collect();
    drawn.sort();
    assert_eq!(rooms, drawn);
}

#[test]
fn machines_know_neither_runtime_nor_clock() {
    let mut wrong = Vec::new();
    for room in PURE {
        for path in sources(&root().join("src").join(room)) {
            let is_clock = path.ends_with("model/time.rs");
            let code = code(&path);
            for banned in ["tokio::", "std::net", "std::fs", "Instant::now", "SystemTime::now", "thread::"] {
                if code.contains(banned) && !is_clock {
                    wrong.push(format!("{}: {banned}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_protocol_and_the_client_know_nothing_of_the_broker() {
    let manifest = |name: &str| fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
    let dependencies = |text: &str| text.split("[dev-dependencies]").next().unwrap().to_owned();
    let protocol = dependencies(&manifest("protocol"));
    assert!(!protocol.contains("rialto-client") && !protocol.contains("tokio.workspace"), "{protocol}");
    let client = dependencies(&manifest("client"));
    assert!(
        !client.lines().any(|line| line.starts_with("rialto ") || line.starts_with("rialto.")),
        "{client}"
    );
}

#[test]
fn nothing_unfinished_is_left_in_the_code() {
    let mut found = Vec::new();
    for folder in ["src", "protocol/src", "client/src"] {
        for path in sources(&root().join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            for (number, line) in text.lines().enumerate() {
                if ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "dbg!("]
                    .iter()
                    .any(|mark| line.contains(mark))
                {
                    found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
