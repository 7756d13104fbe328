"""Publishing: returns, CC and BCC, bodies of every size, and what is refused."""

import hashlib

import pika
from pika import spec

from . import check, scenario, ours
from .raw import Raw


@scenario
def an_empty_body_has_no_body_frame(w):
    with Raw() as raw:
        raw.open()
        queue = raw.queue(exclusive=True)
        raw.content(spec.Basic.Publish(exchange="", routing_key=queue))
        raw.send(spec.Basic.Get(queue=queue, no_ack=True), 1)
        method, _, body = raw.delivery()
        check("empty", (method.NAME, body), ("Basic.GetOk", b""))
        raw.send(spec.Basic.Get(queue=queue, no_ack=True), 1)
        check("nothing in between", isinstance(raw.method()[1], spec.Basic.GetEmpty))


@scenario
def bodies_of_every_size_arrive_as_they_were_sent(w):
    queue = w.queue()
    for size in [1, 131064, 131065, 1_000_000, 5_000_003]:
        body = hashlib.shake_256(str(size).encode()).digest(size)
        w.fill(queue, body)
        check(f"{size} bytes", w.get(queue)[2] == body)


@scenario
def large_bodies_in_small_frames(w):
    connection = w.connect(frame_max=4096)
    channel = connection.channel()
    queue = w.queue()
    body = hashlib.shake_256(b"small frames").digest(700_001)
    channel.basic_publish("", queue, body)
    check("body", w.get(queue, channel=channel)[2] == body)


@scenario
def the_default_exchange_routes_to_the_queue_of_that_name(w):
    queue = w.queue()
    w.fill(queue, "1")
    method, _, _ = w.get(queue)
    check("exchange and key", (method.exchange, method.routing_key), ("", queue))


@scenario
def a_missing_exchange_closes_the_channel(w):
    name = w.name("missing")
    w.refused("publish", 404, f"NOT_FOUND - no exchange '{name}' in vhost '/'", lambda c: c.basic_publish(name, "x", b"1"))


@scenario
def mandatory_messages_without_a_queue_come_back(w):
    name = w.exchange("direct")
    returned = []
    channel = w.connection.channel()
    channel.add_on_return_callback(lambda _c, method, properties, body: returned.append((method, properties, body)))
    w.publish(name, "nowhere", b"back", channel=channel, mandatory=True, message_id="m1", headers={"h": 1})
    w.until(lambda: returned, "the return")
    method, properties, body = returned[0]
    check("code and text", (method.reply_code, method.reply_text), (312, "NO_ROUTE"))
    check("exchange and key", (method.exchange, method.routing_key), (name, "nowhere"))
    check("content", (properties.message_id, properties.headers, body), ("m1", {"h": 1}, b"back"))


@scenario
def a_message_taken_by_the_alternate_exchange_is_not_returned(w):
    fallback = w.exchange("fanout")
    rest = w.bound(fallback)
    name = w.exchange("direct", arguments={"alternate-exchange": fallback})
    returned = []
    channel = w.connection.channel()
    channel.add_on_return_callback(lambda *_: returned.append(1))
    w.publish(name, "nowhere", b"1", channel=channel, mandatory=True)
    w.publish("", "conformance.none", b"2", channel=channel, mandatory=True)
    w.until(lambda: returned, "the return of the other")
    check("one return", len(returned), 1)
    check("taken", w.body(rest), "1")


@scenario
def cc_and_bcc_name_further_keys(w):
    name = w.exchange("direct")
    first, second, third = w.bound(name, "a"), w.bound(name, "b"), w.bound(name, "c")
    w.publish(name, "a", "1", headers={"CC": ["b"], "BCC": ["c"], "kept": "yes"})
    for what, queue in [("key", first), ("CC", second), ("BCC", third)]:
        method, properties, _ = w.get(queue)
        check(f"{what}: routing key as published", method.routing_key, "a")
        check(f"{what}: headers without BCC", properties.headers, {"CC": ["b"], "kept": "yes"})


@scenario
def cc_over_the_default_exchange(w):
    first, second = w.queue(), w.queue()
    w.publish("", first, "1", headers={"CC": [second, "conformance.none"]})
    check("both", (w.body(first), w.body(second)), ("1", "1"))


@scenario
def cc_must_be_a_list(w):
    w.refused("CC", 406, """PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}""", lambda c: c.basic_publish("amq.direct", "x", b"", pika.BasicProperties(headers={"CC": "b"})))
    w.refused("BCC", 406, "PRECONDITION_FAILED - ", lambda c: c.basic_publish("amq.direct", "x", b"", pika.BasicProperties(headers={"BCC": 5})))


@scenario
def the_user_id_must_be_the_own(w):
    queue = w.queue()
    w.fill(queue, "1", user_id="guest")
    check("the own is kept", w.get(queue)[1].user_id, "guest")
    w.refused(
        "another",
        406,
        "PRECONDITION_FAILED - user_id property set to 'someone' but authenticated user was 'guest'",
        lambda c: c.basic_publish("", queue, b"", pika.BasicProperties(user_id="someone")),
    )


@scenario
def a_bad_expiration_is_refused(w):
    queue = w.queue()
    for value in ["soon", "-1", "1.5", ""]:
        w.refused(f"expiration {value!r}", 406, f"PRECONDITION_FAILED - invalid expiration '{value}'", lambda c: c.basic_publish("", queue, b"", pika.BasicProperties(expiration=value)))


@ours
def a_body_beyond_the_limit_is_refused(w):
    queue = w.queue()
    w.refused("size", 406, "PRECONDITION_FAILED - ", lambda c: c.basic_publish("", queue, b"x" * (17 << 20)))
