//! What must follow when a queue or a consumer ends in the middle of other things.

use rialto_protocol::native::*;
use rialto_protocol::types::FieldTable;

use super::*;
use crate::model::ChannelId;
use crate::session::native::State;
use crate::session::native::channel::ChannelSlot;

fn declare_auto_delete(name: &str) -> Request {
    let Request::DeclareQueue { name, arguments, .. } = declare(name) else { unreachable!("it is one") };
    let (passive, durable, exclusive) = (false, false, false);
    Request::DeclareQueue { name, passive, durable, exclusive, auto_delete: true, arguments }
}

fn declare_with(name: &str, arguments: FieldTable) -> Request {
    let Request::DeclareQueue { name, passive, durable, exclusive, auto_delete, .. } = declare(name) else {
        unreachable!("it is one")
    };
    Request::DeclareQueue { name, passive, durable, exclusive, auto_delete, arguments }
}

/// Channel 1 may hold one message: consumer 1 has it, and consumer 2, on the queue `waits`, waits for its own.
fn waiting_for_the_channel(broker: &Broker, first: Request) -> End {
    let mut end = End::open(broker);
    end.ask(Request::SetPrefetch { messages: 1 });
    end.ask(first);
    end.ask(declare("waits"));
    end.ask(Request::Consume(consume("first", 1)));
    end.hear(&publish(1, "first", &[b"held"]));
    assert_eq!(delivered(&end.said()), [(1, b"held".to_vec())]);
    end.ask(Request::Consume(consume("waits", 2)));
    end.hear(&publish(2, "waits", &[b"next"]));
    assert_eq!(delivered(&end.said()), []);
    end
}

#[test]
fn a_cancel_that_ends_its_queue_makes_room_in_the_channels_prefetch() {
    let broker = Broker::in_memory().build();
    let mut end = waiting_for_the_channel(&broker, declare_auto_delete("first"));
    end.ask(Request::Cancel { consumer: 1 });
    assert_eq!(delivered(&end.said()), [(1, b"next".to_vec())]);
}

#[test]
fn a_cancel_that_crosses_the_deletion_of_its_queue_makes_room_in_the_channels_prefetch() {
    let broker = Broker::in_memory().build();
    let mut end = waiting_for_the_channel(&broker, declare("first"));
    let mut other = End::open(&broker);
    other.ask(Request::DeleteQueue { name: text("first"), if_unused: false, if_empty: false });
    end.ask(Request::Cancel { consumer: 1 });
    assert_eq!(delivered(&end.said()), [(1, b"next".to_vec())]);
}

#[test]
fn what_is_published_behind_the_cancel_that_ends_its_queue_is_unroutable() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    end.ask(declare_auto_delete("q"));
    end.ask(Request::Consume(consume("q", 1)));
    // So that the route is known from before.
    end.hear(&publish(1, "q", &[b"a"]));
    end.hear(&ack(1, 1, 1));
    end.said();
    end.hear(&[asked(7, Request::Cancel { consumer: 1 }), publish(2, "q", &[b"b"])].concat());
    let outcomes = end.said().into_iter().find_map(|command| match command {
        Command::Outcomes(outcomes) => Some(outcomes),
        _ => None,
    });
    assert_eq!(outcomes, Some(vec![OutcomeRange { first: 2, last: 2, outcome: Outcome::Unroutable }]));
}

#[test]
fn a_large_dead_letter_may_drive_out_any_number_of_small_messages() {
    const SMALL: u64 = 20_000;
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    let dead_letter =
        |to| FieldTable::new().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", to);
    end.ask(declare_with("q", dead_letter("full")));
    end.ask(declare_with("full", dead_letter("end").with("x-max-length-bytes", (SMALL * 10) as i64)));
    end.ask(declare("end"));
    end.hear(&publish(1, "full", &vec![&b"ten bytes."[..]; SMALL as usize]));
    assert_eq!((count_ready(&broker, "full"), count_ready(&broker, "end")), (SMALL, 0));
    end.hear(&publish(SMALL + 1, "q", &[&vec![0; 150_000]]));
    end.ask(Request::Get { queue: text("q"), auto_ack: false });
    let reject = Settlement::Reject { reason: text("") };
    end.hear(&encoded(1, &Command::Settle(Settle { consumer: 0, settlement: reject, ranges: vec![(1, 1)] })));
    assert_eq!((count_ready(&broker, "full"), count_ready(&broker, "end")), (5001, 15_000));
    assert_eq!(broker.counters().dead_letters_ended(), 0);
}

#[test]
fn a_channel_forgets_what_it_got_from_queues_that_are_gone() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    end.ask(declare("stays"));
    end.hear(&publish(1, "stays", &[b"kept"]));
    end.ask(Request::Get { queue: text("stays"), auto_ack: false });
    for number in 0..1000 {
        let name = format!("q{number}");
        end.ask(declare(&name));
        end.hear(&publish(number + 2, &name, &[b"m"]));
        end.ask(Request::Get { queue: text(&name), auto_ack: false });
        end.ask(Request::DeleteQueue { name: text(&name), if_unused: false, if_empty: false });
        end.said();
    }
    let State::Open(open) = &end.session.state else { panic!("it is open") };
    let Some(ChannelSlot::Open(channel)) = open.channels.get(&ChannelId(1)) else { panic!("it is open") };
    assert!(channel.gets.getters.len() <= 64 && channel.gets.unacked.len() <= 64);
    end.hear(&ack(0, 1, 1001));
    let stats = broker.vhost("/").unwrap().queue("stays", ConnectionId(0)).unwrap().stats();
    assert_eq!((stats.ready, stats.unacked), (0, 0));
}

#[test]
fn a_channel_closed_by_an_error_counts_as_closed() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    let channels = || broker.connections()[0].channels.len();
    assert_eq!(channels(), 1);
    end.hear(&publish(9, "q", &[b"wrong number"]));
    assert_eq!(channels(), 0);
    end.hear(&open_channel());
    assert_eq!(channels(), 1);
}

#[test]
fn what_a_channel_has_not_settled_is_shown() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    end.ask(declare("q"));
    end.ask(declare("other"));
    end.ask(Request::Consume(consume("q", 1)));
    end.hear(&publish(1, "q", &[b"1", b"2", b"3"]));
    end.hear(&publish(4, "other", &[b"4"]));
    assert_eq!(delivered(&end.said()).len(), 3);
    end.ask(Request::Get { queue: text("other"), auto_ack: false });
    let info = broker.connections()[0].channels.get(ChannelId(1)).expect("the channel is open");
    assert_eq!((info.consumers.get(), info.unacked.get()), (1, 4));
    let settle = |consumer, range| {
        let settle = Settle { consumer, settlement: Settlement::Ack, ranges: vec![range] };
        encoded(1, &Command::Settle(settle))
    };
    end.hear(&[settle(1, (1, 2)), settle(0, (1, 1))].concat());
    assert_eq!(info.unacked.get(), 1);
    end.ask(Request::Cancel { consumer: 1 });
    assert_eq!((info.consumers.get(), info.unacked.get()), (0, 1));
    end.ask(Request::DeleteQueue { name: text("q"), if_unused: false, if_empty: false });
    end.said();
    assert_eq!(info.unacked.get(), 0, "it went with its queue");
}

#[test]
fn a_settlement_that_is_told_twice_frees_what_a_cancelled_consumer_held() {
    let broker = Broker::in_memory().build();
    let mut end = waiting_for_the_channel(&broker, declare("first"));
    end.ask(Request::Cancel { consumer: 1 });
    end.said();
    end.hear(&[ack(1, 1, 1), ack(1, 1, 1)].concat());
    assert_eq!(delivered(&end.said()), [(1, b"next".to_vec())]);
    end.ask(Request::Consume(consume("first", 1)));
    assert!(matches!(end.said()[..], [Command::Response { .. }]), "its number is free again");
}

#[test]
fn a_channel_is_closed_once_however_much_was_wrong_in_one_read() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    end.ask(declare("q"));
    end.ask(Request::Consume(consume("q", 1)));
    end.ask(Request::Consume(consume("q", 2)));
    end.said();
    end.hear(&[ack(1, 5, 5), ack(2, 5, 5), publish(7, "q", &[b"wrong"])].concat());
    let said = end.said();
    assert!(matches!(said[..], [Command::ChannelClosed(_)]), "{said:?}");
}

#[test]
fn ranges_up_to_the_largest_tag_are_not_taken_together_with_others() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    end.ask(declare("q"));
    end.ask(Request::Consume(consume("q", 1)));
    end.hear(&publish(1, "q", &[b"1", b"2"]));
    end.said();
    end.hear(&[ack(1, 1, u64::MAX), ack(1, 0, 2)].concat());
    assert!(matches!(end.said()[..], [Command::ChannelClosed(Closing { code: 406, .. })]));
}

#[test]
fn what_goes_back_to_its_queue_takes_its_room_before_what_is_published_behind_it() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    let full = FieldTable::new().with("x-max-length", 1).with("x-overflow", "reject-publish");
    end.ask(declare_with("q", full));
    end.hear(&publish(1, "q", &[b"first"]));
    end.ask(Request::Get { queue: text("q"), auto_ack: false });
    end.said();
    let back = Command::Settle(Settle { consumer: 0, settlement: Settlement::Requeue, ranges: vec![(1, 1)] });
    end.hear(&[encoded(1, &back), publish(2, "q", &[b"second"])].concat());
    end.ask(Request::Get { queue: text("q"), auto_ack: true });
    assert_eq!(count_ready(&broker, "q"), 0, "the second was refused");
}
