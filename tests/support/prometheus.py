# SPDX-License-Identifier: Apache-2.0
"""Debian's prometheus on a free port with a directory of its own, and the text format as a strict
reader sees it."""

import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from tests.support import broker as brokers

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


class Family:
    def __init__(self, name, kind):
        self.name, self.kind, self.samples = name, kind, {}


def read_labels(text):
    labels, position = [], 0
    while position < len(text):
        found = LABEL.match(text, position)
        assert found, f"malformed labels: {text}"
        value = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), found[2])
        labels.append((found[1], value))
        position = found.end()
    return tuple(labels)


def parse(text):
    """Families by name. Asserts what the format demands: HELP and TYPE once and in front, samples
    of a family together, no sample twice."""
    assert text.endswith("\n")
    families, current, helped = {}, None, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped = line.split(" ", 3)[2]
            assert len(line.split(" ", 3)) == 4, f"no help: {line}"
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == helped and name not in families, f"twice, or without help: {line}"
            current = families[name] = Family(name, kind)
        else:
            found = SAMPLE.match(line)
            assert found, f"malformed: {line}"
            name, labels = found[1], read_labels(found[2] or "")
            suffixes = ("_bucket", "_sum", "_count") if current.kind == "histogram" else ("",)
            assert name in [current.name + suffix for suffix in suffixes], line
            assert (name, labels) not in current.samples, f"twice: {line}"
            current.samples[name, labels] = float(found[3])
    return families


class Prometheus:
    """A running prometheus that scrapes `targets` ("host:port/path") every second."""

    def __init__(self, targets, rules=None):
        self.scratch = tempfile.mkdtemp(prefix="prometheus-test-")
        self.port = brokers.free_port()
        jobs = [{"job_name": f"bourse-{number}",
                 "metrics_path": "/" + target.split("/", 1)[1],
                 "static_configs": [{"targets": [target.split("/", 1)[0]]}]}
                for number, target in enumerate(targets)]
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                  "scrape_configs": jobs, "rule_files": [str(rules)] if rules else []}
        with open(f"{self.scratch}/prometheus.yml", "w") as file:
            json.dump(config, file)     # JSON is YAML
        self.log = open(f"{self.scratch}/log", "w")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={self.scratch}/prometheus.yml",
             f"--storage.tsdb.path={self.scratch}/data",
             f"--web.listen-address=127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def call(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)
        except OSError:
            return {"status": "not there"}

    def query(self, expression):
        """The samples of an instant query; an expression that is malformed is an error."""
        answer = self.call("query", query=expression)
        assert answer["status"] != "error", f"{expression}: {answer}"
        return answer.get("data", {}).get("result", [])

    def wait_for(self, expressions, timeout_s=60):
        """Until all of them give data; returns those that have not by then."""
        deadline = time.monotonic() + timeout_s
        left = list(expressions)
        while left and time.monotonic() < deadline:
            left = [expression for expression in left if not self.query(expression)]
            if left:
                time.sleep(0.5)
        return left

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.stop()
