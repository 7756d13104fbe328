"""A broker process on a free port, with a data folder of its own that goes with it."""

import os
import subprocess
import tempfile
import threading

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))

# Queues keep few bodies in memory, so that what comes back from disk is seen by every client.
SETTINGS = """
[memory]
queue_bodies = "256 KiB"
"""


def binary(profile="debug"):
    """The broker to test: RIALTO_BIN, or built here."""
    if named := os.environ.get("RIALTO_BIN"):
        return os.path.abspath(named)
    release = ["--release"] if profile == "release" else []
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--bin", "rialto", *release], cwd=ROOT, check=True)
    return os.path.join(os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target"), profile, "rialto")


class Broker:
    """Use it as a context: `with Broker(binary()) as broker`, then `broker.url`, or `broker.http_url` for its HTTP API."""

    def __init__(self, program, settings=SETTINGS, in_memory=False):
        store = ["--in-memory"] if in_memory else ["--data-dir", "data"]
        self.folder = tempfile.TemporaryDirectory(prefix="rialto-conformance-")
        with open(os.path.join(self.folder.name, "broker.toml"), "w", encoding="utf-8") as file:
            file.write(settings)
        # Its one address speaks both, plain and TLS. The guest has a certificate, and so has somebody whom it does not know.
        issue = [program, "cert", "dev", "--client", "guest", "--client", "stranger"]
        subprocess.run(issue, cwd=self.folder.name, stdout=subprocess.DEVNULL, check=True)
        self.authority = os.path.join(self.folder.name, "certs", "ca.pem")
        tls = {"RIALTO_TLS__CERT": "certs/server.pem", "RIALTO_TLS__KEY": "certs/server.key", "RIALTO_TLS__LISTEN": "none"}
        tls |= {"RIALTO_TLS__CLIENT_CA": "certs/ca.pem", "RIALTO_TLS__VERIFY": "optional"}
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", *store], cwd=self.folder.name, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "RIALTO_MANAGEMENT__LISTEN": "127.0.0.1:0", "RIALTO_METRICS__LISTEN": "none", **tls},
        )
        self.log = []
        self.url = self.tls_url = self.http_url = None
        for line in self.process.stderr:
            self.log.append(line)
            if "serving on rialto://" in line:
                address = line.split("serving on rialto://")[1].strip().rstrip("/")
                self.url = f"amqp://guest:guest@{address}/%2f"
                self.tls_url = self.url.replace("amqp:", "amqps:")
            if "the HTTP API answers on " in line:
                self.http_url = line.split("the HTTP API answers on ")[1].strip().rstrip("/")
            if self.url and self.http_url:
                break
        if self.http_url is None:
            raise SystemExit("the broker ended before it served:\n" + "".join(self.log))
        # Somebody must read on, or the log would fill the pipe.
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()
