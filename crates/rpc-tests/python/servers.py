"""Servers as processes of their own."""

import os
import queue
import signal
import subprocess
import threading

# A debug build on a busy machine is listening within a second.
START_SECONDS_MAX = 10
# All channels are closed before the server is asked to stop, so there is nothing to drain.
STOP_SECONDS_MAX = 5


def ledger_server():
    """The example's server."""
    return Server(os.environ["LEDGER_SERVER"])


def streams_server():
    """A server of streams that outlive their connections, whose handlers check what they get."""
    return Server(os.environ["STREAMS_SERVER"])


class Server:
    """Runs on a port that the system chooses until `stop`."""

    def __init__(self, program):
        command = [program, "127.0.0.1:0"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._lines = queue.Queue()
        # A thread, because a pipe cannot be read with a time limit on every platform.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.address = self._announced("listening on ")
            self.token = self._announced("a token for alice: ")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def stop(self):
        """Asks the server to drain and returns its exit status; kills it if it does not end in time."""
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._reader.join(timeout=STOP_SECONDS_MAX)
            self._process.stdout.close()

    def _announced(self, start):
        line = self._lines.get(timeout=START_SECONDS_MAX)
        if not line.startswith(start):
            raise RuntimeError(f"the server said {line!r}, expected {start!r}")
        return line[len(start) :].strip()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")
