# SPDX-License-Identifier: Apache-2.0
"""A message whose headers have every type letter, some names twice and out of order, for tests that
pass it on: what comes out has the same octets."""

from . import wire

T = wire.Typed

HEADERS = wire.encode_table_body({
    "z-first": T("t", True), "b": T("b", -5), "B": T("B", 250), "s": T("s", -300), "u": T("u", 65000),
    "I": T("I", -70000), "i": T("i", 4000000000), "l": T("l", -5000000000), "L": T("L", 5000000000),
    "f": T("f", 1.5), "d": T("d", 2.25), "D": T("D", (2, 314)), "S": T("S", "grüße"),
    "x": T("x", b"\x00\xff"), "T": T("T", 1700000000), "V": T("V", None),
    "A": T("A", [T("b", 1), T("S", "two"), T("F", {"in": T("l", 3)})]),
    "F": T("F", {"deep": T("F", {"er": T("t", False)})}), "a-last": T("S", ""),
}) + wire.encode_table_body({"twice": T("I", 1)}) + wire.encode_table_body({"twice": T("S", "2")})

PROPERTIES = dict(
    content_type="text/plain", content_encoding="utf-8", headers=HEADERS, delivery_mode=2,
    priority=7, correlation_id="c", reply_to="r", expiration="3600000", message_id="m",
    timestamp=1700000001, type="t", app_id="a")
