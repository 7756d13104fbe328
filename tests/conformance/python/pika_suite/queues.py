"""Queues: names, declares and their texts, exclusiveness, purge and delete."""

from pika import spec

from . import check, ours, scenario
from .raw import Raw


@scenario
def a_queue_without_a_name_gets_one(w):
    first = w.channel.queue_declare("", exclusive=True).method.queue
    second = w.channel.queue_declare("", exclusive=True).method.queue
    check("prefix", first.startswith("amq.gen-") and second.startswith("amq.gen-"))
    check("unlike", first != second)


@scenario
def declare_ok_counts_ready_messages_and_consumers(w):
    queue = w.queue()
    w.fill(queue, "1", "2", "3")
    w.get(queue, auto_ack=False)
    answer = w.channel.queue_declare(queue).method
    check("ready only", (answer.queue, answer.message_count, answer.consumer_count), (queue, 2, 0))
    w.consume(queue)
    check("consumers", w.consumers(queue), 1)


@scenario
def the_last_declared_queue_stands_in_for_an_empty_name(w):
    channel = w.channel
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", "amq.direct", "")
    channel.basic_publish("amq.direct", queue, b"1")
    check("empty key means the queue's name", w.get(queue)[2], b"1")
    channel.basic_publish("", queue, b"2")
    check("get", w.get("")[2], b"2")
    inbox = w.consume("", auto_ack=True)
    channel.basic_publish("", queue, b"3")
    check("consume", inbox.wait(1).bodies, ["3"])
    channel.basic_cancel(inbox.tag)
    channel.basic_publish("", queue, b"4")
    w.until_ready(queue, 1)
    check("purge", channel.queue_purge("").method.message_count, 1)
    channel.queue_delete("")
    w.refused("deleted", 404, "NOT_FOUND - no queue", lambda c: c.queue_declare(queue, passive=True))
    w.refused("no queue declared on this channel", 404, "NOT_FOUND - no previously declared queue", lambda c: c.queue_bind("", "amq.direct", "x"))


@scenario
def inequivalent_declares_are_told_what_differs(w):
    arguments = {"x-message-ttl": 60000, "x-max-length": 10, "x-max-priority": 5, "x-dead-letter-exchange": "d", "x-expires": 600000}
    queue = w.queue(arguments=arguments)
    w.channel.queue_declare(queue, arguments=arguments)
    check("declared again", w.channel.is_open)
    head = "PRECONDITION_FAILED - inequivalent arg"

    def differs(what, want, changes=None, **flags):
        changed = {key: value for key, value in {**arguments, **(changes or {})}.items() if value is not ...}
        w.refused(what, 406, f"{head} '{what}' for queue '{queue}' in vhost '/': {want}", lambda c: c.queue_declare(queue, arguments=changed, **flags))

    differs("durable", "received 'true' but current is 'false'", durable=True)
    differs("auto_delete", "received 'true' but current is 'false'", auto_delete=True)
    differs("x-message-ttl", "received '1' but current is '60000'", {"x-message-ttl": 1})
    differs("x-message-ttl", "received none but current is the value '60000' of type 'signedint'", {"x-message-ttl": ...})
    differs("x-max-length", "received '11' but current is '10'", {"x-max-length": 11})
    differs("x-max-priority", "received none but current is the value '5' of type 'signedint'", {"x-max-priority": ...})
    differs("x-dead-letter-exchange", "received 'e' but current is 'd'", {"x-dead-letter-exchange": "e"})
    differs("x-expires", "received none but current is the value '600000' of type 'signedint'", {"x-expires": ...})
    plain = w.queue()
    w.refused("x-message-ttl given", 406, f"{head} 'x-message-ttl' for queue '{plain}' in vhost '/': received the value '5' of type 'signedint' but current is none", lambda c: c.queue_declare(plain, arguments={"x-message-ttl": 5}))


@scenario
def exclusive_is_compared_too(w):
    queue = w.queue(exclusive=True)
    w.refused("not exclusive", 405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue", lambda c: c.queue_declare(queue), w.connect().channel())


@scenario
def unknown_arguments_are_let_through(w):
    queue = w.queue(arguments={"x-something-else": "yes", "x-queue-mode": "lazy"})
    w.channel.queue_declare(queue, arguments={"x-queue-mode": "lazy"})
    check("and not compared", w.channel.is_open)


@scenario
def bad_arguments_are_refused(w):
    cases = [
        ("x-message-ttl", -1),
        ("x-message-ttl", "soon"),
        ("x-expires", 0),
        ("x-expires", -1),
        ("x-max-length", -1),
        ("x-max-length-bytes", "many"),
        ("x-max-priority", 256),
        ("x-max-priority", "high"),
        ("x-overflow", "explode"),
        ("x-single-active-consumer", "yes"),
        ("x-queue-type", "no-such-type"),
    ]
    for key, value in cases:
        code, text = w.channel_error(lambda c: c.queue_declare(w.name(), arguments={key: value}))
        check(f"{key}={value!r}", (code, text.startswith("PRECONDITION_FAILED - invalid arg") and key in text), (406, True))
    code, text = w.channel_error(lambda c: c.queue_declare(w.name(), arguments={"x-dead-letter-routing-key": "k"}))
    check("a dead-letter key without an exchange", (code, text.startswith("PRECONDITION_FAILED - ")), (406, True))


@scenario
def integers_of_every_width_are_equal(w):
    queue = w.queue(arguments={"x-message-ttl": 60000})
    w.channel.queue_declare(queue, arguments={"x-message-ttl": type("wide", (int,), {})(60000)})
    from pika.compat import long

    w.channel.queue_declare(queue, arguments={"x-message-ttl": long(60000)})
    check("64 bits equal 32 bits", w.channel.is_open)


@scenario
def passive_declares(w):
    missing = w.name("missing")
    w.refused("missing", 404, f"NOT_FOUND - no queue '{missing}' in vhost '/'", lambda c: c.queue_declare(missing, passive=True))
    queue = w.queue(arguments={"x-max-length": 3})
    answer = w.channel.queue_declare(queue, passive=True, durable=True).method
    check("nothing is compared", answer.queue, queue)


@scenario
def reserved_names_are_refused(w):
    w.refused("amq.", 403, "ACCESS_REFUSED - queue name 'amq.conformance' contains reserved prefix 'amq.*'", lambda c: c.queue_declare("amq.conformance"))


@scenario
def an_exclusive_queue_belongs_to_its_connection(w):
    queue = w.queue(exclusive=True)
    text = f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'"
    stranger = w.connect()
    for what, action in {
        "declare": lambda c: c.queue_declare(queue, exclusive=True),
        "passive declare": lambda c: c.queue_declare(queue, passive=True),
        "consume": lambda c: c.basic_consume(queue, lambda *_: None),
        "get": lambda c: c.basic_get(queue),
        "purge": lambda c: c.queue_purge(queue),
        "delete": lambda c: c.queue_delete(queue),
        "bind": lambda c: c.queue_bind(queue, "amq.direct", "x"),
    }.items():
        w.refused(what, 405, text, action, stranger.channel())
    stranger.channel().basic_publish("", queue, b"published by anybody")
    check("publishing is open to all", w.body(queue), "published by anybody")
    check("other channels of the owner may", bool(w.connection.channel().queue_declare(queue, exclusive=True).method.queue))


@scenario
def an_exclusive_queue_goes_with_its_connection(w):
    owner = w.connect()
    queue = owner.channel().queue_declare("", exclusive=True).method.queue
    owner.close()

    def is_gone():
        code, _ = w.channel_error(lambda c: c.queue_declare(queue, passive=True))
        return code == 404

    check("gone", w.until(is_gone, "the queue is gone"))


@scenario
def an_auto_delete_queue_goes_with_its_last_consumer(w):
    queue = w.queue(auto_delete=True)
    check("without a consumer so far it stays", w.ready(queue), 0)
    first, second = w.consume(queue), w.consume(queue)
    w.channel.basic_cancel(first.tag)
    check("one consumer left", w.consumers(queue), 1)
    w.channel.basic_cancel(second.tag)
    w.refused("gone", 404, "NOT_FOUND - no queue", lambda c: c.queue_declare(queue, passive=True))


@scenario
def purge_takes_what_is_ready(w):
    queue = w.queue()
    w.fill(queue, "1", "2", "3")
    method, _, _ = w.get(queue, auto_ack=False)
    check("count", w.channel.queue_purge(queue).method.message_count, 2)
    w.channel.basic_nack(method.delivery_tag)
    check("what was unacknowledged is not purged", w.body(queue), "1")
    missing = w.name("missing")
    w.refused("missing", 404, f"NOT_FOUND - no queue '{missing}' in vhost '/'", lambda c: c.queue_purge(missing))


@scenario
def deleting(w):
    queue = w.queue()
    w.fill(queue, "1", "2")
    w.until_ready(queue, 2)
    w.refused("if empty", 406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty", lambda c: c.queue_delete(queue, if_empty=True))
    inbox = w.consume(queue)
    inbox.wait(2)
    w.refused("if unused", 406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use", lambda c: c.queue_delete(queue, if_unused=True))
    w.channel.basic_cancel(inbox.tag)
    w.channel.basic_recover(requeue=True)
    w.until_ready(queue, 2)
    check("count", w.channel.queue_delete(queue, if_unused=True).method.message_count, 2)
    check("deleting what is not there succeeds", w.channel.queue_delete(queue).method.message_count, 0)


@scenario
def deleting_a_queue_takes_its_bindings(w):
    name = w.exchange("fanout")
    queue = w.bound(name)
    w.channel.queue_delete(queue)
    w.channel.exchange_delete(name, if_unused=True)
    check("the exchange is unused", w.channel.is_open)


@scenario
def transient_shared_queues_are_allowed(w):
    queue = w.queue(durable=False, exclusive=False, auto_delete=False)
    check("declared", w.ready(queue), 0)


@scenario
def a_server_named_queue_cannot_be_declared_again_by_its_name(w):
    queue = w.channel.queue_declare("", exclusive=True).method.queue
    w.refused("declare", 403, f"ACCESS_REFUSED - queue name '{queue}' contains reserved prefix 'amq.*'", lambda c: c.queue_declare(queue, exclusive=True))
    check("passively it can", w.channel.queue_declare(queue, passive=True).method.queue, queue)


@scenario
def a_name_may_have_255_octets(w):
    queue = w.queue("conformance." + "é" * 121 + "x")
    w.fill(queue, "1")
    check("usable", w.body(queue), "1")


@ours
def streams_are_refused_for_now(w):
    w.disconnected("declare", 540, "NOT_IMPLEMENTED", lambda c: c.queue_declare(w.name(), durable=True, arguments={"x-queue-type": "stream"}))


@scenario
def the_broker_says_which_frame_was_at_fault(w):
    with Raw() as raw:
        raw.open()
        for send, offender in [
            (spec.Exchange.Declare(exchange="conformance.none", passive=True), (40, 10)),
            (spec.Queue.Purge(queue="conformance.none"), (50, 30)),
            (spec.Basic.Consume(queue="conformance.none"), (60, 20)),
            (spec.Basic.Get(queue="conformance.none"), (60, 70)),
            (spec.Basic.Ack(delivery_tag=9), (60, 80)),
            (spec.Basic.Nack(delivery_tag=9), (60, 120)),
            (spec.Basic.Reject(delivery_tag=9), (60, 90)),
            (spec.Tx.Commit(), (90, 20)),
        ]:
            raw.send(send, 1)
            _, close = raw.method(spec.Channel.Close)
            check(send.NAME, (close.class_id, close.method_id), offender)
            raw.send(spec.Channel.CloseOk(), 1)
            raw.open_channel(1)
