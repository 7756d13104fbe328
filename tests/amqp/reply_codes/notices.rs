//! Codes that blame nobody: 200, 312, 320.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

#[test]
fn a_mandatory_message_without_a_queue_is_returned_with_312() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    assert!(client.call(1, Method::ConfirmSelect(ConfirmSelect { no_wait: false })).is_ok());
    let publish = BasicPublish { routing_key: short("nobody"), mandatory: true, ..Default::default() };
    let properties = Properties { message_id: Some(short("id")), ..Properties::default() };
    client.send_content(1, Method::BasicPublish(publish), &properties, b"body");
    let returned = client.receive().expect("the return");
    let Method::BasicReturn(BasicReturn { reply_code, reply_text, exchange, routing_key }) = returned.method
    else {
        panic!("the return comes first: {returned:?}")
    };
    assert_eq!((reply_code, &*reply_text, &*exchange, &*routing_key), (312, "NO_ROUTE", "", "nobody"));
    let content = returned.content.expect("with its content");
    assert_eq!((content.decoded(), &*content.body), (properties, &b"body"[..]));
    let confirmed = client.receive().expect("the confirm").method;
    assert_eq!(confirmed, Method::BasicAck(BasicAck { delivery_tag: 1, multiple: false }));
    client.close();
    fixture.survives();
}

#[test]
fn orderly_closes_are_answered() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    let close = ChannelClose { reply_code: 200, ..Default::default() };
    let answer = client.call(1, Method::ChannelClose(close));
    assert!(matches!(answer, Ok(Method::ChannelCloseOk(_))), "{answer:?}");
    client.open_channel(1);
    client.close();
    fixture.survives();
}

#[test]
fn a_broker_that_stops_says_320() {
    let fixture = Fixture::ours(|_| {});
    let address = fixture.address();
    let mut client = Client::on_channel(address);
    let stopping = std::thread::spawn(move || fixture.stop());
    let closed = client.closed(0);
    assert_eq!((closed.code, closed.channel, closed.class, closed.method), (320, 0, 0, 0), "{closed}");
    assert!(closed.text.starts_with("CONNECTION_FORCED"), "{closed}");
    stopping.join().expect("the broker stops");
}
