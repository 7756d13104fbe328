"""kombu over py-amqp: what Celery and OpenStack stand on."""

import secrets
import socket

import amqp
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed, ResourceLocked
from kombu import Connection, Consumer, Exchange, Producer, Queue, binding
from kombu.pidbox import Mailbox

from check import Suite, broker_url, until

suite = Suite("kombu")
check = suite.check


def name(stem):
    return f"conformance.kombu.{stem}.{secrets.token_hex(6)}"


def drain(connection, condition, what):
    """Handles events until a condition is true."""

    def step():
        try:
            connection.drain_events(timeout=0.05)
        except socket.timeout:
            pass

    return until(condition, what, step)


def refused(what, error, code, action):
    try:
        action()
        check(what, "nothing", error.__name__)
    except error as got:
        check(what, got.reply_code, code)


@suite.scenario
def a_producer_and_a_consumer(connection):
    exchange = Exchange(name("exchange"), "direct", durable=False, auto_delete=True)
    queue = Queue(name("queue"), exchange, routing_key="k", durable=False, auto_delete=True)
    got = []
    with Consumer(connection, [queue], callbacks=[lambda body, message: (got.append((body, message)), message.ack())]):
        producer = Producer(connection, exchange, routing_key="k")
        producer.publish({"a": [1, None, "ü"]}, serializer="json", headers={"h": 1, "s": "x"}, correlation_id="c", priority=2, expiration=60)
        producer.publish({"zipped": "x" * 1000}, serializer="json", compression="zlib")
        producer.publish(b"\x00raw", content_type="application/data", content_encoding="binary")
        drain(connection, lambda: len(got) == 3, "three messages")
    check("json", got[0][0], {"a": [1, None, "ü"]})
    message = got[0][1]
    check("headers", {k: message.headers[k] for k in "hs"}, {"h": 1, "s": "x"})
    check("content type", (message.content_type, message.content_encoding), ("application/json", "utf-8"))
    check("correlation id", message.properties["correlation_id"], "c")
    check("priority", message.properties["priority"], 2)
    check("expiration in ms", message.properties["expiration"], "60000")
    check("delivery info", (message.delivery_info["exchange"], message.delivery_info["routing_key"], message.delivery_info["redelivered"]), (exchange.name, "k", False))
    check("compressed", got[1][0], {"zipped": "x" * 1000})
    check("bytes", got[2][0], b"\x00raw")


@suite.scenario
def ack_reject_and_requeue(connection):
    channel = connection.channel()
    queue = Queue(name("queue"), auto_delete=True, durable=False, channel=channel)
    queue.declare()
    Producer(channel).publish("x", routing_key=queue.name)
    message = until(queue.get, "the message")
    check("first time", message.delivery_info["redelivered"], False)
    message.requeue()
    message = until(queue.get, "the message again")
    check("again", message.delivery_info["redelivered"], True)
    message.reject()
    check("gone", queue.get(), None)


@suite.scenario
def confirmed_publishing(connection):
    with Connection(broker_url(), transport_options={"confirm_publish": True}) as confirming:
        channel = confirming.channel()
        queue = Queue(name("queue"), auto_delete=True, durable=False, channel=channel, max_length=2, queue_arguments={"x-overflow": "reject-publish"})
        queue.declare()
        producer = Producer(channel)
        producer.publish("1", routing_key=queue.name)
        producer.publish("2", routing_key=queue.name)
        try:
            producer.publish("3", routing_key=queue.name)
            check("a nack raises", False)
        except amqp.exceptions.MessageNacked:
            check("a nack raises", True)
        check("two are there", queue.queue_declare(passive=True).message_count, 2)
        queue.delete()


@suite.scenario
def returned_messages(connection):
    returned = []
    producer = Producer(connection.channel(), on_return=lambda error, exchange, key, message: returned.append((error.reply_code, exchange, key)))
    producer.publish("x", routing_key="conformance.none", mandatory=True)
    drain(connection, lambda: returned, "the return")
    check("return", returned, [(312, "", "conformance.none")])


@suite.scenario
def exchange_types_and_bindings(connection):
    channel = connection.channel()
    topic = Exchange(name("topic"), "topic", durable=False, auto_delete=True)
    other = Exchange(name("fanout"), "fanout", durable=False, auto_delete=True)
    queue = Queue(name("queue"), [binding(topic, "a.*"), binding(topic, "#.z"), binding(other)], durable=False, auto_delete=True)
    bound = queue(channel)
    bound.declare()
    producer = Producer(channel)
    for exchange, key in [(topic, "a.b"), (topic, "b.a"), (topic, "x.y.z"), (other, "")]:
        producer.publish(key or "fanout", exchange=exchange, routing_key=key)
    got = [until(bound.get, "a message").payload for _ in range(3)]
    check("routed", got, ["a.b", "x.y.z", "fanout"])
    check("no more", bound.get(), None)
    upstream = Exchange(name("upstream"), "fanout", durable=False, auto_delete=True)(channel)
    upstream.declare()
    topic(channel).bind_to(upstream, routing_key="")
    producer.publish("through", exchange=upstream, routing_key="a.through")
    check("exchange to exchange", until(bound.get, "the message").payload, "through")


@suite.scenario
def queue_arguments_by_their_kombu_names(connection):
    channel = connection.channel()
    dead = Queue(name("dead"), durable=False, auto_delete=True, channel=channel)
    dead.declare()
    queue = Queue(
        name("queue"),
        durable=False,
        channel=channel,
        expires=60,
        message_ttl=0.05,
        max_length=10,
        max_length_bytes=10000,
        max_priority=5,
        queue_arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name},
    )
    queue.declare()
    Producer(channel).publish("short-lived", routing_key=queue.name)
    message = until(dead.get, "the dead letter")
    check("dead letter", message.payload, "short-lived")
    check("reason", message.headers["x-death"][0]["reason"], "expired")
    queue.delete()


@suite.scenario
def simple_queues(connection):
    with connection.SimpleQueue(name("simple"), queue_opts={"auto_delete": True, "durable": False}) as queue:
        for n in range(3):
            queue.put({"n": n})
        until(lambda: queue.qsize() == 3, "three ready")
        got = []
        for _ in range(3):
            message = queue.get(timeout=20)
            got.append(message.payload["n"])
            message.ack()
        check("order", got, [0, 1, 2])
        check("empty", queue.qsize(), 0)
        try:
            queue.get(block=False)
            check("Empty is raised", False)
        except queue.Empty:
            check("Empty is raised", True)


@suite.scenario
def errors_have_their_classes(connection):
    def with_channel(action):
        return lambda: action(connection.channel())

    refused("404", NotFound, 404, with_channel(lambda c: c.queue_declare("conformance.none", passive=True)))
    shared = name("shared")
    connection.channel().queue_declare(shared, exclusive=True, auto_delete=False)
    open_to_all = name("queue")
    connection.channel().queue_declare(open_to_all, auto_delete=False)
    refused("406", PreconditionFailed, 406, with_channel(lambda c: c.queue_declare(open_to_all, durable=True, auto_delete=False)))
    connection.channel().queue_delete(open_to_all)
    refused("403", AccessRefused, 403, with_channel(lambda c: c.exchange_declare("amq.nonsense", "direct")))
    with Connection(broker_url()) as stranger:
        refused("405", ResourceLocked, 405, lambda: stranger.channel().queue_declare(shared, passive=True))
    check("the connection lives on", connection.connected)


@suite.scenario
def a_wrong_password(connection):
    wrong = Connection(broker_url().replace("guest:guest", "guest:wrong"))
    refused("403", AccessRefused, 403, wrong.connect)


@suite.scenario
def name_and_password_in_a_table(connection):
    """The mechanism AMQPLAIN, which was py-amqp's own for years."""
    with Connection(broker_url(), login_method="AMQPLAIN") as other:
        other.connect()
        check("let in", other.connected)
        other.default_channel.queue_declare(passive=False, exclusive=True)
    wrong = Connection(broker_url().replace("guest:guest", "guest:wrong"), login_method="AMQPLAIN")
    refused("403", AccessRefused, 403, wrong.connect)


@suite.scenario
def heartbeats(connection):
    with Connection(broker_url(), heartbeat=1) as beating:
        beating.connect()
        check("agreed", beating.get_heartbeat_interval(), 1)
        before = beating.connection.bytes_recv

        def beat():
            beating.heartbeat_check()
            try:
                beating.drain_events(timeout=0.1)
            except socket.timeout:
                pass

        until(lambda: beating.connection.bytes_recv >= before + 2, "two heartbeats", beat)
        check("alive", beating.connected)


@suite.scenario
def cancel_notification(connection):
    cancelled = []
    channel = connection.channel()
    queue = name("queue")
    channel.queue_declare(queue, auto_delete=False)
    channel.basic_consume(queue, consumer_tag="tag", on_cancel=cancelled.append)
    connection.channel().queue_delete(queue)
    try:
        drain(connection, lambda: cancelled, "basic.cancel")
    except amqp.exceptions.ConsumerCancelled:
        cancelled.append("tag")
    check("tag", cancelled, ["tag"])


@suite.scenario
def a_mailbox_answers_a_broadcast(connection):
    with Connection(broker_url()) as serving:
        mailbox = Mailbox(name("mailbox"), type="fanout")
        node = mailbox(serving).Node("node-1", channel=serving.channel())

        @node.handler
        def double(state, n=0, **_):
            return n * 2

        node.handlers["double"] = lambda state, n=0, **_: n * 2
        node.listen()
        replies = []
        asked = mailbox(connection)
        import threading

        over = threading.Event()

        def serve():
            while not over.is_set():
                try:
                    serving.drain_events(timeout=0.05)
                except socket.timeout:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            replies = asked._broadcast("double", {"n": 21}, reply=True, limit=1, timeout=20)
        finally:
            over.set()
            thread.join()
        check("reply", replies, [{"node-1": 42}])


@suite.scenario
def a_later_qos_acts_on_the_live_consumer(connection):
    """Celery raises its prefetch while ETA tasks wait. It sends what kombu thinks right for the broker (global or not)."""
    channel = connection.channel()
    queue = Queue(name("queue"), durable=False, auto_delete=True, channel=channel)
    queue.declare()
    producer = Producer(connection.channel())
    held = []
    consumer = Consumer(channel, [queue], callbacks=[lambda body, message: held.append(message)])
    by_channel = not connection.qos_semantics_matches_spec
    consumer.qos(prefetch_count=2, apply_global=by_channel)
    consumer.consume()
    for n in range(10):
        producer.publish(n, routing_key=queue.name)
    drain(connection, lambda: len(held) == 2, "two held")
    drain(connection, lambda: queue(producer.channel).queue_declare(passive=True).message_count == 8, "eight ready")
    consumer.qos(prefetch_count=6, apply_global=by_channel)
    drain(connection, lambda: len(held) == 6, "six held")
    check("six held", (len(held), queue(producer.channel).queue_declare(passive=True).message_count), (6, 4))


@suite.ours
def the_qos_of_the_specification_acts_on_the_live_consumer(connection):
    channel = connection.channel()
    queue = Queue(name("queue"), durable=False, auto_delete=True, channel=channel)
    queue.declare()
    producer = Producer(connection.channel())
    held = []
    consumer = Consumer(channel, [queue], callbacks=[lambda body, message: held.append(message)])
    channel.basic_qos(0, 1, False)
    consumer.consume()
    for n in range(5):
        producer.publish(n, routing_key=queue.name)
    drain(connection, lambda: len(held) == 1, "one held")
    channel.basic_qos(0, 3, False)
    drain(connection, lambda: len(held) == 3, "three held")
    check("kombu goes by the specification", connection.qos_semantics_matches_spec, True)
    check("three held", len(held), 3)


@suite.scenario
def transactions_of_py_amqp(connection):
    channel = connection.channel()
    queue = name("queue")
    reader = connection.channel()
    reader.queue_declare(queue, auto_delete=True)
    channel.tx_select()
    channel.basic_publish(amqp.Message("1"), "", queue)
    check("not before", reader.basic_get(queue, no_ack=True), None)
    channel.tx_commit()
    message = until(lambda: reader.basic_get(queue, no_ack=True), "the message")
    check("after", message.body, "1")
    channel.basic_publish(amqp.Message("2"), "", queue)
    channel.tx_rollback()
    channel.tx_commit()
    check("rolled back", reader.basic_get(queue, no_ack=True), None)
    reader.queue_delete(queue)


for function in suite.select():
    try:
        with Connection(broker_url()) as connection:
            connection.connect()
            function(connection)
    except Exception as error:
        suite.crashed(error)
suite.finish()
