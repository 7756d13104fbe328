"""Celery's Flower: its page of the broker, which it fills from the HTTP API at CONFORMANCE_HTTP."""

import http.client
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile

QUEUE = os.environ["CONFORMANCE_CELERY_QUEUE"] = f"conformance.flower.{secrets.token_hex(6)}"

import pika  # noqa: E402

from celery_app import add  # noqa: E402
from check import Overdue, Suite, broker_url, until  # noqa: E402

suite = Suite("flower")
check = suite.check


class Flower:
    """A Flower that answers on a socket in a folder of its own: ports would have to be guessed."""

    def __init__(self, http_api):
        self.folder = tempfile.TemporaryDirectory(prefix="conformance-flower-")
        self.socket = os.path.join(self.folder.name, "flower.socket")
        self.log_path = os.path.join(self.folder.name, "log")
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "celery_app", "flower", f"--unix-socket={self.socket}", f"--broker-api={http_api}"],
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "FLOWER_UNAUTHENTICATED_API": "true"},
            )

    def __enter__(self):
        until(lambda: self.process.poll() is not None or self.answers(), "Flower answers")
        if self.process.poll() is not None:
            raise AssertionError(f"Flower has ended: {self.said()}")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def answers(self):
        try:
            return self.get("/healthcheck") == "OK"
        except OSError:
            return False

    def get(self, path):
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(20)
        try:
            connection.sock.connect(self.socket)
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def row(self):
        """What the page says of the queue: its name, messages, unacked, ready, consumers, idle since; none if it is not there."""
        rows = re.findall(r"<tr id=.*?</tr>", self.get("/broker"), re.DOTALL)
        cells = [[re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)] for row in rows]
        return next((row for row in cells if row and row[0] == QUEUE), None)

    def shows(self, *figures):
        """One assertion: the row comes to say this. A broker may count a moment late; RabbitMQ does, by seconds."""
        try:
            until(lambda: (self.row() or [])[1:5] == [str(figure) for figure in figures], "the row")
        except Overdue:
            pass
        check("messages, unacked, ready, consumers", (self.row() or [])[1:5], [str(figure) for figure in figures])

    def said(self):
        with open(self.log_path, encoding="utf-8") as log:
            return log.read()[-2000:]


@suite.scenario
def the_page_of_the_broker_shows_queues_with_their_messages(flower):
    for number in range(3):
        add.delay(number, number)
    flower.shows(3, 0, 3, 0)
    lengths = json.loads(flower.get("/api/queues/length"))["active_queues"]
    check("lengths over Flower's own API", [(queue["name"], queue["messages"]) for queue in lengths], [(QUEUE, 3)])

    connection = pika.BlockingConnection(pika.URLParameters(broker_url()))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=2)
    taken = []
    channel.basic_consume(QUEUE, lambda _channel, method, _properties, _body: taken.append(method.delivery_tag))
    until(lambda: len(taken) == 2, "two deliveries", lambda: connection.process_data_events(0.1))
    flower.shows(3, 2, 1, 1)
    channel.basic_ack(taken[-1], multiple=True)
    until(lambda: len(taken) == 3, "the third", lambda: connection.process_data_events(0.1))
    flower.shows(1, 1, 0, 1)
    channel.queue_delete(QUEUE)
    flower.shows()
    connection.close()


@suite.scenario
def without_a_login_the_page_is_empty_and_flower_says_why(_flower):
    add.delay(1, 1)
    with Flower(os.environ["CONFORMANCE_HTTP"].replace("://", "://guest:wrong@") + "/") as flower:
        check("no rows", flower.row(), None)
        until(lambda: "401" in flower.said(), "Flower was told why")
    connection = pika.BlockingConnection(pika.URLParameters(broker_url()))
    connection.channel().queue_delete(QUEUE)
    connection.close()


with Flower(os.environ["CONFORMANCE_HTTP"].replace("://", "://guest:guest@") + "/") as shared:
    for scenario in suite.select():
        try:
            scenario(shared)
        except Exception as error:
            suite.crashed(error)
suite.finish()
