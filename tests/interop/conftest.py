# SPDX-License-Identifier: Apache-2.0
"""What several interop tests need of other people's packages."""

import os
import shutil
import subprocess

import pytest

from support import broker as brokers

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(brokers.REPOSITORY, "build", "interop")


@pytest.fixture(scope="session")
def node_modules():
    """The packages of package-lock.json, installed once under build/."""
    target = os.path.join(BUILD, "node")
    lock = os.path.join(HERE, "package-lock.json")
    installed = os.path.join(target, "package-lock.json")
    marker = os.path.join(target, "node_modules", "amqplib", "package.json")
    if not (os.path.exists(marker) and open(lock).read() == open(installed).read()):
        os.makedirs(target, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(HERE, name), target)
        subprocess.run(["npm", "ci", "--prefix", target, "--ignore-scripts", "--no-audit",
                        "--no-fund"], check=True, cwd=target)
    return os.path.join(target, "node_modules")
