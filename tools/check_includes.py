#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks who includes whom.

Knowledge flows down the table below and never back up; docs/architecture.md explains the folders.
Besides the table: a source includes its own header first, and the core asks the operating system
for nothing, so that a simulator can drive it.
"""

import pathlib
import re
import sys

# Folder: the folders of ours that it may include besides itself.
FOLDERS = {
    "base": [],
    "amqp": ["base"],
    "config": ["base"],
    "store": ["base"],
    "net": ["base", "amqp", "store/chunk_writer.h"],
    "tls": ["base", "net"],
    "routing": ["base", "amqp"],
    "exchanges": ["base", "amqp", "routing"],
    "queues": ["base", "amqp", "routing", "store"],
}
FOLDERS["broker"] = [*FOLDERS]
FOLDERS["management"] = [*(folder for folder in FOLDERS if folder != "store"), "store/content.h"]
FOLDERS["cli"] = [*FOLDERS]
FOLDERS["bench"] = [*FOLDERS]
FOLDERS["tests"] = [*FOLDERS]

# Within some of them the same, a folder at a time; what stands beside its folders may include them all.
PARTS = {
    "management/json": [],
    "management/definitions": ["management/json"],
    "management/http": ["management/json"],
    "management/views": ["management/json", "management/http"],
    "management/ask": ["management/json", "management/http", "management/views"],
}
PARTS["management/monitor"] = ["management/json", "management/http", "management/views", "management/ask"]
PARTS["management/routes"] = [*PARTS]

PARTS |= {
    "cli/text": [],
    "cli/command": ["cli/text"],
    "cli/output": ["cli/text", "cli/command"],
    "cli/files": ["cli/command"],
    "cli/client": ["cli/text", "cli/command", "cli/output", "cli/files"],
    "cli/amqp": ["cli/text", "cli/command", "cli/output"],
    "cli/topology": ["cli/text", "cli/command", "cli/output", "cli/files", "cli/client"],
    "cli/definitions": ["cli/command", "cli/files", "cli/client", "cli/topology"],
    "cli/objects": ["cli/command", "cli/output", "cli/client"],
    "cli/messages": ["cli/text", "cli/command", "cli/output", "cli/files", "cli/client"],
    "cli/desk": ["cli/command", "cli/output", "cli/client"],
    "cli/doctor": ["cli/command", "cli/output", "cli/files", "cli/client"],
    "cli/manual": ["cli/text", "cli/command"],
    "cli/store": ["cli/text", "cli/command", "cli/output", "cli/client"],
    "cli/serve": ["cli/command", "cli/files"],
}

# Within broker three layers. What the core asks without being known: pure functions. The core itself,
# which is one state machine: its headers know each other in this order, and its sources in circles.
# And what looks at the core, or changes it as one, of which the core knows nothing.
PARTS |= {
    "broker/message": [],
    "broker/names": [],
    "broker/passwords": [],
    "broker/core": [],
    "broker/changes": ["broker/core"],
    "broker/topology": ["broker/names", "broker/core", "broker/changes"],
    "broker/users": ["broker/names", "broker/passwords", "broker/core", "broker/changes"],
    "broker/durability": ["broker/core", "broker/topology", "broker/users"],
    "broker/paging": ["broker/core"],
    "broker/upkeep": ["broker/core"],
    "broker/death": ["broker/message", "broker/core", "broker/durability"],
    "broker/connections": ["broker/core", "broker/users"],
    "broker/channels": ["broker/message", "broker/users", "broker/upkeep", "broker/death",
                        "broker/connections"],
    "broker/publishing": ["broker/message", "broker/core", "broker/channels"],
    "broker/delivery": ["broker/core"],
    "broker/watch": ["broker/core", "broker/topology", "broker/channels"],
    "broker/desk": ["broker/core"],
}
PURE = ["broker/message", "broker/names", "broker/passwords"]
CIRCLE = [part for part in PARTS if part.startswith("broker/") and part not in PURE]
PARTS["broker/survey"] = [*PURE, *CIRCLE]
PARTS["broker/explain"] = [*PURE, *CIRCLE]
PARTS["broker/plan"] = [*PURE, *CIRCLE]

WITH_PARTS = {part.split("/")[0] for part in PARTS}

# Outside library: how its headers begin, and the folders or files that may include them.
LIBRARIES = {
    "xxhash": (r"xxhash", ["base", "tests", "bench"]),
    "libyaml": (r"yaml", ["config", "tests"]),
    "OpenSSL": (r"openssl/", ["tls", "broker/passwords/password.c", "cli/amqp/amqp_stream.c",
                             "cli/amqp/amqp_stream.h", "tests", "bench"]),
    "PCRE2": (r"pcre2", ["broker/names/expression.c", "tests", "bench"]),
    "jansson": (r"jansson", ["management", "cli", "tests"]),
    "libcurl": (r"curl/", ["cli", "tests"]),
    "libsmartcols": (r"libsmartcols/", ["cli", "tests"]),
    "libevent": (r"event2/", ["management", "tests"]),
    "Criterion": (r"criterion/", ["tests"]),
}

# The core is a state machine: time, randomness, disk and network reach it through structs of
# functions. What is excepted stands around the core: the loop that turns it, what it has to know of
# the machine, and the threads that hash passwords.
CORE = ["amqp", "routing", "exchanges", "queues", "broker"]
SYSTEM = re.compile(r"sys/(?!types\.h|param\.h|uio\.h)|unistd|fcntl|pthread|signal|poll|netdb|netinet/"
                    r"|arpa/|dirent")
SYSTEM_EXCEPTIONS = ["broker/broker.c", "broker/data_directory.c",
                     "broker/machine.c", "broker/password_pool.c", "broker/request_desk.c"]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def allowed(target, rules):
    """True when the path `target` is one of `rules` or lies in a folder that is."""
    return target in rules or target.split("/")[0] in rules


def allowed_parts(path, part):
    """The parts that a file of `part` may include besides its own."""
    return [*PURE, *CIRCLE] if part in CIRCLE and path.endswith(".c") else PARTS[part]


def check_ours(path, target):
    folder, part = path.split("/")[0], path.rsplit("/", 1)[0]
    if "/" not in target:
        return f'"{target}" is not a path from the root'
    if target.split("/")[0] == folder:
        target_part = target.rsplit("/", 1)[0]
        if part not in PARTS:
            stands_beside = part == folder or folder not in WITH_PARTS
            return None if stands_beside else f"{part} is not in the table of parts"
        if target_part == part or target_part in allowed_parts(path, part):
            return None
        return f"{part} may not include {target}"
    return None if allowed(target, FOLDERS[folder]) else f"{folder} may not include {target}"


def check_outside(folder, path, target):
    for library, (prefix, rules) in LIBRARIES.items():
        if re.match(prefix, target):
            return None if allowed(path, rules) else f"{library} does not belong here: <{target}>"
    if folder in CORE and path not in SYSTEM_EXCEPTIONS and SYSTEM.match(target):
        return f"the core makes no system call: <{target}>"
    return None


def check_file(root, path):
    """Yields (line number, complaint)."""
    folder = path.split("/")[0]
    own_header = re.sub(r"\.c$", ".h", path)
    first = True
    for number, line in enumerate((root / path).read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        bracket, target = match.groups()
        complaint = check_ours(path, target) if bracket == '"' \
            else check_outside(folder, path, target)
        if complaint:
            yield number, complaint
        if first and path.endswith(".c") and (root / own_header).exists() and target != own_header:
            yield number, f'the first include of {path} is "{own_header}"'
        first = False


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    files = [str(path.relative_to(root)) for folder in FOLDERS
             for path in sorted((root / folder).rglob("*.[ch]"))]
    bad = 0
    for path in files:
        for number, complaint in check_file(root, path):
            print(f"{path}:{number}: {complaint}")
            bad += 1
    print(f"include table: {len(files)} files, {bad} violations")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
