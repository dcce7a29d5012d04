# SPDX-License-Identifier: Apache-2.0
"""Two brokers in the same state, and requests that are sent to both of their management interfaces."""

import base64
import http.client
import json
import time
import urllib.parse

ALL = {"configure": ".*", "write": ".*", "read": ".*"}
USERS = {"admin": "administrator", "mon": "monitoring", "pol": "policymaker", "mgm": "management",
         "imp": "impersonator", "plain": "", "out": "management"}
EXCHANGES = {"dir": "direct", "fan": "fanout", "top": "topic", "hdr": "headers", "dlx": "fanout",
             "hash": "x-consistent-hash", "rnd": "x-random"}
QUEUES = {
    "plain": {}, "a+b": {}, "a/b": {}, "\u00fc": {}, "a b": {}, "%2F": {}, "q.1": {}, "q.2": {},
    "all": {"x-message-ttl": 60000, "x-expires": 3600000, "x-max-length": 1000,
            "x-max-length-bytes": 1000000, "x-overflow": "reject-publish",
            "x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "dead",
            "x-single-active-consumer": True, "x-queue-mode": "lazy", "x-max-priority": 5},
    "quorum": {"x-queue-type": "quorum", "x-delivery-limit": 5}}
STATE = [
    *[("PUT", f"vhosts/{name}", {"description": "d", "tags": "a,b"})
      for name in ("shop", "closed", "w%2F%C3%BC%2Bv")],
    ("PUT", "permissions/shop/guest", ALL), ("PUT", "permissions/w%2F%C3%BC%2Bv/guest", ALL),
    *[("PUT", f"users/{name}", {"password": "pw", "tags": tags}) for name, tags in USERS.items()],
    *[("PUT", f"permissions/shop/{name}", ALL) for name in USERS if name != "out"],
    ("PUT", "users/certonly", {"password_hash": "", "tags": ""}),
    ("PUT", "topic-permissions/shop/mgm", {"exchange": "top", "write": "^a", "read": ".*"}),
    *[("PUT", f"exchanges/shop/{name}", {"type": kind, "durable": True})
      for name, kind in EXCHANGES.items()],
    ("PUT", "exchanges/shop/internal", {"type": "topic", "internal": True, "durable": False,
                                        "auto_delete": True,
                                        "arguments": {"alternate-exchange": "fan"}}),
    *[("PUT", "queues/shop/" + urllib.parse.quote(name, safe=""),
       {"durable": True, "arguments": arguments}) for name, arguments in QUEUES.items()],
    ("PUT", "queues/shop/transient", {"durable": False, "auto_delete": True}),
    ("POST", "bindings/shop/e/dir/q/plain", {"routing_key": "k"}),
    ("POST", "bindings/shop/e/top/q/plain", {"routing_key": "a.#"}),
    ("POST", "bindings/shop/e/hdr/q/plain", {"arguments": {"x-match": "any", "n": 5}}),
    ("POST", "bindings/shop/e/hash/q/plain", {"routing_key": "3"}),
    ("POST", "bindings/shop/e/top/e/fan", {"routing_key": "b/c d"}),
    ("PUT", "policies/shop/pol1", {"pattern": "^plain$", "definition": {"max-length": 500},
                                   "priority": 1, "apply-to": "queues"}),
    ("PUT", "operator-policies/shop/op1", {"pattern": "^plain$", "definition": {"expires": 3600000},
                                           "apply-to": "queues"}),
    ("PUT", "vhost-limits/shop/max-queues", {"value": 100}),
    ("PUT", "user-limits/mgm/max-channels", {"value": 100}),
    ("PUT", "global-parameters/gp", {"value": {"a": [1]}})]


def decoded(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


class Side:
    """One of the two brokers, with clients that consume and publish."""

    def __init__(self, server, address):
        self.server, self.address, self.connection, self.clients = server, address, None, []
        self.places = {}
        for method, path, body in STATE:
            status, _headers, text = self.ask(method, path, body)
            assert status in (201, 204), (method, path, status, text)
        self._connect()
        self._wait()

    def _connect(self):
        for user in ("guest", "mgm"):
            client = self.server.open(vhost="shop", user=user,
                                      password="guest" if user == "guest" else "pw",
                                      properties={"connection_name": "c-" + user})
            channel = client.channel()
            channel.call("basic.qos", prefetch_count=2)
            channel.call("confirm.select")
            channel.call("basic.consume", queue="plain", consumer_tag="ct-" + user,
                         arguments={"x-priority": 3})
            self.clients.append(client)
        first = self.clients[0]
        own = first.channel()
        own.call("queue.declare", queue="mine", exclusive=True)
        own.call("basic.consume", queue="mine", consumer_tag="m", exclusive=True, no_ack=True)
        for _ in range(6):
            own.publish("dir", "k", b"hello")
        for _ in range(3):
            own.publish("", "q.2", b"hello", headers={"a": 1})
        open_one = first.channel()
        open_one.call("tx.select")
        open_one.publish("", "q.2", b"uncommitted")

    def _wait(self):
        """RabbitMQ's numbers come late, and there is no event that tells."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            channels, plain = self.found("channels"), self.found("queues/shop/plain")
            connections = self.found("connections")
            if len(channels) == 4 and all("state" in row for row in channels) and \
                    plain.get("messages_unacknowledged") == 4 and "message_stats" in plain and \
                    len(connections) == 2 and all("client_properties" in row for row in connections) \
                    and len(self.found("consumers")) == 3:
                break
            time.sleep(0.2)
        else:
            raise AssertionError("the clients do not appear")
        name = next(row["name"] for row in connections if row["user"] == "guest")
        self.places = {"{connection}": urllib.parse.quote(name, safe=""),
                       "{node}": urllib.parse.quote(self.found("overview")["node"], safe="")}

    def found(self, path):
        status, _headers, text = self.ask("GET", path)
        assert status == 200, (path, status, text)
        return decoded(text)

    def ask(self, method, path, body=None, user="guest", kind="application/json"):
        """Status, headers in small letters, body as it came. `user` None: without a login."""
        headers = {}
        if user is not None:
            pair = f"{user}:{'guest' if user == 'guest' else 'pw'}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None and kind is not None:
            headers["Content-Type"] = kind
        for name, value in self.places.items():
            path = path.replace(name, value)
        try:
            answer = self._send(method, path, body, headers)
        except http.client.RemoteDisconnected:
            self.close()  # RabbitMQ's server takes a thousand requests of one connection
            answer = self._send(method, path, body, headers)
        text = answer.read()
        if answer.will_close:
            self.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def _send(self, method, path, body, headers):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=60)
        self.connection.request(method, "/api/" + path, body, headers)
        return self.connection.getresponse()

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def stop(self):
        self.close()
        for client in self.clients:
            client.drop()
