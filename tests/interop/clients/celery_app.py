# SPDX-License-Identifier: Apache-2.0
"""The tasks that celery_client.py sends and a real worker runs."""

import os
import ssl

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


@app.task
def add(left, right):
    return left + right


@app.task(bind=True, max_retries=2)
def flaky(self, value):
    """Fails once and asks to be run again a moment later: an ETA in the worker."""
    if self.request.retries < 1:
        raise self.retry(countdown=0.5)
    return value * 2
