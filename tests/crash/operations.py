# SPDX-License-Identifier: Apache-2.0
"""What an operator does over the control socket, against a broker that may end at any call of its disk: after
the restart everything that was answered is there, each step that was not is done or undone, and the audit tells
of all that was answered, in its order."""

import http.client
import json
import signal

from crash import session
from crash.history import History
from crash.replays import ControlSocket

MESSAGES = [f"m{number}" for number in range(8)]
ENDED = (*session.ENDED, http.client.HTTPException, json.JSONDecodeError)
TEXTS = {name: f"bourse: 1\nvhost: applied\nqueues: {{{name}1: {{}}, {name}2: {{}}}}\n" for name in "ab"}


class Refused(Exception):
    """The broker has answered, but not done it."""


def desk(queue, verb):
    return f"/api/bourse/queues/%2F/{queue}/{verb}"


class Operations:
    """The same for a run as Session. `facts` says of each fact which values it may have."""

    def __init__(self):
        self.history, self.finished = History(), False
        self.facts = {"policy": {None}, "rights": {None}, "applied": {()}, "paused": {False}, "traced": {False},
                      **{name: {None} for name in MESSAGES}}
        self.audited, self.api = [], None

    def run(self, process):
        try:
            self._fill(process.address)
            self.api = ControlSocket(process.directory / "data" / "bourse.sock")
            self._change_settings()
            self._move_messages()
            self.finished = True
        except ENDED:
            pass
        finally:
            if self.api is not None:
                self.api.close()
        if self.finished:
            process.signal(signal.SIGTERM)

    def _fill(self, address):
        channel = session.connect(address).channel()
        for queue in ("dead", "orders"):
            channel.declare(queue, durable=True)
        channel.call("confirm.select")
        for name in MESSAGES:
            self.facts[name] = {None, "dead"}
            channel.publish("", "dead", name * 100, delivery_mode=2, message_id=name)
            channel.expect("basic.ack")
            self.facts[name] = {"dead"}

    # -- steps

    def _step(self, facts, method, path, body, audited=None):
        """`facts` are what holds once it is answered."""
        for name, value in facts.items():
            self.facts[name] = self.facts[name] | {value}
        status, answer = self.api.ask(method, path, body)
        if status not in (200, 201, 204) or (answer or {}).get("on_disk") is False:
            raise Refused(f"{method} {path}: {status} {answer}")
        self.facts.update({name: {value} for name, value in facts.items()})
        if audited is not None:
            self.audited.append(audited)

    def _change_settings(self):
        for limit in (10, 20):
            self._step({"policy": limit}, "PUT", "/api/policies/%2F/p",
                       {"pattern": "^none$", "definition": {"max-length": limit}}, "policy.put")
        self._step({}, "PUT", "/api/users/keeper", {"password_hash": "", "tags": "monitoring"}, "user.created")
        self._step({"rights": "^a"}, "PUT", "/api/permissions/%2F/keeper",
                   {"configure": "^a", "write": "", "read": ""}, "rights.granted")
        for name, text in TEXTS.items():
            self._step({"applied": (f"{name}1", f"{name}2")}, "POST", "/api/bourse/apply",
                       {"files": [{"name": f"{name}.yaml", "text": text}], "prune": True}, "topology.applied")
        self._step({"traced": True}, "POST", "/api/bourse/vhosts/%2F/tracing", {"tracing": True}, "trace.started")
        self._step({"paused": True}, "POST", desk("orders", "pause"), {"note": "looking"}, "pause")

    def _move_messages(self):
        to_orders = {"to": "exchange", "exchange": "amq.default", "routing_key": "orders", "wait": True}
        self._step(dict.fromkeys(MESSAGES[:4], "orders"), "POST", desk("dead", "replay"), to_orders | {"limit": 4},
                   "replay")
        self._step(dict.fromkeys(MESSAGES[4:6], None), "POST", desk("dead", "drop"),
                   {"limit": 2, "note": "bad", "wait": True}, "drop")
        self._step({"paused": False}, "POST", desk("orders", "resume"), {}, "resume")
        self._step(dict.fromkeys(MESSAGES[:4], None), "POST", desk("orders", "purge"), {}, "purge")
        self._step({"policy": None}, "DELETE", "/api/policies/%2F/p", None, "policy.deleted")

    # -- after a restart

    def check(self, process):
        self.api = ControlSocket(process.directory / "data" / "bourse.sock")
        for name, value in {**self._settings(), **self._places()}.items():
            if value not in self.facts[name]:
                self._wrong(f"{name} is {value}, but may be {self.facts[name]}")
        told = iter(entry["action"] for entry in self._get("/api/bourse/audit")["entries"])
        for action in self.audited:
            if action not in told:
                self._wrong(f"{action} is not in the audit, or not in its place")
        self.api.close()
        return self.history.check()

    def _wrong(self, text):
        self.history.violation("topology", text)

    def _get(self, path):
        """None: it is not there."""
        status, answer = self.api.ask("GET", path)
        return answer if status == 200 else None

    def _settings(self):
        policy, rights = self._get("/api/policies/%2F/p"), self._get("/api/permissions/%2F/keeper")
        orders = self._get("/api/queues/%2F/orders")
        return {"policy": policy and policy["definition"]["max-length"], "rights": rights and rights["configure"],
                "applied": tuple(row["name"] for row in self._get("/api/queues/applied?columns=name") or ()),
                "traced": self._get("/api/bourse/vhosts/%2F/tracing")["tracing"],
                "paused": bool(orders and orders["bourse"]["paused"])}

    def _places(self):
        places = dict.fromkeys(MESSAGES)
        for queue in ("dead", "orders"):
            for row in self._get(desk(queue, "export")) or ():
                name = row["properties"]["message_id"]
                if places[name] is not None or row["payload"] != name * 100:
                    self._wrong(f"{name} is there twice, or changed")
                places[name] = queue
        return places
