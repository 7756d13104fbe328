//! What must wait for the disk, and what becomes of it when something ends meanwhile.

use rialto_protocol::types::Properties;

use super::*;
use crate::session::UNREAD_ANSWERS_MAX;
use crate::session::testing::{HeldDisk, held_disk, was_woken};

/// A disk that commits nothing yet but the durable queues `q` and `r`, and a session with channels 1 and 2.
fn publishing() -> (HeldDisk, Broker, End) {
    let (disk, broker) = held_disk();
    let mut end = End::open(&broker);
    end.hear(&encoded(2, &Command::OpenChannel { correlation: 2 }));
    end.ask(durable("q"));
    end.ask(durable("r"));
    disk.commit_declares();
    assert_eq!(end.said().len(), 3);
    (disk, broker, end)
}

fn durable(name: &str) -> Request {
    let Request::DeclareQueue { name, passive, exclusive, auto_delete, arguments, .. } = declare(name) else {
        unreachable!("it is one")
    };
    Request::DeclareQueue { name, passive, durable: true, exclusive, auto_delete, arguments }
}

fn on(channel: u16, first: u64, wanted: bool, queue: &str, bodies: &[&[u8]]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut frame = PublishWriter::begin(channel, first, wanted, &mut out);
    frame.run(RouteRef::Inline { exchange: "", routing_key: queue }, false, &mut out);
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() }.encoded();
    bodies.iter().for_each(|body| frame.entry(&persistent, body, &mut out));
    frame.finish(&mut out);
    out.to_vec()
}

fn range(first: u64, last: u64, outcome: Outcome) -> OutcomeRange {
    OutcomeRange { first, last, outcome }
}

fn confirmed(first: u64, last: u64) -> Command {
    Command::Outcomes(vec![range(first, last, Outcome::Confirmed)])
}

fn not_stored(why: &str) -> Outcome {
    let reason = text(&format!("the broker stores nothing more: {why}"));
    Outcome::Rejected { code: 541, reason }
}

fn declared(correlation: u32, name: &str) -> Command {
    let response = Response::QueueDeclared { name: text(name), messages: 0, consumers: 0 };
    Command::Response { correlation, response }
}

#[test]
fn an_outcome_is_told_when_the_message_is_safe_and_not_before() {
    let (disk, _, mut end) = publishing();
    end.hear(&on(1, 1, true, "q", &[b"one", b"two"]));
    assert_eq!(end.said(), []);
    assert!(!was_woken(&end.outbox));
    disk.commit_all();
    assert!(was_woken(&end.outbox));
    assert_eq!(end.said(), [confirmed(1, 2)]);
    end.hear(&on(1, 3, true, "nowhere", &[b"three"]));
    let unroutable = vec![range(3, 3, Outcome::Unroutable)];
    assert_eq!(end.said(), [Command::Outcomes(unroutable)], "nothing is awaited any more");
}

#[test]
fn outcomes_keep_their_order_over_the_channels_and_neighbours_are_told_together() {
    let (disk, _, mut end) = publishing();
    end.hear(&on(1, 1, true, "q", &[b"one"]));
    end.hear(&on(1, 2, true, "q", &[b"two"]));
    end.hear(&on(2, 1, true, "q", &[b"three"]));
    end.hear(&[on(1, 3, true, "nowhere", &[b"four"]), on(1, 4, true, "r", &[b"five"])].concat());
    disk.commit(1);
    assert_eq!(end.said(), [confirmed(1, 1)]);
    disk.commit_all();
    let mixed = vec![range(3, 3, Outcome::Unroutable), range(4, 4, Outcome::Confirmed)];
    assert_eq!(end.said(), [confirmed(2, 2), confirmed(1, 1), Command::Outcomes(mixed)]);
}

#[test]
fn a_channel_that_closes_takes_its_outcomes_along() {
    let (disk, _, mut end) = publishing();
    end.hear(&on(1, 1, true, "q", &[b"one"]));
    end.hear(&on(2, 1, true, "q", &[b"two"]));
    // One is closed by the client, the other by an error; both are opened again.
    end.hear(&encoded(1, &Command::CloseChannel { correlation: 3 }));
    end.hear(&on(2, 9, true, "q", &[b"wrong number"]));
    for channel in [1, 2] {
        end.hear(&encoded(channel, &Command::OpenChannel { correlation: 4 }));
    }
    assert_eq!(end.said().len(), 4);
    end.hear(&on(1, 1, true, "q", &[b"three"]));
    disk.commit(2);
    assert_eq!(end.said(), []);
    disk.commit(3);
    assert_eq!(end.said(), [confirmed(1, 1)]);
}

#[test]
fn a_durable_declare_is_answered_when_it_is_safe_and_nothing_overtakes_its_answer() {
    let (disk, _, mut end) = publishing();
    end.ask(Request::Consume(consume("r", 1)));
    assert_eq!(end.said().len(), 1);
    end.hear(&asked(5, durable("d1")));
    end.hear(&asked(6, declare("transient")));
    assert_eq!(end.said(), []);
    disk.commit_declares();
    assert!(was_woken(&end.outbox));
    end.hear(&asked(7, durable("d2")));
    end.hear(&on(2, 1, true, "r", &[b"delivered"]));
    assert_eq!(end.said(), [declared(5, "d1"), declared(6, "transient")]);
    disk.commit_declares();
    assert!(was_woken(&end.outbox));
    let said = end.said();
    assert_eq!((&said[0], delivered(&said)), (&declared(7, "d2"), vec![(1, b"delivered".to_vec())]));
    disk.commit(1);
    assert_eq!(end.said(), [confirmed(1, 1)]);
}

#[test]
fn who_waits_for_the_disk_hears_heartbeats_and_is_heard() {
    let (disk, _, mut end) = publishing();
    end.ask(durable("d"));
    end.moves(Duration::from_secs(1));
    assert_eq!(end.said(), [Command::Heartbeat]);
    // So much waits that no more is read: its heartbeats cannot arrive.
    end.session.out.buffer().extend_from_slice(&vec![0; UNREAD_ANSWERS_MAX]);
    assert!(!end.session.wants_input());
    for _ in 0..10 {
        end.moves(Duration::from_secs(1));
        assert_eq!(end.said(), [Command::Heartbeat]);
    }
    disk.commit_all();
    end.session.poll_output(end.now);
    // Now it is the client that does not go on. It has taken the last heartbeat, and nothing since.
    end.moves(Duration::from_secs(2));
    assert!(!end.session.is_finished());
    end.moves(Duration::from_secs(2));
    assert!(end.session.is_finished());
}

#[test]
fn who_closes_in_order_hears_first_what_became_of_its_messages() {
    let (disk, _, mut end) = publishing();
    end.hear(&on(1, 1, true, "q", &[b"one"]));
    end.hear(&[asked(5, durable("d")), on(2, 1, true, "q", &[b"two"]), close()].concat());
    assert_eq!(end.said(), []);
    assert!(!end.session.is_finished() && !end.session.wants_input());
    disk.commit_all();
    assert!(was_woken(&end.outbox));
    assert_eq!(end.said(), [declared(5, "d"), confirmed(1, 1), confirmed(1, 1), Command::CloseOk]);
    assert!(end.session.is_finished());
}

#[test]
fn who_closes_in_order_does_not_wait_long_for_a_disk_that_does_not_go_on() {
    let (disk, _, mut end) = publishing();
    end.hear(&[on(1, 1, true, "q", &[b"one"]), close()].concat());
    assert_eq!(end.said(), []);
    end.moves(SessionOptions::CLOSE_TIMEOUT);
    assert_eq!(end.said(), [Command::CloseOk]);
    assert!(end.session.is_finished());
    disk.commit_all();
    assert_eq!(end.said(), []);
}

#[test]
fn a_shutdown_lets_outcomes_go_first() {
    let (disk, _, mut end) = publishing();
    end.hear(&on(1, 1, true, "q", &[b"one"]));
    end.session.handle_shutdown("bye", end.now);
    assert_eq!(end.said(), []);
    disk.commit_all();
    let said = end.said();
    assert_eq!(said[0], confirmed(1, 1));
    assert!(matches!(&said[1..], [Command::Close(closing)] if closing.code == 320));
    end.hear(&encoded(0, &Command::CloseOk));
    assert!(end.session.is_finished());
}

#[test]
fn when_both_sides_close_while_the_disk_is_awaited_the_client_gets_its_answer() {
    let (disk, _, mut end) = publishing();
    end.hear(&on(1, 1, true, "q", &[b"one"]));
    end.session.handle_shutdown("bye", end.now);
    end.hear(&close());
    disk.commit_all();
    assert_eq!(end.said(), [confirmed(1, 1), Command::CloseOk]);
    assert!(end.session.is_finished());
}

#[test]
fn when_the_log_stops_what_waits_is_rejected_with_the_reason_and_so_is_what_comes() {
    let (disk, _, mut end) = publishing();
    end.hear(&on(1, 1, true, "q", &[b"one"]));
    end.hear(&[on(1, 2, true, "nowhere", &[b"two"]), on(1, 3, true, "q", &[b"three"])].concat());
    assert_eq!(end.said(), []);
    disk.commit(1);
    disk.stop("sync failed");
    assert!(was_woken(&end.outbox));
    let rejected = vec![range(2, 2, Outcome::Unroutable), range(3, 3, not_stored("sync failed"))];
    let one = range(1, 1, Outcome::Confirmed);
    assert_eq!(end.said(), [Command::Outcomes(vec![one]), Command::Outcomes(rejected)]);
    end.hear(&on(1, 4, true, "q", &[b"four", b"five"]));
    let four_and_five = [4, 5].map(|this| range(this, this, not_stored("sync failed")));
    let [Command::Outcomes(outcomes)] = &end.said()[..] else { panic!("one frame") };
    assert!(outcomes[..] == four_and_five || outcomes[..] == [range(4, 5, not_stored("sync failed"))]);
}

#[test]
fn when_the_log_has_stopped_who_wants_no_outcomes_is_told_with_a_close() {
    let (disk, _, mut end) = publishing();
    disk.stop("sync failed");
    end.hear(&on(1, 1, false, "q", &[b"one"]));
    let said = end.said();
    let [Command::ChannelClosed(closing)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(
        (closing.code, &*closing.text),
        (541, "INTERNAL_ERROR - the broker stores nothing more: sync failed")
    );
}

#[test]
fn when_the_log_stops_no_declare_is_answered_but_with_the_reason() {
    let (disk, _, mut end) = publishing();
    end.ask(durable("d"));
    end.hear(&on(1, 1, true, "q", &[b"one"]));
    assert_eq!(end.said(), []);
    disk.stop("sync failed");
    assert!(was_woken(&end.outbox));
    let said = end.said();
    assert_eq!(said[0], Command::Outcomes(vec![range(1, 1, not_stored("sync failed"))]));
    assert!(matches!(&said[1..], [Command::Close(closing)] if closing.code == 541));
}
