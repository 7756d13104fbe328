"""Dead letters: reasons, headers, counts, cycles."""

import datetime

from pika.compat import long

from . import check, scenario


def dead_pair(w, **more):
    """A queue and the queue its dead letters go to."""
    dead = w.queue()
    return w.queue(arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, **more}), dead


def reject(w, queue, channel=None):
    channel = channel or w.channel
    method, properties, body = w.get(queue, auto_ack=False, channel=channel)
    channel.basic_reject(method.delivery_tag, requeue=False)
    return properties


@scenario
def a_rejected_message_carries_its_death(w):
    queue, dead = dead_pair(w)
    name = w.exchange("direct")
    w.bound(name, "k", queue=queue)
    w.publish(name, "k", "1", message_id="m")
    reject(w, queue)
    method, properties, body = w.get(dead)
    check("body and id", (body, properties.message_id), (b"1", "m"))
    check("exchange and key of the dead letter", (method.exchange, method.routing_key), ("", dead))
    death = properties.headers["x-death"][0]
    check("count", death["count"], 1)
    check("reason", death["reason"], "rejected")
    check("queue", death["queue"], queue)
    check("exchange", death["exchange"], name)
    check("routing keys", death["routing-keys"], ["k"])
    check("time", isinstance(death["time"], datetime.datetime))
    check("nothing else", set(death), {"count", "reason", "queue", "exchange", "routing-keys", "time"})
    check("x-first-death-reason", properties.headers["x-first-death-reason"], "rejected")
    check("x-first-death-queue", properties.headers["x-first-death-queue"], queue)
    check("x-first-death-exchange", properties.headers["x-first-death-exchange"], name)


@scenario
def an_expired_message_keeps_its_expiration_in_its_death(w):
    queue, dead = dead_pair(w)
    w.fill(queue, "1", expiration="20")
    _, properties, _ = w.get(dead)
    death = properties.headers["x-death"][0]
    check("reason", death["reason"], "expired")
    check("original-expiration", death["original-expiration"], "20")
    check("the property is gone", properties.expiration, None)


@scenario
def without_a_dead_letter_key_the_own_is_kept(w):
    name = w.exchange("topic")
    dead = w.bound(name, "#")
    queue = w.queue(arguments={"x-dead-letter-exchange": name})
    source = w.exchange("direct")
    w.bound(source, "some.key", queue=queue)
    w.publish(source, "some.key", "1", headers={"CC": ["cc.key"]})
    reject(w, queue)
    method, properties, _ = w.get(dead)
    check("key", (method.exchange, method.routing_key), (name, "some.key"))
    check("keys include CC", properties.headers["x-death"][0]["routing-keys"], ["some.key", "cc.key"])
    check("CC is kept", properties.headers.get("CC"), ["cc.key"])


@scenario
def a_dead_letter_key_replaces_cc(w):
    queue, dead = dead_pair(w)
    other = w.queue()
    w.publish("", queue, "1", headers={"CC": [other]})
    check("CC at first", w.body(other), "1")
    reject(w, queue)
    _, properties, _ = w.get(dead)
    check("keys of the death", properties.headers["x-death"][0]["routing-keys"], [queue, other])
    check("CC is dropped", "CC" in properties.headers, False)


@scenario
def deaths_are_counted_per_queue_and_reason_newest_first(w):
    first, second = w.name("first"), w.name("second")
    w.queue(first, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second})
    w.queue(second, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": first})
    w.fill(first, "1")
    for _ in range(2):
        reject(w, first)
        reject(w, second)
    _, properties, _ = w.get(first)
    deaths = properties.headers["x-death"]
    check("queues and counts", [(death["queue"], death["count"]) for death in deaths], [(second, 2), (first, 2)])
    check("the first death stays", properties.headers["x-first-death-queue"], first)


@scenario
def a_cycle_with_a_rejection_goes_on(w):
    name = w.name("cycle")
    w.queue(name, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name})
    w.fill(name, "1")
    for _ in range(3):
        reject(w, name)
    _, properties, _ = w.get(name)
    check("count", properties.headers["x-death"][0]["count"], 3)


@scenario
def a_cycle_without_a_rejection_ends(w):
    name = w.name("cycle")
    w.queue(name, arguments={"x-message-ttl": 20, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": name})
    w.fill(name, "1")
    w.until_ready(name, 0)
    marker, dead = dead_pair(w, **{"x-message-ttl": 60})
    w.fill(marker, "clock")
    w.body(dead)
    check("it ended", w.ready(name), 0)


@scenario
def retry_with_a_waiting_queue(w):
    work, wait = w.name("work"), w.name("wait")
    w.queue(work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait})
    w.queue(wait, arguments={"x-message-ttl": 20, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": work})
    w.fill(work, "1")
    reject(w, work)
    reject(w, work)
    _, properties, _ = w.get(work)
    counts = {(death["queue"], death["reason"]): death["count"] for death in properties.headers["x-death"]}
    check("counts", counts, {(work, "rejected"): 2, (wait, "expired"): 2})


@scenario
def a_missing_dead_letter_exchange_ends_the_message(w):
    queue = w.queue(arguments={"x-dead-letter-exchange": "conformance.none"})
    w.fill(queue, "1")
    reject(w, queue)
    check("gone", w.ready(queue), 0)
    check("the channel is open", w.channel.is_open)


@scenario
def nack_without_requeue_dead_letters_several(w):
    queue, dead = dead_pair(w)
    w.fill(queue, "1", "2", "3")
    for _ in range(3):
        method, _, _ = w.get(queue, auto_ack=False)
    w.channel.basic_nack(method.delivery_tag, multiple=True, requeue=False)
    check("in order", w.bodies(dead, 3), ["1", "2", "3"])


@scenario
def purged_and_deleted_messages_are_not_dead_lettered(w):
    queue, dead = dead_pair(w)
    w.fill(queue, "1")
    w.until_ready(queue, 1)
    w.channel.queue_purge(queue)
    w.fill(queue, "2")
    w.until_ready(queue, 1)
    w.channel.queue_delete(queue)
    check("none", w.all(dead), [])
