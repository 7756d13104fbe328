"""Publisher confirms."""

import pika
from pika import spec
from pika.exceptions import NackError, UnroutableError

from . import check, ours, scenario
from .raw import Raw


def read_confirms(raw, last):
    """Confirms until `last` is settled: {tag: "ack" or "nack"}."""
    settled = {}
    lowest = 1
    while len(settled) < last:
        _, method = raw.method()
        kind = "ack" if isinstance(method, spec.Basic.Ack) else "nack"
        tags = range(lowest, method.delivery_tag + 1) if method.multiple else [method.delivery_tag]
        for tag in tags:
            if tag not in settled:
                settled[tag] = kind
        while lowest in settled:
            lowest += 1
    return settled


@scenario
def every_publish_is_confirmed_by_its_number(w):
    with Raw() as raw:
        raw.open()
        queue = raw.queue(exclusive=True)
        raw.send(spec.Confirm.Select(), 1)
        raw.method(spec.Confirm.SelectOk)
        for _ in range(500):
            raw.content(spec.Basic.Publish(exchange="", routing_key=queue), b"x")
        check("1 to 500, all acknowledged", read_confirms(raw, 500), dict.fromkeys(range(1, 501), "ack"))


@scenario
def numbers_start_at_confirm_select(w):
    with Raw() as raw:
        raw.open()
        queue = raw.queue(exclusive=True)
        raw.content(spec.Basic.Publish(exchange="", routing_key=queue), b"before")
        raw.send(spec.Confirm.Select(), 1)
        raw.method(spec.Confirm.SelectOk)
        raw.content(spec.Basic.Publish(exchange="", routing_key=queue), b"after")
        check("the first is 1", read_confirms(raw, 1), {1: "ack"})


@scenario
def confirm_select_twice_is_harmless(w):
    channel = w.connection.channel()
    queue = w.queue()
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"1")
    check("confirmed", w.ready(queue), 1)


@scenario
def an_unroutable_message_is_confirmed(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Confirm.Select(), 1)
        raw.method(spec.Confirm.SelectOk)
        raw.content(spec.Basic.Publish(exchange="", routing_key="conformance.none"), b"x")
        check("ack", read_confirms(raw, 1), {1: "ack"})


@scenario
def a_return_precedes_its_confirm(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Confirm.Select(), 1)
        raw.method(spec.Confirm.SelectOk)
        raw.content(spec.Basic.Publish(exchange="", routing_key="conformance.none", mandatory=True), b"x")
        method, _, body = raw.delivery()
        check("return", (method.NAME, method.reply_code, body), ("Basic.Return", 312, b"x"))
        _, method = raw.method()
        check("then ack", (method.NAME, method.delivery_tag), ("Basic.Ack", 1))


@scenario
def pika_raises_for_returned_messages(w):
    channel = w.connection.channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish("", "conformance.none", b"x", mandatory=True)
        check("raised", False)
    except UnroutableError as error:
        check("one message", len(error.messages), 1)


@scenario
def reject_publish_is_a_nack(w):
    queue = w.queue(arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    channel = w.connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"1")
    channel.basic_publish("", queue, b"2")
    try:
        channel.basic_publish("", queue, b"3")
        check("refused", False)
    except NackError:
        check("refused", True)
    check("the first stay", w.drain(queue), ["1", "2"])
    channel.basic_publish("", queue, b"4")
    check("room again", w.body(queue), "4")


@scenario
def one_full_queue_of_several_is_a_nack(w):
    name = w.exchange("fanout")
    full = w.queue(arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    w.bound(name, queue=full)
    other = w.bound(name)
    channel = w.connection.channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish(name, "", b"1")
        check("refused", False)
    except NackError:
        check("refused", True)
    check("the queue with room has it", w.body(other), "1")


@scenario
def confirms_of_persistent_messages_to_durable_queues(w):
    queue = w.queue(durable=True)
    channel = w.connection.channel()
    channel.confirm_delivery()
    for number in range(20):
        channel.basic_publish("", queue, str(number), pika.BasicProperties(delivery_mode=2))
    check("all there, in order", w.drain(queue), [str(number) for number in range(20)])


@scenario
def confirm_and_tx_exclude_each_other(w):
    def confirm_then_tx(channel):
        channel.confirm_delivery()
        channel.tx_select()

    def tx_then_confirm(channel):
        channel.tx_select()
        channel.confirm_delivery()

    w.refused("tx after confirm", 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", confirm_then_tx)
    w.refused("confirm after tx", 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", tx_then_confirm)


@scenario
def a_message_that_expires_or_is_dropped_at_once_is_confirmed(w):
    queue = w.queue(arguments={"x-message-ttl": 0})
    short = w.queue(arguments={"x-max-length": 1})
    channel = w.connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"gone")
    for number in range(3):
        channel.basic_publish("", short, str(number))
    check("confirmed", channel.is_open)
    check("the newest stays", w.drain(short), ["2"])
