"""Counts assertions. Every suite in Python checks through `Suite.check`, so that the table of `run` shows what was really looked at."""

import json
import os
import sys
import time
import traceback

DEADLINE_SECONDS = float(os.environ.get("CONFORMANCE_DEADLINE", "20"))
"""How long a condition may take to come true. Never how long anything must take."""


class Overdue(AssertionError):
    """A condition did not come true in time."""


def until(condition, what, step=None):
    """Waits until `condition()` is true and returns its value. `step` does a little work in between (default: lets go of the processor)."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Overdue(f"not in {DEADLINE_SECONDS:.0f} s: {what}")
        if step is None:
            time.sleep(0.005)
        else:
            step()


class Suite:
    """The scenarios of one client. Each is a function named for the behaviour it shows."""

    def __init__(self, client):
        self.client = client
        self.scenarios = []
        self.assertions = 0
        self.skipped = 0
        self.failures = []
        self.current = "set-up"
        self.crashes_in_a_row = 0

    def scenario(self, function):
        """Registers what every broker of this dialect must do."""
        self.scenarios.append((function, False))
        return function

    def ours(self, function):
        """Registers what Rialto does and RabbitMQ 3.10 does not; left out with `--oracle`."""
        self.scenarios.append((function, True))
        return function

    def check(self, what, got, want=True):
        """One assertion: `got` equals `want`."""
        self.assertions += 1
        if got != want or (isinstance(want, bool) != isinstance(got, bool)):
            self.fail(f"{what}: expected {want!r}, got {got!r}")
            return False
        return True

    def fail(self, text):
        self.failures.append(f"{self.current}: {text}")
        print(f"  FAIL {self.client} · {self.current}: {text}", file=sys.stderr, flush=True)

    @property
    def is_oracle(self):
        return os.environ.get("CONFORMANCE_ORACLE") == "1"

    def select(self):
        """The scenarios to run: all, or those whose name contains CONFORMANCE_ONLY."""
        only = os.environ.get("CONFORMANCE_ONLY", "")
        without = os.environ.get("CONFORMANCE_WITHOUT") or "(none)"
        for function, is_ours in self.scenarios:
            if only not in function.__name__ or without in function.__name__:
                continue
            if is_ours and self.is_oracle:
                self.skipped += 1
                continue
            if self.crashes_in_a_row >= 8:
                self.fail("not run: the broker seems to be gone")
                return
            self.current = function.__name__
            before = self.assertions
            yield function
            if self.assertions > before + 1:
                self.crashes_in_a_row = 0

    def crashed(self, error):
        """A scenario that could not go on is a failed assertion."""
        self.assertions += 1
        self.crashes_in_a_row += 1
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "_suite" in f.filename]
        where = f" (line {frames[-1].lineno} of {os.path.basename(frames[-1].filename)})" if frames else ""
        self.fail(f"{type(error).__name__}: {error}{where}")

    def finish(self):
        """Writes the report for the table and ends the process."""
        report = {
            "client": self.client,
            "assertions": self.assertions,
            "skipped": self.skipped,
            "failures": self.failures,
        }
        path = os.environ.get("CONFORMANCE_REPORT")
        if path:
            with open(path, "w", encoding="utf-8") as out:
                json.dump(report, out)
        else:
            print(json.dumps(report, indent=1))
        sys.exit(1 if self.failures else 0)


def broker_url():
    return os.environ["CONFORMANCE_URL"]
