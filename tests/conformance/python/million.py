"""Called by `million`: one library publishes, another consumes, and both say what they saw."""

import argparse
import contextlib
import os
import subprocess
import sys
import time

from broker import Broker, binary

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ["CONFORMANCE_CACHE"]


def main():
    parser = argparse.ArgumentParser(prog="tests/conformance/million")
    parser.add_argument("count", nargs="?", type=int, default=1_000_000, help="messages (default: a million)")
    parser.add_argument("--url", help="a broker that runs already")
    chosen = parser.parse_args()
    lapin = ["cargo", "build", "--quiet", "--locked", "--target-dir", os.path.join(CACHE, "lapin")]
    subprocess.run(lapin, cwd=os.path.join(HERE, "..", "lapin"), check=True)
    with contextlib.ExitStack() as stack:
        url = chosen.url or stack.enter_context(Broker(binary("release"), settings="")).url
        environment = {**os.environ, "CONFORMANCE_URL": url, "NODE_PATH": os.path.join(CACHE, "node", "node_modules")}
        queue = f"conformance.million.{os.getpid()}"
        arguments = [queue, str(chosen.count)]
        started = time.monotonic()
        consumer = subprocess.Popen([os.path.join(CACHE, "lapin", "debug", "consume_in_order"), *arguments], env=environment)
        publisher = subprocess.Popen(["node", os.path.join(HERE, "..", "node", "publish_confirmed.js"), *arguments], env=environment)
        codes = [process.wait() for process in (publisher, consumer)]
    print(f"{chosen.count} messages in {time.monotonic() - started:.1f} s: {'all confirmed, each consumed once, in order' if not any(codes) else 'FAILED'}")
    sys.exit(1 if any(codes) else 0)


main()
