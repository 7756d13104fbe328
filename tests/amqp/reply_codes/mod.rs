//! Every reply code that can be provoked: the number, what it closes, whom it blames.
//!
//! Here: tables of cases and how they are run. Not provoked: 311 and 402, which RabbitMQ does not use any more (406 and
//! 530 stand for them), 313 (`immediate` is refused), 506 and 541, for which the broker would have to fail.

mod access;
mod connections;
mod notices;
mod preconditions;

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

/// What a peer does on its open channel 1, and whom and what the broker blames when it closes something for it.
struct Case {
    what: &'static str,
    provoke: fn(&mut Client),
    ids: (u16, u16),
    /// What the text must contain.
    text: &'static str,
}

const fn case(what: &'static str, ids: (u16, u16), text: &'static str, provoke: fn(&mut Client)) -> Case {
    Case { what, provoke, ids, text }
}

/// Runs all of a table before it complains. Each closes with this code: this channel, or the connection, which is 0.
fn check((code, channel): (u16, u16), cases: &[Case]) {
    let fixture = Fixture::start();
    let mut wrong = Vec::new();
    for case in cases {
        let mut client = fixture.on_channel();
        (case.provoke)(&mut client);
        // If this is answered, nothing was refused.
        client.send(1, access_request());
        let Err(closed) = client.answer_to(1, |method| matches!(method, Method::AccessRequestOk(_))) else {
            wrong.push(format!("{}: nothing is closed", case.what));
            continue;
        };
        let is_right = (closed.code, closed.channel) == (code, channel)
            && (closed.class, closed.method) == case.ids
            && closed.text.contains(case.text);
        if !is_right {
            wrong.push(format!("{}: {closed}", case.what));
        }
        if closed.channel != 0 {
            // The connection goes on, and so can the channel.
            client.open_channel(1);
            client.close();
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    fixture.survives();
}

fn exclusive(client: &mut Client, queue: &str) {
    let declared = client.call(1, Method::QueueDeclare(declare_exclusive(queue)));
    assert!(declared.is_ok(), "{declared:?}");
}

fn say_content(client: &mut Client, method: Method, properties: Properties) {
    client.send_content(1, method, &properties, b"body");
}
