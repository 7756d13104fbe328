"""Acks, nacks, rejects, recover, and unknown tags."""

import struct

from pika import spec

from . import check, scenario
from .consuming import numbers
from .raw import METHOD, Raw, envelope


def held(w, queue, count):
    """A channel that holds the next `count` messages of a queue."""
    channel = w.connection.channel()
    for _ in range(count):
        w.get(queue, auto_ack=False, channel=channel)
    return channel


def returned(w, queue, count):
    """What has come back, as (body, redelivered)."""
    w.until_ready(queue, count)
    got = [w.get(queue) for _ in range(count)]
    return [(body.decode(), method.redelivered) for method, _, body in got]


@scenario
def acknowledged_messages_are_gone(w):
    queue = w.queue()
    w.fill(queue, *numbers(1, 3))
    channel = held(w, queue, 3)
    channel.basic_ack(2)
    channel.close()
    check("1 and 3 come back, in their places, marked", returned(w, queue, 2), [("1", True), ("3", True)])


@scenario
def multiple_acknowledges_all_up_to_a_tag(w):
    queue = w.queue()
    w.fill(queue, *numbers(1, 5))
    channel = held(w, queue, 5)
    channel.basic_ack(3, multiple=True)
    channel.close()
    check("4 and 5 come back", returned(w, queue, 2), [("4", True), ("5", True)])


@scenario
def tag_zero_with_multiple_means_all(w):
    queue = w.queue()
    w.fill(queue, *numbers(1, 5))
    channel = held(w, queue, 5)
    channel.basic_ack(0, multiple=True)
    channel.close()
    check("none comes back", w.ready(queue), 0)
    with_none = w.connection.channel()
    with_none.basic_ack(0, multiple=True)
    check("even if there are none", bool(with_none.queue_declare("", exclusive=True).method.queue))


@scenario
def nack_requeues_or_drops(w):
    queue = w.queue()
    w.fill(queue, *numbers(1, 4))
    channel = held(w, queue, 4)
    channel.basic_nack(2, multiple=True, requeue=True)
    channel.basic_nack(4, requeue=False)
    check("1 and 2 are back", returned(w, queue, 2), [("1", True), ("2", True)])
    channel.close()
    check("4 is gone, 3 was held", returned(w, queue, 1), [("3", True)])


@scenario
def nack_all(w):
    queue = w.queue()
    w.fill(queue, *numbers(1, 3))
    channel = held(w, queue, 3)
    channel.basic_nack(0, multiple=True, requeue=True)
    check("all back, in order", returned(w, queue, 3), [("1", True), ("2", True), ("3", True)])


@scenario
def reject_requeues_or_drops(w):
    queue = w.queue()
    w.fill(queue, *numbers(1, 2))
    channel = held(w, queue, 2)
    channel.basic_reject(1, requeue=True)
    channel.basic_reject(2, requeue=False)
    check("1 is back", returned(w, queue, 1), [("1", True)])
    channel.close()
    check("2 is gone", w.ready(queue), 0)


@scenario
def a_requeued_message_goes_to_its_place(w):
    queue = w.queue()
    w.fill(queue, *numbers(1, 5))
    channel = held(w, queue, 3)
    channel.basic_nack(2)
    w.until_ready(queue, 3)
    channel.basic_nack(1)
    channel.basic_nack(3)
    w.until_ready(queue, 5)
    check("order", w.drain(queue), numbers(1, 5))


@scenario
def unknown_tags_close_the_channel(w):
    queue = w.queue()
    for what, action in {
        "ack": lambda c: c.basic_ack(1),
        "ack of tag 0": lambda c: c.basic_ack(0),
        "nack": lambda c: c.basic_nack(1),
        "reject": lambda c: c.basic_reject(1),
        "ack multiple": lambda c: c.basic_ack(7, multiple=True),
    }.items():
        tag = {"ack of tag 0": 0, "ack multiple": 7}.get(what, 1)
        w.refused(what, 406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", action)

    def twice(channel):
        w.fill(queue, "1")
        w.get(queue, auto_ack=False, channel=channel)
        channel.basic_ack(1)
        channel.basic_ack(1)

    w.refused("twice", 406, "PRECONDITION_FAILED - unknown delivery tag 1", twice)

    def auto_acked(channel):
        w.fill(queue, "1")
        w.get(queue, auto_ack=True, channel=channel)
        channel.basic_ack(1)

    w.refused("what needed no ack", 406, "PRECONDITION_FAILED - unknown delivery tag 1", auto_acked)


@scenario
def tags_belong_to_their_channel(w):
    queue = w.queue()
    w.fill(queue, "1")
    held(w, queue, 1)
    w.refused("another channel's tag", 406, "PRECONDITION_FAILED - unknown delivery tag 1", lambda c: c.basic_ack(1))


@scenario
def recover_gives_everything_back(w):
    queue = w.queue()
    w.fill(queue, *numbers(1, 3))
    channel = held(w, queue, 3)
    channel.basic_recover(requeue=True)
    check("all back", returned(w, queue, 3), [("1", True), ("2", True), ("3", True)])
    w.refused("the old tags are void", 406, "PRECONDITION_FAILED - unknown delivery tag 1", lambda c: c.basic_ack(1), channel)


@scenario
def recover_delivers_again_to_a_consumer(w):
    queue = w.queue()
    channel = w.connection.channel()
    inbox = w.consume(queue, channel=channel)
    w.fill(queue, "1", "2")
    inbox.wait(2)
    channel.basic_recover(requeue=True)
    inbox.wait(4)
    check("again, marked", [(b.decode(), m.redelivered) for m, _, b in inbox[2:]], [("1", True), ("2", True)])


@scenario
def what_a_lost_connection_held_comes_back(w):
    queue = w.queue()
    w.fill(queue, "1", "2")
    with Raw() as raw:
        raw.open()
        raw.send(spec.Basic.Consume(queue=queue), 1)
        raw.method(spec.Basic.ConsumeOk)
        check("delivered", [raw.delivery()[2] for _ in range(2)], [b"1", b"2"])
    check("all back", returned(w, queue, 2), [("1", True), ("2", True)])


@scenario
def acks_in_any_order(w):
    queue = w.queue()
    w.fill(queue, *numbers(1, 100))
    channel = held(w, queue, 100)
    for tag in list(range(2, 101, 2)) + list(range(99, 0, -2)):
        channel.basic_ack(tag)
    channel.close()
    check("all settled", w.ready(queue), 0)


@scenario
def recover_async_is_not_answered(w):
    with Raw() as raw:
        raw.open()
        queue = raw.queue(exclusive=True)
        raw.content(spec.Basic.Publish(exchange="", routing_key=queue), b"1")
        raw.send(spec.Basic.Get(queue=queue), 1)
        raw.delivery()
        raw.bytes(envelope(METHOD, 1, struct.pack(">HHB", 60, 100, 1)))
        raw.send(spec.Basic.Get(queue=queue), 1)
        method, _, body = raw.delivery()
        check("got again, marked", (method.NAME, method.redelivered, body), ("Basic.GetOk", True, b"1"))
