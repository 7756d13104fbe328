"""Handshake, tuning, heartbeats, and the errors that end a connection."""

import os
import ssl
import struct
from contextlib import closing

import pika
from pika import spec
from pika.exceptions import ProbableAccessDeniedError, ProbableAuthenticationError

from broker import Broker, binary

from . import check, ours, scenario
from .raw import HEADER, BODY, HEARTBEAT, METHOD, PROTOCOL_HEADER, Raw, envelope, short
from .world import World

CAPABILITIES = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
]


@scenario
def the_broker_introduces_itself(w):
    with Raw() as raw:
        start = raw.start()
        check("version of the protocol", (start.version_major, start.version_minor), (0, 9))
        check("PLAIN is offered", b"PLAIN" in bytes(start.mechanisms).split(b" "))
        check("locale", b"en_US" in bytes(start.locales))
        properties = start.server_properties
        for capability in CAPABILITIES:
            check(f"capability {capability}", properties["capabilities"].get(capability), True)
        for key in ["product", "version", "platform", "copyright", "information", "cluster_name"]:
            check(f"property {key} is a text", isinstance(properties.get(key), str))


@ours
def the_broker_names_its_own_product(w):
    with Raw() as raw:
        check("product", raw.start().server_properties["product"], "Rialto")


@scenario
def tune_offers_limits(w):
    with Raw() as raw:
        raw.start()
        tune = raw.tune()
        check("channel_max", tune.channel_max, 2047)
        check("frame_max", tune.frame_max, 131072)
        check("heartbeat", tune.heartbeat, 60)


@scenario
def the_older_protocol_header_is_accepted(w):
    with Raw() as raw:
        raw.bytes(b"AMQP\x01\x01\x00\x09")
        check("start", isinstance(raw.method()[1], spec.Connection.Start))


@scenario
def another_protocol_gets_our_header_and_the_socket_is_closed(w):
    with Raw() as raw:
        raw.bytes(b"AMQP\x02\x00\x00\x00")
        check("answer", raw.rest(), PROTOCOL_HEADER)


@scenario
def a_wrong_password_is_refused_with_a_close_frame_if_the_client_can_read_it(w):
    try:
        w.connect(credentials=pika.PlainCredentials("guest", "wrong"))
        check("refused", False)
    except ProbableAuthenticationError as error:
        check("text", "ACCESS_REFUSED" in str(error) or "403" in str(error))
    with Raw() as raw:
        raw.start({"capabilities": {"authentication_failure_close": True}}, password="wrong")
        code, text, class_id, method_id = raw.closed_with()
        check("code", code, 403)
        check("text", text.startswith("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN"))
        check("no method is blamed", (class_id, method_id), (0, 0))


@ours
def a_certificate_is_the_login_of_whom_it_names(w):
    authority = os.environ.get("CONFORMANCE_AUTHORITY")
    if not authority:
        # There are certificates only with TLS.
        return

    def by(user):
        context = ssl.create_default_context(cafile=authority)
        files = [os.path.join(os.path.dirname(authority), f"{user}.{kind}") for kind in ["pem", "key"]]
        context.load_cert_chain(*files)
        options = pika.SSLOptions(context, w.parameters().host)
        return w.connect(ssl_options=options, credentials=pika.credentials.ExternalCredentials())

    check("let in", by("guest").channel().queue_declare("", exclusive=True).method.message_count, 0)
    try:
        by("stranger")
        check("refused", False)
    except ProbableAuthenticationError as error:
        check("text", "using authentication mechanism EXTERNAL" in str(error))


@scenario
def a_wrong_password_closes_the_socket_of_a_client_that_did_not_ask_for_a_reason(w):
    with Raw() as raw:
        raw.start(password="wrong")
        check("no frame", raw.rest(), b"")


@scenario
def an_unknown_vhost_is_refused(w):
    try:
        w.connect(virtual_host="no-such-vhost")
        check("refused", False)
    except ProbableAccessDeniedError as error:
        check("told", "(530) 'NOT_ALLOWED - vhost no-such-vhost not found'" in str(error))
    with Raw() as raw:
        raw.start()
        raw.tune()
        raw.send(spec.Connection.Open("no-such-vhost"))
        check("close", raw.closed_with(), (530, "NOT_ALLOWED - vhost no-such-vhost not found", 10, 40))


@scenario
def client_properties_and_several_connections(w):
    first, second = w.connect(client_properties={"connection_name": "one"}), w.connect()
    check("both open", first.is_open and second.is_open)
    first.close()
    check("the other stays", second.channel().is_open)


@scenario
def closing_is_answered(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Connection.Close(200, "bye", 0, 0))
        check("close-ok", isinstance(raw.method()[1], spec.Connection.CloseOk))


@scenario
def update_secret_is_answered(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Connection.UpdateSecret("guest", "renewed"))
        _, answer = raw.method()
        check("update-secret-ok", isinstance(answer, spec.Connection.UpdateSecretOk))


@scenario
def heartbeats_are_sent(w):
    with Raw() as raw:
        raw.open(heartbeat=1)
        seen = 0
        while seen < 2:
            kind, channel, payload = raw.frame()
            if kind == HEARTBEAT:
                seen += 1
                raw.bytes(envelope(HEARTBEAT, 0, b""))
        check("heartbeat on channel 0, empty", (channel, payload), (0, b""))


@scenario
def a_client_that_falls_silent_is_dropped(w):
    with Raw() as raw:
        raw.open(heartbeat=1)
        rest = raw.rest()
        check("heartbeats only, then the end", rest == envelope(HEARTBEAT, 0, b"") * (len(rest) // 8))


@scenario
def a_heartbeat_belongs_on_channel_zero(w):
    with Raw() as raw:
        raw.open()
        raw.bytes(envelope(HEARTBEAT, 1, b""))
        check("code", raw.closed_with()[0], 505)


@scenario
def frame_max_4096_is_accepted_and_kept(w):
    with Raw() as raw:
        raw.open(frame_max=4096)
        queue = raw.queue(exclusive=True)
        body = bytes(range(256)) * 40
        raw.send(spec.Basic.Publish(exchange="", routing_key=queue), 1)
        raw.bytes(envelope(HEADER, 1, struct.pack(">HHQH", 60, 0, len(body), 0)))
        for start in range(0, len(body), 4088):
            raw.bytes(envelope(BODY, 1, body[start : start + 4088]))
        raw.send(spec.Basic.Get(queue=queue, no_ack=True), 1)
        raw.method(spec.Basic.GetOk)
        sizes, got = [], b""
        raw.frame()
        while len(got) < len(body):
            _, _, part = raw.frame()
            sizes.append(len(part))
            got += part
        check("body", got == body)
        check("frames", sizes, [4088, 4088, len(body) - 2 * 4088])


@scenario
def a_frame_beyond_frame_max_ends_the_connection(w):
    with Raw() as raw:
        raw.open(frame_max=4096)
        raw.bytes(envelope(METHOD, 1, b"\0" * 5000))
        check("code", raw.closed_with()[0], 501)


@scenario
def a_frame_without_its_end_octet_ends_the_connection(w):
    with Raw() as raw:
        raw.open()
        raw.bytes(envelope(HEARTBEAT, 0, b"")[:-1] + b"\x00" * 9)
        check("code", raw.closed_with()[0], 501)


@ours
def a_table_that_cannot_be_read_names_its_method(w):
    with Raw() as raw:
        raw.open()
        table = b"\x01k" + b"?" + b"\0" * 4
        payload = struct.pack(">HHH", 50, 10, 0) + short("") + b"\x00" + struct.pack(">I", len(table)) + table
        raw.bytes(envelope(METHOD, 1, payload))
        code, _, class_id, method_id = raw.closed_with()
        check("code", code, 502)
        check("offender", (class_id, method_id), (50, 10))


@ours
def an_unknown_method_ends_the_connection(w):
    with Raw() as raw:
        raw.open()
        raw.bytes(envelope(METHOD, 1, struct.pack(">HH", 60, 199)))
        check("code", raw.closed_with()[0], 503)


@scenario
def a_method_on_a_channel_that_is_not_open_ends_the_connection(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Queue.Declare(queue="x"), 7)
        code, text, class_id, method_id = raw.closed_with()
        check("code", code, 504)
        check("text", text, "CHANNEL_ERROR - expected 'channel.open'")
        check("offender", (class_id, method_id), (50, 10))


@scenario
def opening_a_channel_twice_ends_the_connection(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Channel.Open(), 1)
        code, text, class_id, method_id = raw.closed_with()
        check("code", code, 504)
        check("text", text, "CHANNEL_ERROR - second 'channel.open' seen")
        check("offender", (class_id, method_id), (20, 10))


@scenario
def more_channels_than_agreed_end_the_connection(w):
    with Raw() as raw:
        raw.open(channel=1, channel_max=2)
        raw.open_channel(2)
        raw.send(spec.Channel.Open(), 3)
        code, text, _, _ = raw.closed_with()
        check("code", code, 530)
        check("text", text.startswith("NOT_ALLOWED - "))


@scenario
def a_content_header_without_a_method_ends_the_connection(w):
    with Raw() as raw:
        raw.open()
        raw.bytes(envelope(HEADER, 1, struct.pack(">HHQH", 60, 0, 0, 0)))
        check("code", raw.closed_with()[0], 505)


@scenario
def a_body_without_a_content_header_ends_the_connection(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Basic.Publish(exchange="", routing_key="x"), 1)
        raw.bytes(envelope(BODY, 1, b"abc"))
        code, _, class_id, method_id = raw.closed_with()
        check("code", code, 505)
        check("offender", (class_id, method_id), (60, 40))


@scenario
def a_method_amid_content_ends_the_connection(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Basic.Publish(exchange="", routing_key="x"), 1)
        raw.send(spec.Basic.Qos(), 1)
        check("code", raw.closed_with()[0], 505)


@scenario
def a_body_longer_than_announced_ends_the_connection(w):
    with Raw() as raw:
        raw.open()
        raw.content(spec.Basic.Publish(exchange="", routing_key="x"), b"abcdef", size=3)
        raw.send(spec.Basic.Qos(), 1)
        check("code", raw.closed_with()[0], 505)


@scenario
def what_is_not_implemented_ends_the_connection(w):
    cases = [
        ("immediate", lambda raw: raw.content(spec.Basic.Publish(exchange="", routing_key="x", immediate=True)), "immediate=true", (60, 40)),
        ("prefetch size", lambda raw: raw.send(spec.Basic.Qos(prefetch_size=10), 1), "prefetch_size!=0 (10)", (60, 10)),
        ("recover without requeue", lambda raw: raw.send(spec.Basic.Recover(requeue=False), 1), "requeue=false", (60, 110)),
        ("flow off", lambda raw: raw.send(spec.Channel.Flow(active=False), 1), "active=false", (20, 20)),
    ]
    for what, action, text, offender in cases:
        with Raw() as raw:
            raw.open()
            action(raw)
            code, reply, class_id, method_id = raw.closed_with()
            check(f"{what}: code", code, 540)
            check(f"{what}: text", reply, f"NOT_IMPLEMENTED - {text}")
            check(f"{what}: offender", (class_id, method_id), offender)


@scenario
def channel_zero_takes_connection_methods_only(w):
    with Raw() as raw:
        raw.open()
        raw.send(spec.Queue.Declare(queue="x"), 0)
        check("code", raw.closed_with()[0], 504)


@ours
def an_unknown_mechanism_is_refused(w):
    with Raw() as raw:
        raw.start({"capabilities": {"authentication_failure_close": True}}, mechanism="NONSENSE")
        check("code", raw.closed_with()[0], 503)


@ours
def publishers_are_told_when_they_are_blocked_and_when_they_may_go_on(_):
    # Of queues on disk only a full disk blocks publishers; in memory it takes no more than a setting.
    settings = '[memory]\nqueue_budget = "16 MiB"\n'
    with Broker(binary(), settings, in_memory=True) as broker, closing(World(broker.url)) as w:
        _publishers_are_told(w)


def _publishers_are_told(w):
    events = []
    publisher = w.connect()
    publisher.add_on_connection_blocked_callback(lambda _, frame: events.append(("blocked", frame.method.reason)))
    publisher.add_on_connection_unblocked_callback(lambda _, frame: events.append(("unblocked", None)))
    channel = publisher.channel()
    queue = w.queue()
    body = b"x" * (1 << 20)
    for _ in range(40):  # beyond the 16 MiB that a queue may hold
        if events:
            break
        channel.basic_publish("", queue, body)
        publisher.process_data_events(0)
    w.until(lambda: events, "connection.blocked", publisher)
    check("blocked comes first", events[0][0], "blocked")
    check("with a reason", bool(events[0][1]))
    w.channel.queue_purge(queue)
    w.until(lambda: len(events) > 1, "connection.unblocked", publisher)
    check("unblocked", events[-1][0], "unblocked")
