# SPDX-License-Identifier: Apache-2.0
"""The metrics listener, as scrapers see it: the text format, RabbitMQ's names for its dashboards,
our own names as docs/metrics.md lists them, and a real Prometheus that evaluates everything."""

import base64
import http.client
import json
import pathlib
import re
import subprocess
import time

import pytest

from tests.support import certs, prometheus
from tests.support import broker as brokers

pytestmark = pytest.mark.bourse_only

CONFIG = """
bourse: 1
queues:
  watched: {alert: {ready-above: 1}, dead-letter: {exchange: dead}}
  dlq: {from: [{exchange: dead, key: "#"}]}
exchanges:
  dead: {type: topic}
users:
  guest: {auth: password, password-file: pw, role: admin,
          rights: {configure: ".*", write: ".*", read: ".*"}}
listeners:
  amqp: {bind: "127.0.0.1:0"}
  http: {bind: "127.0.0.1:0"}
  metrics: {bind: "127.0.0.1:0"}
"""

# What RabbitMQ's overview dashboard reads, by the names that RabbitMQ documents.
GAUGES = """
    resident_memory_limit_bytes process_resident_memory_bytes disk_space_available_bytes
    disk_space_available_limit_bytes process_max_fds process_open_fds connections channels queues
    queue_messages_ready queue_messages_unacked global_publishers global_consumers
    erlang_uptime_seconds""".split()
FLOW = """
    received received_confirm routed confirmed unroutable_dropped unroutable_returned delivered
    delivered_consume_auto_ack delivered_consume_manual_ack delivered_get_auto_ack
    delivered_get_manual_ack redelivered acknowledged""".split()
COUNTERS = [f"global_messages_{name}_total" for name in FLOW] + """
    global_messages_get_empty_total connections_opened_total connections_closed_total
    channels_opened_total channels_closed_total queues_declared_total queues_created_total
    queues_deleted_total""".split()
IN_ALERTS = [f"global_messages_dead_lettered_{reason}_total" for reason in
             ("confirmed", "delivery_limit", "expired", "maxlen", "rejected")] + """
    alarms_memory_used_watermark alarms_free_disk_space_watermark alarms_file_descriptor_limit
    auth_attempts_total auth_attempts_succeeded_total auth_attempts_failed_total""".split()
BOUNDS = ["100.0", "1000.0", "10000.0", "100000.0", "1e+06", "1e+07", "5e+07", "1e+08", "+Inf"]
JOIN = ("* on(instance, job) group_left(rabbitmq_cluster, rabbitmq_node) "
        'rabbitmq_identity_info{rabbitmq_endpoint="aggregated", rabbitmq_cluster!=""}')


def overview_expressions():
    """Every number of that dashboard in the forms in which it is shown: as a sum, by node, as a
    rate, as headroom, as a table, and sizes as a heat map and as quantiles."""
    expressions = [
        f"rabbitmq_build_info {JOIN}",
        f"sum(increase(rabbitmq_message_size_bytes_bucket[30s]) {JOIN}) by (le)",
        f"histogram_quantile(0.95, sum(rate(rabbitmq_message_size_bytes_bucket[30s]) {JOIN}) by (le))",
        f"sum(rate(rabbitmq_message_size_bytes_sum[30s]) {JOIN})",
        f"sum(rate(rabbitmq_message_size_bytes_count[30s]) {JOIN})",
        f"count(rabbitmq_build_info {JOIN})",
    ]
    for name in GAUGES:
        expressions += [f"sum(rabbitmq_{name} {JOIN})",
                        f"sum(rabbitmq_{name} {JOIN}) by (rabbitmq_node)"]
    for used, limit in (("process_resident_memory_bytes", "resident_memory_limit_bytes"),
                        ("process_open_fds", "process_max_fds"),
                        ("disk_space_available_limit_bytes", "disk_space_available_bytes")):
        expressions.append(f"(rabbitmq_{limit} {JOIN}) - (rabbitmq_{used} {JOIN})")
    for name in COUNTERS:
        expressions += [f"sum(rate(rabbitmq_{name}[30s]) {JOIN}) by (rabbitmq_node)",
                        f"sum(rate(rabbitmq_{name}[30s]) {JOIN})"]
    return expressions


def fetch(broker, path, kind="metrics"):
    connection = http.client.HTTPConnection(*broker.addresses[kind][0], timeout=30)
    headers = {"Authorization": "Basic " + base64.b64encode(b"guest:secret").decode()}
    connection.request("GET", path, headers=headers if kind == "http" else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, dict(answer.getheaders())


def scrape(broker, path="/metrics"):
    status, text, headers = fetch(broker, path)
    assert status == 200, text
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return prometheus.parse(text)


def value(families, name, **labels):
    base = re.sub(r"_(bucket|sum|count)$", "", name) if name not in families else name
    return families[base].samples[name, tuple(labels.items())]


def open_guest(broker):
    return broker.connect().open(user="guest", password="secret")


@pytest.fixture(name="broker", scope="module")
def fixture_broker(tmp_path_factory):
    path = tmp_path_factory.mktemp("metrics")
    (path / "pw").write_text("secret\n")
    (path / "bourse.yaml").write_text(CONFIG)
    with brokers.Bourse(path / "bourse.yaml", listen=("amqp", "http", "metrics")) as running:
        yield running


def test_the_names_of_rabbitmqs_dashboards_are_all_there(broker):
    families = scrape(broker)
    for name in GAUGES + COUNTERS + IN_ALERTS:
        family = families["rabbitmq_" + name]
        assert family.kind == ("counter" if name.endswith("_total") else "gauge")
        assert family.samples
    (_, labels), = families["rabbitmq_identity_info"].samples
    assert [name for name, _ in labels] == ["rabbitmq_node", "rabbitmq_cluster",
                                            "rabbitmq_cluster_permanent_id", "rabbitmq_endpoint"]
    (_, labels), = families["rabbitmq_build_info"].samples
    assert {"rabbitmq_version", "erlang_version", "prometheus_client_version"} <= dict(labels).keys()
    sizes = families["rabbitmq_message_size_bytes"]
    assert [dict(labels)["le"] for name, labels in sizes.samples if name.endswith("_bucket")] == \
        BOUNDS


# The page is what an operator goes by: no name without a line, and no line without a name.
def test_the_page_names_what_is_served(broker, repository):
    page = (pathlib.Path(repository) / "docs/metrics.md").read_text()
    listed = set(re.findall(r"^\| `((?:bourse|rabbitmq)_\w+)`", page, re.M))
    served = set(scrape(broker)) | set(scrape(broker, "/metrics/per-object"))
    assert sorted(served - listed) == [] and sorted(listed - served) == []


def test_a_prefix_leaves_the_other_names_out(broker):
    assert all(name.startswith("bourse_") for name in scrape(broker, "/metrics?prefix=bourse"))
    assert all(name.startswith("rabbitmq_") for name in scrape(broker, "/metrics?prefix=rabbitmq"))
    status, text, _ = fetch(broker, "/metrics?prefix=lavinmq")
    assert status == 400 and "bourse" in text


def test_numbers_follow_what_clients_do(broker):
    conn = open_guest(broker)
    ch = conn.channel()
    queue = ch.temp_queue()
    before = scrape(broker)
    ch.call("confirm.select")
    ch.publish("", queue, b"x" * 500)
    ch.expect("basic.ack")
    ch.publish("", "nowhere", b"", mandatory=True)
    ch.expect("basic.return")
    ch.expect("basic.ack")
    ch.get(queue, no_ack=True)
    ch.get(queue, no_ack=True)
    after = scrape(broker)

    def grown(name, **labels):
        return value(after, name, **labels) - value(before, name, **labels)

    classic = {"protocol": "amqp091", "queue_type": "rabbit_classic_queue"}
    assert grown("rabbitmq_global_messages_received_total", protocol="amqp091") == 2
    assert grown("rabbitmq_global_messages_received_confirm_total", protocol="amqp091") == 2
    assert grown("rabbitmq_global_messages_confirmed_total", protocol="amqp091") == 2
    assert grown("rabbitmq_global_messages_unroutable_returned_total", protocol="amqp091") == 1
    assert grown("rabbitmq_global_messages_delivered_get_auto_ack_total", **classic) == 1
    assert grown("rabbitmq_global_messages_get_empty_total", **classic) == 1
    assert grown("bourse_messages_delivered_total", method="get", ack="auto") == 1
    assert grown("rabbitmq_message_size_bytes_bucket", protocol="amqp091", le="1000.0") == 2
    assert grown("rabbitmq_message_size_bytes_bucket", protocol="amqp091", le="100.0") == 1
    assert grown("rabbitmq_message_size_bytes_sum", protocol="amqp091") == 500
    assert grown("bourse_confirm_latency_seconds_count") == 2
    assert value(after, "bourse_fsync_seconds_count") > 0
    conn.close()


# Label values are escaped; a line end is cut out of a queue's name before it comes here.
def test_names_of_queues_are_escaped(broker):
    conn = open_guest(broker)
    ch = conn.channel()
    name = 'a "b" \\ c, e="f"} 1'
    ch.declare(name)
    for path in ("/metrics/per-object", "/metrics/detailed?family=queue_coarse_metrics"):
        families = scrape(broker, path)
        assert value(families, "bourse_queue_messages_ready", vhost="/", queue=name) == 0
    ch.delete(name)
    conn.close()


def test_details_are_of_the_families_and_queues_that_are_asked_for(broker):
    families = scrape(broker, "/metrics/detailed?family=queue_consumer_count&vhost=/&queue=dlq"
                              "&family=connection_metrics")
    names = [name for name in families if "_info" not in name]
    assert names == ["bourse_queue_consumers", "rabbitmq_detailed_queue_consumers"]
    assert value(families, "rabbitmq_detailed_queue_consumers", vhost="/", queue="dlq") == 0
    assert len(families["rabbitmq_detailed_queue_consumers"].samples) == 1
    assert [name for name in scrape(broker, "/metrics/detailed?family=queue_metrics&vhost=none")
            if scrape(broker, "/metrics/detailed?family=queue_metrics&vhost=none")[name].samples
            and "_info" not in name] == []
    status, text, _ = fetch(broker, "/metrics/detailed?family=queue_colours")
    assert status == 400 and "queue_colours" in text


# Whoever scrapes /metrics and this has each of RabbitMQ's names once.
def test_what_is_said_once_has_names_of_its_own_in_detail(broker):
    families = scrape(broker, "/metrics/detailed?family=connection_churn_metrics&prefix=rabbitmq")
    assert "rabbitmq_detailed_connections_opened_total" in families
    assert [name for name in families if not name.startswith("rabbitmq_detailed_")] == [
        "rabbitmq_build_info", "rabbitmq_identity_info"]


def test_details_of_several_vhosts(broker):
    connection = http.client.HTTPConnection(*broker.addresses["http"][0], timeout=30)
    headers = {"Authorization": "Basic " + base64.b64encode(b"guest:secret").decode(), "Content-Type": "application/json"}
    for vhost in ("one", "two", "three"):
        for path in (f"/api/vhosts/{vhost}", f"/api/queues/{vhost}/there"):
            connection.request("PUT", path, "{}", headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201
    connection.close()

    def shown(words):
        families = scrape(broker, "/metrics/detailed?family=queue_consumer_count&prefix=rabbitmq&" + words)
        return sorted(dict(labels)["vhost"] for _, labels in families["rabbitmq_detailed_queue_consumers"].samples)

    assert shown("vhost=one&vhost=three") == ["one", "three"]
    assert shown("vhost=two") == ["two"]
    assert shown("vhost=one&vhost=none") == ["one"]
    assert shown("vhost=one&vhost=two&queue=there") == ["one", "two"]


# Series of each alert with which it fires, after so many minutes, and with which it must not: as promtool
# writes them, "start+step x count", a value a minute. Labels beside job and instance stand in the name.
ALERTS = {
    "BourseDown": (3, {"up": "0x60"}, {"up": "1x60"}),
    "BoursePublishersBlocked": (3, {'bourse_alarm{alarm="disk"}': "1x60"},
                                {'bourse_alarm{alarm="file_descriptors"}': "1x60", 'bourse_alarm{alarm="memory"}': "0x60"}),
    "BourseMemoryHigh": (7, {"bourse_message_memory_bytes": "90x60", "bourse_message_memory_limit_bytes": "100x60"},
                         {"bourse_message_memory_bytes": "90x60", "bourse_message_memory_limit_bytes": "0x60"}),
    "BourseDiskLow": (7, {"bourse_disk_free_bytes": "19x60", "bourse_disk_free_limit_bytes": "10x60"},
                      {"bourse_disk_free_bytes": "21x60", "bourse_disk_free_limit_bytes": "10x60"}),
    "BourseDescriptorsLow": (7, {"bourse_process_open_fds": "90x60", "bourse_process_max_fds": "100x60"},
                             {"bourse_process_open_fds": "80x60", "bourse_process_max_fds": "100x60"}),
    "BourseQueueUnserved": (30, {"bourse_queues_unserved": "1x60", "bourse_messages_ready": "0+5x60"},
                            {"bourse_queues_unserved": "1x60", "bourse_messages_ready": "50x60"}),
    "BourseQueueGrowsWithoutConsumer": (
        30, {'bourse_queue_consumers{vhost="/",queue="q"}': "0x60", 'bourse_queue_messages_ready{vhost="/",queue="q"}': "0+5x60"},
        {'bourse_queue_consumers{vhost="/",queue="q"}': "1x60", 'bourse_queue_messages_ready{vhost="/",queue="q"}': "0+5x60"}),
    "BourseQueueOverItsLimit": (3, {'bourse_queue_alert{vhost="/",queue="q",alert="ready-above"}': "1x60"}, {}),
    "BourseMessagesOld": (7, {"bourse_queue_oldest_message_age_seconds": "3700x60"},
                          {"bourse_queue_oldest_message_age_seconds": "3500x60",
                           'bourse_queue_oldest_message_age_seconds{vhost="/",queue="q"}': "3700x60"}),
    "BourseDeadLetters": (5, {'bourse_messages_dead_lettered_total{reason="expired"}': "7+1x60"},
                          {'bourse_messages_dead_lettered_total{reason="expired"}': "7x60"}),
    "BourseDeadLettersDropped": (5, {"bourse_dead_letters_dropped_total": "0+1x60"}, {"bourse_dead_letters_dropped_total": "7x60"}),
    "BourseQuarantine": (7, {"bourse_messages_quarantined": "1x60"}, {"bourse_messages_quarantined": "0x60"}),
    "BourseInternalError": (2, {"bourse_internal_errors_total": "0 1x60"}, {"bourse_internal_errors_total": "3x60"}),
    "BourseUnroutable": (30, {'bourse_messages_unroutable_total{result="dropped"}': "0+1x60"},
                         {'bourse_messages_unroutable_total{result="returned"}': "0+1x60"}),
    "BourseTopologyDrift": (20, {"bourse_topology_drift": "2x60"}, {"bourse_topology_drift": "0x60"}),
    "BourseCertificateEnds": (2, {'bourse_certificate_expiry_seconds{listener="amqps"}': "1209000-60x60"},
                              {'bourse_certificate_expiry_seconds{listener="amqps"}': "1300000-60x60"}),
    "BourseFlushSlow": (30, {'bourse_fsync_seconds_bucket{le="0.1"}': "0x60", 'bourse_fsync_seconds_bucket{le="0.25"}': "0+9x60",
                             'bourse_fsync_seconds_bucket{le="+Inf"}': "0+9x60"},
                        {'bourse_fsync_seconds_bucket{le="0.1"}': "0+9x60", 'bourse_fsync_seconds_bucket{le="0.25"}': "0+9x60",
                         'bourse_fsync_seconds_bucket{le="+Inf"}': "0+9x60"}),
    "BourseReloadFailed": (3, {"bourse_config_last_reload_success": "0x60"}, {"bourse_config_last_reload_success": "1x60"}),
    "BourseLogLinesDropped": (5, {"bourse_log_lines_dropped_total": "0+1x60"}, {"bourse_log_lines_dropped_total": "4x60"}),
}


def labelled(name):
    name, _, labels = name.partition("{")
    return f'{name}{{job="bourse",instance="b:15692"{"," + labels[:-1] if labels else ""}}}'


def rule_case(alert, minutes, series, count):
    return {"interval": "1m",
            "input_series": [{"series": labelled(name), "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
                                  "eval_time": f"{minutes}m", "exp_samples": [{"labels": "{}", "value": count}]}]}


# A typing error in a label leaves an alert that is silent for ever.
def test_each_alert_fires_in_its_situation_and_in_no_other(repository, tmp_path):
    rules = pathlib.Path(repository) / "packaging/prometheus/rules.yml"
    assert set(re.findall(r"^ +- alert: (\w+)$", rules.read_text(), re.M)) == set(ALERTS)
    cases = []
    for alert, (minutes, firing, quiet) in ALERTS.items():
        cases += [rule_case(alert, minutes, firing, 1), rule_case(alert, minutes, quiet, 0)]
    path = tmp_path / "cases.yml"
    path.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": cases}))
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# A queue over its limit is a metric, an item of what needs attention, and a line of log; dead
# letters are counted where they lie.
def test_a_queue_over_its_limit_is_told_of_everywhere(broker):
    conn = open_guest(broker)
    ch = conn.channel()
    for _ in range(3):
        ch.publish("", "watched", b"x")
    tag = ch.get("watched", no_ack=False).delivery_tag
    ch.reject(tag, requeue=False)
    ch.ping()
    families = scrape(broker)
    assert value(families, "bourse_queue_alert", vhost="/", queue="watched",
                 alert="ready-above") == 1
    assert value(families, "bourse_queues_alerting") == 1
    assert value(families, "bourse_dlq_messages") == 1
    assert value(families, "bourse_messages_dead_lettered_total", reason="rejected") >= 1
    status, text, _ = fetch(broker, "/api/bourse/attention", "http")
    assert status == 200
    items = json.loads(text)["items"]
    found = {(item["kind"], item.get("name")): item for item in items}
    over = found["queue_ready_above", "watched"]
    assert (over["severity"], over["value"], over["limit"]) == ("critical", 2, 1)
    assert all(over[part] for part in ("what", "why", "action"))
    assert ("queue_unserved", "watched") in found
    assert found["dead_letters", "dlq"]["value"] == 1
    ranks = [("critical", "warning", "info").index(item["severity"]) for item in items]
    assert ranks == sorted(ranks)
    broker.log.wait_for(r"event=queue\.alert_on .*queue=\"watched\".*kind=ready-above")
    ch.drain("watched")
    ch.drain("dlq")
    conn.close()


def wait_for_attention(broker, kinds):
    """The items by kind, once all of these are among them: the monitor looks every five seconds."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        items = json.loads(fetch(broker, "/api/bourse/attention", "http")[1])["items"]
        found = {item["kind"]: item for item in items}
        if kinds <= found.keys():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{kinds - found.keys()} are not among {sorted(found)}")


# Objects that clients made, changed and deleted; a churn of connections; messages that nobody took.
def test_what_clients_have_changed_is_counted_as_bourse_drift_names_it(tmp_path):
    (tmp_path / "pw").write_text("secret\n")
    (tmp_path / "bourse.yaml").write_text(CONFIG)
    with brokers.Bourse(tmp_path / "bourse.yaml", listen=("amqp", "http", "metrics")) as running:
        assert value(scrape(running), "bourse_topology_drift") == 0
        conn = open_guest(running)
        ch = conn.channel()
        ch.call("queue.declare", queue="extra", durable=True)
        ch.call("exchange.declare", exchange="more", type="fanout")
        ch.call("queue.bind", queue="dlq", exchange="dead", routing_key="also")
        ch.call("queue.unbind", queue="dlq", exchange="dead", routing_key="#")
        ch.call("queue.delete", queue="watched")
        ch.publish("more", "x", b"nobody takes it")
        ch.ping()
        for _ in range(70):
            open_guest(running).close()
        found = wait_for_attention(running, {"topology_drift", "unroutable", "connection_churn"})
        (drift,) = json.loads(fetch(running, "/api/bourse/drift", "http")[1])
        assert drift["count"] == 5
        assert found["topology_drift"]["value"] == 5 and found["topology_drift"]["name"] == "/"
        assert value(scrape(running), "bourse_topology_drift") == 5
        assert (found["unroutable"]["object"], found["unroutable"]["name"]) == ("exchange", "more")
        assert found["unroutable"]["value"] == 1
        assert found["connection_churn"]["value"] >= 70
        assert all(item["action"] for item in found.values())
        conn.close()


def test_history_has_points_of_the_broker_and_of_queues_that_are_there(broker):
    broker.log.wait_for(r"event=queue\.alert_on")      # the first look was taken
    status, text, _ = fetch(broker, "/api/bourse/history", "http")
    history = json.loads(text)
    assert status == 200 and history["interval_ms"] == 5000 and history["points"]
    assert {"at_ms", "published_rate", "ready", "dead_letters"} <= history["points"][0].keys()
    status, text, _ = fetch(broker, "/api/bourse/history/%2F/watched", "http")
    assert status == 200 and json.loads(text)["interval_ms"] == 30000
    assert fetch(broker, "/api/bourse/history/%2F/none", "http")[0] == 404


@pytest.mark.parametrize("path", ["/metrics", "/metrics/per-object",
                                  "/metrics/detailed?family=queue_metrics"])
def test_promtool_has_nothing_to_say(broker, path):
    status, text, _ = fetch(broker, path)
    assert status == 200
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                             text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def dashboard_expressions(repository):
    board = json.loads((pathlib.Path(repository) / "packaging/grafana/bourse-overview.json").read_text())
    return [target["expr"].replace("$instance", ".*").replace("$__rate_interval", "30s")
            for panel in board["panels"] for target in panel.get("targets", [])]


def rule_expressions(repository):
    text = (pathlib.Path(repository) / "packaging/prometheus/rules.yml").read_text()
    return re.findall(r"^ +expr: (.+)$", text, re.M)


def test_a_real_prometheus_scrapes_it_and_every_expression_has_data(broker, repository):
    host, port = broker.addresses["metrics"][0]
    rules = pathlib.Path(repository) / "packaging/prometheus/rules.yml"
    checked = subprocess.run(["promtool", "check", "rules", str(rules)], capture_output=True,
                             text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    conn = open_guest(broker)
    ch = conn.channel()
    ch.call("confirm.select")
    queue = ch.temp_queue()
    with prometheus.Prometheus([f"{host}:{port}/metrics", f"{host}:{port}/metrics/per-object"],
                               rules) as server:
        ch.publish("", queue, b"x" * 200, delivery_mode=2)
        ch.expect("basic.ack")
        ch.get(queue)
        expressions = overview_expressions()
        assert server.wait_for(expressions) == []
        without_tls = [expression for expression in dashboard_expressions(repository)
                       if "certificate" not in expression]
        assert server.wait_for(without_tls) == []
        for expression in rule_expressions(repository):
            server.query(expression)
        up = server.query("up")
        assert len(up) == 2 and all(sample["value"][1] == "1" for sample in up)
        groups = server.call("rules")["data"]["groups"]
        broken = [rule["name"] for group in groups for rule in group["rules"]
                  if rule["health"] == "err"]
        assert broken == []
    conn.close()


def test_a_refused_reload_is_told_of(tmp_path):
    (tmp_path / "pw").write_text("secret\n")
    (tmp_path / "bourse.yaml").write_text(CONFIG)
    with brokers.Bourse(tmp_path / "bourse.yaml", listen=("amqp", "http", "metrics")) as broker:
        assert value(scrape(broker), "bourse_config_last_reload_success") == 1
        (tmp_path / "bourse.yaml").write_text(CONFIG + "nonsense: 1\n")
        broker.reload(r"config\.reload_refused")
        assert value(scrape(broker), "bourse_config_last_reload_success") == 0
        items = json.loads(fetch(broker, "/api/bourse/attention", "http")[1])["items"]
        assert "reload_failed" in [item["kind"] for item in items]
        (tmp_path / "bourse.yaml").write_text(CONFIG)
        broker.reload(r"config\.reload")
        assert value(scrape(broker), "bourse_config_last_reload_success") == 1


def test_the_end_of_a_certificate_is_told(tmp_path):
    authority = certs.Authority(tmp_path)
    authority.issue("server", usage="serverAuth")
    (tmp_path / "pw").write_text("secret\n")
    (tmp_path / "bourse.yaml").write_text(CONFIG + "  amqps:\n    bind: \"127.0.0.1:0\"\n"
                                          "    tls: {certificate: server.pem, key: server.key}\n")
    with brokers.Bourse(tmp_path / "bourse.yaml", listen=("amqp", "http", "metrics")) as broker:
        left_s = value(scrape(broker), "bourse_certificate_expiry_seconds", listener="amqps")
        assert 0 < left_s < 10 * 365 * 86400
        items = json.loads(fetch(broker, "/api/bourse/attention", "http")[1])["items"]
        is_told = "certificate_ends" in [item["kind"] for item in items]
        assert is_told == (left_s < 14 * 86400)
