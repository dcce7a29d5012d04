# SPDX-License-Identifier: Apache-2.0
"""Calls of a management interface, of ours or of RabbitMQ's."""

import base64
import http.client
import json
import urllib.parse


def quoted(name):
    return urllib.parse.quote(name, safe="")


class Api:
    """Calls of one user; each gives (status, decoded body), of what is no JSON the octets."""

    def __init__(self, address, user="guest", password="guest"):
        self.address = address
        pair = f"{user}:{password}".encode()
        self.authorization = "Basic " + base64.b64encode(pair).decode()

    def call(self, method, path, body=None, headers=None, raw=False):
        """With `raw` the body as it came."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        sent = {"Authorization": self.authorization, **(headers or {})}
        if body is not None:
            body = json.dumps(body)
            sent["Content-Type"] = "application/json"
        connection.request(method, "/api/" + path, body, sent)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if raw:
            return answer.status, text
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def get(self, path):
        return self.call("GET", path)

    def found(self, path):
        """The body of a GET that must succeed."""
        status, body = self.get(path)
        assert status == 200, (path, status, body)
        return body
