"""Properties and headers come out bit by bit as they went in."""

import datetime
import decimal
import struct

import pika
from pika import spec

from . import check, scenario
from .raw import Raw, short

PROPERTIES = {
    "content_type": "text/plain",
    "content_encoding": "gzip",
    "headers": {"a": 1, "b": "two", "c": [1, "x", {"deep": True}], "d": None},
    "delivery_mode": 2,
    "priority": 7,
    "correlation_id": "c-1",
    "reply_to": "somewhere",
    "expiration": "600000",
    "message_id": "m-1",
    "timestamp": 1_700_000_000,
    "type": "greeting",
    "user_id": "guest",
    "app_id": "conformance",
    "cluster_id": "cluster",
}


@scenario
def all_fourteen_properties_are_kept(w):
    queue = w.queue()
    w.fill(queue, "1", **PROPERTIES)
    _, properties, _ = w.get(queue)
    for key, value in PROPERTIES.items():
        check(key, getattr(properties, key), value)


@scenario
def each_property_alone_is_kept_and_no_other_appears(w):
    queue = w.queue()
    for key, value in PROPERTIES.items():
        w.fill(queue, "1", **{key: value})
        _, properties, _ = w.get(queue)
        check(f"only {key}", {k: v for k, v in vars(properties).items() if v is not None}, {key: value})


@scenario
def python_values_in_headers(w):
    headers = {
        "text": "täxt",
        "bytes": b"\x00\xff",
        "true": True,
        "small": 1,
        "negative": -5,
        "large": 2**40,
        "decimal": decimal.Decimal("3.14"),
        "time": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        "table": {"inner": {"more": []}},
        "array": ["a", 1, None, [True]],
        "void": None,
    }
    queue = w.queue()
    w.fill(queue, "1", headers=headers)
    _, properties, _ = w.get(queue)
    for key, value in headers.items():
        check(key, properties.headers[key], value)


FIELDS = {
    "t": b"\x01",
    "b": b"\xfe",
    "B": b"\xfe",
    "s": b"\xff\xfe",
    "u": b"\xff\xfe",
    "I": b"\xff\xff\xff\xfe",
    "i": b"\xff\xff\xff\xfe",
    "l": b"\xff" * 7 + b"\xfe",
    "L": b"\xff" * 7 + b"\xfd",
    "f": struct.pack(">f", 1.5),
    "d": struct.pack(">d", -2.25),
    "D": b"\x02\x00\x00\x01\x3a",
    "S": b"\x00\x00\x00\x05\xc3\xa4\x00\xffz",
    "x": b"\x00\x00\x00\x03\x00\x01\xff",
    "T": struct.pack(">Q", 1_700_000_000),
    "V": b"",
    "A": b"\x00\x00\x00\x08" + b"t\x00" + b"I\x00\x00\x00\x07" + b"V",
    "F": b"\x00\x00\x00\x04" + b"\x01kt\x01",
}


def echo(raw, queue, flags_and_fields):
    """Sends a message with these property bytes and returns the property bytes that come back."""
    raw.content(spec.Basic.Publish(exchange="", routing_key=queue), b"x", properties=flags_and_fields)
    raw.send(spec.Basic.Get(queue=queue, no_ack=True), 1)
    method, head, _ = raw.delivery()
    return head[12:]


@scenario
def every_field_type_is_kept_bit_by_bit(w):
    with Raw() as raw:
        raw.open()
        queue = raw.queue(exclusive=True)
        for kind, value in FIELDS.items():
            table = short("key") + kind.encode() + value
            sent = b"\x20\x00" + struct.pack(">I", len(table)) + table
            check(f"type {kind}", echo(raw, queue, sent), sent)


@scenario
def all_field_types_together_keep_their_order(w):
    with Raw() as raw:
        raw.open()
        queue = raw.queue(exclusive=True)
        table = b"".join(short(f"key-{kind}") + kind.encode() + value for kind, value in FIELDS.items())
        sent = b"\x20\x00" + struct.pack(">I", len(table)) + table
        check("one table", echo(raw, queue, sent), sent)
        nested = short("outer") + b"F" + struct.pack(">I", len(table)) + table
        sent = b"\x20\x00" + struct.pack(">I", len(nested)) + nested
        check("within a table", echo(raw, queue, sent), sent)


@scenario
def an_empty_header_table_is_not_the_same_as_none(w):
    with Raw() as raw:
        raw.open()
        queue = raw.queue(exclusive=True)
        check("empty", echo(raw, queue, b"\x20\x00\x00\x00\x00\x00"), b"\x20\x00\x00\x00\x00\x00")
        check("none", echo(raw, queue, b"\x00\x00"), b"\x00\x00")


@scenario
def properties_survive_a_dead_letter_and_a_requeue(w):
    dead = w.queue()
    queue = w.queue(arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    w.fill(queue, "1", **{k: v for k, v in PROPERTIES.items() if k != "expiration"})
    method, _, _ = w.get(queue, auto_ack=False)
    w.channel.basic_nack(method.delivery_tag, requeue=True)
    method, properties, _ = w.get(queue, auto_ack=False)
    check("requeued", properties.headers, PROPERTIES["headers"])
    w.channel.basic_reject(method.delivery_tag, requeue=False)
    _, properties, _ = w.get(dead)
    for key in ["content_type", "correlation_id", "priority", "timestamp", "app_id"]:
        check(f"dead-lettered: {key}", getattr(properties, key), PROPERTIES[key])
    check("dead-lettered: headers", {k: v for k, v in properties.headers.items() if not k.startswith("x-")}, PROPERTIES["headers"])
