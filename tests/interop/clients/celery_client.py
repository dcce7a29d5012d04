# SPDX-License-Identifier: Apache-2.0
"""Starts a real Celery worker and gives it work: tasks, a group, retries, tasks that wait for their
time, remote control."""

import datetime
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ["INTEROP_URL"] = sys.argv[1].replace("amqps://", "amqp://")
os.environ["INTEROP_CA"] = sys.argv[2] if len(sys.argv) > 2 else ""
os.environ["INTEROP_QUEUE"] = f"interop-celery-{os.getpid()}"
sys.path.insert(0, HERE)

from celery import group  # noqa: E402
from celery_app import add, app, backing_off, flaky, when  # noqa: E402


def done(step):
    print("ok", step, flush=True)


def start_worker(log):
    """Returns once the worker answers a ping."""
    worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "celery_app", "worker",
                               "-l", "INFO", "-c", "1", "-E"], cwd=HERE, stdout=log, stderr=log)
    for _ in range(20):
        if app.control.ping(timeout=1):
            return worker
        if worker.poll() is not None:
            break
    raise SystemExit("the worker does not answer")


def wait():
    """The worker holds what is not due, unacknowledged, and goes on with the rest beside it."""
    sent = time.time()
    late = when.apply_async(countdown=1.5)
    due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    later = when.apply_async(eta=due)
    assert add.delay(1, 1).get(timeout=20) == 2
    assert not late.ready()
    assert late.get(timeout=20) >= sent + 1.5
    done("countdown")
    assert later.get(timeout=20) >= due.timestamp()
    done("eta")
    first, second, third = backing_off.delay().get(timeout=30)
    assert second - first >= 1 and third - second >= 2, (first, second, third)
    done("backoff")


def work():
    results = [add.delay(number, number) for number in range(50)]
    assert [result.get(timeout=20) for result in results] == [2 * n for n in range(50)]
    done("task")
    summed = group(add.s(number, 1) for number in range(10))().get(timeout=20)
    assert summed == list(range(1, 11)), summed
    done("group")
    assert flaky.delay(21).get(timeout=20) == 42
    done("retry")
    wait()
    assert add.apply_async((1, 2), priority=4, expires=30).get(timeout=20) == 3
    done("priority")
    assert app.control.inspect(timeout=1).active_queues()
    done("control")
    app.control.purge()


with tempfile.TemporaryFile() as log:
    worker = start_worker(log)
    try:
        work()
    except BaseException:
        log.seek(0)
        sys.stderr.write(log.read().decode(errors="replace")[-4000:])
        raise
    finally:
        worker.terminate()
        worker.wait(20)
    log.seek(0)
    text = log.read().decode(errors="replace")
    assert "Traceback" not in text and "ERROR" not in text, text
    done("worker stopped")
with app.connection() as connection:
    connection.default_channel.queue_delete(os.environ["INTEROP_QUEUE"])
