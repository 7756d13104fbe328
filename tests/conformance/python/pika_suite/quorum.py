"""Queues declared with `x-queue-type: quorum`."""

from . import check, ours, scenario

QUORUM = {"x-queue-type": "quorum"}


@scenario
def quorum_queues_hold_and_deliver(w):
    queue = w.queue(arguments=QUORUM)
    w.channel.confirm_delivery()
    w.fill(queue, "1", "2")
    check("in order", w.bodies(queue, 2), ["1", "2"])


@scenario
def quorum_queues_are_durable_shared_and_named(w):
    for what, name, flags in [
        ("not durable", w.name(), {"durable": False}),
        ("exclusive", w.name(), {"durable": True, "exclusive": True}),
    ]:
        code, text = w.channel_error(lambda c: c.queue_declare(name, arguments=QUORUM, **flags))
        check(what, (code, text.startswith("PRECONDITION_FAILED - ")), (406, True))


@scenario
def the_queue_type_is_compared(w):
    queue = w.queue(arguments=QUORUM)
    w.channel.queue_declare(queue, durable=True, arguments=QUORUM)
    check("equal", w.channel.is_open)
    classic = w.queue(durable=True)
    w.channel.queue_declare(classic, durable=True, arguments={"x-queue-type": "classic"})
    check("classic is the default", w.channel.is_open)
    w.refused("quorum where classic is", 406, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type'", lambda c: c.queue_declare(classic, durable=True, arguments=QUORUM))


@scenario
def deliveries_are_counted(w):
    queue = w.queue(arguments=QUORUM)
    w.fill(queue, "1")
    counts = []
    for _ in range(3):
        method, properties, _ = w.get(queue, auto_ack=False)
        counts.append((properties.headers or {}).get("x-delivery-count"))
        w.channel.basic_nack(method.delivery_tag, requeue=True)
    check("x-delivery-count", counts[1:], [1, 2])
    check("absent or 0 at first", counts[0] in (None, 0))


@scenario
def the_delivery_limit_dead_letters(w):
    dead = w.queue()
    queue = w.queue(arguments={**QUORUM, "x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    w.fill(queue, "poison")
    for _ in range(3):
        method, _, _ = w.get(queue, auto_ack=False)
        w.channel.basic_nack(method.delivery_tag, requeue=True)
    _, properties, body = w.get(dead)
    check("the message", body, b"poison")
    check("reason", properties.headers["x-death"][0]["reason"], "delivery_limit")
    check("gone", w.ready(queue), 0)


@scenario
def channel_prefetch_is_refused_for_quorum_queues(w):
    queue = w.queue(arguments=QUORUM)

    def consume(channel):
        channel.basic_qos(prefetch_count=5, global_qos=True)
        channel.basic_consume(queue, lambda *_: None)

    w.disconnected("consume", 540, "NOT_IMPLEMENTED - ", consume)


@scenario
def quorum_prefetch_and_redelivery(w):
    queue = w.queue(arguments=QUORUM)
    w.channel.confirm_delivery()
    w.fill(queue, "1", "2", "3")
    channel = w.connection.channel()
    channel.basic_qos(prefetch_count=2)
    inbox = w.consume(queue, channel=channel)
    inbox.wait(2)
    check("two", inbox.bodies, ["1", "2"])
    channel.basic_ack(inbox[0][0].delivery_tag)
    inbox.wait(3)
    check("then one more", inbox.bodies, ["1", "2", "3"])


@scenario
def single_active_consumer_on_a_quorum_queue(w):
    queue = w.queue(arguments={**QUORUM, "x-single-active-consumer": True})
    w.channel.confirm_delivery()
    first, second = w.consume(queue), w.consume(queue)
    w.fill(queue, "1", "2")
    first.wait(2)
    check("the first only", (first.bodies, second.bodies), (["1", "2"], []))
    w.refused("get", 405, "RESOURCE_LOCKED - ", lambda c: c.basic_get(queue))


@ours
def quorum_queues_refuse_what_classic_ones_allow(w):
    code, _ = w.channel_error(lambda c: c.queue_declare(w.name(), durable=True, arguments={**QUORUM, "x-max-priority": 5}))
    check("x-max-priority", code, 406)
    code, _ = w.channel_error(lambda c: c.queue_declare(w.name(), durable=True, auto_delete=True, arguments=QUORUM))
    check("auto-delete", code, 406)


@ours
def quorum_queues_have_priorities_of_their_own(w):
    queue = w.queue(arguments=QUORUM)
    w.channel.confirm_delivery()
    for priority in [1, None, 20, 4]:
        w.fill(queue, f"p{priority}", priority=priority)
    check("4 is the default", w.drain(queue), ["p20", "pNone", "p4", "p1"])


@ours
def twenty_deliveries_are_the_default_limit(w):
    queue = w.queue(arguments=QUORUM)
    w.fill(queue, "poison")
    times = 0
    while True:
        method, _, _ = w.channel.basic_get(queue)
        if method is None:
            if w.ready(queue) == 0 and times:
                break
            continue
        times += 1
        w.channel.basic_nack(method.delivery_tag, requeue=True)
        if times > 50:
            break
    check("delivered 21 times", times, 21)
