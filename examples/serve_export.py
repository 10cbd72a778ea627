"""Exports an explainer, and serves it over HTTP in a process that knows nothing of innvestigate.

    python examples/serve_export.py            # export, serve, ask once, compare
    python examples/serve_export.py serve DIR  # what the other process runs

The server needs TensorFlow alone: a model as any other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import Request, urlopen


def serve(folder: str) -> None:
    """Answer `POST` of `{"x": [...]}` by `{"relevance": [...]}`, once."""
    import tensorflow as tf

    explainer = tf.saved_model.load(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            relevance = explainer.serve(tf.constant(asked["x"], tf.float32))
            known = [name for name in ("innvestigate", "keras") if name in sys.modules]
            answer = json.dumps({"relevance": relevance.numpy().tolist(), "imported": known})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.handle_request()
    server.server_close()


def export(folder: str):
    """A small model's explainer in a folder; returns samples and their relevance."""
    import keras
    import numpy as np

    import innvestigate

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    analyzer = innvestigate.create_analyzer("lrp.epsilon", model)
    analyzer.export(folder)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    return x, analyzer.analyze(x)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "explainer")
        x, expected = export(path)
        command = [sys.executable, __file__, "serve", path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            port = int(server.stdout.readline())
            question = json.dumps({"x": x.tolist()}).encode()
            with urlopen(Request(f"http://127.0.0.1:{port}", question)) as response:
                answer = json.load(response)
    gap = abs(expected - answer["relevance"]).max()
    print(f"Served relevance differs from analyze() by {gap:.1e} at most.")
    print(f"Imported there of innvestigate and keras: {answer['imported'] or 'nothing'}.")
    if gap > 1e-4 or "innvestigate" in answer["imported"]:
        raise SystemExit("The served explainer is another one.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        main()
