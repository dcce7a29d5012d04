# SPDX-License-Identifier: Apache-2.0
"""Two configurations of one vhost, applied in turn while the broker is killed: after every death the
vhost is one of them as a whole, the one that was answered last or that was under way, and the newest
generation says the same."""

import http.client
import json
import random
import threading

VHOST = "applied"
TIMEOUT_S = 20


def configuration(which):
    """Most queues are in both, some of them so that only a new one will do."""
    first = 0 if which == "old" else 15
    lines = ["bourse: 1", f"vhost: {VHOST}", "exchanges:",
             f"  shared: {{type: topic, durable: true, unrouted: {which}}}",
             f"  {which}: {{type: fanout}}", "queues:"]
    for number in range(first, first + 30):
        more = ", priorities: 5" if number % 5 == 0 and which == "new" else ""
        lines.append(f"  q{number}: {{from: [{{exchange: shared, key: \"{which}.{number}\"}}, "
                     f"{{exchange: {which}}}], ttl: {1 if which == 'old' else 2}h{more}}}")
    lines += ["policies:", f"  {which}: {{pattern: \"^q\", definition: {{max-length: 1000}}}}"]
    lines += ["users:", "  fitter: {auth: cert, publish: [shared], consume: [q20]"
              + (", role: monitor}" if which == "new" else "}")]
    return "\n".join(lines) + "\n"


TEXTS = {which: configuration(which) for which in ("old", "new")}


class Died(Exception):
    """The broker has not answered."""


class Api:
    """Blocking calls; one connection each."""

    def __init__(self, address, credentials):
        self.address, self.credentials = address, credentials

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection(*self.address, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Basic {self.credentials}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Died from error
        finally:
            connection.close()
        if answer.status == 503:
            raise Died
        return answer.status, json.loads(text)


class Applier:
    """`state` is the configuration that was answered last (None: none yet), `pending` the one that may
    have come since."""

    link = request = session = None

    def __init__(self, campaign, credentials):
        self.campaign, self.credentials = campaign, credentials
        self.rng = random.Random(f"applier {campaign.rng.random()}")
        self.state = self.pending = None
        self.id, self.applied, self.checked = 0, 0, 0
        self.thread, self.ends, self.api = None, threading.Event(), None

    # -- a life

    def begin(self, _address):
        self.join()
        self.ends.clear()
        self.api = self.api_of(self.campaign.process)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def api_of(self, process):
        return Api(process.http, self.credentials)

    def join(self):
        if self.thread is not None:
            self.ends.set()
            self.thread.join()
            self.thread = None

    def turn(self):
        """The thread does it."""

    def _run(self):
        try:
            self.look()
            while not self.ends.is_set():
                self._change()
        except Died:
            pass

    # -- changing

    def _change(self):
        which = "new" if self.state == "old" else "old"
        earlier = self._generation_of(which) if self.rng.random() < 0.3 else None
        self.pending = which
        if earlier is None:
            status, answer = self.api.call("POST", "/api/bourse/apply", self._body(which))
        else:
            status, answer = self.api.call("POST", f"/api/bourse/rollback/{earlier}", {"prune": True})
        if status != 200:
            self.campaign.problem("topology", f"apply of {which}: {status} {answer}")
            raise Died
        if answer["generation"] <= self.id:
            self.campaign.problem("topology", f"generation {answer['generation']} after {self.id}")
        self.state, self.pending, self.id = which, None, answer["generation"]
        self.applied += 1

    @staticmethod
    def _body(which):
        return {"files": [{"name": f"{which}.yaml", "text": TEXTS[which]}], "prune": True}

    def _generations(self):
        status, rows = self.api.call("GET", f"/api/bourse/generations?vhost={VHOST}")
        if status != 200:
            self.campaign.problem("topology", f"generations: {status} {rows}")
            raise Died
        return rows

    def _generation_of(self, which):
        names = [(row["id"], row["files"][0]["name"]) for row in self._generations()]
        return next((number for number, name in names if name == f"{which}.yaml"), None)

    # -- what is there

    def _found(self):
        """Which configurations the vhost is as a whole."""
        found = []
        for which in TEXTS:
            status, plan = self.api.call("POST", "/api/bourse/plan", self._body(which))
            if status != 200:
                self.campaign.problem("topology", f"plan of {which}: {status} {plan}")
                raise Died
            if not plan["steps"]:
                found.append(which)
        return found

    def look_once(self, process):
        """The last time: nothing is changed afterwards. What is wrong has been told."""
        self.join()
        self.api = self.api_of(process)
        try:
            self.look()
        except Died:
            self.campaign.problem("topology", "the last look at what was applied has failed")

    def look(self):
        found = self._found()
        is_fresh = self.state is None and not found and not self._generations()
        if not is_fresh and (len(found) != 1 or found[0] not in (self.state, self.pending)):
            self.campaign.problem("topology", f"the vhost is {found}, answered was {self.state}, under "
                                              f"way {self.pending}")
            raise Died
        if not is_fresh:
            self._compare_generations(found[0])
            self.state = found[0]
        self.pending = None
        self.checked += 1

    def _compare_generations(self, which):
        rows = self._generations()
        ids = [row["id"] for row in rows]
        if ids != sorted(set(ids), reverse=True) or len(ids) > 21 or ids[0] < self.id:
            self.campaign.problem("topology", f"generations {ids}, the last answered was {self.id}")
        status, newest = self.api.call("GET", f"/api/bourse/generations/{ids[0]}")
        if status != 200 or newest["files"][0]["text"] != TEXTS[which] or not newest["is_current"]:
            self.campaign.problem("topology", f"generation {ids[0]} is not that of {which}: {newest}")
        self.id = ids[0]
