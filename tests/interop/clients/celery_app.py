# SPDX-License-Identifier: Apache-2.0
"""The tasks that celery_client.py sends and a real worker runs."""

import os
import ssl
import time

from celery import Celery

app = Celery("interop", broker=os.environ["INTEROP_URL"], backend="rpc://")
app.conf.update(
    task_default_queue=os.environ["INTEROP_QUEUE"],
    task_acks_late=True,
    worker_prefetch_multiplier=2,
    worker_send_task_events=True,
    broker_connection_retry=False,
    result_expires=60,
    task_queue_max_priority=5,
)
if os.environ.get("INTEROP_CA"):
    app.conf.broker_use_ssl = {"ca_certs": os.environ["INTEROP_CA"], "cert_reqs": ssl.CERT_REQUIRED}


attempts = []       # of backing_off, in the one process that runs it


@app.task
def add(left, right):
    return left + right


@app.task
def when():
    """The wall clock, when it runs."""
    return time.time()


@app.task(bind=True, autoretry_for=(ValueError,), retry_backoff=1, retry_backoff_max=4,
          retry_jitter=False, max_retries=3)
def backing_off(self):
    """Fails twice: run again after 1 s, and after 2 s more."""
    attempts.append(time.time())
    if len(attempts) < 3:
        raise ValueError("not yet")
    return attempts


@app.task(bind=True, max_retries=2)
def flaky(self, value):
    """Fails once and asks to be run again a moment later: an ETA in the worker."""
    if self.request.retries < 1:
        raise self.retry(countdown=0.5)
    return value * 2
