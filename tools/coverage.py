#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints how many lines of each source the last run of the coverage variant has reached."""

import json
import pathlib
import subprocess
import sys


def lines_of(data_file):
    """{(source, line): count} from one .gcda, headers included."""
    output = subprocess.run(["gcov", "--json-format", "--stdout", str(data_file)],
                            capture_output=True, text=True, check=True).stdout
    counts = {}
    for text in output.splitlines():
        for entry in json.loads(text)["files"]:
            for line in entry["lines"]:
                counts[entry["file"], line["line_number"]] = line["count"]
    return counts


def main():
    out, sources = pathlib.Path(sys.argv[1]), set(sys.argv[2:])
    counts = {}
    for data_file in out.rglob("*.gcda"):
        for place, count in lines_of(data_file).items():
            counts[place] = counts.get(place, 0) + count
    total_reached = total_lines = 0
    for source in sorted(sources):
        lines = [count for (file, _line), count in counts.items() if file == source]
        reached = sum(1 for count in lines if count)
        total_reached, total_lines = total_reached + reached, total_lines + len(lines)
        share = f"{100 * reached / len(lines):5.1f} %" if lines else "      -"
        print(f"{share}  {reached:5} of {len(lines):5}  {source}")
    if not total_lines:
        print("coverage: no data; did the tests run?", file=sys.stderr)
        return 1
    print(f"{100 * total_reached / total_lines:5.1f} %  {total_reached:5} of {total_lines:5}  all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
