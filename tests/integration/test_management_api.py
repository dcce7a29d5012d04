# SPDX-License-Identifier: Apache-2.0
"""The HTTP interface of a real broker: routes, errors, lists, and what a browser may not do."""

import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import threading
import time
import urllib.parse

import pytest

from tests.support import broker as brokers
from tests.support import certs

CONFIG = """
bourse: 1
server: {rabbitmq-version: "3.13.7"}
users:
  admin: {auth: password, password-file: pw, role: admin,
          rights: {configure: ".*", write: ".*", read: ".*"}}
  operator: {auth: password, password-file: pw, role: operator,
             rights: {configure: "^mine", write: ".*", read: ".*"}}
  monitor: {auth: password, password-file: pw, role: monitor,
            rights: {configure: ".*", write: ".*", read: ".*"}}
  service: {auth: password, password-file: pw, rights: {configure: ".*", write: ".*", read: ".*"}}
listeners:
  amqp: {bind: "127.0.0.1:0"}
  http: {bind: "127.0.0.1:0"}
  metrics: {bind: "127.0.0.1:0"}
"""


class Api:
    """Calls of one user; each gives (status, decoded body)."""

    def __init__(self, address, user="admin", password="secret"):
        self.address, self.user, self.password = address, user, password
        self.headers = {}

    def connection(self):
        return http.client.HTTPConnection(*self.address, timeout=15)

    def call(self, method, path, body=None, headers=None):
        connection = self.connection()
        sent = dict(headers or {})
        if self.user is not None:
            pair = f"{self.user}:{self.password}".encode()
            sent.setdefault("Authorization", "Basic " + base64.b64encode(pair).decode())
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        text = answer.read()
        self.headers = dict(answer.getheaders())
        connection.close()
        is_json = self.headers.get("Content-Type") == "application/json"
        return answer.status, json.loads(text) if is_json else text

    def get(self, path):
        return self.call("GET", path)

    def put(self, path, body):
        return self.call("PUT", path, body)

    def post(self, path, body):
        return self.call("POST", path, body)

    def delete(self, path):
        return self.call("DELETE", path)

    def publish(self, key, payload="x", exchange="amq.default", **properties):
        return self.post(f"/api/exchanges/%2F/{exchange}/publish",
                         {"properties": properties, "routing_key": key, "payload": payload,
                          "payload_encoding": "string"})

    def take(self, queue, mode="ack_requeue_false", count=1, **more):
        return self.post(f"/api/queues/%2F/{queue}/get",
                         {"count": count, "ackmode": mode, "encoding": "auto", **more})


@pytest.fixture(name="broker", scope="module", params=["1", "2"])
def fixture_broker(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("management")
    (path / "pw").write_text("secret\n")
    (path / "bourse.yaml").write_text(CONFIG)
    with brokers.Bourse(path / "bourse.yaml", listen=("amqp", "http", "metrics"),
                        threads=request.param) as running:
        yield running


def api_of(broker, user="admin", password="secret"):
    return Api(broker.addresses["http"][0], user, password)


@pytest.fixture(name="api")
def fixture_api(broker):
    return api_of(broker)


def test_a_queue_is_declared_shown_purged_and_deleted(api):
    assert api.put("/api/queues/%2F/q1", {"arguments": {"x-max-length": 7}})[0] == 201
    assert api.put("/api/queues/%2F/q1", {"arguments": {"x-max-length": 7}})[0] == 204
    assert api.publish("q1", delivery_mode=2) == (200, {"routed": True})
    status, queue = api.get("/api/queues/%2F/q1")
    assert status == 200
    assert (queue["name"], queue["vhost"], queue["type"]) == ("q1", "/", "classic")
    assert queue["arguments"] == {"x-max-length": 7} and queue["durable"] is True
    assert queue["messages"] == queue["messages_ready"] == 1
    assert queue["messages_unacknowledged"] == 0
    assert queue["effective_policy_definition"] == {} and queue["consumer_details"] == []
    assert queue["message_stats"]["publish"] == 1
    assert queue["bourse"]["oldest_ready_age_ms"] >= 0
    assert api.delete("/api/queues/%2F/q1?if-empty=true")[0] == 412
    assert api.delete("/api/queues/%2F/q1/contents")[0] == 204
    assert api.delete("/api/queues/%2F/q1?if-empty=true")[0] == 204
    assert api.get("/api/queues/%2F/q1")[0] == 404
    assert api.delete("/api/queues/%2F/q1")[0] == 404


def test_a_refusal_has_the_text_that_a_client_gets(api):
    api.put("/api/queues/%2F/q2", {})
    status, error = api.put("/api/queues/%2F/q2", {"durable": False})
    assert status == 400 and error["error"] == "bad_request"
    assert error["reason"] == ("PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q2' in "
                               "vhost '/': received 'false' but current is 'true'")


# Seam of rights: what AMQP refuses the interface refuses, with the same words.
def test_rights_of_amqp_hold_here_too(broker, api):
    operator = api_of(broker, "operator")
    assert operator.put("/api/queues/%2F/mine.a", {})[0] == 201
    status, error = operator.put("/api/queues/%2F/other", {})
    assert status == 401
    assert error["reason"].startswith("ACCESS_REFUSED - configure access to queue 'other'")
    assert api.get("/api/queues/%2F/other")[0] == 404


def test_a_name_may_have_slash_plus_percent_and_unicode(api):
    for name in ("a/b", "a+b", "100%", "käse €", "a?b#c", ".."):
        path = "/api/queues/%2F/" + urllib.parse.quote(name, safe="")
        assert api.put(path, {})[0] == 201, name
        assert api.get(path)[1]["name"] == name
        assert api.delete(path)[0] == 204


# product.md 5.1: one autoscaler escapes names for a query even in the path.
def test_a_plus_in_a_path_is_a_space_where_only_that_queue_is_there(api):
    api.put("/api/queues/%2F/my%20queue", {})
    assert api.get("/api/queues/%2F/my+queue")[1]["name"] == "my queue"
    api.put("/api/queues/%2F/my+queue", {})
    assert api.get("/api/queues/%2F/my+queue")[1]["name"] == "my+queue"


def test_publish_says_whether_a_queue_took_it(api):
    assert api.publish("nowhere") == (200, {"routed": False})
    status, error = api.publish("k", exchange="missing")
    assert status == 404 and error["reason"] == "NOT_FOUND - no exchange 'missing' in vhost '/'"
    api.put("/api/queues/%2F/full", {"arguments": {"x-max-length": 1,
                                                    "x-overflow": "reject-publish"}})
    assert api.publish("full")[0] == 200
    assert api.publish("full") == (400, {
        "error": "bad_request",
        "reason": "Unable to publish message. Check queue limits."})


def test_a_published_message_arrives_as_it_was_sent(broker, api):
    api.put("/api/queues/%2F/sent", {})
    body = {"properties": {"content_type": "text/x", "priority": 3, "headers": {"n": 5, "l": [1]}},
            "routing_key": "sent", "payload": base64.b64encode(b"\xff\0").decode(),
            "payload_encoding": "base64"}
    assert api.post("/api/exchanges/%2F/amq.default/publish", body)[0] == 200
    message = broker.open(user="admin", password="secret").channel().get("sent")
    assert message.body == b"\xff\0"


@pytest.mark.parametrize("mode,left,redelivered", [
    ("ack_requeue_false", 0, None), ("reject_requeue_false", 0, None),
    ("ack_requeue_true", 2, True), ("reject_requeue_true", 2, True)])
def test_get_takes_or_returns_as_it_is_asked(api, mode, left, redelivered):
    queue = "got." + mode
    api.put(f"/api/queues/%2F/{queue}", {})
    api.publish(queue, "one", message_id="7")
    api.publish(queue, "zwei\u20ac")
    status, messages = api.take(queue, mode, 5)
    assert status == 200
    assert [m["payload"] for m in messages] == ["one", "zwei\u20ac"]
    assert messages[0]["properties"] == {"message_id": "7"}
    assert [m["message_count"] for m in messages] == [1, 0]
    assert api.get(f"/api/queues/%2F/{queue}")[1]["messages"] == left
    if redelivered:
        assert [m["redelivered"] for m in api.take(queue, count=2)[1]] == [True, True]


def test_get_cuts_payloads_and_encodes_what_is_no_text(api):
    api.put("/api/queues/%2F/cut", {})
    api.publish("cut", "0123456789")
    api.publish("cut", "abc")
    first = api.take("cut", truncate=4)[1][0]
    assert (first["payload"], first["payload_bytes"]) == ("0123", 10)
    second = api.take("cut", encoding="base64")[1][0]
    assert (second["payload"], second["payload_encoding"]) == ("YWJj", "base64")
    assert api.take("cut")[1] == []


@pytest.mark.parametrize("body,words", [
    ("{", "line 1, column 1"), ('{"a":1,"a":2}', "duplicate object key"), ("[]", "JSON object"),
    ('{"durable": 5}', '"durable" takes true or false, not a number'),
    ('{"arguments": 5}', '"arguments" takes an object'),
    ('{"arguments": ' + '{"a":' * 40 + "1" + "}" * 41, "more than 32"),
    ('{"arguments": {"x-max-length": -1}}', "x-max-length"),
])
def test_a_body_that_is_wrong_is_refused_with_its_place(api, body, words):
    status, error = api.call("PUT", "/api/queues/%2F/wrong", body)
    assert status == 400 and words in error["reason"], error
    assert api.get("/api/queues/%2F/wrong")[0] == 404


@pytest.mark.parametrize("method,path,status", [
    ("GET", "/api/nothing", 404), ("GET", "/api/queues/nosuch", 404),
    ("GET", "/api/queues/nosuch/q", 404), ("GET", "/api/queues/%2F/%zz", 400),
    ("GET", "/api/queues/%2F/%00", 400), ("GET", "/api/queues/%2F/%ff", 400),
    ("PATCH", "/api/overview", 405), ("DELETE", "/api/overview", 405),
    ("GET", "/healthz", 404), ("GET", "/api/queues/%2F/" + "x" * 9000, 414)])
def test_paths_that_are_not_there(api, method, path, status):
    assert api.call(method, path)[0] == status
    if status == 405:
        assert api.headers["Allow"] == "GET, HEAD"


def test_who_may_not_see_all_vhosts_is_not_told_which_there_are(broker, api):
    assert api.put("/api/queues/nosuch/q", {})[0] == 404
    assert api_of(broker, "service").get("/api/queues/nosuch/q")[0] == 401


# T18: another site's page in a browser of somebody who has signed in.
def test_what_a_page_of_another_site_sends_is_refused(api):
    for site in ("cross-site", "same-site", "nonsense"):
        assert api.call("GET", "/api/whoami", headers={"Sec-Fetch-Site": site})[0] == 403
    for site in ("same-origin", "none"):
        assert api.call("GET", "/api/whoami", headers={"Sec-Fetch-Site": site})[0] == 200


def test_a_body_says_that_it_is_json(api):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert api.call("PUT", "/api/queues/%2F/no", "{}", {"Content-Type": content_type})[0] == 415
    assert api.call("PUT", "/api/queues/%2F/yes", "{}",
                    {"Content-Type": "application/json; charset=utf-8"})[0] == 201


# T28
def test_a_compressed_body_is_refused(api):
    assert api.call("PUT", "/api/queues/%2F/z", "{}", {"Content-Encoding": "gzip"})[0] == 415


def test_a_body_that_is_too_large_is_refused(api):
    body = json.dumps({"arguments": {"x": "y" * 70000}})
    assert api.call("PUT", "/api/queues/%2F/large", body)[0] == 413


# T18: a browser that keeps a password sends it for other sites' pages as well.
def test_a_browser_is_never_asked_for_a_password(broker):
    nobody = api_of(broker, None)
    assert nobody.get("/api/whoami")[0] == 401
    assert nobody.headers["WWW-Authenticate"].startswith("Basic")
    assert nobody.call("GET", "/api/whoami", headers={"Sec-Fetch-Mode": "cors"})[0] == 401
    assert "WWW-Authenticate" not in nobody.headers


# T19
def test_every_answer_has_the_headers_that_bind_a_browser(api):
    for path in ("/api/whoami", "/api/nothing", "/api/queues/%2F/%zz"):
        api.get(path)
        assert "default-src 'none'" in api.headers["Content-Security-Policy"]
        assert api.headers["X-Content-Type-Options"] == "nosniff"


def test_a_wrong_password_is_refused_and_costs_time(broker):
    assert api_of(broker, "admin", "wrong").get("/api/whoami")[0] == 401
    assert api_of(broker, "admin").get("/api/whoami")[0] == 200


def raw(address, octets, goes_away=False):
    """What comes back for these octets, until the broker closes. A client that goes away, if only
    with its own half of the connection, has its request cancelled."""
    with socket.create_connection(address, timeout=15) as conn:
        conn.sendall(octets)
        if goes_away:
            conn.shutdown(socket.SHUT_WR)
        answer = b""
        while True:
            part = conn.recv(65536)
            if not part:
                return answer
            answer += part


AUTHORIZED = b"Host: x\r\nConnection: close\r\nAuthorization: Basic YWRtaW46c2VjcmV0\r\n"


@pytest.mark.parametrize("head", [
    b"Content-Length: 2\r\nContent-Length: 2\r\n", b"Content-Length: 2\r\nContent-Length: 40\r\n",
    b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: +2\r\n",
    b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n",
    b"Content-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n",
    b"Content-Type: application/json\r\nContent-Length : 2\r\n",
    b"Content-Type: application/json\r\n Content-Length: 2\r\n",
    b"Content-Type: application/json\r\nContent-Length: 2\0\r\n",
    b"Content-Type: application/json\r\nX: a\x0bb\r\nContent-Length: 2\r\n"])
def test_a_head_that_can_be_read_in_two_ways_does_nothing(broker, api, head):
    request = (b"PUT /api/queues/%2F/smuggled HTTP/1.1\r\n" + AUTHORIZED + head + b"\r\n{}")
    answer = raw(broker.addresses["http"][0], request)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert api.get("/api/queues/%2F/smuggled")[0] == 404


@pytest.mark.parametrize("octets", [
    b"\0\0\0\0\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"AMQP\0\0\x09\x01", b"GET / HTTP/9.9\r\n\r\n",
    b"GET /api/whoami HTTP/1.1\r\n" + b"X: " + b"y" * 20000 + b"\r\n\r\n",
    b"GET http://x/api/whoami HTTP/1.1\r\n" + AUTHORIZED + b"\r\n"])
def test_garbage_does_no_harm(broker, api, octets):
    raw(broker.addresses["http"][0], octets, goes_away=True)
    assert api.get("/api/whoami")[0] == 200


def test_connections_are_bounded_and_come_back(broker, api):
    address = broker.addresses["http"][0]
    held = [socket.create_connection(address, timeout=5) for _ in range(300)]
    for conn in held:
        conn.close()
    assert any(api_is_there(api) for _ in range(5))


def api_is_there(api):
    try:
        return api.get("/api/whoami")[0] == 200
    except OSError:
        return False


def test_many_requests_on_one_connection(api):
    connection = api.connection()
    pair = base64.b64encode(b"admin:secret").decode()
    for _ in range(50):
        connection.request("GET", "/api/whoami", headers={"Authorization": "Basic " + pair})
        assert json.loads(connection.getresponse().read())["name"] == "admin"
    connection.close()


# Lists ----------------------------------------------------------------------------------------

@pytest.fixture(name="many", scope="module")
def fixture_many(broker):
    api = api_of(broker)
    for number in range(25):
        api.put(f"/api/queues/%2F/list.{number:02}", {})
    for _ in range(3):
        api.publish("list.07")
    return api


def names(answer):
    return [row["name"] for row in answer["items"]]


def test_a_page_is_cut_out_and_counted(many):
    status, answer = many.get("/api/queues/%2F?page=2&page_size=10&name=list.&sort=name")
    assert status == 200
    assert names(answer) == [f"list.{number}" for number in range(10, 20)]
    assert (answer["page"], answer["page_size"], answer["page_count"]) == (2, 10, 3)
    assert (answer["item_count"], answer["filtered_count"]) == (10, 25)
    assert answer["total_count"] >= 25


# Where the order is by what is read of all queues, only those of the page are read whole.
@pytest.mark.parametrize("sort", ["", "name", "vhost", "messages", "messages_ready", "messages_unacknowledged",
                                  "message_bytes", "consumers", "durable", "memory", "bourse.oldest_ready_age_ms",
                                  "no_such_column"])
@pytest.mark.parametrize("reverse", ["false", "true"])
def test_a_page_shows_what_the_list_does(many, sort, reverse):
    query = f"name=list&sort={sort}&sort_reverse={reverse}&columns=name,vhost,messages,arguments,bourse.from_file"
    whole = many.get(f"/api/queues/%2F?{query}")[1]
    pages = [many.get(f"/api/queues/%2F?{query}&page={page}&page_size=10")[1] for page in (1, 2, 3)]
    assert [row for page in pages for row in page["items"]] == whole
    assert {page["filtered_count"] for page in pages} == {len(whole)}


def test_without_a_page_a_list_is_an_array(many):
    answer = many.get("/api/queues/%2F?name=LIST.1")[1]
    assert [row["name"] for row in answer] == [f"list.{number}" for number in range(10, 20)]


# product.md 5.1: the request of one autoscaler, word for word.
def test_a_regular_expression_chooses_queues(many):
    path = ("/api/queues/%2F?page=1&use_regex=true&pagination=false&name=%5Elist%5C.0%5B1-3%5D%24"
            "&page_size=100")
    answer = many.get(path)[1]
    assert answer["page_count"] == 1 and names(answer) == ["list.01", "list.02", "list.03"]


def test_a_sort_is_by_any_column_and_either_way(many):
    answer = many.get("/api/queues?page=1&page_size=2&name=list&sort=messages&sort_reverse=true")[1]
    assert names(answer)[0] == "list.07"


def test_an_expression_is_given_up_that_takes_long_for_many_names(api):
    queues = [{"name": "a" * 190 + str(number), "vhost": "many", "durable": False, "auto_delete": False,
               "arguments": {}} for number in range(8000)]
    assert api.post("/api/definitions", {"vhosts": [{"name": "many"}], "queues": queues})[0] == 204
    pattern = urllib.parse.quote(r"^.{0,80}.{0,110}[^\da]$")
    status, error = api.get("/api/queues/many?columns=name&use_regex=true&name=" + pattern)
    assert api.delete("/api/vhosts/many")[0] == 204
    assert status == 400 and "takes too long" in error["reason"]


def test_as_many_columns_as_a_row_has_can_be_named(many):
    answer = many.get("/api/queues/%2F?name=list.07&columns=" + "x," * 127 + "name")[1]
    assert answer == [{"name": "list.07"}]


def test_columns_leave_the_rest_away(many):
    answer = many.get("/api/queues/%2F?name=list.07&columns=name,message_stats.publish,bourse")[1]
    assert set(answer[0]) == {"name", "message_stats", "bourse"}
    assert answer[0]["message_stats"] == {"publish": 3}


@pytest.mark.parametrize("query,words", [
    ("page=0", "1 to"), ("page=x", "1 to"), ("page=1&page_size=501", "1 to 500"),
    ("page=999", "page_out_of_range"), ("name=(&use_regex=true", "regular expression"),
    ("name=" + "x" * 300 + "&use_regex=true", "longer than 256"),
    ("columns=" + "," * 128, "more than 128")])
def test_a_list_that_cannot_be_is_refused(many, query, words):
    status, error = many.get("/api/queues?" + query)
    assert status == 400 and words in error["reason"]


# T26: one expression must not stop the interface.
def test_an_expression_that_would_take_for_ever_is_given_up(many):
    many.put("/api/queues/%2F/" + "a" * 200, {})
    query = urllib.parse.urlencode({"use_regex": "true", "name": "^(([a-z])+.)+[0-9]([a-z])+$"})
    status, error = many.get("/api/queues?" + query)
    assert status == 400 and "too long" in error["reason"]


# Other listeners ------------------------------------------------------------------------------

def test_health_needs_no_login_and_nothing_else_is_there(broker):
    metrics = Api(broker.addresses["metrics"][0], None)
    assert metrics.get("/healthz") == (200, b"ok\n")
    assert metrics.get("/readyz") == (200, b"ok\n")
    assert metrics.get("/api/whoami")[0] == 404


def test_the_control_socket_knows_its_caller_by_the_system(broker):
    path = os.path.join(broker.data_dir, "bourse.sock")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660

    class Local(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(path)

    connection = Local("local")
    connection.request("GET", "/api/whoami")
    assert json.loads(connection.getresponse().read()) == {"name": "house",
                                                           "tags": ["administrator"]}
    connection.request("PUT", "/api/queues/%2F/of-house", "{}",
                       {"Content-Type": "application/json"})
    assert connection.getresponse().status == 201


def test_overview_counts_what_there_is(broker, api):
    before = api.get("/api/overview")[1]["object_totals"]["connections"]
    connection = broker.open(user="admin", password="secret")
    overview = api.get("/api/overview")[1]
    assert overview["object_totals"]["connections"] == before + 1
    connection.close()
    assert overview["product_name"] == "Bourse" and overview["rabbitmq_version"] == "3.13.7"
    assert {row["protocol"] for row in overview["listeners"]} == {"amqp", "http", "http/prometheus"}


def test_what_the_interface_does_is_no_connection(broker, api):
    before = api.get("/api/overview")[1]
    api.put("/api/queues/%2F/uncounted", {})
    after = api.get("/api/overview")[1]
    # The queue is one more, whoever made it.
    for name in ("connection_created", "connection_closed", "channel_created", "channel_closed"):
        assert after["churn_rates"][name] == before["churn_rates"][name]
    assert after["object_totals"]["connections"] == before["object_totals"]["connections"]


def test_numbers_come_with_their_rates_at_once(broker, api):
    api.put("/api/queues/%2F/rated", {})
    connection = broker.open(user="admin", password="secret")
    channel = connection.channel()
    for _ in range(20):
        channel.publish("", "rated", b"x")
    channel.call("basic.get", queue="rated", no_ack=True)
    name = next(row["name"] for row in api.get("/api/channels")[1]
                if row.get("message_stats", {}).get("publish") == 20)
    stats = api.get("/api/channels/" + urllib.parse.quote(name, safe=""))[1]["message_stats"]
    assert stats["publish_details"]["rate"] > 0 and stats["get_no_ack_details"]["rate"] > 0
    peer = urllib.parse.quote(name.rsplit(" ", 1)[0], safe="")
    assert api.get("/api/connections/" + peer)[1]["recv_oct_details"]["rate"] > 0
    exchange = api.get("/api/exchanges/%2F/amq.default")[1]["message_stats"]
    assert {"publish_in_details", "publish_out_details"} <= exchange.keys()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # a queue's rates are of whole seconds
        rates = api.get("/api/queues/%2F/rated")[1]["message_stats"]
        if rates["publish_details"]["rate"] > 0 and rates["get_no_ack_details"]["rate"] > 0:
            break
    else:
        raise AssertionError(rates)
    connection.close()
    api.delete("/api/queues/%2F/rated")


def test_vhosts_are_listed(api):
    answer = api.get("/api/vhosts")[1]
    assert [row["name"] for row in answer] == ["/"]
    assert api.get("/api/vhosts/%2F")[1]["name"] == "/"


# Roles ----------------------------------------------------------------------------------------

# Every route of the table with every role: T21. What a role may not do is 401, whatever else is
# wrong with the request.
ROUTES = [
    ("GET", "/api/overview", "look"), ("GET", "/api/whoami", "look"), ("GET", "/api/vhosts", "look"),
    ("GET", "/api/vhosts/%2F", "look"), ("GET", "/api/queues", "look"),
    ("GET", "/api/queues/%2F", "look"), ("GET", "/api/queues/%2F/matrix", "look"),
    ("PUT", "/api/queues/%2F/matrix", "operate"), ("DELETE", "/api/queues/%2F/gone", "operate"),
    ("GET", "/api/queues/%2F/matrix/bindings", "look"),
    ("DELETE", "/api/queues/%2F/matrix/contents", "operate"),
    ("POST", "/api/queues/%2F/matrix/get", "operate"),
    ("POST", "/api/exchanges/%2F/amq.topic/publish", "operate"),
    ("POST", "/api/bourse/plan", "look"), ("POST", "/api/bourse/apply", "admin"),
    ("GET", "/api/bourse/generations", "look"), ("GET", "/api/bourse/generations/1", "look"),
    ("POST", "/api/bourse/rollback/999", "admin"), ("GET", "/api/bourse/drift", "look"),
    ("GET", "/api/bourse/route/%2F", "look"), ("POST", "/api/bourse/route/%2F", "look")]
MAY = {"admin": {"look", "operate", "admin"}, "operator": {"look", "operate"},
       "monitor": {"look"}, "service": set()}


@pytest.mark.parametrize("user", list(MAY))
def test_a_role_may_do_what_its_table_says(broker, api, user):
    api.put("/api/queues/%2F/matrix", {})
    caller = api_of(broker, user)
    for method, path, needs in ROUTES:
        status, _ = caller.call(method, path, {} if method in ("PUT", "POST") else None)
        if needs in MAY[user]:
            assert status != 403 and (status != 401 or user == "operator"), (method, path, status)
        else:
            assert status == 401, (method, path, status)


def test_the_roles_of_this_file_are_those_of_the_table():
    with open(os.path.join(brokers.REPOSITORY, "management/routes/table.c"), encoding="utf-8") as text:
        source = text.read()
    rows = source.count("{ROUTE_")
    metrics = source.count("ROUTE_ON_METRICS")
    assert rows - metrics >= len(ROUTES)
    for _, path, _ in ROUTES:
        assert path.split("/")[2] in source


# Topology -------------------------------------------------------------------------------------

# The vhost that a test applies is its own, so that the broker stays as others want it.
def topology(vhost, *lines, **more):
    text = "\n".join(["bourse: 1", f"vhost: {vhost}", *lines]) + "\n"
    return {"files": [{"name": "t.yaml", "text": text}], **more}


def test_errors_in_files_are_422_with_every_place(api):
    status, error = api.post("/api/bourse/plan", topology(
        "t1", "queues:", "  q: {from: [{exchange: none}], ttl: 5}", "  r: {tll: 5m}"))
    assert (status, error["error"]) == (422, "unprocessable")
    assert error["reason"].startswith("t.yaml:4:")
    places = {(row["line"], row["severity"]) for row in error["diagnostics"]}
    assert {(4, "error"), (5, "error")} <= places and error["errors"] >= 3


# What only the broker's own parts can judge is in the same list.
def test_arguments_that_no_queue_takes_are_422(api):
    status, error = api.post("/api/bourse/apply", topology(
        "t1", "queues:", '  q: {arguments: {x-max-length: -1}}'))
    assert status == 422 and "x-max-length" in error["reason"]


@pytest.mark.parametrize("body, told", [
    ({}, '"files"'), ({"files": []}, '"files"'), ({"files": {}}, '"files"'),
    ({"files": [{"name": "x"}]}, '"files"'), ({"files": [{"name": 1, "text": ""}]}, '"files"'),
    (topology("t1", discard="q"), '"discard"'), (topology("t1", discard=[1]), '"discard"'),
    (topology("t1", unprotect={}), '"unprotect"'), (topology("t1", prune=3), '"prune"'),
    (topology("t1", digest="x"), '"digest"'), (topology("t1", digest=7), '"digest"'),
    (topology("t1", passwords=[]), '"passwords"'),
    (topology("t1", passwords={"nobody": "x"}), '"nobody"')])
def test_a_malformed_plan_is_400(api, body, told):
    status, error = api.post("/api/bourse/plan", body)
    assert status == 400 and told in error["reason"], error


def test_the_hash_of_a_password_is_looked_at(api):
    users = ("users:", "  p: {auth: password, password-file: /none}",
             "  h: {auth: cert}")
    status, error = api.post("/api/bourse/apply", topology("t1", *users, passwords={"p": "clear"}))
    assert status == 400 and "password" in error["reason"] and "clear" not in error["reason"]
    status, error = api.post("/api/bourse/apply", topology("t1", *users, passwords={"h": "x"}))
    assert status == 400 and '"h"' in error["reason"]


# Who applied it is the user who asked; what was done is the plan.
def test_apply_answers_with_plan_and_generation(broker, api):
    body = topology("t2", "queues:", "  q: {}")
    status, plan = api.post("/api/bourse/plan", body)
    assert status == 200 and plan["counts"]["create"] == 2 and plan["is_applicable"] is True
    assert [(step["action"], step["object"], step["name"]) for step in plan["steps"]] == [
        ("create", "vhost", "t2"), ("create", "queue", "q")]
    monitor = api_of(broker, "monitor")
    assert monitor.post("/api/bourse/plan", body)[1]["digest"] == plan["digest"]
    assert monitor.post("/api/bourse/apply", body)[0] == 401
    status, done = api.post("/api/bourse/apply", {**body, "digest": plan["digest"]})
    assert status == 200 and done["steps"] == plan["steps"] and done["generation"] > 0
    assert api.get("/api/queues/t2/q")[0] in (200, 401)
    status, stale = api.post("/api/bourse/apply", {**body, "digest": plan["digest"]})
    assert (status, stale["error"], stale["plan"]["steps"]) == (409, "stale", [])
    listed = api.get("/api/bourse/generations?vhost=t2")[1]
    assert [(row["maker"], row["cause"], row["is_current"]) for row in listed] == [
        ("admin", "apply", True)]
    one = api.get(f"/api/bourse/generations/{listed[0]['id']}")[1]
    assert one["files"] == [{"name": "t.yaml", "bytes": len(body["files"][0]["text"]),
                             "text": body["files"][0]["text"]}]
    for event in ("topology.applied", "topology.refused"):
        broker.log.wait_for(f'{event} vhost="?t2"? .*by="?admin')


def test_a_generation_that_is_not_kept_is_404(api):
    assert api.get("/api/bourse/generations/123456")[0] == 404
    assert api.get("/api/bourse/generations/x")[0] == 400
    assert api.post("/api/bourse/rollback/123456", {})[0] == 404
    assert api.post("/api/bourse/rollback/0", {})[0] == 400


def test_a_route_is_explained(api):
    api.put("/api/queues/%2F/way", {})
    status, route = api.post("/api/bourse/route/%2F", {"exchange": "amq.default",
                                                       "routing_key": "way"})
    assert status == 200 and route["arrives"] is True and route["refusal"] is None
    assert [queue["name"] for queue in route["queues"]] == ["way"]
    assert route["exchanges"][0]["matches"][0]["destination"] == "way"
    assert api.get("/api/bourse/route/%2F?exchange=&routing_key=way")[1] == route
    near = api.get("/api/bourse/route/%2F?exchange=&routing_key=way&misses=1")[1]["exchanges"][0]
    assert len(near["misses"]) <= 1 <= near["misses_total"] + 1
    status, route = api.post("/api/bourse/route/%2F", {"exchange": "none", "routing_key": "x"})
    assert status == 200 and route["refusal"]["code"] == 404 and route["arrives"] is False
    for body in ({"misses": 0}, {"headers": []}, {"exchange": 1}, {"routing_key": "k" * 256}):
        assert api.post("/api/bourse/route/%2F", body)[0] == 400, body


def test_rights_of_others_are_shown_to_who_sees_all(broker, api):
    question = {"exchange": "amq.topic", "routing_key": "x", "user": "service"}
    status, route = api.post("/api/bourse/route/%2F", question)
    assert status == 200 and route["rights"]["may_write"] is True
    assert api_of(broker, "monitor").post("/api/bourse/route/%2F", question)[0] == 200


# Process --------------------------------------------------------------------------------------

def test_an_address_in_use_is_told_like_any_other(broker, tmp_path):
    port = broker.addresses["http"][0][1]
    result = brokers.run_command("serve", "--amqp", "127.0.0.1:0", "--http", f"127.0.0.1:{port}",
                                 "--metrics", "off", "--data-dir", str(tmp_path / "data"))
    assert result.returncode == 1
    assert f"cannot listen on http://127.0.0.1:{port}" in result.stderr
    assert "Address already in use" in result.stderr


def test_a_socket_that_a_killed_broker_left_makes_room(tmp_path):
    for _ in range(2):
        running = brokers.Bourse(listen=("amqp",), data_dir=tmp_path / "data")
        assert "unknown_file" not in running.log.text()
        assert os.path.exists(tmp_path / "data" / "bourse.sock")
        running.kill()


def test_requests_under_way_do_not_hold_up_a_stop():
    with brokers.Bourse(listen=("amqp", "http")) as running:
        api = api_of(running, "guest", "guest")
        calls = [threading.Thread(target=api_is_there, args=(api,)) for _ in range(8)]
        for call in calls:
            call.start()
        for call in calls:
            call.join()


def test_https_serves_and_takes_new_certificates(tmp_path):
    authority = certs.Authority(tmp_path)
    authority.issue("server", usage="serverAuth")
    (tmp_path / "pw").write_text("secret\n")
    config = tmp_path / "bourse.yaml"
    config.write_text(CONFIG.replace('  http: {bind: "127.0.0.1:0"}', '  https:\n'
                                     '    bind: "127.0.0.1:0"\n'
                                     '    tls: {certificate: server.pem, key: server.key}'))
    with brokers.Bourse(config, listen=("amqp", "https", "metrics")) as running:
        context = ssl._create_unverified_context()
        for _ in range(2):
            connection = http.client.HTTPSConnection(*running.addresses["https"][0],
                                                     context=context, timeout=10)
            pair = base64.b64encode(b"admin:secret").decode()
            connection.request("GET", "/api/whoami", headers={"Authorization": "Basic " + pair})
            assert json.loads(connection.getresponse().read())["name"] == "admin"
            connection.close()
            authority.issue("server", usage="serverAuth")
            assert "config.reloaded" in running.reload()


# What the file says is done, or not: a topology that cannot be had leaves the certificates as they were.
def test_a_reload_that_is_refused_leaves_the_certificates_of_https(tmp_path):
    authority = certs.Authority(tmp_path)
    authority.issue("server", usage="serverAuth")
    (tmp_path / "pw").write_text("secret\n")
    config = tmp_path / "bourse.yaml"
    text = CONFIG.replace('  http: {bind: "127.0.0.1:0"}', '  https:\n    bind: "127.0.0.1:0"\n'
                          '    tls: {certificate: server.pem, key: server.key}') + "exchanges:\n  orders: {type: topic}\n"
    config.write_text(text)
    with brokers.Bourse(config, listen=("amqp", "https", "metrics")) as running:
        address = running.addresses["https"][0]
        first = ssl.get_server_certificate(address)
        authority.issue("server", usage="serverAuth")
        config.write_text(text.replace("topic", "headers"))
        assert "config.reload_refused" in running.reload(r"config\.reloaded|config\.reload_refused")
        assert ssl.get_server_certificate(address) == first and "tls.reloaded" not in running.log.text()
        config.write_text(text)
        assert "config.reloaded" in running.reload()
        assert ssl.get_server_certificate(address) != first


def test_check_sees_a_key_that_is_another_certificates(tmp_path):
    authority = certs.Authority(tmp_path)
    authority.issue("server", usage="serverAuth")
    authority.issue("other", usage="serverAuth")
    (tmp_path / "pw").write_text("secret\n")
    config = tmp_path / "bourse.yaml"
    text = CONFIG.replace('  http: {bind: "127.0.0.1:0"}', '  https:\n    bind: "127.0.0.1:0"\n'
                          '    tls: {certificate: server.pem, key: server.key}')
    config.write_text(text)
    assert brokers.run_command("check", str(config)).returncode == 0
    config.write_text(text.replace("server.key", "other.key"))
    result = brokers.run_command("check", str(config))
    assert result.returncode == 1 and "other.key is not the key of" in result.stderr + result.stdout
    assert f"{config}:{text.split('    tls')[0].count(chr(10)) + 1}:" in result.stderr + result.stdout


# A certificate opens the connection and is no login.
def test_https_asks_for_certificates_where_the_file_says_so(tmp_path):
    authority = certs.Authority(tmp_path)
    authority.issue("server", san="IP:127.0.0.1", usage="serverAuth")
    certificate = authority.issue("admin")
    (tmp_path / "pw").write_text("secret\n")
    config = tmp_path / "bourse.yaml"
    config.write_text(CONFIG.replace('  http: {bind: "127.0.0.1:0"}', f"""  https:
    bind: "127.0.0.1:0"
    tls: {{certificate: server.pem, key: server.key, client-ca: {authority.certificate}, client-cert: require}}"""))
    login = {"Authorization": "Basic " + base64.b64encode(b"admin:secret").decode()}
    with brokers.Bourse(config, listen=("amqp", "https", "metrics")) as running:
        def ask(context, headers):
            connection = http.client.HTTPSConnection(*running.addresses["https"][0], context=context, timeout=10)
            connection.request("GET", "/api/whoami", headers=headers)
            status = connection.getresponse().status
            connection.close()
            return status

        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            ask(authority.client_context(), login)
        assert ask(authority.client_context(certificate), {}) == 401
        assert ask(authority.client_context(certificate), login) == 200


def test_rabbitmqadmin_lists_declares_publishes_and_gets(broker):
    script = shutil.which("rabbitmqadmin")
    if script is None:
        pytest.skip("there is no rabbitmqadmin here")
    host, port = broker.addresses["http"][0]

    def run(*words):
        result = subprocess.run(["python3", script, "-H", host, "-P", str(port), "-u", "admin",
                                 "-p", "secret", *words], capture_output=True, text=True,
                                timeout=20)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    run("declare", "queue", "name=by-tool", "durable=true")
    assert "by-tool" in run("list", "queues")
    run("publish", "exchange=amq.default", "routing_key=by-tool", "payload=hello")
    assert "hello" in run("get", "queue=by-tool", "ackmode=ack_requeue_false")
    run("purge", "queue", "name=by-tool")
    run("delete", "queue", "name=by-tool")
    assert "by-tool" not in run("list", "queues", "name")

