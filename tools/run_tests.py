#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs test suites; the last line is the sum, `N passed, N failed`.

One after the other, but for those that leave a processor idle: where there are two, they run beside
the integration tests, and are shown when those are done.

Sanitizers write to files, because Criterion passes a test that leaks; every report counts as a
failure. So does a suite that crashed, hung or ran nothing: no suite can vanish from the sum.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SUITE_TIMEOUT_S = 1500
THREAD_BINARY = "build/thread/bourse"
# What meets all the threads of a broker in less than a minute: a mixed load, backlogs that leave
# memory, handshakes, reloads, passwords, commits, starts and stops. `make integration SAN=thread`
# is the whole.
THREAD_FILES = ("load", "backlog", "tls", "reload", "authentication", "process", "publishing",
                "consuming", "transactions")

# A library of the test framework reads all certificates of the system when a test begins, with a
# strstr() for each; checked strictly, that is a quarter of the time that unit tests take.
UNIT_ASAN_OPTIONS = "intercept_strstr=0"
FRONT = "integration"
BESIDE = ("sim", "interop", "console", "crash", "thread")


class Result:
    """What a suite has come to."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def none_ran(self):
        return self.passed + self.failed == 0


def parse_criterion(text):
    """Of `[====] Synthesis: Tested: 12 | Passing: 11 | Failing: 1 | Crashing: 0`."""
    match = re.search(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)", text)
    if not match:
        return Result()
    _tested, passing, failing, crashing = map(int, match.groups())
    # A test that crashes is counted as failing as well.
    return Result(passing, max(failing, crashing))


def parse_pytest(text):
    """Of the last `=== 2 failed, 40 passed, 1 error in 3.10s ===`."""
    summaries = re.findall(r"^=*\s*((?:\d+ \w+(?:, )?)+) in [\d.]+s", text, re.MULTILINE)
    if not summaries:
        return Result()
    counts = {word.rstrip("s"): int(number)
              for number, word in re.findall(r"(\d+) (\w+)", summaries[-1])}
    return Result(counts.get("passed", 0) + counts.get("xfailed", 0),
                  counts.get("failed", 0) + counts.get("error", 0) + counts.get("xpassed", 0),
                  counts.get("skipped", 0))


def parse_sums(text):
    """Of all lines `12 passed, 1 failed`."""
    sums = re.findall(r"^(\d+) passed, (\d+) failed$", text, re.MULTILINE)
    return Result(sum(int(passed) for passed, _failed in sums),
                  sum(int(failed) for _passed, failed in sums))


def parse_check(text):
    """A check is one test: its exit status decides."""
    return Result(1 if text else 0)


def commands(options):
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return {
        "includes": ([sys.executable, "tools/check_includes.py"], parse_check),
        "documents": ([sys.executable, "tools/check_docs.py"], parse_check),
        "unit": ([f"{options.out}/unit-tests"], parse_criterion),
        "sim": (["tests/sim/short.sh", f"{options.out}/sim"], parse_sums),
        "integration": ([*pytest, "tests/integration"], parse_pytest),
        "interop": ([*pytest, "tests/interop"], parse_pytest),
        "console": ([*pytest, "tests/console"], parse_pytest),
        "crash": ([*pytest, "tests/crash"], parse_pytest),
        "package": ([*pytest, "-rs", "tests/packaging"], parse_pytest),
        "thread": ([*pytest, *(f"tests/integration/test_{name}.py" for name in THREAD_FILES)],
                   parse_pytest),
    }


def binary_of(options, name):
    """The broker that a suite is about."""
    return {"thread": THREAD_BINARY, "package": "build/release/bourse"}.get(name, options.binary)


def threads_of(name):
    """How many threads a suite's brokers have, as text: as was asked for, else what the broker
    chooses; where data races are looked for there is more than one network to race."""
    return os.environ.get("BOURSE_THREADS") or ("3" if name == "thread" else "")


def environment(options, reports):
    """Sanitizers stop at the first error and write into `reports`."""
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    for name, extra in (("ASAN", "detect_leaks=1:strict_string_checks=1"), ("UBSAN", "print_stacktrace=1"),
                        ("TSAN", "second_deadlock_stack=1")):
        given = env.get(f"{name}_OPTIONS")
        own = f"halt_on_error=1:{extra}:log_path={reports}/{name.lower()}"
        env[f"{name}_OPTIONS"] = f"{own}:{given}" if given else own
    return env


running = set()  # what was started; whoever interrupts us ends it


def end_running():
    for process in list(running):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def stream(command, env, show):
    """Runs `command`, handing its output to `show` as it comes. Returns (exit status, output)."""
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True)

    def kill():
        show(f"\n{command[0]}: not done after {SUITE_TIMEOUT_S} s, killed\n".encode())
        os.killpg(process.pid, signal.SIGKILL)

    running.add(process)
    timer = threading.Timer(SUITE_TIMEOUT_S, kill)
    timer.start()
    chunks = []
    try:
        while chunk := process.stdout.read1(65536):
            chunks.append(chunk)
            show(chunk)
        status = process.wait()
        running.discard(process)
        return status, b"".join(chunks).decode(errors="replace")
    finally:
        timer.cancel()


def show_now(octets):
    sys.stdout.buffer.write(octets)
    sys.stdout.flush()


def judge(name, status, output, parse, show):
    result = parse(output)
    if parse is parse_check and status != 0:
        return Result(failed=1)
    if result.none_ran():
        show(f"{name}: no test ran (exit status {status})\n".encode())
        result.failed += 1
    elif status != 0 and result.failed == 0:
        show(f"{name}: every test passed, but the exit status is {status}\n".encode())
        result.failed += 1
    return result


def run_suite(options, name, env, show):
    """Returns its result, with the time that it took."""
    started = time.monotonic()
    command, parse = commands(options)[name]
    if name == "unit":
        env = dict(env, ASAN_OPTIONS=f"{env['ASAN_OPTIONS']}:{UNIT_ASAN_OPTIONS}")
    env = dict(env, BOURSE_BIN=str(ROOT / binary_of(options, name)), BOURSE_THREADS=threads_of(name))
    show(f"== {name}\n".encode())
    try:
        status, output = stream(command, env, show)
        result = judge(name, status, output, parse, show)
    except OSError as error:
        show(f"{name}: {error}\n".encode())
        result = Result(failed=1)
    result.seconds = time.monotonic() - started
    return result


def run_beside(options, names, env):
    """Runs FRONT, and `names` one after the other beside it. Returns the results by name."""
    results, held = {}, []

    def run_others():
        for name in names:
            results[name] = run_suite(options, name, env, held.append)

    others = threading.Thread(target=run_others, daemon=True)
    others.start()
    results[FRONT] = run_suite(options, FRONT, env, show_now)
    others.join()
    show_now(b"".join(held))
    return results


def run_all(options, env):
    """Returns the results by name, in the order that was asked for."""
    beside = [name for name in options.suites if name in BESIDE]
    if os.cpu_count() < 2 or FRONT not in options.suites:
        beside = []
    results = {name: None for name in options.suites}
    for name in options.suites:
        if name == FRONT and beside:
            results.update(run_beside(options, beside, env))
        elif name not in beside:
            results[name] = run_suite(options, name, env, show_now)
    return results


def count_reports(reports):
    """Shows what the sanitizers wrote; returns the number of reports."""
    found = sorted(path for path in reports.iterdir() if path.stat().st_size)
    for path in found:
        print(f"== sanitizer report {path}\n{path.read_text(errors='replace')[:8000]}")
    return len(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="build directory of the variant")
    parser.add_argument("--binary", required=True, help="the broker to test")
    parser.add_argument("suites", nargs="+", choices=["includes", "documents", "unit", "sim", "integration", "interop", "console", "crash", "thread", "package"])
    options = parser.parse_args()

    reports = ROOT / options.out / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    env = environment(options, reports)

    try:
        results = run_all(options, env)
    except KeyboardInterrupt:
        end_running()
        raise
    reported = count_reports(reports)

    print("== summary")
    for name, result in results.items():
        print(f"{name:12} {result.passed:5} passed {result.failed:4} failed {result.skipped:4} skipped"
              f" {result.seconds:7.1f} s")
    if "address" in options.out or "thread" in options.out or "thread" in options.suites:
        print(f"{'sanitizers':12} {reported:5} reports")
    passed = sum(result.passed for result in results.values())
    failed = sum(result.failed for result in results.values()) + reported
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
