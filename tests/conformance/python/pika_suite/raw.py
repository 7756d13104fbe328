"""A socket that speaks frames, for what a well-behaved client never sends. The methods are encoded by pika's own tables."""

import os
import socket
import ssl
import struct
from urllib.parse import urlparse

from pika import frame, spec

from check import DEADLINE_SECONDS, broker_url

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


class Ended(Exception):
    """The broker closed the socket."""


def envelope(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def short(text):
    text = text.encode() if isinstance(text, str) else text
    return struct.pack(">B", len(text)) + text


class Raw:
    def __init__(self):
        url = urlparse(broker_url())
        self.user, self.password = url.username or "guest", url.password or "guest"
        self.socket = socket.create_connection((url.hostname, url.port), timeout=DEADLINE_SECONDS)
        if authority := os.environ.get("CONFORMANCE_AUTHORITY"):
            context = ssl.create_default_context(cafile=authority)
            self.socket = context.wrap_socket(self.socket, server_hostname=url.hostname)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # --- out

    def bytes(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # whatever the broker said before it closed can still be read

    def send(self, method, channel=0):
        self.bytes(frame.Method(channel, method).marshal())

    def content(self, method, body=b"", channel=1, properties=b"\x00\x00", size=None):
        """A method with content; `properties` are flags and fields as they go over the wire."""
        self.send(method, channel)
        head = struct.pack(">HHQ", 60, 0, len(body) if size is None else size) + properties
        self.bytes(envelope(HEADER, channel, head))
        if body:
            self.bytes(envelope(BODY, channel, body))

    # --- in

    def _exactly(self, count):
        while len(self.buffer) < count:
            try:
                chunk = self.socket.recv(65536)
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise Ended()
            self.buffer += chunk
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def frame(self):
        """The next frame: (kind, channel, payload)."""
        kind, channel, length = struct.unpack(">BHI", self._exactly(7))
        payload = self._exactly(length + 1)
        assert payload[-1] == 0xCE, "a frame of the broker has no end octet"
        return kind, channel, payload[:-1]

    def method(self, wanted=None):
        """The next method, heartbeats passed over: (channel, method)."""
        while True:
            kind, channel, payload = self.frame()
            if kind == HEARTBEAT:
                continue
            assert kind == METHOD, f"a frame of kind {kind} where a method was expected"
            method = spec.methods[struct.unpack(">I", payload[:4])[0]]()
            method.decode(payload, 4)
            if wanted is not None and not isinstance(method, wanted):
                raise AssertionError(f"expected {wanted.NAME}, got {method!r}")
            return channel, method

    def delivery(self):
        """The next delivered (or got, or returned) message: (method, content header payload, body)."""
        _, method = self.method()
        kind, _, head = self.frame()
        assert kind == HEADER, f"a frame of kind {kind} where a content header was expected"
        size = struct.unpack(">Q", head[4:12])[0]
        body = b""
        while len(body) < size:
            kind, _, part = self.frame()
            assert kind == BODY
            body += part
        return method, head, body

    def rest(self):
        """Reads until the broker closes the socket: the bytes that came."""
        data, self.buffer = self.buffer, b""
        while True:
            try:
                chunk = self.socket.recv(65536)
            except ConnectionError:
                return data
            if not chunk:
                return data
            data += chunk

    # --- the handshake

    def start(self, client_properties=None, user=None, password=None, mechanism="PLAIN", response=None):
        """Header to start-ok. Returns the broker's start."""
        self.bytes(PROTOCOL_HEADER)
        _, start = self.method(spec.Connection.Start)
        if response is None:
            response = f"\0{user or self.user}\0{password or self.password}"
        self.send(spec.Connection.StartOk(client_properties or {}, mechanism, response, "en_US"))
        return start

    def tune(self, channel_max=None, frame_max=None, heartbeat=0):
        """Answers the broker's tune and returns it."""
        _, tune = self.method(spec.Connection.Tune)
        self.send(
            spec.Connection.TuneOk(
                tune.channel_max if channel_max is None else channel_max,
                tune.frame_max if frame_max is None else frame_max,
                heartbeat,
            )
        )
        return tune

    def open(self, channel=1, vhost="/", client_properties=None, **tune):
        """The whole handshake, and a channel (none if it is 0)."""
        self.start(client_properties)
        self.tune(**tune)
        self.send(spec.Connection.Open(vhost))
        self.method(spec.Connection.OpenOk)
        if channel:
            self.open_channel(channel)
        return self

    def open_channel(self, channel):
        self.send(spec.Channel.Open(), channel)
        self.method(spec.Channel.OpenOk)

    def queue(self, name="", channel=1, **flags):
        self.send(spec.Queue.Declare(queue=name, **flags), channel)
        return self.method(spec.Queue.DeclareOk)[1].queue

    def closed_with(self):
        """The broker's connection.close: (code, text, class, method); everything before it is passed over."""
        while True:
            kind, _, payload = self.frame()
            if kind == METHOD and payload[:4] == b"\x00\x0a\x00\x32":
                close = spec.Connection.Close()
                close.decode(payload, 4)
                self.send(spec.Connection.CloseOk())
                return close.reply_code, close.reply_text, close.class_id, close.method_id
