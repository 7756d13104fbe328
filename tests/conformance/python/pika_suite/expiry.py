"""TTL, expiry, length limits and priorities."""

from pika.exceptions import NackError

from . import check, scenario
from .consuming import numbers


@scenario
def a_queue_ttl_ends_messages(w):
    dead = w.queue()
    queue = w.queue(arguments={"x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    w.fill(queue, "1", "2")
    check("both, in order", w.bodies(dead, 2), ["1", "2"])
    check("gone", w.ready(queue), 0)


@scenario
def a_message_ttl_ends_it(w):
    dead = w.queue()
    queue = w.queue(arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    w.fill(queue, "short", expiration="50")
    w.fill(queue, "for ever")
    check("expired", w.body(dead), "short")
    check("the other stays", w.body(queue), "for ever")


@scenario
def the_shorter_ttl_counts(w):
    dead = w.queue()
    queue = w.queue(arguments={"x-message-ttl": 60_000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    w.fill(queue, "1", expiration="1")
    check("expired", w.body(dead), "1")


@scenario
def ttl_zero_expires_unless_it_is_delivered_at_once(w):
    queue = w.queue(arguments={"x-message-ttl": 0})
    w.fill(queue, "1")
    check("nobody there: gone", w.channel.basic_get(queue)[0] is None)
    inbox = w.consume(queue, auto_ack=True)
    w.fill(queue, "2")
    check("a consumer there: delivered", inbox.wait(1).bodies, ["2"])


@scenario
def a_held_message_does_not_expire(w):
    queue = w.queue(arguments={"x-message-ttl": 30})
    marker = w.queue(arguments={"x-message-ttl": 60, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "conformance.none"})
    w.fill(queue, "held")
    inbox = w.consume(queue)
    inbox.wait(1)
    w.fill(marker, "clock")
    w.until_ready(marker, 0)
    w.channel.basic_ack(inbox[0][0].delivery_tag)
    check("the ack is good", bool(w.channel.queue_declare("", exclusive=True).method.queue))


@scenario
def an_unused_queue_expires(w):
    name = w.queue(arguments={"x-expires": 50})

    check("gone", w.until(lambda: not w.is_reachable(name), "the queue is gone"))


@scenario
def a_consumer_keeps_an_expiring_queue(w):
    queue = w.queue(arguments={"x-expires": 50})
    inbox = w.consume(queue, auto_ack=True)
    other = w.queue(arguments={"x-expires": 200})
    w.until(lambda: not w.is_reachable(other), "the other queue is gone")
    w.fill(queue, "1")
    check("still there", inbox.wait(1).bodies, ["1"])


@scenario
def max_length_drops_the_oldest(w):
    queue = w.queue(arguments={"x-max-length": 3})
    w.fill(queue, *numbers(1, 5))
    w.until_ready(queue, 3)
    check("the newest three", w.drain(queue), ["3", "4", "5"])


@scenario
def max_length_bytes_counts_bodies(w):
    queue = w.queue(arguments={"x-max-length-bytes": 10})
    w.fill(queue, "aaaa", "bbbb", "cccc")
    w.until_ready(queue, 2)
    check("8 bytes fit", w.drain(queue), ["bbbb", "cccc"])


@scenario
def dropped_messages_are_dead_lettered(w):
    dead = w.queue()
    queue = w.queue(arguments={"x-max-length": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    w.fill(queue, "1", "2")
    _, properties, body = w.get(dead)
    check("the oldest", body, b"1")
    check("reason", properties.headers["x-death"][0]["reason"], "maxlen")


@scenario
def held_messages_do_not_count(w):
    queue = w.queue(arguments={"x-max-length": 1})
    w.fill(queue, "1")
    method, _, _ = w.get(queue, auto_ack=False)
    w.fill(queue, "2")
    w.until_ready(queue, 1)
    w.channel.basic_ack(method.delivery_tag)
    check("both had room", w.body(queue), "2")


@scenario
def reject_publish_keeps_the_oldest(w):
    queue = w.queue(arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    w.channel.confirm_delivery()
    outcomes = []
    for body in ["1", "2"]:
        w.fill(queue, body)
    try:
        w.fill(queue, "3")
    except NackError:
        outcomes.append("nack")
    check("nack", outcomes, ["nack"])
    check("the oldest two", w.drain(queue), ["1", "2"])


@scenario
def reject_publish_dlx_dead_letters_the_newest(w):
    dead = w.queue()
    queue = w.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    w.fill(queue, "1", "2")
    _, properties, body = w.get(dead)
    check("the newest", body, b"2")
    check("reason", properties.headers["x-death"][0]["reason"], "maxlen")
    check("the oldest stays", w.body(queue), "1")


@scenario
def priorities_come_first(w):
    queue = w.queue(arguments={"x-max-priority": 5})
    for priority in [1, 5, None, 3, 5, 0, 9]:
        w.fill(queue, f"p{priority}", priority=priority)
    w.until_ready(queue, 7)
    check("highest first, then by age, 9 counts as 5", w.drain(queue), ["p5", "p5", "p9", "p3", "p1", "pNone", "p0"])


@scenario
def priorities_mean_nothing_without_the_argument(w):
    queue = w.queue()
    for priority in [1, 5, 3]:
        w.fill(queue, f"p{priority}", priority=priority)
    w.until_ready(queue, 3)
    check("by age", w.drain(queue), ["p1", "p5", "p3"])


@scenario
def a_requeued_message_keeps_its_priority(w):
    queue = w.queue(arguments={"x-max-priority": 5})
    w.fill(queue, "high", priority=5)
    method, _, _ = w.get(queue, auto_ack=False)
    w.fill(queue, "low", priority=1)
    w.channel.basic_nack(method.delivery_tag)
    w.until_ready(queue, 2)
    check("first again", w.drain(queue), ["high", "low"])


@scenario
def length_limits_drop_from_the_head_the_highest_priority_first(w):
    queue = w.queue(arguments={"x-max-priority": 5, "x-max-length": 2})
    for priority in [5, 1, 3]:
        w.fill(queue, f"p{priority}", priority=priority)
    w.until_ready(queue, 2)
    check("the head was the highest", w.drain(queue), ["p3", "p1"])
