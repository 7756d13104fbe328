"""What AMQP clients can have from Rialto through arguments and headers; RabbitMQ has it in plugins or in later versions."""

import time

import pika

from . import check, ours


@ours
def delayed_messages_wait_their_time(w):
    name = w.exchange("x-delayed-message", arguments={"x-delayed-type": "direct"})
    queue = w.bound(name, "k")
    started = time.monotonic()
    for delay in [150, 50, 100]:
        w.publish(name, "k", str(delay), headers={"x-delay": delay})
    w.publish(name, "k", "0")
    check("by their times", w.bodies(queue, 4), ["0", "50", "100", "150"])
    check("not early", time.monotonic() - started >= 0.15)


@ours
def a_delayed_exchange_needs_a_type(w):
    w.refused("no x-delayed-type", 406, "PRECONDITION_FAILED - ", lambda c: c.exchange_declare(w.name(), "x-delayed-message"))
    w.refused("an unknown one", 406, "PRECONDITION_FAILED - ", lambda c: c.exchange_declare(w.name(), "x-delayed-message", arguments={"x-delayed-type": "nonsense"}))


@ours
def delayed_messages_are_routed_by_the_inner_type(w):
    name = w.exchange("x-delayed-message", arguments={"x-delayed-type": "topic"})
    queue = w.bound(name, "a.*")
    w.publish(name, "b.x", "no", headers={"x-delay": 10})
    w.publish(name, "a.x", "yes", headers={"x-delay": 20})
    check("topic", w.bodies(queue, 1), ["yes"])
    check("only that", w.all(queue), [])


@ours
def duplicates_are_dropped_by_a_queue(w):
    queue = w.queue(arguments={"x-message-deduplication": True})
    for body, key in [("1", "a"), ("2", "a"), ("3", "b"), ("4", None)]:
        w.fill(queue, body, headers={"x-deduplication-header": key} if key else None)
    check("one of each", w.all(queue), ["1", "3", "4"])


@ours
def duplicates_are_dropped_by_an_exchange(w):
    name = w.exchange("x-message-deduplication", arguments={"x-cache-size": 100})
    queue = w.bound(name, "")
    for body, key in [("1", "a"), ("2", "a"), ("3", "b")]:
        w.publish(name, "", body, headers={"x-deduplication-header": key})
    check("one of each", w.all(queue), ["1", "3"])


@ours
def delayed_retry_of_a_returned_message(w):
    queue = w.queue(arguments={"x-queue-type": "quorum", "x-delayed-retry-type": "all", "x-delayed-retry-min": 100, "x-delayed-retry-max": 1000})
    w.fill(queue, "1")
    method, _, _ = w.get(queue, auto_ack=False)
    started = time.monotonic()
    w.channel.basic_nack(method.delivery_tag, requeue=True)
    method, _, body = w.get(queue)
    check("again, later", (body, method.redelivered), (b"1", True))
    check("not early", time.monotonic() - started >= 0.05)
