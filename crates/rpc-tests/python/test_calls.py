"""Protected calls, their retries and their outcomes, made with stock grpcio stubs and three headers."""

import time
import unittest

import grpc
from bank.v1 import bank_pb2, bank_pb2_grpc
from session.v1 import session_pb2

from by_hand import CALL_SECONDS_MAX, Failure, Session, bearer, details_of, failure, header
from relay import Relay
from servers import ledger_server

QueryState = session_pb2.QueryResponse.State

# Between two looks at a condition.
POLL_SECONDS = 0.01


def setUpModule():
    global server
    server = ledger_server()


def tearDownModule():
    status = server.stop()
    if status != 0:
        raise RuntimeError(f"the server ended with status {status}")


def transfer(to, amount, payer="alice"):
    request = bank_pb2.TransferRequest(to=to, amount=amount)
    setattr(request, "from", payer)  # `from` is a keyword of Python
    return request


class Calls(unittest.TestCase):
    """Each test pays an account of its own, so that what was booked for it is what lies there."""

    def setUp(self):
        self.channel = self.open_channel(server.address)
        self.ledger = bank_pb2_grpc.LedgerStub(self.channel)

    def open_channel(self, address):
        channel = grpc.insecure_channel(address)
        self.addCleanup(channel.close)
        return channel

    def open_session(self):
        return Session(self.channel, server.token)

    def send(self, request, metadata):
        """Makes a transfer; returns its reply and its `session-outcome`."""
        reply, call = self.ledger.Transfer.with_call(request, metadata=metadata, timeout=CALL_SECONDS_MAX)
        return reply, header(call.initial_metadata(), "session-outcome")

    def refused(self, method, request, metadata):
        """The error of a call that must fail."""
        with self.assertRaises(grpc.RpcError) as raised:
            method(request, metadata=metadata, timeout=CALL_SECONDS_MAX)
        return raised.exception

    def balance(self, account):
        """What lies on an account; None if nothing was ever booked on it."""
        request = bank_pb2.BalanceRequest(account=account)
        try:
            return self.ledger.Balance(request, metadata=bearer(server.token), timeout=CALL_SECONDS_MAX).balance
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise

    def wait_until(self, condition):
        end = time.monotonic() + CALL_SECONDS_MAX
        while not condition():
            self.assertLess(time.monotonic(), end, "the condition did not come true in time")
            time.sleep(POLL_SECONDS)

    def is_recorded(self, session, channel):
        """Whether the first call of slot 0 is known to have ended."""
        try:
            return session.query(channel, 0, 1).state != QueryState.STATE_RUNNING
        except grpc.RpcError as error:
            # grpcio may still put a call on the connection that was cut just now. A query may be asked again.
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                return False
            raise

    #= W-2, A-1
    def test_plain_method_needs_a_token_and_no_session(self):
        reply = self.ledger.Ping(bank_pb2.PingRequest(), metadata=bearer(server.token), timeout=CALL_SECONDS_MAX)
        self.assertEqual(reply.session, 0)

    #= A-2, E-1, E-2
    def test_plain_method_without_token_is_refused(self):
        error = self.refused(self.ledger.Ping, bank_pb2.PingRequest(), [])
        self.assertEqual(failure(error), Failure("UNAUTHENTICATED", "TOKEN_MISSING", None))

    #= A-12, A-22
    def test_session_stands_for_the_token_on_a_plain_method(self):
        session = self.open_session()
        reply = self.ledger.Ping(bank_pb2.PingRequest(), metadata=session.headers, timeout=CALL_SECONDS_MAX)
        self.assertEqual(reply.session, session.opened.number)

    #= W-1, W-10
    def test_three_headers_make_a_protected_call(self):
        session = self.open_session()
        self.assertEqual(list(session.opened.units), [session_pb2.UNIT_EXACTLY_ONCE])
        reply, outcome = self.send(transfer("three-headers", 10), session.call(0, 1, 0))
        self.assertEqual(outcome, "new")
        self.assertEqual(reply.balance, self.balance("alice"))
        self.assertEqual(self.balance("three-headers"), 10)

    #= W-8, W-9, A-24, C-1, C-2
    def test_protected_method_needs_all_three_headers(self):
        session = self.open_session()
        number, ticket, call = session.call(0, 1, 0)
        refusals = {
            "a token only": (bearer(server.token), "FAILED_PRECONDITION", "SESSION_REQUIRED"),
            "no ticket": ([number, call], "INVALID_ARGUMENT", "TICKET_MISSING"),
            "no number": (bearer(server.token) + [ticket, call], "INVALID_ARGUMENT", "HEADER_INVALID"),
            "no call id": ([number, ticket], "FAILED_PRECONDITION", "CALL_ID_REQUIRED"),
        }
        for case, (metadata, code, reason) in refusals.items():
            with self.subTest(case):
                error = self.refused(self.ledger.Transfer, transfer("two-headers", 10), metadata)
                self.assertEqual(failure(error)[:2], (code, reason))
        self.assertIsNone(self.balance("two-headers"))

    #= C-24, C-25
    def test_refusal_for_a_missing_header_says_that_the_call_did_not_run(self):
        number, _, call = self.open_session().call(0, 1, 0)
        error = self.refused(self.ledger.Transfer, transfer("no-ticket", 10), [number, call])
        self.assertEqual(failure(error).executed, "EXECUTED_NO")

    #= C-8, C-20, C-34, I1, I2
    def test_retry_after_a_cut_gets_the_reply_of_the_one_booking(self):
        relay = Relay(server.address)
        self.addCleanup(relay.close)
        channel = self.open_channel(relay.address)
        ledger = bank_pb2_grpc.LedgerStub(channel)
        session = Session(channel, server.token)
        request = transfer("cut", 100)

        # The request arrives and runs; from here on no byte of an answer gets through. That the books show the
        # transfer is learnt on the direct channel.
        relay.drop_replies()
        lost = ledger.Transfer.future(request, metadata=session.call(0, 1, 0), timeout=CALL_SECONDS_MAX)
        self.wait_until(lambda: self.balance("cut") is not None)
        self.assertFalse(lost.done())
        relay.cut()
        self.assertEqual(failure(lost.exception(timeout=CALL_SECONDS_MAX)), Failure("UNAVAILABLE", None, None))

        # The booking is seen a moment before its reply is recorded; a retry in between would be `attached`.
        self.wait_until(lambda: self.is_recorded(session, channel))
        known = session.query(channel, 0, 1)
        self.assertEqual((known.state, known.last_sequence), (QueryState.STATE_DONE, 1))
        self.assertEqual((known.reply.code, known.reply.dropped), (0, False))

        reply, call = ledger.Transfer.with_call(request, metadata=session.call(0, 1, 1), timeout=CALL_SECONDS_MAX)
        self.assertEqual(header(call.initial_metadata(), "session-outcome"), "replayed")
        self.assertEqual(relay.accepted, 2)
        self.assertEqual(bank_pb2.TransferReply.FromString(known.reply.response), reply)
        self.assertEqual(reply.balance, self.balance("alice"))
        self.assertEqual(self.balance("cut"), 100)

    #= C-30, C-31, C-32, C-26, C-34, I3
    def test_settled_call_never_runs(self):
        session = self.open_session()
        absent = session.query(self.channel, 0, 1)
        self.assertEqual((absent.state, absent.last_sequence), (QueryState.STATE_ABSENT, 0))
        settled = session.query(self.channel, 0, 1, settle=True)
        self.assertEqual((settled.state, settled.last_sequence), (QueryState.STATE_NOT_EXECUTED, 1))

        error = self.refused(self.ledger.Transfer, transfer("settled", 10), session.call(0, 1, 0))
        self.assertEqual(failure(error), Failure("ABORTED", "CALL_SETTLED", "EXECUTED_NO"))
        self.assertIsNone(self.balance("settled"))

        _, outcome = self.send(transfer("settled", 20), session.call(0, 2, 0))
        self.assertEqual(outcome, "new")
        self.assertEqual(self.balance("settled"), 20)
        self.assertEqual(session.query(self.channel, 0, 1).state, QueryState.STATE_FORGOTTEN)

    #= C-10, C-25, I4
    def test_another_request_under_the_same_call_id_is_a_false_retry(self):
        session = self.open_session()
        first, _ = self.send(transfer("false-retry", 10), session.call(0, 1, 0))
        error = self.refused(self.ledger.Transfer, transfer("false-retry", 11), session.call(0, 1, 1))
        self.assertEqual(failure(error), Failure("FAILED_PRECONDITION", "CALL_FALSE_RETRY", "EXECUTED_UNKNOWN"))
        again, outcome = self.send(transfer("false-retry", 10), session.call(0, 1, 2))
        self.assertEqual((again, outcome), (first, "replayed"))
        self.assertEqual(self.balance("false-retry"), 10)

    #= C-8, C-14, C-26, E-5, W-10
    def test_error_of_the_handler_is_an_outcome_like_any_other(self):
        session = self.open_session()
        request = transfer("errors", 10, payer="bob")
        for attempt in range(2):
            with self.subTest(attempt=attempt):
                error = self.refused(self.ledger.Transfer, request, session.call(0, 1, attempt))
                self.assertEqual(failure(error), Failure("PERMISSION_DENIED", None, "EXECUTED_YES"))
                self.assertEqual(error.details(), "this account is not yours")
                # An answer of headers only: grpcio shows them as trailers.
                outcome = header(error.trailing_metadata(), "session-outcome")
                self.assertEqual(outcome, ("new", "replayed")[attempt])
        known = session.query(self.channel, 0, 1)
        self.assertEqual(known.state, QueryState.STATE_DONE)
        self.assertEqual(known.reply.code, grpc.StatusCode.PERMISSION_DENIED.value[0])
        self.assertEqual(known.reply.message, "this account is not yours")

    #= A-17, L-8, L-20
    def test_released_session_answers_like_one_with_a_wrong_ticket(self):
        session, other = self.open_session(), self.open_session()
        self.send(transfer("released", 10), session.call(0, 1, 0))
        session.release(self.channel)
        number_of_other = other.headers[0]
        _, ticket, call = session.call(0, 2, 0)

        request = transfer("released", 20)
        ended = self.refused(self.ledger.Transfer, request, session.call(0, 2, 0))
        wrong = self.refused(self.ledger.Transfer, request, [number_of_other, ticket, call])
        self.assertEqual(failure(ended), Failure("NOT_FOUND", "SESSION_UNKNOWN", "EXECUTED_NO"))
        self.assertEqual(details_of(ended), details_of(wrong))
        self.assertEqual(ended.details(), wrong.details())
        with self.assertRaises(grpc.RpcError) as raised:
            session.query(self.channel, 0, 1)
        self.assertEqual(failure(raised.exception), Failure("NOT_FOUND", "SESSION_UNKNOWN", None))
        self.assertEqual(self.balance("released"), 10)
