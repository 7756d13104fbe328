"""Celery: a worker with default settings, and what applications ask of it. CONFORMANCE_CELERY_TASKS sets the size of the mixed load."""

import datetime
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time

FOLDER = tempfile.mkdtemp(prefix="conformance-celery-")
os.environ["CONFORMANCE_CELERY_QUEUE"] = f"conformance.celery.{secrets.token_hex(6)}"

from celery import chain, group  # noqa: E402
from celery.exceptions import TaskRevokedError  # noqa: E402

import celery_app  # noqa: E402
from celery_app import add, describe, dies_the_first_time, never_works, now, waits_for, works_the_third_time  # noqa: E402
from check import Suite, until  # noqa: E402

suite = Suite("celery")
check = suite.check
app = celery_app.app
PATIENCE = 120


class Worker:
    """A worker process in its own folder, ready when it answers a ping."""

    def __init__(self, *arguments, **environment):
        self.log_path = os.path.join(FOLDER, f"worker-{secrets.token_hex(3)}.log")
        self.name = f"w{secrets.token_hex(4)}@conformance"
        self.log = open(self.log_path, "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-n", self.name, "--loglevel", "INFO", *arguments],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def __enter__(self):
        deadline = time.monotonic() + PATIENCE
        while not app.control.ping(destination=[self.name], timeout=1):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the worker is not there: {self.said()[-2000:]}")
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()

    def said(self):
        with open(self.log_path, encoding="utf-8") as log:
            return log.read()


def path(stem):
    return os.path.join(FOLDER, f"{stem}-{secrets.token_hex(4)}")


@suite.scenario
def results_come_back(worker):
    check("one", add.delay(2, 3).get(timeout=PATIENCE), 5)
    results = [add.delay(n, n) for n in range(50)]
    check("fifty", [result.get(timeout=PATIENCE) for result in results], [2 * n for n in range(50)])
    check("state", results[0].state, "SUCCESS")


@suite.scenario
def errors_come_back(worker):
    result = never_works.delay()
    try:
        result.get(timeout=PATIENCE)
        check("raised", False)
    except ValueError as error:
        check("raised, after its retry", str(error), "never")
    check("state", result.state, "FAILURE")


@suite.scenario
def retries(worker):
    results = [works_the_third_time.delay(n) for n in range(10)]
    check("third time", [result.get(timeout=PATIENCE) for result in results], [[n, 2] for n in range(10)])


@suite.scenario
def countdown_and_eta(worker):
    started = time.time()
    result = now.apply_async(countdown=1)
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
    later = now.apply_async(eta=at)
    check("countdown", result.get(timeout=PATIENCE) >= started + 1)
    check("eta", later.get(timeout=PATIENCE) >= at.timestamp())


@suite.scenario
def eta_tasks_do_not_keep_others_out(worker):
    """More ETA tasks than the worker's prefetch (4 a processor): it must be able to raise its prefetch, or nothing else would run."""
    waiting = [now.apply_async(countdown=6) for _ in range(4 * os.cpu_count() + 20)]
    between = now.delay().get(timeout=PATIENCE)
    ran = [result.get(timeout=PATIENCE) for result in waiting]
    check("a task in between ran before them", between < min(ran))
    check("all of them ran", len(ran), len(waiting))


@suite.scenario
def expired_tasks_do_not_run(worker):
    result = add.apply_async((1, 1), expires=datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5))
    try:
        result.get(timeout=PATIENCE)
        check("revoked", False)
    except TaskRevokedError:
        check("revoked", True)


@suite.scenario
def revoked_tasks_do_not_run(worker):
    result = add.apply_async((1, 1), countdown=2)
    result.revoke()
    try:
        result.get(timeout=PATIENCE)
        check("revoked", False)
    except TaskRevokedError:
        check("revoked", True)
    check("state", result.state, "REVOKED")


@suite.scenario
def revoking_can_end_a_running_task(worker):
    never = path("never")
    result = waits_for.delay(never)
    inspect = app.control.inspect(destination=[worker.name], timeout=5)
    until(lambda: any(task["id"] == result.id for task in (inspect.active() or {}).get(worker.name, [])), "the task runs")
    result.revoke(terminate=True)
    try:
        result.get(timeout=PATIENCE)
        check("revoked", False)
    except TaskRevokedError:
        check("revoked", True)
    check("the worker goes on", add.delay(1, 1).get(timeout=PATIENCE), 2)


@suite.scenario
def a_task_whose_process_dies_runs_again(worker):
    result = dies_the_first_time.delay(path("died"))
    check("redelivered", result.get(timeout=PATIENCE), True)


@suite.scenario
def groups_and_chains(worker):
    check("group", group(add.s(n, n) for n in range(10))().get(timeout=PATIENCE), [2 * n for n in range(10)])
    check("chain", chain(add.s(1, 2), add.s(10), add.s(100))().get(timeout=PATIENCE), 113)


@suite.scenario
def a_task_sees_its_message(worker):
    result = describe.apply_async(priority=7)
    seen = result.get(timeout=PATIENCE)
    check("id", seen["id"], result.id)
    check("priority", seen["priority"], 7)
    check("routing key", seen["routing_key"], os.environ["CONFORMANCE_CELERY_QUEUE"])
    check("redelivered", seen["redelivered"], False)


@suite.scenario
def remote_control(worker):
    inspect = app.control.inspect(destination=[worker.name], timeout=10)
    check("registered", "celery_app.add" in inspect.registered()[worker.name])
    check("queues", [queue["name"] for queue in inspect.active_queues()[worker.name]], [os.environ["CONFORMANCE_CELERY_QUEUE"]])
    check("rate limit", "ok" in app.control.rate_limit("celery_app.add", "1000/s", reply=True, destination=[worker.name], timeout=10)[0][worker.name])
    check("stats", "broker" in inspect.stats()[worker.name])


@suite.scenario
def events(worker):
    """What Flower and other monitors read."""
    app.control.enable_events(destination=[worker.name])
    seen = []
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": lambda event: seen.append(event["type"])})
        with receiver.consumer_context() as (listening, _, _):
            add.delay(1, 1).get(timeout=PATIENCE)

            def step():
                try:
                    listening.drain_events(timeout=0.05)
                except TimeoutError:
                    pass

            until(lambda: "task-succeeded" in seen, "the event", step)
    check("task-succeeded", "task-succeeded" in seen)


@suite.scenario
def a_mixed_load(worker):
    """Plain tasks, retries and ETA tasks, all at once: every result is right."""
    count = int(os.environ.get("CONFORMANCE_CELERY_TASKS", "100"))
    expected, results = [], []
    for n in range(count):
        kind = n % 5
        if kind == 0:
            results.append(works_the_third_time.apply_async((n,), priority=n % 10))
            expected.append([n, 2])
        elif kind == 1:
            results.append(add.apply_async((n, 1), countdown=0.2 + (n % 7) / 4))
            expected.append(n + 1)
        else:
            results.append(add.apply_async((n, n), priority=n % 10))
            expected.append(2 * n)
    wrong = [(n, got, want) for n, (result, want) in enumerate(zip(results, expected)) if (got := result.get(timeout=PATIENCE)) != want]
    check(f"all {count} results", (len(results), wrong), (count, []))


def priorities():
    """A worker that starts behind a full queue takes the highest priority first."""
    queue = f"conformance.celery.priorities.{secrets.token_hex(6)}"
    sender = celery_app.make_app(queue, True)
    order = path("order")
    wanted = [3, 9, 0, 5, 9, 1, 7, 3]
    for number, priority in enumerate(wanted):
        sender.send_task("celery_app.append", (order, f"{priority}-{number}"), priority=priority)
    with Worker("--concurrency", "1", CONFORMANCE_CELERY_QUEUE=queue, CONFORMANCE_CELERY_PRIORITIES="1"):
        until(lambda: os.path.exists(order) and len(open(order, encoding="utf-8").readlines()) == len(wanted), "all done")
    remove(queue)
    with open(order, encoding="utf-8") as lines:
        got = lines.read().split()
    check("highest first, then by age", got, [f"{p}-{n}" for n, p in sorted(enumerate(wanted), key=lambda pair: (-pair[1], pair[0]))])


def remove(queue):
    with app.connection() as connection:
        connection.channel().queue_delete(queue)


def guarded(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        suite.crashed(error)


def main():
    scenarios = list(suite.select())
    if scenarios:
        try:
            with Worker() as worker:
                for function in scenarios:
                    suite.current = function.__name__
                    guarded(function, worker)
                worker.process.send_signal(signal.SIGTERM)
                check("the worker stops when asked to", worker.process.wait(60), 0)
        except Exception as error:
            suite.crashed(error)
    suite.current = "priorities"
    if os.environ.get("CONFORMANCE_ONLY", "") in "priorities":
        guarded(priorities)


main()
remove(os.environ["CONFORMANCE_CELERY_QUEUE"])
suite.finish()
