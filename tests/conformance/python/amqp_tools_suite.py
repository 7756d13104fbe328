"""amqp-tools (rabbitmq-c): the commands that shell scripts use."""

import os
import secrets
import subprocess

from check import Suite, broker_url, until

suite = Suite("amqp-tools")
check = suite.check
URL = broker_url().replace("/%2f", "/%2F")


def run(command, *arguments, data=None):
    """A command's exit code, output and errors."""
    done = subprocess.run([f"amqp-{command}", "--url", URL, *arguments], input=data, capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr.decode()


def fresh(*arguments):
    name = f"conformance.tools.{secrets.token_hex(6)}"
    code, out, _ = run("declare-queue", "-q", name, *arguments)
    check("declare-queue", (code, out.decode().strip()), (0, name))
    return name


@suite.scenario
def publish_then_get():
    queue = fresh()
    check("publish", run("publish", "-r", queue, "-b", "hello")[0], 0)
    got = until(lambda: (r := run("get", "-q", queue)) and r[0] == 0 and r, "a message")
    check("get", got[1], b"hello")
    check("get from an empty queue", run("get", "-q", queue)[0], 2)
    check("delete-queue", run("delete-queue", "-q", queue)[0], 0)


@suite.scenario
def publish_from_standard_input():
    queue = fresh("-d")
    check("publish", run("publish", "-r", queue, "-p", "-C", "text/plain", data=b"a whole\nbody\n")[0], 0)
    check("the whole input", until(lambda: run("get", "-q", queue)[1], "a message"), b"a whole\nbody\n")
    check("publish by lines", run("publish", "-r", queue, "-l", data=b"one\ntwo\nthree\n")[0], 0)
    bodies = [until(lambda: run("get", "-q", queue)[1], "a line") for _ in range(3)]
    check("lines", [body.strip() for body in bodies], [b"one", b"two", b"three"])
    check("delete-queue", run("delete-queue", "-q", queue)[0], 0)


@suite.scenario
def consume_runs_a_command_for_each_message():
    queue = fresh()
    for body in ["1", "2", "3"]:
        run("publish", "-r", queue, "-b", body)
    code, out, errors = run("consume", "-q", queue, "-c", "3", "cat")
    check("consume", (code, out), (0, b"123"))
    check("all acknowledged", run("get", "-q", queue)[0], 2)
    for body in ["4", "5"]:
        run("publish", "-r", queue, "-b", body)
    code, out, _ = run("consume", "-q", queue, "-A", "-p", "1", "-c", "2", "cat")
    check("without acks, with a prefetch", (code, out), (0, b"45"))
    run("publish", "-r", queue, "-b", "6")
    run("consume", "-q", queue, "-c", "1", "false")
    check("what a failing command was given stays", until(lambda: run("get", "-q", queue)[1], "the message again"), b"6")
    run("delete-queue", "-q", queue)


@suite.scenario
def consume_binds_a_queue_of_its_own():
    process = subprocess.Popen(
        ["amqp-consume", "--url", URL, "-e", "amq.topic", "-r", "conformance.tools.*", "-c", "2", "cat"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    name = process.stderr.readline().decode()
    check("a name was made", "amq.gen-" in name)
    published = 0

    def publish():
        nonlocal published
        published += 1
        run("publish", "-e", "amq.topic", "-r", "conformance.tools.x", "-b", "x")

    until(lambda: process.poll() is not None, "two messages consumed", publish)
    check("two messages", process.stdout.read(), b"xx")
    check("exit code", process.returncode, 0)


@suite.scenario
def errors_are_told():
    code, _, errors = run("get", "-q", "conformance.none")
    check("missing queue", (code != 0, "404" in errors, "NOT_FOUND - no queue 'conformance.none' in vhost '/'" in errors), (True, True, True))
    url = URL.replace("guest:guest", "guest:wrong")
    done = subprocess.run(["amqp-get", "--url", url, "-q", "x"], capture_output=True, timeout=60)
    check("wrong password", (done.returncode != 0, b"403" in done.stderr or b"ACCESS_REFUSED" in done.stderr), (True, True))
    done = subprocess.run(["amqp-get", "--url", URL.replace("/%2F", "/nowhere"), "-q", "x"], capture_output=True, timeout=60)
    check("wrong vhost", (done.returncode != 0, b"530" in done.stderr or b"NOT_ALLOWED" in done.stderr), (True, True))


@suite.scenario
def persistent_and_durable():
    queue = fresh("-d")
    check("publish", run("publish", "-r", queue, "-p", "-t", "reply.here", "-b", "kept")[0], 0)
    check("declared otherwise", run("declare-queue", "-q", queue)[0] != 0)
    check("get", until(lambda: run("get", "-q", queue)[1], "a message"), b"kept")
    code, out, _ = run("delete-queue", "-q", queue, "-e")
    check("delete if empty", code, 0)


for function in suite.select():
    try:
        function()
    except Exception as error:
        suite.crashed(error)
suite.finish()
