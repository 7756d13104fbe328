"""Prometheus' own parser against a broker's scrapes. Starts a broker of its own, since it needs the port of scrapes."""

import os
import re
import subprocess
import tempfile
import threading
import urllib.request

import pika
from prometheus_client.parser import text_string_to_metric_families

from broker import binary
from check import Suite, until

suite = Suite("prometheus")
check = suite.check


class Scraped:
    """A broker with its port of scrapes; `families(path)` reads one."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rialto-prometheus-")
        self.process = subprocess.Popen(
            [binary(), "serve", "--listen", "127.0.0.1:0", "--in-memory"], cwd=self.folder.name, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "RIALTO_MANAGEMENT__LISTEN": "none", "RIALTO_METRICS__LISTEN": "127.0.0.1:0"},
        )
        self.amqp = self.http = None
        for line in self.process.stderr:
            if found := re.search(r"serving on rialto://(\S+)", line):
                self.amqp = f"amqp://guest:guest@{found[1].rstrip('/')}/%2f"
            if found := re.search(r"scrapes are answered on (http://[^/\s]+)", line):
                self.http = found[1]
            if self.amqp and self.http:
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def families(self, path):
        with urllib.request.urlopen(self.http + path, timeout=20) as answer:
            return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


@suite.ours
def every_scrape_is_read_and_says_what_happened():
    # No line break: the broker leaves those out of names, as RabbitMQ does, and pika would wait for the name it gave.
    strange = 'a "queue"\\ with {braces}'
    with Scraped() as broker:
        connection = pika.BlockingConnection(pika.URLParameters(broker.amqp))
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(strange)
        for _ in range(5):
            channel.basic_publish("", strange, b"body")
        method, _, _ = channel.basic_get(strange)
        channel.basic_ack(method.delivery_tag)

        def value(family, **labels):
            samples = [sample.value for sample in family.samples if labels.items() <= sample.labels.items()]
            return samples[0] if samples else None

        until(lambda: value(broker.families("/metrics")["rabbitmq_global_messages_acknowledged"], protocol="amqp091") == 1, "the ack is counted")
        whole = broker.families("/metrics")
        check("received", value(whole["rabbitmq_global_messages_received"], protocol="amqp091"), 5.0)
        check("confirmed", value(whole["rabbitmq_global_messages_confirmed"], protocol="amqp091"), 5.0)
        check("ready", value(whole["rabbitmq_queue_messages_ready"]), 4.0)
        check("a histogram", whole["rialto_message_ack_seconds"].type, "histogram")
        check("what no family is", [name for name, family in whole.items() if family.type == "unknown"], [])
        each = broker.families("/metrics/per-object")
        check("a strange name", value(each["rabbitmq_queue_messages"], queue=strange, vhost="/"), 4.0)
        check("a connection", len(each["rabbitmq_connection_incoming_bytes"].samples), 1)
        check("a channel", value(each["rabbitmq_channel_messages_published"]), 5.0)
        some = broker.families("/metrics/detailed?family=queue_coarse_metrics&family=channel_metrics&vhost=%2F")
        check("detailed", value(some["rabbitmq_detailed_queue_messages"], queue=strange), 4.0)
        check("a channel in detail", value(some["rabbitmq_detailed_channel_messages_published"]), 5.0)
        connection.close()


for function in suite.select():
    try:
        function()
    except Exception as error:
        suite.crashed(error)
suite.finish()
