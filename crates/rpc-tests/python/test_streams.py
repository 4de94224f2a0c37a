"""An upload that outlives its connections, made with stock grpcio stubs, three headers and `Query`."""

import threading
import time
import unittest

import grpc
from session.v1 import session_pb2
from streams.v1 import streams_pb2, streams_pb2_grpc

from by_hand import CALL_SECONDS_MAX, Session, header
from relay import Relay
from servers import streams_server

QueryState = session_pb2.QueryResponse.State
UNITS = (session_pb2.UNIT_EXACTLY_ONCE, session_pb2.UNIT_RESUME, session_pb2.UNIT_MINOR_SYNCHRONIZE)

CHUNKS = 600
PAYLOAD_BYTES = 1000
# What an attempt gives before its connection is cut; the server secures every 40 messages of it.
GIVEN = 200
SECURED = 160
CUTS = 2

# Between two looks at a condition.
POLL_SECONDS = 0.01


def setUpModule():
    global server
    server = streams_server()


def tearDownModule():
    status = server.stop()
    if status != 0:
        raise RuntimeError(f"the server ended with status {status}")


def chunk(index):
    payload = bytes((index * 31 + at) % 256 for at in range(PAYLOAD_BYTES))
    return streams_pb2.Chunk(index=index, payload=payload)


def checksum():
    """Of all payloads, as the server's handler adds them up."""
    total = 0
    for index in range(CHUNKS):
        for byte in chunk(index).payload:
            total = (total * 31 + byte) % 2**64
    return total


class Attempt:
    """One attempt of the upload, over a channel of its own."""

    def __init__(self, address, metadata, begin, end, waits):
        self.sent = 0
        self._released = threading.Event()
        self._channel = grpc.insecure_channel(address)
        stub = streams_pb2_grpc.TestStreamsStub(self._channel)
        chunks = self._chunks(begin, end, waits)
        self.call = stub.Upload.future(chunks, metadata=metadata, timeout=CALL_SECONDS_MAX, wait_for_ready=True)

    def end(self):
        self._released.set()
        self._channel.close()

    def _chunks(self, begin, end, waits):
        for index in range(begin, end):
            self.sent += 1
            yield chunk(index)
        if waits:
            # The request is not over: this is where its connection is cut.
            self._released.wait(timeout=CALL_SECONDS_MAX)


class Uploads(unittest.TestCase):
    def setUp(self):
        self.relay = Relay(server.address)
        self.addCleanup(self.relay.close)
        # Queries go another way, which is not cut.
        self.channel = grpc.insecure_channel(server.address)
        self.addCleanup(self.channel.close)
        self.session = Session(self.channel, server.token, UNITS)

    def attempt(self, number, begin, end, waits):
        attempt = Attempt(self.relay.address, self.session.call(0, 1, number), begin, end, waits)
        self.addCleanup(attempt.end)
        return attempt

    def secured(self):
        """How many messages the server has safe, and will not ask for again."""
        told = self.session.query(self.channel, 0, 1)
        self.assertIn(told.state, (QueryState.STATE_RUNNING, QueryState.STATE_ABSENT), told)
        return told.resumption.requests.position.messages

    def until_secured(self, messages):
        end = time.monotonic() + CALL_SECONDS_MAX
        while self.secured() < messages:
            self.assertLess(time.monotonic(), end, f"{messages} messages are not secured in time")
            time.sleep(POLL_SECONDS)

    #= test S-29
    def test_an_upload_goes_on_after_two_cuts_from_where_query_says(self):
        begin, sent = 0, 0
        for number in range(CUTS):
            attempt = self.attempt(number, begin, begin + GIVEN, waits=True)
            self.until_secured(begin + SECURED)
            self.relay.cut()
            with self.assertRaises(grpc.RpcError) as lost:
                attempt.call.result(timeout=CALL_SECONDS_MAX)
            self.assertEqual(lost.exception.code(), grpc.StatusCode.UNAVAILABLE)
            attempt.end()
            sent += attempt.sent
            begin = self.secured()
        last = self.attempt(CUTS, begin, CHUNKS, waits=False)
        summary = last.call.result(timeout=CALL_SECONDS_MAX)
        self.assertEqual((summary.chunks, summary.checksum), (CHUNKS, checksum()))
        self.assertEqual(header(last.call.initial_metadata(), "session-outcome"), "attached")
        self.assertGreaterEqual(self.relay.accepted, CUTS + 1)
        again = sent + last.sent - CHUNKS
        self.assertLessEqual(again, CUTS * (GIVEN - SECURED), "more was sent again than was not secured")

        told = self.session.query(self.channel, 0, 1)
        self.assertEqual(told.state, QueryState.STATE_DONE)
        self.assertEqual(streams_pb2.Summary.FromString(told.reply.response), summary)
        self.session.release(self.channel)


if __name__ == "__main__":
    unittest.main()
