# SPDX-License-Identifier: Apache-2.0
"""The library that makes system calls fail or hang, for those who preload it into a broker."""

import pathlib
import re
import subprocess

from support import broker as brokers

LIBRARY = pathlib.Path(brokers.binary()).parent / "fail_call.so"


def preload():
    """The sanitizer's library has to come first; the broker names the one it wants."""
    libraries = subprocess.run(["ldd", brokers.binary()], capture_output=True, text=True, check=True)
    found = re.findall(r"=> (\S*lib[at]san\S*)", libraries.stdout)
    return " ".join([*found, str(LIBRARY.resolve())])
