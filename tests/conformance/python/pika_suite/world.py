"""What a scenario starts from: a connection, a channel, names nobody else uses, and everything is removed afterwards."""

import os
import secrets
import ssl

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker, UnroutableError

from check import DEADLINE_SECONDS, broker_url, until

from . import check


class Inbox(list):
    """What a consumer received, oldest first: (method, properties, body)."""

    def __init__(self, world, channel, tag=None):
        super().__init__()
        self.world, self.channel, self.tag = world, channel, tag

    def wait(self, count):
        """Waits for `count` deliveries in all and returns them."""
        self.world.until(lambda: len(self) >= count, f"{count} deliveries (there are {len(self)})", self.channel.connection)
        return self

    @property
    def bodies(self):
        return [body.decode() for _, _, body in self]


class World:
    def __init__(self, url=None):
        self.url = url or broker_url()
        self.connections = []
        self.queues = []
        self.exchanges = []
        self._connection = None
        self._channel = None
        self._prober = None

    # --- connections and channels

    def parameters(self, **changes):
        parameters = pika.URLParameters(self.url)
        authority = os.environ.get("CONFORMANCE_AUTHORITY")
        if authority and self.url.startswith("amqps:"):
            parameters.ssl_options = pika.SSLOptions(ssl.create_default_context(cafile=authority), parameters.host)
        parameters.socket_timeout = parameters.stack_timeout = DEADLINE_SECONDS
        parameters.blocked_connection_timeout = 60
        for key, value in changes.items():
            setattr(parameters, key, value)
        return parameters

    def connect(self, **changes):
        connection = pika.BlockingConnection(self.parameters(**changes))
        self.connections.append(connection)
        return connection

    @property
    def connection(self):
        if self._connection is None:
            self._connection = self.connect()
        return self._connection

    @property
    def channel(self):
        """The channel of whatever the scenario does not open one for."""
        if self._channel is None or self._channel.is_closed:
            self._channel = self.connection.channel()
        return self._channel

    def close(self):
        for connection in self.connections:
            if connection.is_open:
                try:
                    connection.close()
                except (AMQPError, AssertionError):
                    pass  # it broke in the scenario, which has said so
        if self.queues or self.exchanges:
            with pika.BlockingConnection(self.parameters()) as connection:
                channel = connection.channel()
                for queue in self.queues:
                    channel = self._try(connection, channel, lambda c: c.queue_delete(queue))
                for exchange in self.exchanges:
                    channel = self._try(connection, channel, lambda c: c.exchange_delete(exchange))

    @staticmethod
    def _try(connection, channel, action):
        try:
            action(channel)
            return channel
        except ChannelClosedByBroker:
            return connection.channel()

    # --- things on the broker

    def name(self, stem="thing"):
        return f"conformance.{stem}.{secrets.token_hex(6)}"

    def queue(self, name=None, arguments=None, channel=None, **flags):
        """Declares a queue (durable if it is a quorum queue) that is deleted after the scenario."""
        name = name or self.name("queue")
        if (arguments or {}).get("x-queue-type") == "quorum":
            flags.setdefault("durable", True)
        (channel or self.channel).queue_declare(name, arguments=arguments, **flags)
        self.queues.append(name)
        return name

    def exchange(self, kind, name=None, arguments=None, **flags):
        name = name or self.name("exchange")
        self.channel.exchange_declare(name, kind, arguments=arguments, **flags)
        self.exchanges.append(name)
        return name

    def bound(self, exchange, key="", arguments=None, queue=None):
        """A queue bound to an exchange."""
        queue = queue or self.queue()
        self.channel.queue_bind(queue, exchange, key, arguments)
        return queue

    def publish(self, exchange, key, body=b"", channel=None, mandatory=False, **properties):
        (channel or self.channel).basic_publish(exchange, key, body, pika.BasicProperties(**properties), mandatory=mandatory)

    def fill(self, queue, *bodies, **properties):
        for body in bodies:
            self.publish("", queue, body, **properties)

    def ready(self, queue):
        """Messages that wait in the queue, by a passive declare."""
        return self.channel.queue_declare(queue, passive=True).method.message_count

    def consumers(self, queue):
        return self.channel.queue_declare(queue, passive=True).method.consumer_count

    def is_reachable(self, queue):
        """Whether a queue is there, without using it: a mandatory publish comes back if it is not."""
        if self._prober is None:
            self._prober = self.connection.channel()
            self._prober.confirm_delivery()
        try:
            self._prober.basic_publish("", queue, b"probe", mandatory=True)
            return True
        except UnroutableError:
            return False

    def get(self, queue, auto_ack=True, channel=None):
        """Waits for a message and takes it: (method, properties, body)."""
        channel = channel or self.channel

        def attempt():
            method, properties, body = channel.basic_get(queue, auto_ack=auto_ack)
            return (method, properties, body) if method else None

        return self.until(attempt, f"a message in {queue}", channel.connection)

    def body(self, queue):
        return self.get(queue)[2].decode()

    def bodies(self, queue, count):
        """The next `count` bodies; waits for them."""
        return [self.body(queue) for _ in range(count)]

    def all(self, queue):
        """Everything this channel's publishes have put into the queue so far: a last message marks the end."""
        self.fill(queue, "(end)")
        found = []
        while (body := self.body(queue)) != "(end)":
            found.append(body)
        return found

    def drain(self, queue):
        """Everything that is ready now."""
        found = []
        while True:
            method, _, body = self.channel.basic_get(queue, auto_ack=True)
            if method is None:
                return found
            found.append(body.decode())

    def consume(self, queue, channel=None, on_message=None, **flags):
        channel = channel or self.channel
        inbox = Inbox(self, channel)

        def deliver(_channel, method, properties, body):
            inbox.append((method, properties, body))
            if on_message:
                on_message(method, properties, body)

        inbox.tag = channel.basic_consume(queue, deliver, **flags)
        return inbox

    # --- waiting and errors

    def until(self, condition, what, connection=None):
        connection = connection or self.connection
        return until(condition, what, lambda: connection.process_data_events(0.005))

    def until_ready(self, queue, count):
        self.until(lambda: self.ready(queue) == count, f"{count} ready in {queue}")

    def channel_error(self, action, channel=None):
        """What the broker closes the channel with when `action(channel)` is done: (code, text)."""
        channel = channel or self.connection.channel()
        try:
            action(channel)
            self.until(lambda: channel.is_closed, "the channel is closed", channel.connection)
            error = channel._closing_reason
        except ChannelClosedByBroker as closed:
            error = closed
        return error.reply_code, error.reply_text

    def refused(self, what, code, text, action, channel=None):
        """Checks that an action closes its channel with a code and a text, and leaves the connection open."""
        channel = channel or self.connection.channel()
        connection = channel.connection
        got_code, got_text = self.channel_error(action, channel)
        check(f"{what}: code", got_code, code)
        check(f"{what}: text contains {text!r}: {got_text!r}", text in got_text)
        check(f"{what}: the connection is open", connection.is_open)

    def connection_error(self, action, connection=None):
        """What the broker closes the connection with when `action(channel)` is done: (code, text)."""
        connection = connection or self.connect()
        try:
            action(connection.channel())
            self.until(lambda: connection.is_closed, "the connection is closed", connection)
        except ConnectionClosedByBroker as closed:
            return closed.reply_code, closed.reply_text
        raise AssertionError("the connection ended without a reason")

    def disconnected(self, what, code, text, action, connection=None):
        """Checks that an action closes its connection with a code and a text."""
        got_code, got_text = self.connection_error(action, connection)
        check(f"{what}: code", got_code, code)
        check(f"{what}: text contains {text!r}: {got_text!r}", text in got_text)
