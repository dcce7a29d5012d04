# SPDX-License-Identifier: Apache-2.0
"""Bodies that say whose they are: number, length and checksum, then octets that differ from one
message to the next. A body is made again from number and size wherever it is to be compared."""

import random
import struct
import zlib

HEAD = struct.Struct(">QII")
SIZE_MAX = 64 * 1024
LARGE_SIZE_MAX = 1024 * 1024
_FILLING = random.Random(4711).randbytes(SIZE_MAX + LARGE_SIZE_MAX)


def make(number, size):
    """The body of message `number`; one that is too short for the head is a piece of it."""
    start = number * 7919 % SIZE_MAX
    rest = _FILLING[start:start + max(0, size - HEAD.size)]
    return (HEAD.pack(number, size, zlib.crc32(rest)) + rest)[-size:] if size else b""


def describe(body):
    """What can be read from a body that is not the one expected."""
    if len(body) < HEAD.size:
        return f"{len(body)} octets"
    number, size, checksum = HEAD.unpack_from(body)
    rest = body[HEAD.size:]
    state = "intact" if (size, checksum) == (len(body), zlib.crc32(rest)) else "damaged"
    return f"{len(body)} octets, {state}, that say they are message {number} of {size} octets"


def draw_size(rng, size_max=SIZE_MAX):
    """Most are small; each power of two up to `size_max` has its share, the ends a little more."""
    kind = rng.random()
    if kind < 0.02:
        return 0
    if kind < 0.03:
        return size_max
    if kind < 0.70:
        return rng.randint(1, 512)
    return min(size_max, int(2 ** rng.uniform(9, size_max.bit_length())))
