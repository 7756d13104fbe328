"""The tasks that the Celery suite sends. The worker imports this module with Celery's default settings, but for the broker and rpc:// results."""

import os

from celery import Celery

def make_app(queue, by_priority):
    """An app with Celery's defaults; with `by_priority` as Celery's manual has it for queues that serve by priority."""
    made = Celery("conformance", broker=os.environ["CONFORMANCE_URL"], backend="rpc://")
    made.conf.task_default_queue = queue
    made.conf.broker_connection_retry_on_startup = False
    if by_priority:
        made.conf.task_queue_max_priority = 10
        made.conf.worker_prefetch_multiplier = 1
        made.conf.task_acks_late = True
    return made


app = make_app(os.environ["CONFORMANCE_CELERY_QUEUE"], "CONFORMANCE_CELERY_PRIORITIES" in os.environ)


@app.task
def add(x, y):
    return x + y


@app.task(bind=True, max_retries=5)
def works_the_third_time(self, value):
    """Fails twice, then gives its value and the number of retries it took."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return [value, self.request.retries]


@app.task(autoretry_for=(ValueError,), retry_kwargs={"max_retries": 1, "countdown": 0}, bind=True)
def never_works(self):
    raise ValueError("never")


@app.task(bind=True)
def describe(self):
    """What the worker sees of a task's message."""
    info = self.request.delivery_info
    return {
        "redelivered": info.get("redelivered"),
        "routing_key": info.get("routing_key"),
        "priority": info.get("priority"),
        "retries": self.request.retries,
        "eta": self.request.eta,
        "correlation_id": self.request.correlation_id,
        "id": self.request.id,
        "headers": self.request.headers,
    }


@app.task
def append(path, line):
    """Appends a line to a file, in the order of execution."""
    with open(path, "a", encoding="utf-8") as out:
        out.write(f"{line}\n")
    return line


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def dies_the_first_time(self, path):
    """Kills its own process unless it has done so before."""
    if not os.path.exists(path):
        with open(path, "w", encoding="utf-8"):
            pass
        os._exit(9)
    return self.request.delivery_info["redelivered"]


@app.task
def waits_for(path):
    """Goes on until a file exists."""
    import time

    while not os.path.exists(path):
        time.sleep(0.02)
    return path


@app.task
def now():
    import time

    return time.time()
