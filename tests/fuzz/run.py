#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs fuzz targets one after the other, each for its share of the time.

Everything lies below the folder of the program: a link for each target, its corpus, and what was
found. A finding ends the target, not the run; the exit status tells whether there was one.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# Entropic scheduling costs more than a session itself.
LIMITS = ["-rss_limit_mb=1024", "-timeout=10", "-entropic=0", "-print_final_stats=1",
          "-verbosity=1"]


def known_targets():
    """Name and largest input of each target, as the harnesses say it."""
    targets = {}
    for path in sorted(HERE.glob("harness_*.c")):
        text = path.read_text()
        size_max = re.search(r"\bINPUT_MAX = (\d+)", text).group(1)
        for name in re.findall(r'\.name = "(\w+)"', text):
            targets[name] = int(size_max)
    return targets


def run(program, name, size_max, seconds):
    """True when nothing was found."""
    link = program.parent / name
    link.unlink(missing_ok=True)
    link.symlink_to(program.name)
    corpus = program.parent / "corpus" / name
    found = program.parent / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    folders = [corpus]
    seeds = HERE / "seeds" / name
    if seeds.is_dir():
        folders.append(seeds)
    command = [link, f"-max_total_time={seconds}", f"-max_len={size_max}",
               f"-artifact_prefix={found}/{name}-", *LIMITS, *folders]
    dictionary = HERE / "dictionaries" / name
    if dictionary.exists():
        command.append(f"-dict={dictionary}")
    log = program.parent / f"{name}.log"
    env = dict(os.environ)
    env["ASAN_OPTIONS"] = "detect_leaks=1:quarantine_size_mb=64:" + env.get("ASAN_OPTIONS", "")
    env["UBSAN_OPTIONS"] = "print_stacktrace=1:" + env.get("UBSAN_OPTIONS", "")
    with open(log, "wb") as out:
        status = subprocess.call(command, stdout=out, stderr=subprocess.STDOUT, env=env)
    text = log.read_text(errors="replace")
    stats = dict(re.findall(r"^stat::(\w+):\s+(\d+)", text, re.MULTILINE))
    covered = re.findall(r"cov: (\d+)", text)
    print(f"{name:16} {'ok' if status == 0 else 'FOUND':6}"
          f" {stats.get('number_of_executed_units', '?'):>10} runs"
          f" {stats.get('average_exec_per_sec', '?'):>7}/s"
          f" {len(list(corpus.iterdir())):>6} inputs {covered[-1] if covered else '?':>7} edges",
          flush=True)
    if status != 0:
        print("\n".join(text.splitlines()[-60:]))
        print(f"(the whole log: {log})", flush=True)
    return status == 0


def main():
    known = known_targets()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(known))
    options = parser.parse_args()
    names = options.targets or list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no such target: {' '.join(unknown)}")
    share = max(1, options.seconds // len(names))
    program = options.program.resolve()
    good = [run(program, name, known[name], share) for name in names]
    print(f"fuzz: {good.count(True)} targets without a finding, {good.count(False)} with one")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
