"""Consumers: order, tags, prefetch, priorities, exclusiveness, cancelling."""

from pika import spec
from pika.exceptions import ChannelClosedByBroker

from . import check, ours, scenario
from .raw import Raw


def numbers(first, last):
    return [str(number) for number in range(first, last + 1)]


@scenario
def deliveries_are_in_order_and_numbered_from_one(w):
    queue = w.queue()
    w.fill(queue, *numbers(1, 50))
    inbox = w.consume(queue).wait(50)
    check("order", inbox.bodies, numbers(1, 50))
    check("delivery tags", [method.delivery_tag for method, _, _ in inbox], list(range(1, 51)))
    check("not redelivered", any(method.redelivered for method, _, _ in inbox), False)
    check("consumer tag", {method.consumer_tag for method, _, _ in inbox}, {inbox.tag})


@scenario
def deliveries_come_after_consume_ok(w):
    queue = w.queue()
    w.fill(queue, "1")
    w.until_ready(queue, 1)
    with Raw() as raw:
        raw.open()
        raw.send(spec.Basic.Consume(queue=queue), 1)
        _, answer = raw.method()
        check("consume-ok first", isinstance(answer, spec.Basic.ConsumeOk))
        check("a tag was made", answer.consumer_tag.startswith("amq.ctag-"))
        method, _, body = raw.delivery()
        check("then the message", (method.consumer_tag, body), (answer.consumer_tag, b"1"))


@scenario
def a_consumer_tag_is_used_once_on_a_channel(w):
    queue = w.queue()

    def twice(channel):
        channel.basic_qos()
        for _ in range(2):
            channel._impl._send_method(spec.Basic.Consume(queue=queue, consumer_tag="same"))

    w.disconnected("same tag", 530, "NOT_ALLOWED - attempt to reuse consumer tag 'same'", twice)
    first, second = w.connection.channel(), w.connection.channel()
    w.consume(queue, channel=first, consumer_tag="same")
    w.consume(queue, channel=second, consumer_tag="same")
    check("on two channels it may be", first.is_open and second.is_open)


@scenario
def consuming_what_is_missing(w):
    name = w.name("missing")
    w.refused("queue", 404, f"NOT_FOUND - no queue '{name}' in vhost '/'", lambda c: c.basic_consume(name, lambda *_: None))


@scenario
def messages_are_shared_among_consumers(w):
    queue = w.queue()
    first, second = w.consume(queue), w.consume(queue)
    w.fill(queue, *numbers(1, 20))
    w.until(lambda: len(first) + len(second) == 20, "all delivered")
    check("evenly", (len(first), len(second)), (10, 10))
    check("each once", sorted(map(int, first.bodies + second.bodies)), list(range(1, 21)))


@scenario
def prefetch_limits_what_each_consumer_holds(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.basic_qos(prefetch_count=3)
    first, second = w.consume(queue, channel=channel), w.consume(queue, channel=channel)
    w.fill(queue, *numbers(1, 10))
    w.until_ready(queue, 4)
    w.until(lambda: len(first) + len(second) == 6, "6 delivered")
    check("3 each", (len(first), len(second)), (3, 3))
    channel.basic_ack(first[0][0].delivery_tag)
    w.until_ready(queue, 3)
    first.wait(4)
    check("an ack makes room for one", (len(first), len(second)), (4, 3))
    channel.basic_ack(0, multiple=True)
    w.until(lambda: len(first) + len(second) == 10, "the rest")
    check("none ready", w.ready(queue), 0)


@scenario
def global_prefetch_limits_the_channel(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.basic_qos(prefetch_count=4, global_qos=True)
    first, second = w.consume(queue, channel=channel), w.consume(queue, channel=channel)
    w.fill(queue, *numbers(1, 10))
    w.until_ready(queue, 6)
    w.until(lambda: len(first) + len(second) == 4, "4 delivered")
    check("4 in all", w.ready(queue), 6)
    channel.basic_qos(prefetch_count=6, global_qos=True)
    w.until(lambda: len(first) + len(second) == 6, "6 delivered")
    check("raised at once", w.ready(queue), 4)


@scenario
def both_limits_hold_together(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.basic_qos(prefetch_count=3)
    channel.basic_qos(prefetch_count=5, global_qos=True)
    first, second = w.consume(queue, channel=channel), w.consume(queue, channel=channel)
    w.fill(queue, *numbers(1, 12))
    w.until_ready(queue, 7)
    w.until(lambda: len(first) + len(second) == 5, "5 delivered")
    check("5 in all, at most 3 each", max(len(first), len(second)), 3)


@scenario
def a_later_limit_per_consumer_lifts_that_of_the_channel(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.basic_qos(prefetch_count=5, global_qos=True)
    channel.basic_qos(prefetch_count=3)
    first, second = w.consume(queue, channel=channel), w.consume(queue, channel=channel)
    w.fill(queue, *numbers(1, 12))
    w.until_ready(queue, 6)
    w.until(lambda: len(first) + len(second) == 6, "6 delivered")
    check("3 each", (len(first), len(second)), (3, 3))


@scenario
def prefetch_applies_to_new_consumers_only(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.basic_qos(prefetch_count=2)
    old = w.consume(queue, channel=channel)
    channel.basic_qos(prefetch_count=5)
    w.fill(queue, *numbers(1, 10))
    w.until_ready(queue, 8)
    old.wait(2)
    check("the old one keeps its own", len(old), 2)
    new = w.consume(queue, channel=channel)
    new.wait(5)
    w.until_ready(queue, 3)
    check("the new one has the new", (len(old), len(new)), (2, 5))


@scenario
def prefetch_zero_is_no_limit(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.basic_qos(prefetch_count=1)
    channel.basic_qos(prefetch_count=0)
    w.fill(queue, *numbers(1, 300))
    check("all", len(w.consume(queue, channel=channel).wait(300)), 300)


@scenario
def auto_ack_consumers_are_not_limited(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.basic_qos(prefetch_count=1)
    w.fill(queue, *numbers(1, 50))
    inbox = w.consume(queue, channel=channel, auto_ack=True).wait(50)
    channel.close()
    check("nothing comes back", (len(inbox), w.ready(queue)), (50, 0))


@scenario
def consumers_with_priority_come_first(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.basic_qos(prefetch_count=2)
    low = w.consume(queue, channel=channel, arguments={"x-priority": -5})
    normal = w.consume(queue, channel=channel)
    high = w.consume(queue, channel=channel, arguments={"x-priority": 10})
    w.fill(queue, *numbers(1, 3))
    w.until(lambda: len(high) + len(normal) + len(low) == 3, "3 delivered")
    check("high until it is full, then normal", (high.bodies, normal.bodies, low.bodies), (["1", "2"], ["3"], []))
    w.fill(queue, "4", "5")
    low.wait(1)
    check("low last", (normal.bodies, low.bodies), (["3", "4"], ["5"]))
    w.refused("a priority that is no number", 406, "PRECONDITION_FAILED - ", lambda c: c.basic_consume(queue, lambda *_: None, arguments={"x-priority": "high"}))


@scenario
def an_exclusive_consumer_is_alone(w):
    queue = w.queue()
    text = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    owner = w.connection.channel()
    inbox = w.consume(queue, channel=owner, exclusive=True)
    w.refused("a second consumer", 403, text, lambda c: c.basic_consume(queue, lambda *_: None))
    w.refused("a second exclusive one", 403, text, lambda c: c.basic_consume(queue, lambda *_: None, exclusive=True))
    owner.basic_cancel(inbox.tag)
    w.consume(queue)
    check("free again", w.consumers(queue), 1)
    w.refused("exclusive where others are", 403, text, lambda c: c.basic_consume(queue, lambda *_: None, exclusive=True))


@scenario
def a_single_active_consumer_is_replaced_by_the_next(w):
    queue = w.queue(arguments={"x-single-active-consumer": True})
    first_channel = w.connection.channel()
    first = w.consume(queue, channel=first_channel)
    second, third = w.consume(queue), w.consume(queue)
    w.fill(queue, "1", "2")
    first.wait(2)
    check("only the first", (first.bodies, second.bodies, third.bodies), (["1", "2"], [], []))
    first_channel.basic_ack(2, multiple=True)
    first_channel.basic_cancel(first.tag)
    w.fill(queue, "3")
    second.wait(1)
    check("then the second", (second.bodies, third.bodies), (["3"], []))
    w.refused("exclusive", 403, "ACCESS_REFUSED - ", lambda c: c.basic_consume(queue, lambda *_: None, exclusive=True))


@scenario
def deleting_a_queue_cancels_its_consumers(w):
    queue = w.queue()
    cancelled = []
    channel = w.connection.channel()
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    inbox = w.consume(queue, channel=channel)
    w.channel.queue_delete(queue)
    w.until(lambda: cancelled, "basic.cancel")
    check("its tag", cancelled, [inbox.tag])
    check("the channel is open", channel.is_open)


@scenario
def a_client_without_the_capability_is_not_told(w):
    name = w.name("silent")
    with Raw() as raw:
        raw.open()
        raw.queue(name)
        raw.send(spec.Basic.Consume(queue=name), 1)
        raw.method(spec.Basic.ConsumeOk)
        w.channel.queue_delete(name)
        raw.queue("", exclusive=True)
        check("no basic.cancel", True)
    with Raw() as raw:
        raw.open(client_properties={"capabilities": {"consumer_cancel_notify": True}})
        raw.queue(name)
        raw.send(spec.Basic.Consume(queue=name, consumer_tag="t"), 1)
        raw.method(spec.Basic.ConsumeOk)
        w.channel.queue_delete(name)
        _, cancel = raw.method(spec.Basic.Cancel)
        check("basic.cancel", (cancel.consumer_tag, cancel.nowait), ("t", True))


@scenario
def cancelling_leaves_unacknowledged_messages_with_the_channel(w):
    queue = w.queue()
    channel = w.connection.channel()
    inbox = w.consume(queue, channel=channel)
    w.fill(queue, "1", "2")
    inbox.wait(2)
    channel.basic_cancel(inbox.tag)
    check("nothing came back", w.ready(queue), 0)
    channel.basic_ack(1)
    channel.close()
    w.until_ready(queue, 1)
    method, _, body = w.get(queue)
    check("the rest comes back with the channel's end", (method.redelivered, body), (True, b"2"))


@scenario
def cancelling_an_unknown_tag_succeeds(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Basic.Cancel(consumer_tag="nobody"), 1)
        _, answer = raw.method(spec.Basic.CancelOk)
        check("cancel-ok", answer.consumer_tag, "nobody")


@ours
def a_client_may_answer_a_cancel(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Basic.CancelOk(consumer_tag="nobody"), 1)
        check("cancel-ok from the client is passed over", bool(raw.queue(exclusive=True)))


@scenario
def no_local_is_passed_over(w):
    with Raw() as raw:
        raw.open()
        queue = raw.queue(exclusive=True)
        raw.send(spec.Basic.Consume(queue=queue, no_local=True, no_ack=True), 1)
        raw.method(spec.Basic.ConsumeOk)
        raw.content(spec.Basic.Publish(exchange="", routing_key=queue), b"own")
        check("the own message comes", raw.delivery()[2], b"own")


@scenario
def a_generator_of_pika_consumes(w):
    queue = w.queue()
    w.fill(queue, "1", "2", "3")
    got = []
    for method, _, body in w.channel.consume(queue, inactivity_timeout=20):
        if method is None:
            break
        got.append(body.decode())
        w.channel.basic_ack(method.delivery_tag)
        if len(got) == 2:
            break
    w.channel.cancel()
    w.until_ready(queue, 1)
    check("two taken", (got, w.body(queue)), (["1", "2"], "3"))


@scenario
def get_counts_what_is_left(w):
    queue = w.queue()
    w.fill(queue, "1", "2", "3")
    w.until_ready(queue, 3)
    check("message_count", [w.get(queue)[0].message_count for _ in range(3)], [2, 1, 0])
    check("empty", w.channel.basic_get(queue), (None, None, None))
    missing = w.name("missing")
    w.refused("missing", 404, f"NOT_FOUND - no queue '{missing}' in vhost '/'", lambda c: c.basic_get(missing))


@scenario
def a_waiting_consumer_gets_what_is_published(w):
    queue = w.queue()
    inbox = w.consume(queue, auto_ack=True)
    name = w.exchange("topic")
    w.bound(name, "#", queue=queue)
    w.publish(name, "some.key", "1", type="t")
    method, properties, body = inbox.wait(1)[0]
    check("exchange, key, type, body", (method.exchange, method.routing_key, properties.type, body), (name, "some.key", "t", b"1"))


@ours
def a_late_consumer_loses_only_the_late_message(w):
    queue = w.queue(arguments={"x-consumer-timeout": 500})
    channel = w.connection.channel()
    slow = w.consume(queue, channel=channel)
    w.fill(queue, "late")
    slow.wait(1)
    slow.wait(2)
    check("it came again", (slow.bodies, slow[1][0].redelivered), (["late", "late"], True))
    channel.basic_ack(slow[0][0].delivery_tag)
    channel.basic_ack(slow[1][0].delivery_tag)
    check("the late ack is passed over", bool(channel.queue_declare("", exclusive=True).method.queue))
    check("settled", w.ready(queue), 0)
