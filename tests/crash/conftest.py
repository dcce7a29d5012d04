# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the crash tests."""

import pytest

from support import broker as brokers


@pytest.fixture(scope="session")
def keeps_data():
    """For tests that mean nothing while the broker lives in memory only."""
    if "--ephemeral" not in brokers.run_command("serve", "--help").stdout:
        pytest.skip("this broker keeps nothing on disk")
