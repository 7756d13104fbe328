//! What must wait for the disk, and what becomes of it when something ends meanwhile.

use proptest::prelude::*;

use super::*;
use crate::session::UNREAD_ANSWERS_MAX;
use crate::session::held_answers::HeldAnswers;
use crate::session::testing::{HeldDisk, held_disk, was_woken};

/// A disk that commits nothing yet but the durable queues `q` and `r`, and a session with channels 1 and 2 in confirm
/// mode.
fn confirming() -> (HeldDisk, Broker, End) {
    let (disk, broker) = held_disk();
    let mut end = End::open(&broker);
    end.hear(&encoded(2, Method::ChannelOpen(Default::default())));
    for channel in [1, 2] {
        end.hear(&encoded(channel, Method::ConfirmSelect(Default::default())));
    }
    end.asks(kept("q", FieldTable::new()));
    end.asks(kept("r", FieldTable::new()));
    disk.commit_declares();
    assert_eq!(end.said().len(), 3);
    (disk, broker, end)
}

/// Declares a durable queue, without an answer.
fn kept(queue: &str, arguments: FieldTable) -> Method {
    let Method::QueueDeclare(declare) = declare(queue, arguments) else { unreachable!("it is one") };
    Method::QueueDeclare(QueueDeclare { durable: true, ..declare })
}

/// Declares a durable queue, with an answer.
fn durable(queue: &str) -> Method {
    let Method::QueueDeclare(declare) = kept(queue, FieldTable::new()) else { unreachable!("it is one") };
    Method::QueueDeclare(QueueDeclare { no_wait: false, ..declare })
}

fn persistent() -> Properties {
    Properties { delivery_mode: Some(2), ..Properties::default() }
}

fn on(channel: u16, queue: &str, body: &[u8]) -> Vec<u8> {
    let publish = BasicPublish { routing_key: text(queue), ..Default::default() };
    let mut out = BytesMut::from(&encoded(channel, Method::BasicPublish(publish))[..]);
    put_content_header(channel, body.len() as u64, &persistent().encoded(), &mut out);
    put_body(channel, body, 4096, &mut out);
    out.to_vec()
}

fn acked(channel: u16, delivery_tag: u64, multiple: bool) -> Heard {
    Heard::Method(channel, ack(delivery_tag, multiple))
}

fn nacked(channel: u16, delivery_tag: u64, multiple: bool) -> Heard {
    let nack = BasicNack { delivery_tag, multiple, requeue: false };
    Heard::Method(channel, Method::BasicNack(nack))
}

fn said_ok(queue: &str) -> Heard {
    let ok = QueueDeclareOk { queue: text(queue), message_count: 0, consumer_count: 0 };
    Heard::Method(1, Method::QueueDeclareOk(ok))
}

fn close() -> Vec<u8> {
    encoded(0, Method::ConnectionClose(Default::default()))
}

fn close_ok() -> Heard {
    Heard::Method(0, Method::ConnectionCloseOk(Default::default()))
}

#[test]
fn a_message_is_confirmed_when_it_is_safe_and_not_before() {
    let (disk, _, mut end) = confirming();
    end.hear(&on(1, "q", b"one"));
    assert_eq!(end.said(), []);
    assert!(!was_woken(&end.outbox));
    disk.commit(1);
    assert!(was_woken(&end.outbox));
    assert_eq!(end.said(), [acked(1, 1, false)]);
    disk.commit(1);
    assert!(!was_woken(&end.outbox), "nothing is awaited any more");
}

#[test]
fn what_is_safe_already_is_confirmed_in_the_same_turn() {
    let (disk, _, mut end) = confirming();
    disk.commit(100);
    end.hear(&[on(1, "q", b"one"), on(1, "q", b"two")].concat());
    assert_eq!(end.said(), [acked(1, 2, true)]);
}

#[test]
fn what_becomes_safe_together_is_confirmed_together() {
    let (disk, _, mut end) = confirming();
    for _ in 0..3 {
        end.hear(&on(1, "q", b"message"));
    }
    assert_eq!(end.said(), []);
    disk.commit_all();
    assert_eq!(end.said(), [acked(1, 3, true)]);
}

#[test]
fn confirms_keep_their_order_over_the_channels() {
    let (disk, _, mut end) = confirming();
    end.hear(&on(1, "q", b"one"));
    end.hear(&on(2, "q", b"two"));
    // It is in no queue, so nothing of it must be safe; but who hears of it may take it for all before it.
    end.hear(&on(1, "nowhere", b"three"));
    end.hear(&on(2, "r", b"four"));
    assert_eq!(end.said(), []);
    disk.commit(1);
    assert_eq!(end.said(), [acked(1, 1, false)]);
    disk.commit(2);
    assert_eq!(end.said(), [acked(2, 1, false), acked(1, 2, false)]);
    disk.commit(3);
    assert_eq!(end.said(), [acked(2, 2, false)]);
}

#[test]
fn a_queues_refusal_waits_in_its_place() {
    let (disk, _, mut end) = confirming();
    let arguments = FieldTable::new().with("x-max-length", 1).with("x-overflow", "reject-publish");
    end.asks(kept("full", arguments));
    disk.commit_declares();
    end.said();
    end.hear(&[on(1, "full", b"fits"), on(1, "full", b"does not"), on(1, "q", b"fits")].concat());
    assert_eq!(end.said(), []);
    disk.commit_all();
    assert_eq!(end.said(), [acked(1, 1, false), nacked(1, 2, false), acked(1, 3, false)]);
}

#[test]
fn a_channel_that_closes_takes_its_confirms_along() {
    let (disk, _, mut end) = confirming();
    end.hear(&on(1, "q", b"one"));
    end.hear(&on(2, "q", b"two"));
    // One is closed by the client and opened again, the other by an error.
    end.asks(Method::ChannelClose(Default::default()));
    end.asks(Method::ChannelOpen(Default::default()));
    end.asks(Method::ConfirmSelect(Default::default()));
    end.hear(&encoded(2, Method::QueueDelete(QueueDelete { queue: text(""), ..Default::default() })));
    end.hear(&on(1, "q", b"three"));
    assert!(matches!(
        end.methods()[..],
        [
            Method::ChannelCloseOk(_),
            Method::ChannelOpenOk(_),
            Method::ConfirmSelectOk(_),
            Method::ChannelClose(_)
        ]
    ));
    disk.commit(2);
    assert_eq!(end.said(), []);
    disk.commit(3);
    assert_eq!(end.said(), [acked(1, 1, false)]);
}

#[test]
fn a_commit_is_answered_when_it_is_safe() {
    let (disk, broker) = held_disk();
    let mut end = End::open(&broker);
    end.asks(kept("q", FieldTable::new()));
    disk.commit_declares();
    end.asks(Method::TxSelect(Default::default()));
    end.hear(&publish("q", &persistent(), b"one"));
    assert_eq!(end.said().len(), 1);
    end.asks(Method::TxCommit(Default::default()));
    // Others need not wait for it.
    end.hear(&encoded(2, Method::ChannelOpen(Default::default())));
    assert_eq!(end.said(), [Heard::Method(2, Method::ChannelOpenOk(Default::default()))]);
    disk.commit_all();
    assert!(was_woken(&end.outbox));
    assert_eq!(end.said(), [Heard::Method(1, Method::TxCommitOk(Default::default()))]);
}

#[test]
fn a_durable_declare_is_answered_when_it_is_safe_and_nothing_overtakes_its_answer() {
    let (disk, _, mut end) = confirming();
    end.asks(consume("r"));
    end.hear(&on(2, "q", b"confirmed before"));
    end.asks(durable("d1"));
    end.asks(Method::BasicQos(Default::default()));
    assert_eq!(end.said(), []);
    disk.commit(1);
    assert_eq!(end.said(), [], "a confirm comes behind what was answered before it");
    disk.commit_declares();
    assert!(was_woken(&end.outbox));
    end.asks(durable("d2"));
    end.hear(&on(2, "r", b"delivered"));
    let qos_ok = Heard::Method(1, Method::BasicQosOk(Default::default()));
    assert_eq!(end.said(), [said_ok("d1"), qos_ok, acked(2, 1, false)]);
    disk.commit_declares();
    assert!(was_woken(&end.outbox));
    let said = end.said();
    assert_eq!(said[0], said_ok("d2"));
    assert!(matches!(&said[1..], [Heard::Content(Method::BasicDeliver(_), _, body)] if body == b"delivered"));
    disk.commit(2);
    assert_eq!(end.said(), [acked(2, 2, false)]);
}

#[test]
fn what_need_not_outlive_the_broker_is_confirmed_at_once() {
    let (_disk, broker) = held_disk();
    let mut end = End::open(&broker);
    end.asks(Method::ConfirmSelect(Default::default()));
    end.asks(declare("transient", FieldTable::new()));
    end.hear(&on(1, "transient", b"persistent"));
    assert_eq!(end.said()[1..], [acked(1, 1, false)]);
    let (_disk, _, mut end) = confirming();
    end.hear(&plain("q", b"transient"));
    assert_eq!(end.said(), [acked(1, 1, false)]);
}

#[test]
fn what_is_declared_without_an_answer_is_safe_before_the_next_answer() {
    let (disk, broker) = held_disk();
    let mut end = End::open(&broker);
    let Method::QueueDeclare(declare) = durable("d") else { unreachable!("it is one") };
    end.asks(Method::QueueDeclare(QueueDeclare { no_wait: true, ..declare.clone() }));
    end.asks(Method::QueueDeclare(QueueDeclare { passive: true, ..declare }));
    assert_eq!(end.said(), []);
    disk.commit_all();
    assert_eq!(end.said(), [said_ok("d")]);
}

#[test]
fn who_waits_for_the_disk_hears_heartbeats_and_is_heard() {
    let (disk, broker) = held_disk();
    let mut end = End::open(&broker);
    end.asks(durable("d"));
    end.moves(Duration::from_secs(5));
    assert_eq!(end.said(), [Heard::Heartbeat]);
    // So much waits that no more is read: its heartbeats cannot arrive.
    end.session.out.buffer().extend_from_slice(&vec![0; UNREAD_ANSWERS_MAX]);
    assert!(!end.session.wants_input());
    for _ in 0..10 {
        end.moves(Duration::from_secs(5));
        assert_eq!(end.said(), [Heard::Heartbeat]);
    }
    disk.commit_all();
    end.session.poll_output(end.now);
    assert!(end.session.out.len() > UNREAD_ANSWERS_MAX && !end.session.is_finished());
    // Now it is the client that does not go on. It has taken the last heartbeat, and nothing since.
    end.moves(Duration::from_secs(20));
    assert!(!end.session.is_finished());
    end.moves(Duration::from_secs(20));
    assert!(end.session.is_finished());
}

#[test]
fn who_leaves_too_much_unconfirmed_is_not_read_until_the_disk_has_come_further() {
    let (disk, _, mut end) = confirming();
    // Neighbours on two channels are no ranges.
    let pair = [on(1, "nowhere", b""), on(2, "nowhere", b"")].concat();
    end.hear(&on(1, "q", b"one"));
    for _ in 0..HeldAnswers::<super::super::Confirm>::RANGES_MAX / 2000 + 1 {
        end.hear(&pair.repeat(1000));
    }
    assert!(!end.session.wants_input());
    end.hear(&encoded(2, Method::ChannelClose(Default::default())));
    end.moves(Duration::from_secs(1000));
    assert_eq!(end.said(), [Heard::Heartbeat], "alive, and not heard");
    assert!(!end.session.has_stalled_input());
    disk.commit_all();
    assert!(end.said().len() > 60_000);
    assert!(end.session.wants_input() && end.session.has_stalled_input());
    end.hear(&[]);
    assert!(matches!(end.methods()[..], [Method::ChannelCloseOk(_)]));
}

#[test]
fn who_closes_in_order_hears_first_what_became_of_its_messages() {
    let (disk, _, mut end) = confirming();
    end.hear(&on(1, "q", b"one"));
    end.hear(&on(2, "q", b"two"));
    end.asks(durable("d"));
    end.hear(&close());
    assert_eq!(end.said(), []);
    assert!(!end.session.is_finished() && !end.session.wants_input());
    disk.commit(1);
    assert_eq!(end.said(), []);
    disk.commit_all();
    assert!(was_woken(&end.outbox));
    assert_eq!(end.said(), [said_ok("d"), acked(1, 1, false), acked(2, 1, false), close_ok()]);
    assert!(end.session.is_finished());
}

#[test]
fn who_closes_in_order_does_not_wait_long_for_a_disk_that_does_not_go_on() {
    let (disk, _, mut end) = confirming();
    end.hear(&[on(1, "q", b"one"), close()].concat());
    assert_eq!(end.said(), []);
    assert_eq!(end.session.next_deadline(), Some(START.plus(SessionOptions::CLOSE_TIMEOUT)));
    end.moves(SessionOptions::CLOSE_TIMEOUT);
    assert_eq!(end.said(), [close_ok()]);
    assert!(end.session.is_finished());
    disk.commit_all();
    assert_eq!(end.said(), []);
}

#[test]
fn a_shutdown_lets_confirms_go_first() {
    let (disk, _, mut end) = confirming();
    end.hear(&on(1, "q", b"one"));
    end.session.handle_shutdown("bye", end.now);
    assert_eq!(end.said(), []);
    disk.commit_all();
    let said = end.said();
    assert_eq!(said[0], acked(1, 1, false));
    assert!(
        matches!(&said[1..], [Heard::Method(0, Method::ConnectionClose(close))] if close.reply_code == 320)
    );
    assert!(!end.session.is_finished() && end.session.wants_input());
    end.hear(&encoded(0, Method::ConnectionCloseOk(Default::default())));
    assert!(end.session.is_finished());
}

#[test]
fn when_both_sides_close_while_the_disk_is_awaited_the_client_gets_its_answer() {
    let (disk, _, mut end) = confirming();
    end.hear(&on(1, "q", b"one"));
    end.session.handle_shutdown("bye", end.now);
    end.hear(&close());
    disk.commit_all();
    assert_eq!(end.said(), [acked(1, 1, false), close_ok()]);
    assert!(end.session.is_finished());
}

#[test]
fn when_the_log_stops_what_waits_is_refused() {
    let (disk, _, mut end) = confirming();
    end.hear(&on(1, "q", b"one"));
    end.hear(&on(1, "q", b"two"));
    end.hear(&on(2, "r", b"three"));
    end.hear(&on(1, "q", b"four"));
    assert_eq!(end.said(), []);
    disk.commit(1);
    disk.stop("sync failed on journal-0000000001.seg");
    assert!(was_woken(&end.outbox));
    assert_eq!(
        end.said(),
        [acked(1, 1, false), nacked(1, 2, false), nacked(2, 1, false), nacked(1, 3, false)]
    );
    // So is what comes.
    end.hear(&[on(1, "q", b"five"), on(1, "q", b"six")].concat());
    assert_eq!(end.said(), [nacked(1, 4, false), nacked(1, 5, false)]);
    assert!(!end.session.is_finished());
}

#[test]
fn when_the_log_has_stopped_who_does_not_ask_for_confirms_is_told_with_a_close() {
    let (disk, broker) = held_disk();
    let mut end = End::open(&broker);
    end.asks(kept("q", FieldTable::new()));
    disk.commit_declares();
    end.hear(&publish("q", &persistent(), b"one"));
    end.said();
    disk.stop("sync failed");
    assert_eq!(end.said(), []);
    end.hear(&publish("q", &persistent(), b"two"));
    let (code, why) = (541, "INTERNAL_ERROR - the broker stores nothing more: sync failed");
    assert_eq!(closed(&end.methods()), (code, why));
}

#[test]
fn when_the_log_stops_no_declare_and_no_commit_is_answered_but_with_the_reason() {
    for commits in [false, true] {
        let (disk, broker) = held_disk();
        let mut end = End::open(&broker);
        end.asks(kept("q", FieldTable::new()));
        disk.commit_declares();
        end.asks(Method::TxSelect(Default::default()));
        end.hear(&publish("q", &persistent(), b"one"));
        end.said();
        end.asks(if commits { Method::TxCommit(Default::default()) } else { durable("d") });
        assert_eq!(end.said(), []);
        disk.stop("sync failed");
        assert!(was_woken(&end.outbox));
        let methods = end.methods();
        assert_eq!((methods.len(), closed(&methods).0), (1, 541));
    }
}

#[test]
fn when_the_catalog_fails_no_declare_is_answered_but_with_the_reason() {
    let (disk, broker, mut end) = confirming();
    end.asks(durable("d"));
    assert_eq!(end.said(), []);
    disk.stop_catalog();
    assert!(was_woken(&end.outbox));
    let methods = end.methods();
    assert_eq!((methods.len(), closed(&methods).0), (1, 541));
    assert!(broker.log_stopped().is_some_and(|why| !why.is_empty()));
}

#[test]
fn who_leaves_when_the_log_stops_is_let_go() {
    let (disk, _, mut end) = confirming();
    end.hear(&[on(1, "q", b"one"), close()].concat());
    assert_eq!(end.said(), []);
    disk.stop("sync failed");
    assert!(was_woken(&end.outbox));
    assert_eq!(end.said(), [close_ok()]);
    assert!(end.session.is_finished());
}

#[test]
fn a_peer_that_is_gone_is_waited_for_by_nobody() {
    let (disk, broker, mut end) = confirming();
    end.hear(&on(1, "q", b"one"));
    end.asks(durable("d"));
    end.said();
    end.session.handle_disconnect(end.now);
    assert!(end.session.is_finished());
    disk.commit_all();
    assert_eq!(end.said(), []);
    drop(end);
    assert_eq!(broker.connections().len(), 0);
}

/// What a client, or its disk, does next.
#[derive(Clone, Debug)]
enum Step {
    Publish { channel: u16, routable: bool },
    Declare,
    Reopen { channel: u16 },
    Commit { records: u64 },
    CommitDeclares,
    Read,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..4u16, prop::bool::weighted(0.8)).prop_map(|(channel, routable)| Step::Publish { channel, routable }),
        1 => Just(Step::Declare),
        1 => (1..4u16).prop_map(|channel| Step::Reopen { channel }),
        4 => (0..4u64).prop_map(|records| Step::Commit { records }),
        1 => Just(Step::CommitDeclares),
        4 => Just(Step::Read),
    ];
    prop::collection::vec(step, 1..80)
}

/// What a client knows of a channel.
#[derive(Default)]
struct Publisher {
    /// What each of its messages waits for: the log's position, and the number of declares.
    published: Vec<(u64, u64)>,
    confirmed: usize,
}

proptest! {
    #[test]
    fn whatever_happens_nothing_is_told_too_early_and_everything_once(steps in steps()) {
        let (disk, broker) = held_disk();
        let mut end = End::open(&broker);
        let reopen = |end: &mut End, channel| {
            end.hear(&encoded(channel, Method::ChannelClose(Default::default())));
            end.hear(&encoded(channel, Method::ChannelOpen(Default::default())));
            end.hear(&encoded(channel, Method::ConfirmSelect(Default::default())));
        };
        end.hear(&[2, 3].map(|channel| encoded(channel, Method::ChannelOpen(Default::default()))).concat());
        (1..4).for_each(|channel| reopen(&mut end, channel));
        end.asks(kept("q", FieldTable::new()));
    disk.commit_declares();
        end.said();
        let mut channels: [Publisher; 4] = Default::default();
        // Closes in the order they were asked for; what is said before one's answer is of the channel's last life.
        let (mut reopened, mut declares) = (Vec::new(), std::collections::VecDeque::new());
        let (mut declared, mut committed) = (0, (0u64, 0));
        let last = [Step::Read, Step::Commit { records: u64::MAX }, Step::Read, Step::CommitDeclares, Step::Read];
        for step in steps.into_iter().chain(last) {
            match step {
                Step::Publish { channel, routable } => {
                    end.hear(&on(channel, if routable { "q" } else { "nowhere" }, b"message"));
                    channels[usize::from(channel)].published.push(if routable { (disk.appended(), declared) } else { (0, 0) });
                }
                Step::Declare => {
                    declared += 1;
                    end.asks(durable(&format!("d{declared}")));
                    declares.push_back(declared);
                }
                Step::Reopen { channel } => {
                    reopen(&mut end, channel);
                    reopened.push((channel, std::mem::take(&mut channels[usize::from(channel)])));
                }
                Step::Commit { records } => {
                    committed.0 = disk.appended().min(committed.0.saturating_add(records));
                    disk.commit(committed.0);
                }
                Step::CommitDeclares => {
                    committed.1 = declared;
                    disk.commit_declares();
                }
                Step::Read => {
                    for heard in end.said() {
                        match heard {
                            Heard::Method(channel, Method::BasicAck(ack)) => {
                                let old = reopened.iter_mut().find(|(closed, _)| *closed == channel);
                                let publisher = old.map_or(&mut channels[usize::from(channel)], |(_, old)| old);
                                let tag = ack.delivery_tag as usize;
                                let told = &publisher.published[publisher.confirmed..tag];
                                prop_assert!(ack.multiple == (told.len() > 1) && !told.is_empty());
                                prop_assert!(told.iter().all(|told| told.0 <= committed.0 && told.1 <= committed.1));
                                publisher.confirmed = tag;
                            }
                            Heard::Method(channel, Method::ChannelCloseOk(_)) => {
                                let closed = reopened.iter().position(|(closed, _)| *closed == channel);
                                reopened.remove(closed.expect("it was asked for"));
                            }
                            Heard::Method(_, Method::QueueDeclareOk(_)) => {
                                prop_assert!(declares.pop_front().expect("it was asked for") <= committed.1);
                            }
                            Heard::Method(_, Method::ChannelOpenOk(_) | Method::ConfirmSelectOk(_)) => {}
                            other => prop_assert!(false, "{other:?}"),
                        }
                    }
                }
            }
        }
        prop_assert!(channels.iter().all(|publisher| publisher.confirmed == publisher.published.len()));
        prop_assert!(reopened.is_empty() && declares.is_empty());
    }
}
