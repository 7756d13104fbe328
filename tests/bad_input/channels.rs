//! Channels that are not open, open already, or over the limit.

use rialto_protocol::native::*;
use rialto_protocol::types::FieldTable;

use crate::support::*;

fn purge(correlation: u32) -> Command {
    Command::Request { correlation, request: Request::PurgeQueue { name: short("q") } }
}

#[tokio::test]
async fn a_channel_that_was_never_opened_closes_the_connection() {
    let victim = Victim::start().await;
    let settle = Settle { consumer: 1, settlement: Settlement::Ack, ranges: vec![(1, 1)] };
    for (command, correlation) in [
        (purge(9), 9),
        (Command::CloseChannel { correlation: 4 }, 4),
        (Command::DefineRoute { route: 1, exchange: short(""), routing_key: short("q") }, 0),
        (Command::Credit { consumer: 1, messages: 1, bytes: 1 }, 0),
        (Command::Settle(settle), 0),
    ] {
        let mut peer = Peer::logged_in(victim.address()).await;
        let kind = command.kind().octet();
        peer.send(3, command).await;
        let text = peer.closed_with(504, kind, correlation).await;
        assert!(text.contains("channel 3"), "{text}");
    }
    let mut peer = Peer::logged_in(victim.address()).await;
    peer.send_bytes(&publish(1, "q", &[b"x"])).await;
    peer.closed_with(504, Kind::Publish.octet(), 0).await;
    victim.survives().await;
}

#[tokio::test]
async fn a_channel_that_was_closed_closes_the_connection() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.send(1, Command::CloseChannel { correlation: 2 }).await;
    let done = Command::Response { correlation: 2, response: Response::Done };
    assert_eq!(peer.next().await, Some(Frame { channel: 1, command: done }));
    peer.send(1, purge(3)).await;
    peer.closed_with(504, Kind::Request.octet(), 3).await;
    victim.survives().await;
}

#[tokio::test]
async fn opening_an_open_channel_closes_the_connection() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.send(1, Command::OpenChannel { correlation: 8 }).await;
    peer.closed_with(504, Kind::OpenChannel.octet(), 8).await;
    victim.survives().await;
}

#[tokio::test]
async fn every_channel_up_to_the_limit_opens_and_none_past_it() {
    let victim = Victim::start().await;
    let mut peer = Peer::greeted(victim.address()).await;
    peer.send(0, Command::Login(login())).await;
    let channel_max = peer.welcome().await.channel_max;
    for channel in 1..=channel_max {
        peer.open_channel(channel).await;
    }
    let connections = victim.broker().connections();
    let open = connections[0].channels.len();
    assert_eq!(open, usize::from(channel_max));
    peer.send(channel_max + 1, Command::OpenChannel { correlation: 8 }).await;
    peer.closed_with(504, Kind::OpenChannel.octet(), 8).await;
    drop(connections);
    victim.survives().await;
}

#[tokio::test]
async fn a_channel_closed_by_an_error_is_deaf_until_it_is_opened_again() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    peer.publish(1, &queue, b"a").await;
    peer.next_outcomes().await;
    let consuming = peer.request(Request::Consume(consume(&queue, 1))).await;
    assert!(consuming.is_ok(), "{consuming:?}");

    let mut bytes = publish(5, &queue, &[b"wrong"]).to_vec();
    // All of this was under way: none of it is answered, none of it is carried out.
    bytes.extend(publish(2, &queue, &[b"late"]));
    bytes.extend(encoded(1, &purge(50)));
    bytes.extend(encoded(1, &Command::CloseChannel { correlation: 51 }));
    bytes.extend(encoded(
        1,
        &Command::Settle(Settle { consumer: 9, settlement: Settlement::Ack, ranges: vec![(1, 9)] }),
    ));
    bytes.extend(encoded(1, &Command::OpenChannel { correlation: 52 }));
    peer.send_bytes(&bytes).await;
    let mut closed = peer.next().await.unwrap();
    if matches!(closed.command, Command::Deliver(_)) {
        closed = peer.next().await.unwrap();
    }
    assert!(matches!(closed.command, Command::ChannelClosed(Closing { code: 406, .. })), "{closed:?}");
    let done = Command::Response { correlation: 52, response: Response::Done };
    assert_eq!(peer.next().await, Some(Frame { channel: 1, command: done }));

    // Sequence numbers start anew, and what the consumer held is back.
    peer.publish(1, &queue, b"b").await;
    assert_eq!(peer.next_outcomes().await, [(1, 1, Outcome::Confirmed)]);
    match peer.request(Request::Get { queue: short(&queue), auto_ack: true }).await {
        Ok(Response::Got { tag: 1, remaining: 1, run }) => assert!(run.entries.ends_with(b"a")),
        other => panic!("{other:?}"),
    }
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn an_error_on_one_channel_leaves_the_others_alone() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.open_channel(2).await;
    peer.declare("kept", FieldTable::new()).await.unwrap();
    let settle = Settle { consumer: 4, settlement: Settlement::Ack, ranges: vec![(1, 1)] };
    peer.send(2, Command::Settle(settle)).await;
    peer.channel_closed_with(2, 406, Kind::Settle).await;
    peer.publish(1, "kept", b"x").await;
    assert_eq!(peer.next_outcomes().await, [(1, 1, Outcome::Confirmed)]);
    peer.close().await;
    victim.survives().await;
}
