//! `SPEC.md` is normative, so its tables must be the code's.

use std::fmt::Display;

use rialto_protocol::native::{
    CURSOR_BYTES_MAX, EntryFlags, FACTS_BYTES_MAX, FRAME_MAX_DEFAULT, Kind, LOGIN_FRAME_MAX, Operation,
    PAGE_ROWS_MAX, PREFACE, PROPERTIES_BYTES_MAX, PUBLISH_PUBLISHER_SEQUENCE, RUN_COMPRESSED, ReservedKind,
    ReservedOperation, Sender, TABLE_BYTES_MAX,
};
use rialto_protocol::{ReplyCode, Scope};

const SPEC: &str = include_str!("../SPEC.md");

/// The rows of the first table behind a heading, cut to `columns`.
fn table(heading: &str, columns: usize) -> Vec<Vec<String>> {
    let (_, section) =
        SPEC.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|row| {
            row.trim_matches('|').split('|').take(columns).map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

fn row<const N: usize>(cells: [&dyn Display; N]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

fn hex(octet: u8) -> String {
    format!("{octet:#04x}")
}

#[test]
fn the_table_of_kinds_is_the_codes() {
    let code: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| {
            let sender = match kind.sender() {
                Sender::Client => "client",
                Sender::Server => "server",
                Sender::Either => "either",
            };
            let home = if kind.needs_channel() { "channel" } else { "connection" };
            row([&hex(kind.octet()), &kind.name(), &sender, &home])
        })
        .collect();
    assert_eq!(table("### Kinds", 4), code);
}

#[test]
fn the_table_of_operations_is_the_codes() {
    let code: Vec<_> = Operation::ALL.iter().map(|op| row([&hex(op.octet()), &op.name()])).collect();
    assert_eq!(table("### Operations", 2), code);
}

#[test]
fn the_table_of_reserved_names_is_the_codes() {
    let mut spec = table("## 10. Reserved for later", 3);
    let kinds = ReservedKind::ALL.iter().map(|kind| row([&hex(kind.octet()), &kind.name(), &"kind"]));
    let operations =
        ReservedOperation::ALL.iter().map(|op| row([&hex(op.octet()), &op.name(), &"operation"]));
    let flags = [
        row([&hex(PUBLISH_PUBLISHER_SEQUENCE), &"PublisherSequence", &"flag of Publish"]),
        row([&hex(RUN_COMPRESSED), &"Compressed", &"flag of a run"]),
        row([&hex(EntryFlags::RESERVED_DELAY.bits()), &"Delay", &"flag of an entry"]),
    ];
    let mut code: Vec<_> = kinds.chain(operations).chain(flags).collect();
    spec.sort();
    code.sort();
    assert_eq!(spec, code);
}

#[test]
fn the_table_of_reply_codes_is_the_codes() {
    let code: Vec<_> = ReplyCode::ALL
        .iter()
        .map(|code| {
            let scope = match code.scope() {
                Scope::Message => "message",
                Scope::Channel => "channel",
                Scope::Connection => "connection",
            };
            row([&code.number(), &code.name(), &scope])
        })
        .collect();
    assert_eq!(table("## 11. Reply codes", 3), code);
}

#[test]
fn limits_and_version_are_the_codes() {
    assert_eq!(LOGIN_FRAME_MAX, 64 << 10);
    assert_eq!(FRAME_MAX_DEFAULT, 17 << 20);
    assert_eq!(PROPERTIES_BYTES_MAX, 128 << 10);
    assert_eq!((TABLE_BYTES_MAX, FACTS_BYTES_MAX), (64 << 10, 1 << 20));
    for limit in [
        "64 KiB after the length field".to_owned(),
        "by default 17 MiB".to_owned(),
        "| 64 KiB | 502 |".to_owned(),
        "| properties of a published message | 128 KiB |".to_owned(),
        "| 1 MiB | 502 |".to_owned(),
        format!("| rows of a `Page` | {PAGE_ROWS_MAX} |"),
        format!("| place in a list (`after`, `next`) | {CURSOR_BYTES_MAX} bytes |"),
        format!("major {}, minor {}", PREFACE[6], PREFACE[7]),
    ] {
        assert!(SPEC.contains(&limit), "SPEC.md does not say: {limit}");
    }
}
