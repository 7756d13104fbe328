"""Channels: their numbers, their closing, flow, and that an error on one leaves the others alone."""

import struct

from pika import spec

from . import check, scenario
from .raw import METHOD, Raw, envelope, short


@scenario
def a_channel_error_leaves_the_connection_and_other_channels_alone(w):
    other = w.connection.channel()
    w.refused("passive", 404, "NOT_FOUND - no queue 'conformance.none' in vhost '/'", lambda c: c.queue_declare("conformance.none", passive=True))
    check("the connection is open", w.connection.is_open)
    check("another channel works", bool(other.queue_declare("", exclusive=True).method.queue))


@scenario
def a_channel_number_can_be_used_again(w):
    channel = w.connection.channel(channel_number=5)
    channel.close()
    again = w.connection.channel(channel_number=5)
    check("open", again.is_open)
    w.channel_error(lambda c: c.queue_declare("conformance.none", passive=True), again)
    third = w.connection.channel(channel_number=5)
    check("open again after an error", bool(third.queue_declare("", exclusive=True).method.queue))


@scenario
def what_comes_for_a_closed_channel_is_passed_over_until_close_ok(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Queue.Declare(queue="conformance.none", passive=True), 1)
        raw.send(spec.Basic.Ack(delivery_tag=77), 1)
        raw.content(spec.Basic.Publish(exchange="", routing_key="x"), b"late")
        raw.send(spec.Queue.Declare(queue="conformance.none2", passive=True), 1)
        _, close = raw.method(spec.Channel.Close)
        check("code", close.reply_code, 404)
        check("offender", (close.class_id, close.method_id), (50, 10))
        raw.send(spec.Channel.CloseOk(), 1)
        raw.open_channel(1)
        check("open again", bool(raw.queue(exclusive=True)))


@scenario
def a_late_ack_after_the_channel_was_closed_is_harmless(w):
    with Raw() as raw:
        raw.open()
        queue = raw.queue(exclusive=True)
        raw.send(spec.Basic.Consume(queue=queue, consumer_tag="t"), 1)
        raw.method(spec.Basic.ConsumeOk)
        raw.content(spec.Basic.Publish(exchange="", routing_key=queue), b"x")
        method, _, _ = raw.delivery()
        raw.send(spec.Basic.Ack(delivery_tag=method.delivery_tag + 5), 1)
        raw.send(spec.Basic.Ack(delivery_tag=method.delivery_tag), 1)
        _, close = raw.method(spec.Channel.Close)
        check("code", close.reply_code, 406)
        raw.send(spec.Basic.Ack(delivery_tag=method.delivery_tag), 1)
        raw.send(spec.Channel.CloseOk(), 1)
        raw.open_channel(1)
        check("the connection goes on", bool(raw.queue(exclusive=True)))


@scenario
def closing_a_channel_is_answered(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Channel.Close(200, "bye", 0, 0), 1)
        check("close-ok", isinstance(raw.method()[1], spec.Channel.CloseOk))


@scenario
def flow_on_is_answered(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Channel.Flow(active=True), 1)
        _, answer = raw.method(spec.Channel.FlowOk)
        check("active", answer.active, True)


@scenario
def access_request_gives_a_ticket(w):
    with Raw() as raw:
        raw.open()
        raw.bytes(envelope(METHOD, 1, struct.pack(">HH", 30, 10) + short("/data") + b"\x1f"))
        kind, channel, payload = raw.frame()
        check("request-ok with ticket 1", (kind, channel, payload), (METHOD, 1, struct.pack(">HHH", 30, 11, 1)))


@scenario
def many_channels_at_once(w):
    channels = [w.connection.channel() for _ in range(100)]
    queue = w.queue()
    for number, channel in enumerate(channels):
        channel.basic_publish("", queue, str(number))
        channel.queue_declare(queue, passive=True)
    check("each published", sorted(int(body) for body in w.bodies(queue, 100)), list(range(100)))


@scenario
def requests_may_be_sent_ahead_of_their_replies(w):
    with Raw() as raw:
        raw.open()
        name = w.name("pipelined")
        raw.send(spec.Queue.Declare(queue=name, exclusive=True), 1)
        raw.content(spec.Basic.Publish(exchange="", routing_key=name), b"early")
        raw.send(spec.Queue.Bind(queue=name, exchange="amq.fanout"), 1)
        raw.send(spec.Basic.Get(queue=name, no_ack=True), 1)
        raw.send(spec.Queue.Purge(queue=name), 1)
        raw.send(spec.Queue.Delete(queue=name), 1)
        raw.method(spec.Queue.DeclareOk)
        raw.method(spec.Queue.BindOk)
        method, _, body = raw.delivery()
        check("the message", (method.NAME, body), ("Basic.GetOk", b"early"))
        raw.method(spec.Queue.PurgeOk)
        check("in order to the last", isinstance(raw.method()[1], spec.Queue.DeleteOk))


@scenario
def nowait_requests_are_not_answered(w):
    with Raw() as raw:
        raw.open()
        name = w.name("nowait")
        raw.send(spec.Queue.Declare(queue=name, exclusive=True, nowait=True), 1)
        raw.send(spec.Exchange.Declare(exchange=name, type="fanout", auto_delete=True, nowait=True), 1)
        raw.send(spec.Queue.Bind(queue=name, exchange=name, nowait=True), 1)
        raw.send(spec.Basic.Consume(queue=name, consumer_tag="t", nowait=True), 1)
        raw.send(spec.Basic.Cancel(consumer_tag="t", nowait=True), 1)
        raw.send(spec.Queue.Purge(queue=name, nowait=True), 1)
        raw.send(spec.Exchange.Delete(exchange=name, nowait=True), 1)
        raw.send(spec.Confirm.Select(nowait=True), 1)
        raw.send(spec.Queue.Declare(queue=name, passive=True), 1)
        _, answer = raw.method(spec.Queue.DeclareOk)
        check("only the last is answered", answer.queue, name)
