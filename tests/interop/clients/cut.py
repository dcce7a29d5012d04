# SPDX-License-Identifier: Apache-2.0
"""Cuts the connections of this process to the broker, below the client library."""

import os
import socket
import urllib.parse


def cut_connections(url):
    """Shuts down every socket of this process whose peer is the port of `url`."""
    port = urllib.parse.urlparse(url).port
    cut = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as duplicate:
                inet = duplicate.family in (socket.AF_INET, socket.AF_INET6)
                if inet and duplicate.getpeername()[1] == port:
                    duplicate.shutdown(socket.SHUT_RDWR)
                    cut += 1
        except OSError:
            continue    # not a socket, or not connected
    assert cut, "there was no connection to cut"
