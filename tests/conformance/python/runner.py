"""Runs the suites one after another and prints the table. Called by `run`, which has installed the clients."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from broker import Broker, binary

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ["CONFORMANCE_CACHE"]
NODE = os.path.join(HERE, "..", "node")
RUST = ["lapin", "http-client"]
"""Suites that are crates of their own, in folders of these names."""

HTTP = ["http-client", "flower"]
"""Suites that need the HTTP API."""


def built(suite):
    """Where the program of a suite in Rust is."""
    return os.path.join(CACHE, suite, "debug", f"conformance-{suite}")


SUITES = {
    "pika": [sys.executable, "-m", "pika_suite"],
    "pika-tls": [sys.executable, "-m", "pika_suite"],
    "aio-pika": [sys.executable, "-m", "aio_pika_suite"],
    "kombu": [sys.executable, "-m", "kombu_suite"],
    "celery": [sys.executable, "-m", "celery_suite"],
    "amqplib": ["node", os.path.join(NODE, "amqplib_suite.js")],
    "amqplib-4096": ["node", os.path.join(NODE, "amqplib_suite.js"), "old"],
    "lapin": [built("lapin")],
    "amqp-tools": [sys.executable, "-m", "amqp_tools_suite"],
    "prometheus": [sys.executable, "-m", "prometheus_suite"],
    "http-client": [built("http-client")],
    "flower": [sys.executable, "-m", "flower_suite"],
}
"""What `run` takes as names, in the order they run."""

SUITE_SECONDS = 900
"""After this long a suite hangs; it is ended and counts as failed."""


def arguments():
    parser = argparse.ArgumentParser(prog="tests/conformance/run", description="AMQP 0-9-1 clients against a broker.")
    parser.add_argument("suites", nargs="*", metavar="CLIENT", help=f"which to run (default: all): {', '.join(SUITES)}")
    parser.add_argument("--url", help="a broker that runs already (default: one is started)")
    parser.add_argument("--http", help="the HTTP API of the broker that runs already, like http://host:15672/api")
    parser.add_argument("--oracle", action="store_true", help="leave out what only Rialto does")
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios whose name contains this")
    parser.add_argument("--celery-tasks", type=int, default=100, metavar="N", help="size of Celery's mixed load (default: 100)")
    chosen = parser.parse_args()
    if unknown := set(chosen.suites) - set(SUITES):
        parser.error(f"no such client: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    return chosen


def run(name, url, http, chosen, authority=""):
    """Runs one suite and returns its report."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as report:
        environment = {
            **os.environ,
            "CONFORMANCE_URL": url,
            "CONFORMANCE_HTTP": http or "",
            "CONFORMANCE_AUTHORITY": authority,
            "CONFORMANCE_REPORT": report.name,
            "CONFORMANCE_ORACLE": "1" if chosen.oracle else "0",
            "CONFORMANCE_ONLY": chosen.only,
            "CONFORMANCE_CELERY_TASKS": str(chosen.celery_tasks),
            "NODE_PATH": os.path.join(CACHE, "node", "node_modules"),
        }
        started = time.monotonic()
        try:
            code = subprocess.run(SUITES[name], cwd=HERE, env=environment, timeout=SUITE_SECONDS, stdin=subprocess.DEVNULL).returncode
        except subprocess.TimeoutExpired:
            code = f"still running after {SUITE_SECONDS} s"
        try:
            result = json.load(report)
        except json.JSONDecodeError:
            result = {"assertions": 0, "skipped": 0, "failures": [f"no report (exit: {code})"]}
    if code and not result["failures"]:
        result["failures"].append(f"exit: {code}")
    return {**result, "seconds": time.monotonic() - started}


def print_table(reports):
    print(f"\n{'client':<14}{'assertions':>12}{'failures':>10}{'left out':>10}{'seconds':>9}")
    for name, report in reports.items():
        print(f"{name:<14}{report['assertions']:>12}{len(report['failures']):>10}{report['skipped']:>10}{report['seconds']:>9.1f}")
    total = {key: sum(r[key] if key != "failures" else len(r[key]) for r in reports.values()) for key in ["assertions", "failures", "skipped", "seconds"]}
    print(f"{'all':<14}{total['assertions']:>12}{total['failures']:>10}{total['skipped']:>10}{total['seconds']:>9.1f}")


def main():
    chosen = arguments()
    names = [name for name in SUITES if not chosen.suites or name in chosen.suites]
    if chosen.url and not chosen.http:
        names = [name for name in names if name not in HTTP]
    for name in RUST:
        if name in names:
            folder = os.path.join(HERE, "..", name)
            subprocess.run(["cargo", "build", "--quiet", "--locked", "--target-dir", os.path.join(CACHE, name)], cwd=folder, check=True)
    broker = None if chosen.url else Broker(binary())
    reports = {}
    try:
        for name in names:
            print(f"{name} …", file=sys.stderr, flush=True)
            if name.endswith("-tls"):
                # Whose certificate a broker that runs already has is not known.
                if broker is None:
                    continue
                reports[name] = run(name, broker.tls_url, broker.http_url, chosen, broker.authority)
            else:
                reports[name] = run(name, chosen.url or broker.url, chosen.http or broker.http_url, chosen)
            if broker and broker.process.poll() is not None:
                reports[name]["failures"].append(f"the broker ended with {broker.process.returncode}")
                print("".join(broker.log[-40:]), file=sys.stderr)
                broker = Broker(binary())
    finally:
        if broker:
            broker.__exit__()
    print_table(reports)
    sys.exit(1 if any(report["failures"] for report in reports.values()) else 0)


main()
