"""The session protocol as a program without a session library speaks it: docs/protocol.md, section 12.

This is the whole of it: what `Open` gave goes into three headers, and what an error means is in its details.
"""

import os
from base64 import urlsafe_b64encode
from typing import NamedTuple, Optional

from google.rpc import error_details_pb2, status_pb2
from session.v1 import error_pb2, session_pb2, session_pb2_grpc

# Longer than any call here takes, shorter than anybody wants to wait for a test.
CALL_SECONDS_MAX = 5


def bearer(token):
    return [("authorization", f"Bearer {token}")]


class Session:
    """A numbered session, to be used over any channel to its server."""

    def __init__(self, channel, token, units=(session_pb2.UNIT_EXACTLY_ONCE,)):
        #= O-2
        request = session_pb2.OpenRequest(nonce=os.urandom(16), units=units)
        service = session_pb2_grpc.SessionServiceStub(channel)
        self.opened = service.Open(request, metadata=bearer(token), timeout=CALL_SECONDS_MAX)

    @property
    def headers(self):
        """What every call of the session carries."""
        ticket = urlsafe_b64encode(self.opened.ticket).rstrip(b"=").decode("ascii")
        return [("session", str(self.opened.number)), ("session-ticket", ticket)]

    def call(self, slot, sequence, attempt):
        """What a call of a protected method carries."""
        return self.headers + [("session-call", f"{slot}.{sequence}.{attempt}")]

    def query(self, channel, slot, sequence, settle=False):
        """Asks what became of a call. Over a new connection as well, hence `wait_for_ready`."""
        request = session_pb2.QueryRequest(slot=slot, sequence=sequence, settle=settle)
        service = session_pb2_grpc.SessionServiceStub(channel)
        return service.Query(request, metadata=self.headers, timeout=CALL_SECONDS_MAX, wait_for_ready=True)

    def release(self, channel):
        service = session_pb2_grpc.SessionServiceStub(channel)
        service.Release(session_pb2.ReleaseRequest(), metadata=self.headers, timeout=CALL_SECONDS_MAX)


class Failure(NamedTuple):
    """What an error says to a program: the message is for people."""

    code: str
    # Of the table in section 10; None where the error is not the session protocol's.
    reason: Optional[str]
    # Name of a `CallOutcome.Executed`; None where the call is not a protected one.
    executed: Optional[str]


def failure(error):
    """Reads the error of a call (a `grpc.RpcError`).

    Raises ValueError for details that contradict the status they travel with.
    """
    reason, executed = None, None
    status = status_pb2.Status.FromString(details_of(error))
    if status.details and (status.code, status.message) != (error.code().value[0], error.details()):
        raise ValueError(f"status {error.code()} carries details of another: {status.code} {status.message!r}")
    for detail in status.details:
        info, outcome = error_details_pb2.ErrorInfo(), error_pb2.CallOutcome()
        if detail.Unpack(info) and info.domain == "session.v1":
            reason = info.reason
        elif detail.Unpack(outcome):
            executed = error_pb2.CallOutcome.Executed.Name(outcome.executed)
    return Failure(error.code().name, reason, executed)


def details_of(error):
    """The bytes of the error's `google.rpc.Status`; empty if it has none, as errors that grpcio makes itself."""
    return header(error.trailing_metadata(), "grpc-status-details-bin") or b""


def header(metadata, name):
    """The value of a header that must not occur twice; None if it does not occur."""
    values = [value for key, value in metadata or () if key == name]
    if len(values) > 1:
        raise ValueError(f"{name} occurs {len(values)} times")
    return values[0] if values else None
