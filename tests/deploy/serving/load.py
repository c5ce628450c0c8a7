"""Load on `lc2fer-deploy serve`: python tests/deploy/serving/load.py MODEL [--clients 50] [--seconds 120].

So many clients ask over loopback, each as soon as it was answered, and look whether the answer is theirs. Then the same
for five seconds with a queue that is too short. Prints one line of JSON; exit code 1 where an answer was lost or wrong,
or the server's memory grew by more than a twentieth in the second half.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lc2fer import open_session

PORT = 18_000
_IMAGES = 16  # different ones


@contextmanager
def served(model: Path, threads: int, queue: int) -> Iterator[psutil.Process]:
    command = [sys.executable, "-c", "import sys; from lc2fer import cli; sys.exit(cli.run('deploy', sys.argv[1:]))"]
    options = ["--address", str(PORT), "--threads", str(threads), "--queue", str(queue), "--name", "m"]
    process = subprocess.Popen(
        [*command, "serve", str(model), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        if " serves " not in line:
            raise SystemExit(line)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


class Client:
    """One connection, kept open, that asks again and again."""

    def __init__(self, requests: list[bytes], wanted: list[bytes]) -> None:
        self.requests, self.wanted = requests, wanted
        self.samples_ms: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.retry_after = 0
        self.wrong = 0

    async def ask(self, ends: float, first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        place = first
        while time.monotonic() < ends:
            start = time.perf_counter()
            writer.write(self.requests[place % _IMAGES])
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(lines["content-length"]))
            self.samples_ms.append(1000 * (time.perf_counter() - start))
            status = int(head.split(" ", 2)[1])
            self.statuses[status] += 1
            if status == 200:
                self.wrong += not body.endswith(self.wanted[place % _IMAGES])
            else:
                self.retry_after += "retry-after" in lines
                await asyncio.sleep(0.05)
            place += 1
        writer.close()


async def load(clients: list[Client], seconds: float, server: psutil.Process) -> list[int]:
    """Memory of the server in bytes, once a second."""
    ends = time.monotonic() + seconds
    tasks = [asyncio.create_task(client.ask(ends, place)) for place, client in enumerate(clients)]
    memory = []
    while time.monotonic() < ends:
        memory.append(server.memory_info().rss)
        await asyncio.sleep(1)
    await asyncio.gather(*tasks)
    return memory


def figures(clients: list[Client], seconds: float, memory: list[int], cpu_s: float) -> dict[str, Any]:
    samples = np.concatenate([client.samples_ms for client in clients])
    statuses: Counter[int] = sum((client.statuses for client in clients), Counter())
    p50, p99 = np.percentile(samples, [50, 99])
    half = memory[len(memory) // 2 :]
    return {
        "clients": len(clients),
        "seconds": seconds,
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "with_retry_after": sum(client.retry_after for client in clients),
        "wrong": sum(client.wrong for client in clients),
        "images_per_s": round(statuses[200] / seconds, 1),
        "server_cpu_ms_per_image": round(1000 * cpu_s / statuses[200], 3),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "rss_mb": [round(memory[place] / 1e6, 1) for place in (len(memory) // 4, len(memory) // 2, -1)],
        "growth": round(max(half) / half[0] - 1, 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    with open_session(given.model, threads=given.threads) as session:
        side = session.artifact.input_spec.size
        pixels = np.random.default_rng(0).integers(0, 256, (_IMAGES, 3, side, side)).astype(np.uint8)
        wanted = [logits.astype("<f4").tobytes() for logits in session.run(pixels.astype(np.float32))]
    requests = []
    for image in pixels:
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 3, side, side]}
        tensor["parameters"] = {"binary_data_size": image.nbytes}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        lines = (
            "POST /v2/models/m/infer HTTP/1.1",
            "Host: localhost",
            f"Inference-Header-Content-Length: {len(head)}",
            f"Content-Length: {len(head) + image.nbytes}",
        )
        requests.append("\r\n".join((*lines, "", "")).encode() + head + image.tobytes())
    found = {}
    for name, queue, seconds in (("load", 256, given.seconds), ("full", 4, min(5.0, given.seconds))):
        clients = [Client(requests, wanted) for _ in range(given.clients)]
        with served(given.model, given.threads, queue) as server:
            before = server.cpu_times()
            memory = asyncio.run(load(clients, seconds, server))
            after = server.cpu_times()
        cpu_s = after.user + after.system - before.user - before.system
        found[name] = figures(clients, seconds, memory, cpu_s)
    print(json.dumps(found))
    good = found["load"]["statuses"].keys() == {"200"} and found["load"]["growth"] < 0.05
    good = good and found["full"]["statuses"].keys() == {"200", "503"}
    good = good and found["full"]["with_retry_after"] == found["full"]["statuses"]["503"]
    return int(not good or any(each["wrong"] for each in found.values()))


if __name__ == "__main__":
    sys.exit(main())
