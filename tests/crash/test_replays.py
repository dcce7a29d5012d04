# SPDX-License-Identifier: Apache-2.0
"""Some kills in the middle of replays; `tests/crash/replays.py` has more."""

from crash.replays import Replays


def test_a_killed_replay_leaves_every_message_in_one_place(tmp_path):
    replays = Replays(1, tmp_path / "replays")
    assert replays.run(kills=12, count=600) == []
    assert replays.moved > 0
