"""A connection to cut: passes bytes between callers and one server, knowing nothing of what they mean."""

import socket
import threading

CHUNK_BYTES_MAX = 64 * 1024
CONNECT_SECONDS_MAX = 5
JOIN_SECONDS_MAX = 5


class Relay:
    """Listens on a port that the system chooses. Faults hit the connections that exist; later ones pass."""

    def __init__(self, server):
        host, port = server.rsplit(":", 1)
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._connections = []
        self._closing = False
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def address(self):
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    @property
    def accepted(self):
        """How many connections came, cut ones included."""
        with self._lock:
            return len(self._connections)

    def drop_replies(self):
        """From now on, nothing that the server sends reaches the callers of today; what they send still passes."""
        for connection in self._existing():
            connection.drop_replies()

    def cut(self):
        """Closes every connection, on both sides."""
        for connection in self._existing():
            connection.cut()

    def close(self):
        self._closing = True
        # `accept` has no other portable wake-up call.
        socket.create_connection(self._listener.getsockname(), timeout=CONNECT_SECONDS_MAX).close()
        self._acceptor.join(timeout=JOIN_SECONDS_MAX)
        self._listener.close()
        self.cut()

    def _existing(self):
        with self._lock:
            return list(self._connections)

    def _accept(self):
        while True:
            caller, _ = self._listener.accept()
            if self._closing:
                caller.close()
                return
            try:
                server = socket.create_connection(self._server, timeout=CONNECT_SECONDS_MAX)
            except OSError:
                caller.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._connections.append(_Connection(caller, server))


class _Connection:
    def __init__(self, caller, server):
        self._sockets = (caller, server)
        self._replies_dropped = threading.Event()
        never = threading.Event()
        self._pumps = [
            threading.Thread(target=self._pass, args=(caller, server, never), daemon=True),
            threading.Thread(target=self._pass, args=(server, caller, self._replies_dropped), daemon=True),
        ]
        for pump in self._pumps:
            pump.start()

    def drop_replies(self):
        self._replies_dropped.set()

    def cut(self):
        self._shut()
        for pump in self._pumps:
            pump.join(timeout=JOIN_SECONDS_MAX)
        for end in self._sockets:
            end.close()

    def _pass(self, source, sink, dropped):
        try:
            while True:
                chunk = source.recv(CHUNK_BYTES_MAX)
                if not chunk:
                    break
                if not dropped.is_set():
                    sink.sendall(chunk)
        except OSError:
            pass  # One side is gone: what follows tells the other.
        finally:
            self._shut()

    def _shut(self):
        for end in self._sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)  # Unlike `close`, this wakes the thread that reads.
            except OSError:
                pass  # It was shut or closed before.
