"""aio-pika: asynchronous, robust connections, RPC and master-worker patterns."""

import asyncio
import datetime
import logging
import secrets

import aio_pika
import aiormq
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.patterns import RPC, Master

from check import DEADLINE_SECONDS, Suite, broker_url

suite = Suite("aio-pika")
check = suite.check


def name(stem):
    return f"conformance.aio.{stem}.{secrets.token_hex(6)}"


async def within(awaitable):
    return await asyncio.wait_for(awaitable, DEADLINE_SECONDS)


async def until(condition, what):
    """Waits until `await condition()` is true."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (value := await condition()):
            await asyncio.sleep(0.005)
        return value


async def refused(what, error, code, action):
    """Checks that an action is refused with this class of error."""
    try:
        await within(action)
        check(what, "nothing", error.__name__)
    except error as got:
        check(f"{what}: {got}", True)


@suite.scenario
async def publish_and_get(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(exclusive=True)
    check("a name was made", queue.name.startswith("amq.gen-"))
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    await channel.default_exchange.publish(
        Message(
            b"hello",
            content_type="text/plain",
            content_encoding="utf8",
            headers={"text": "a", "number": 5, "list": [1, "b"], "table": {"x": True}, "none": None},
            delivery_mode=DeliveryMode.PERSISTENT,
            priority=3,
            correlation_id="c",
            reply_to="r",
            expiration=60,
            message_id="m",
            timestamp=now,
            type="t",
            user_id="guest",
            app_id="a",
        ),
        routing_key=queue.name,
    )
    message = await within(queue.get())
    check("body", message.body, b"hello")
    check("content type and encoding", (message.content_type, message.content_encoding), ("text/plain", "utf8"))
    check("delivery mode", message.delivery_mode, DeliveryMode.PERSISTENT)
    check("priority", message.priority, 3)
    check("correlation id, reply to, message id", (message.correlation_id, message.reply_to, message.message_id), ("c", "r", "m"))
    check("expiration", message.expiration, 60)
    check("timestamp", message.timestamp, now)
    check("type, user, app", (message.type, message.user_id, message.app_id), ("t", "guest", "a"))
    for key, value in {"text": "a", "number": 5, "list": [1, "b"], "table": {"x": True}, "none": None}.items():
        check(f"header {key}", message.headers[key], value)
    await message.ack()
    check("empty", await queue.get(fail=False), None)


@suite.scenario
async def confirms_and_returns(connection):
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    queue = await channel.declare_queue(exclusive=True)
    confirmations = await within(asyncio.gather(*(channel.default_exchange.publish(Message(str(n).encode()), queue.name) for n in range(200))))
    check("200 confirmed", all(isinstance(c, aiormq.spec.Basic.Ack) for c in confirmations))
    await refused("unroutable", aio_pika.exceptions.PublishError, 312, channel.default_exchange.publish(Message(b"x"), "conformance.none", mandatory=True))
    full = await channel.declare_queue(exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    await channel.default_exchange.publish(Message(b"1"), full.name)
    await refused("rejected", aio_pika.exceptions.DeliveryError, 0, channel.default_exchange.publish(Message(b"2"), full.name))


@suite.scenario
async def an_iterator_consumes_in_order(connection):
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=10)
    queue = await channel.declare_queue(exclusive=True)
    for n in range(100):
        await channel.default_exchange.publish(Message(str(n).encode()), queue.name)
    got = []
    async with queue.iterator() as messages:
        async for message in messages:
            async with message.process():
                got.append(int(message.body))
            if len(got) == 100:
                break
    check("order", got, list(range(100)))


@suite.scenario
async def processing_rejects_and_requeues_on_an_exception(connection):
    channel = await connection.channel()
    dead = await channel.declare_queue(exclusive=True)
    queue = await channel.declare_queue(exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name})
    await channel.default_exchange.publish(Message(b"1"), queue.name)
    message = await within(queue.get())
    try:
        async with message.process(requeue=True):
            raise ValueError()
    except ValueError:
        pass
    message = await until(lambda: queue.get(fail=False), "the message again")
    check("requeued, marked", message.redelivered)
    try:
        async with message.process():
            raise ValueError()
    except ValueError:
        pass
    message = await until(lambda: dead.get(fail=False), "the dead letter")
    check("reason", message.headers["x-death"][0]["reason"], "rejected")
    await message.ack()


@suite.scenario
async def exchanges_of_every_type(connection):
    channel = await connection.channel()
    for kind, key, arguments, message_key, headers in [
        (ExchangeType.DIRECT, "k", None, "k", {}),
        (ExchangeType.FANOUT, "", None, "any", {}),
        (ExchangeType.TOPIC, "a.#", None, "a.b.c", {}),
        (ExchangeType.HEADERS, "", {"x-match": "any", "h": 1}, "", {"h": 1}),
    ]:
        exchange = await channel.declare_exchange(name("exchange"), kind, auto_delete=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, key, arguments=arguments)
        await exchange.publish(Message(kind.value.encode(), headers=headers), message_key)
        message = await within(queue.get(no_ack=True))
        check(kind.value, message.body.decode(), kind.value)
    source = await channel.declare_exchange(name("source"), ExchangeType.FANOUT, auto_delete=True)
    target = await channel.declare_exchange(name("target"), ExchangeType.FANOUT, auto_delete=True)
    await target.bind(source)
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(target)
    await source.publish(Message(b"through"), "")
    check("exchange to exchange", (await within(queue.get(no_ack=True))).body, b"through")


@suite.scenario
async def errors_have_their_classes(connection):
    exceptions = aiormq.exceptions
    channel = await connection.channel()
    await refused("404", exceptions.ChannelNotFoundEntity, 404, channel.get_queue("conformance.none", ensure=True))
    channel = await connection.channel()
    queue = await channel.declare_queue(name("queue"), auto_delete=True)
    await refused("406", exceptions.ChannelPreconditionFailed, 406, channel.declare_queue(queue.name, durable=True))
    channel = await connection.channel()
    await refused("403", exceptions.ChannelAccessRefused, 403, channel.declare_exchange("amq.nonsense"))
    channel = await connection.channel()
    await (await channel.get_queue(queue.name)).delete()
    locked = await channel.declare_queue(exclusive=True)
    other = await within(aio_pika.connect(broker_url()))
    async with other:
        stranger = await other.channel()
        await refused("405", exceptions.ChannelLockedResource, 405, stranger.get_queue(locked.name, ensure=True))
    check("the connection lives on", not connection.is_closed)


@suite.scenario
async def transactions(connection):
    channel = await connection.channel(publisher_confirms=False)
    reader = await connection.channel()
    queue = await reader.declare_queue(exclusive=True)
    async with channel.transaction():
        await channel.default_exchange.publish(Message(b"1"), queue.name)
        check("not before commit", await queue.get(fail=False), None)
    check("after commit", (await until(lambda: queue.get(fail=False, no_ack=True), "the message")).body, b"1")
    try:
        async with channel.transaction():
            await channel.default_exchange.publish(Message(b"2"), queue.name)
            raise ValueError()
    except ValueError:
        pass
    check("rolled back", await queue.get(fail=False), None)


@suite.scenario
async def a_consumer_is_told_when_its_queue_goes(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("queue"))
    told = []

    class Listener(logging.Handler):
        def emit(self, record):
            told.append(record.getMessage())

    listener = Listener()
    logging.getLogger().addHandler(listener)
    tag = await queue.consume(lambda _: None)
    other = await connection.channel()
    await (await other.get_queue(queue.name)).delete(if_unused=False, if_empty=False)

    async def is_told():
        return any(tag in text and "cancelled by the broker" in text for text in told)

    check("aio-pika was told", await until(is_told, "basic.cancel"))
    logging.getLogger().removeHandler(listener)


@suite.scenario
async def rpc_pattern(connection):
    channel = await connection.channel()
    rpc = await within(RPC.create(channel))
    method = name("multiply")

    async def multiply(*, x, y):
        return x * y

    await rpc.register(method, multiply, auto_delete=True)
    results = await within(asyncio.gather(*(rpc.call(method, kwargs={"x": n, "y": 2}) for n in range(50))))
    check("results", results, [n * 2 for n in range(50)])
    await rpc.close()


@suite.scenario
async def master_and_worker_pattern(connection):
    channel = await connection.channel()
    master = Master(channel)
    done = []
    everything = asyncio.Event()

    async def work(*, task):
        done.append(task)
        if len(done) == 30:
            everything.set()

    queue_name = name("tasks")
    worker = await master.create_worker(queue_name, work, auto_delete=True)
    for n in range(30):
        await master.create_task(queue_name, kwargs={"task": n})
    await within(everything.wait())
    check("each task once", sorted(done), list(range(30)))
    await worker.close()


@suite.scenario
async def a_robust_connection_restores_what_it_had(connection):
    robust = await within(aio_pika.connect_robust(broker_url(), reconnect_interval=0.1))
    async with robust:
        channel = await robust.channel()
        queue = await channel.declare_queue(name("robust"), auto_delete=True)
        received = asyncio.Queue()

        async def deliver(message):
            async with message.process():
                await received.put(message.body)

        await queue.consume(deliver)
        restored = asyncio.Event()
        robust.reconnect_callbacks.add(lambda *_: restored.set())
        await robust.transport.connection.close(ConnectionError("cut by the test"))
        await within(restored.wait())

        async def again():
            sender = await connection.channel()
            await sender.default_exchange.publish(Message(b"after"), queue.name)
            return True

        await until(again, "published")
        check("the consumer is back", await within(received.get()), b"after")


@suite.scenario
async def large_bodies(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(exclusive=True)
    body = secrets.token_bytes(3_000_001)
    await channel.default_exchange.publish(Message(body), queue.name)
    check("equal", (await within(queue.get(no_ack=True))).body == body)


@suite.scenario
async def update_secret(connection):
    answer = await within(connection.update_secret("guest", reason="renewed"))
    check("answered", isinstance(answer, aiormq.spec.Connection.UpdateSecretOk))


async def main():
    for function in suite.select():
        try:
            connection = await within(aio_pika.connect(broker_url()))
            async with connection:
                await asyncio.wait_for(function(connection), 3 * DEADLINE_SECONDS)
        except BaseException as error:
            suite.crashed(error)


asyncio.run(main())
suite.finish()
