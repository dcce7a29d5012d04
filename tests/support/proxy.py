# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that makes a bad network: small pieces, delays, cuts. For F11 and F12."""

import random
import socket
import threading
import time


class Proxy:
    """Forwards connections to `target`. `piece` is the largest number of octets sent at once,
    `delay_s` the pause before each piece, `cut_after` the octets after which (towards the broker)
    both sockets are closed."""

    def __init__(self, target, piece=None, delay_s=0.0, cut_after=None, seed=1):
        self.target, self.piece, self.delay_s = target, piece, delay_s
        self.cut_after = cut_after
        self.random = random.Random(seed)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.sockets = []
        self.frozen = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _peer = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sockets.append(sock)
            for source, sink, limit in ((client, server, self.cut_after), (server, client, None)):
                threading.Thread(target=self._forward, args=(source, sink, limit),
                                 daemon=True).start()

    def _pieces(self, data):
        while data:
            size = self.random.randint(1, self.piece) if self.piece else len(data)
            yield data[:size]
            data = data[size:]

    def _forward(self, source, sink, limit):
        sent = 0
        try:
            while data := source.recv(65536):
                for piece in self._pieces(data):
                    if self.delay_s:
                        time.sleep(self.delay_s)
                    if self.frozen.is_set():
                        continue        # a half-open connection: octets go nowhere
                    if limit is not None and sent + len(piece) > limit:
                        sink.sendall(piece[:limit - sent])
                        self.close()
                        return
                    sink.sendall(piece)
                    sent += len(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def freeze(self):
        """From now on nothing passes, and nobody is told."""
        self.frozen.set()

    def close(self):
        self.listener.close()
        for sock in self.sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()
