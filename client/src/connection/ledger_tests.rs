//! The ledger against a broker made of a few lists, from printed seeds: any order of publishing, writing,
//! outcomes and lost connections.

use std::task::{Poll, Waker};

use bytes::{BufMut, BytesMut};
use rialto_protocol::native::{Command, Outcome as WireOutcome, decode_frame};
use rialto_protocol::types::FieldTable;

use super::*;

fn welcome(publish_window: u32, frame_max: u32) -> Welcome {
    Welcome {
        frame_max,
        channel_max: 8,
        route_max: 4,
        heartbeat_ms: 0,
        publish_window,
        message_size_max: 1 << 20,
        properties: FieldTable::new(),
    }
}

fn target() -> Target {
    Target::Inline { exchange: ShortStr::default(), routing_key: ShortStr::truncated("k") }
}

fn push(ledger: &mut Ledger, number: u64, wanted: bool, cost: usize) -> Option<SlotKey> {
    let mut body = BytesMut::new();
    body.put_u64(number);
    let target = target();
    let outgoing = Outgoing { target: &target, mandatory: false, properties: &[], body: &body, cost };
    let slot = wanted.then(|| ledger.open_slot(1, 0));
    ledger.push(&outgoing, slot.map(|slot| (slot, 0)));
    slot
}

/// What a frame carries: channel, first sequence number, message numbers.
fn read(frame: &Bytes, frame_max: usize) -> (u16, u64, Vec<u64>) {
    assert!(frame.len() <= frame_max, "a frame of {} bytes, where {frame_max} are allowed", frame.len());
    let raw = decode_frame(&mut BytesMut::from(&frame[..]), u32::MAX).unwrap().unwrap();
    let channel = raw.channel;
    let Some(Command::Publish(publish)) = raw.command().unwrap() else { panic!("not a publish") };
    let mut numbers = Vec::new();
    for run in publish.runs() {
        for entry in run.unwrap().walk() {
            numbers.push(u64::from_be_bytes(entry.unwrap().0.body.try_into().unwrap()));
        }
    }
    (channel, publish.first, numbers)
}

fn take(ledger: &mut Ledger) -> (Vec<Bytes>, usize) {
    let mut out = VecDeque::new();
    let released = ledger.take(usize::MAX, &mut out);
    (out.into(), released)
}

#[test]
fn any_order_of_events_keeps_order_numbers_and_room() {
    const COST: usize = 10;
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut ledger = Ledger::new();
        let mut effects = Effects::default();
        let (mut frame_max, mut held) = (4096, 0_usize);
        let mut waiting: Vec<(u64, SlotKey)> = Vec::new();
        // What the broker has of this connection and has not told the outcome of: sequence and number.
        let mut open: Vec<(u64, u64)> = Vec::new();
        let (mut next_number, mut confirmed, mut last_wanted) = (0, Vec::new(), None);
        let mut sequences = [1, 1];
        ledger.restart(&welcome(2000, frame_max), &mut effects);
        ledger.go_online();

        for _ in 0..400 {
            match random.u32(..100) {
                0..50 => {
                    let wanted = random.u32(..4) > 0;
                    let slot = push(&mut ledger, next_number, wanted, COST);
                    waiting.extend(slot.map(|slot| (next_number, slot)));
                    held += COST;
                    next_number += 1;
                }
                50..75 => {
                    let (frames, released) = take(&mut ledger);
                    held -= released;
                    for frame in frames {
                        let (channel, first, numbers) = read(&frame, frame_max as usize + 4);
                        let lane = ledger.channels().iter().position(|&known| known == channel).unwrap();
                        assert_eq!(first, sequences[lane], "seed {seed}");
                        sequences[lane] += numbers.len() as u64;
                        if lane == 1 {
                            for (sequence, number) in (first..).zip(numbers) {
                                assert!(last_wanted < Some(number), "seed {seed}: out of order");
                                last_wanted = Some(number);
                                open.push((sequence, number));
                            }
                        }
                    }
                }
                75..80 => drop(ledger.add_credit(random.u32(..4000))),
                80..96 if !open.is_empty() => {
                    let from = random.usize(..open.len());
                    let to = (from + 1 + random.usize(..8)).min(open.len());
                    let told: Vec<_> = open.drain(from..to).collect();
                    for (sequence, number) in told {
                        let range =
                            OutcomeRange { first: sequence, last: sequence, outcome: WireOutcome::Confirmed };
                        ledger.outcomes(ledger.channels()[1], &range, &mut effects).unwrap();
                        confirmed.push(number);
                    }
                }
                96..98 => {
                    ledger.go_offline();
                    assert!(take(&mut ledger).0.is_empty(), "seed {seed}: written without a connection");
                    (open, sequences, last_wanted) = (Vec::new(), [1, 1], None);
                    frame_max = [600, 1024, 4096, 300_000][random.usize(..4)];
                    ledger.restart(&welcome(random.u32(1..5000), frame_max), &mut effects);
                    ledger.go_online();
                }
                _ => {
                    if !waiting.is_empty() {
                        let (number, slot) = waiting[random.usize(..waiting.len())];
                        let polled = ledger.poll_slot(slot, Waker::noop());
                        let done = matches!(polled, Poll::Ready(Ok(_)));
                        assert_eq!(done, confirmed.contains(&number), "seed {seed}: message {number}");
                        if done {
                            waiting.retain(|&(other, _)| other != number);
                        }
                    }
                }
            }
            held -= std::mem::take(&mut effects.released);
        }

        // Everything that is left is written and confirmed.
        while !ledger.is_settled() {
            ledger.add_credit(10_000);
            let (_, released) = take(&mut ledger);
            held -= released;
            let last = ledger.lanes[1].next_sequence - 1;
            if last > 0 {
                let range = OutcomeRange { first: 1, last, outcome: WireOutcome::Confirmed };
                ledger.outcomes(ledger.channels()[1], &range, &mut effects).unwrap();
            }
            held -= std::mem::take(&mut effects.released);
        }
        assert_eq!(held, 0, "seed {seed}: room was not given back");
        for (number, slot) in waiting {
            let polled = ledger.poll_slot(slot, Waker::noop());
            assert!(matches!(polled, Poll::Ready(Ok(_))), "seed {seed}: message {number}");
        }
        assert!(ledger.slots.is_empty(), "seed {seed}: a slot was not freed");
    }
}

#[test]
fn the_writer_is_woken_once_and_only_when_it_waits() {
    let mut ledger = Ledger::new();
    ledger.restart(&welcome(1000, 4096), &mut Effects::default());
    ledger.go_online();
    let target = target();
    let message = Outgoing { target: &target, mandatory: false, properties: &[], body: b"m", cost: 1 };
    assert!(!ledger.push(&message, None), "the writer is at work");
    take(&mut ledger);
    assert!(take(&mut ledger).0.is_empty());
    assert!(ledger.push(&message, None));
    assert!(!ledger.push(&message, None), "it is awake already");
}

#[test]
fn credit_that_comes_wakes_a_writer_that_waits_for_it() {
    let mut ledger = Ledger::new();
    ledger.restart(&welcome(1, 4096), &mut Effects::default());
    ledger.go_online();
    push(&mut ledger, 0, false, 1);
    take(&mut ledger);
    push(&mut ledger, 1, false, 1);
    assert!(take(&mut ledger).0.is_empty(), "there is no credit");
    assert!(!ledger.add_credit(1), "not enough to make good for the first frame");
    assert!(ledger.add_credit(1000));
    assert_eq!(take(&mut ledger).0.len(), 1);
}

#[test]
fn closing_ends_every_slot_and_frees_the_forgotten() {
    let mut ledger = Ledger::new();
    let forgotten = push(&mut ledger, 0, true, 1).unwrap();
    let waiting = push(&mut ledger, 1, true, 1).unwrap();
    ledger.forget_slot(forgotten);
    ledger.close(&Error::Closed { why: None }, &mut Effects::default());
    assert!(ledger.check(&[], b"late").is_err());
    assert!(matches!(ledger.poll_slot(waiting, Waker::noop()), Poll::Ready(Err(Error::Closed { .. }))));
    assert!(ledger.slots.is_empty());
}

/// The properties of the messages of a frame.
fn properties_of(frame: &Bytes) -> Vec<Bytes> {
    let mut all = Vec::new();
    for_each_message(frame.clone(), |_, _, entry| all.push(Bytes::copy_from_slice(entry.properties)));
    all
}

#[test]
fn a_message_that_comes_again_is_marked_unless_its_properties_are_full() {
    // Flags, the headers' length, and "k" with a text take 13 bytes; the mark takes 27.
    for (len, is_marked) in [(wire::PROPERTIES_BYTES_MAX - 27, true), (131_053, false)] {
        let headers = FieldTable::new().with("k", "v".repeat(len - 13));
        let properties = Properties { headers: Some(headers), ..Properties::default() }.encoded();
        assert_eq!(properties.len(), len);
        let mut ledger = Ledger::new();
        ledger.restart(&welcome(1 << 20, 300_000), &mut Effects::default());
        ledger.go_online();
        let (target, body) = (target(), &[0; 8][..]);
        let outgoing = Outgoing { target: &target, mandatory: false, properties: &properties, body, cost: 1 };
        let slot = ledger.open_slot(1, 0);
        ledger.push(&outgoing, Some((slot, 0)));
        assert_eq!(properties_of(&take(&mut ledger).0[0]), std::slice::from_ref(&properties));

        ledger.go_offline();
        ledger.restart(&welcome(1 << 20, 300_000), &mut Effects::default());
        ledger.go_online();
        let again = properties_of(&take(&mut ledger).0[0]).remove(0);
        assert_eq!(again != properties, is_marked, "properties of {len} bytes");
        assert!(again.len() <= wire::PROPERTIES_BYTES_MAX);
    }
}
