# SPDX-License-Identifier: Apache-2.0
"""Replays that are killed in the middle. Messages go to and fro between two queues, as an operator sends
them, over the control socket; the broker is killed at random moments, and after each restart every message
is looked for in both. What looks changes nothing, so the truth is known exactly, and after every kill:

    lost      in neither queue
    twofold   in both, or in one of them twice
    undone    somewhere else than where the broker had said that it is, on disk
    changed   with another body, or marked as redelivered, though nobody was given it

    python3 tests/crash/replays.py --kills 300 --seed 7 --messages 10000
"""

import argparse
import collections
import http.client
import json
import pathlib
import random
import shutil
import signal
import socket
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from crash.process import Process       # noqa: E402

QUEUES = ("dead", "orders")
MESSAGE_COUNT = 1500
READY_TIMEOUT_S = 30
KILL_AFTER_S = 0.12
CONFIG = "bourse: 1\nserver:\n  log: {level: warn}\nlisteners: {amqp: {bind: \"127.0.0.1:0\"}}\n"


class ControlSocket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None):
        """(status, answer); lines of JSON are a list."""
        self.request(method, path, None if body is None else json.dumps(body),
                     {} if body is None else {"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        if answer.getheader("Content-Type") == "application/x-ndjson":
            return answer.status, [json.loads(line) for line in text.splitlines()]
        return answer.status, json.loads(text) if text else None


class Replays:
    def __init__(self, seed, directory):
        self.rng = random.Random(f"replays {seed}")
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True)
        self.config = self.directory / "bourse.yaml"
        self.config.write_text(CONFIG)
        self.problems, self.kills, self.moved, self.halves = [], 0, 0, 0
        self.places = {}                # by message-id: the queue in which it was seen last
        self.settled = {}               # the same of those of which the broker has said so, on disk
        self.process, self.api = None, None

    def problem(self, kind, text):
        self.problems.append(f"{kind}: kill {self.kills}: {text}")

    # -- lives

    def start(self):
        self.process = Process(self.config, self.directory)
        if not self.process.wait_ready(READY_TIMEOUT_S):
            raise AssertionError("not ready\n" + self.process.log_tail())
        self.api = ControlSocket(self.directory / "data" / "bourse.sock")

    def bury(self):
        self.process.signal(signal.SIGKILL)
        self.process.reap()
        self.api.close()
        reports = self.process.sanitizer_reports()
        if reports:
            self.problem("process", reports)

    def fill(self, count):
        self.start()
        for queue in QUEUES:
            assert self.api.ask("PUT", f"/api/queues/%2F/{queue}", {})[0] == 201
        for number in range(count):
            body = {"routing_key": "dead", "payload": f"{number} " + "x" * (number % 7) * 100,
                    "payload_encoding": "string",
                    "properties": {"delivery_mode": 2, "message_id": f"m{number}"}}
            status, answer = self.api.ask("POST", "/api/exchanges/%2F/amq.default/publish", body)
            assert (status, answer) == (200, {"routed": True})
        self.places = {f"m{number}": "dead" for number in range(count)}
        self.check({})
        self.bury()

    # -- what is there

    def check(self, settled):
        """`settled`: where messages are for certain, by message-id."""
        seen, orders = collections.Counter(), {}
        places = {}
        for queue in QUEUES:
            status, rows = self.api.ask("GET", f"/api/bourse/queues/%2F/{queue}/export?truncate=16")
            assert status == 200
            orders[queue] = [row["properties"]["message_id"] for row in rows]
            for row in rows:
                self.check_row(row)
                places[row["properties"]["message_id"]] = queue
            seen.update(orders[queue])
        for name in self.places:
            if seen[name] != 1:
                self.problem("lost" if seen[name] == 0 else "twofold", f"{name} is there {seen[name]} times")
            elif name in settled and settled[name] != places[name]:
                self.problem("undone", f"{name} is in {places[name]}, but was in {settled[name]}")
        for name in seen.keys() - self.places.keys():
            self.problem("twofold", f"{name} was never published")
        return places, orders

    def check_row(self, row):
        number = row["properties"]["message_id"][1:]
        if row["payload"].split()[0] != number or row["redelivered"]:
            self.problem("changed", f"{row}")

    # -- replays

    def draw(self, source, target):
        body = {"to": "exchange", "exchange": "amq.default", "routing_key": target, "batch": f"b{self.kills}",
                "rate": self.rng.choice((0, 0, 3000, 15000))}
        if self.rng.random() < 0.3:
            body["limit"] = self.rng.randrange(1, len(self.places))
        if self.rng.random() < 0.2:
            body["filter"] = {"message_id": str(self.rng.randrange(10))}
        return source, body

    def live(self):
        """One life: what a kill left is looked at, then a replay begins and is killed. The next life
        checks it against what the broker has said of it."""
        self.start()
        places, orders = self.check(self.settled)
        self.halves += len(set(places.values())) > 1
        self.moved += sum(self.places[name] != queue for name, queue in places.items())
        self.places = {**self.places, **places}
        source = max(QUEUES, key=lambda queue: len(orders[queue]))
        source, body = self.draw(source, QUEUES[1 - QUEUES.index(source)])
        self.process.signal_after(self.rng.uniform(0, KILL_AFTER_S), signal.SIGKILL)
        said = self.replay(source, body)
        # What a replay that is over and on disk left behind stays as it is.
        self.settled = {}
        if said is not None and said["on_disk"] and "filter" not in body:
            count = said["done"]
            moved = orders[source][:count]
            self.settled = {name: body["routing_key"] for name in moved}
            self.settled.update({name: source for name in orders[source][count:]})
        self.process.reap()
        self.api.close()
        self.kills += 1

    def replay(self, source, body):
        """Follows it until the kill; the last that the broker said."""
        said = None
        try:
            status, said = self.api.ask("POST", f"/api/bourse/queues/%2F/{source}/replay", body)
            if status not in (200, 202):
                self.problem("refused", f"{status} {said}")
                return None
            while True:
                _status, said = self.api.ask("GET", f"/api/bourse/replays/{said['id']}")
                time.sleep(0.002)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return said

    def run(self, kills, count=MESSAGE_COUNT):
        self.fill(count)
        while self.kills < kills and not self.problems:
            self.live()
        self.start()
        self.check(self.settled)
        self.bury()
        return self.problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--messages", type=int, default=MESSAGE_COUNT)
    options = parser.parse_args()
    directory = ROOT / "build" / "crash" / f"replays-{options.seed}"
    shutil.rmtree(directory, ignore_errors=True)
    replays = Replays(options.seed, directory)
    problems = replays.run(options.kills, options.messages)
    for problem in problems[:20]:
        print(problem)
    print(f"replays seed {options.seed}: {replays.kills} kills, {replays.halves} of them with messages in both"
          f" queues, {replays.moved} messages moved, {len(problems)} problems")
    if not problems:
        shutil.rmtree(directory)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
