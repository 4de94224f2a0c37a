"""The Python program in docs/protocol.md does what its readers are told."""

import re
import unittest
from pathlib import Path

from by_hand import CALL_SECONDS_MAX
from servers import ledger_server

PROTOCOL = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"
ADDRESS = "localhost:50051"


def program():
    """The only Python program of the text."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PROTOCOL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if len(blocks) != 1:
        raise ValueError(f"docs/protocol.md holds {len(blocks)} Python programs, expected 1")
    return blocks[0]


class ProtocolText(unittest.TestCase):
    def test_program_transfers_once(self):
        server = ledger_server()
        self.addCleanup(lambda: self.assertEqual(server.stop(), 0))
        text = program()
        self.assertEqual(text.count(ADDRESS), 1)
        names = {"token": server.token}
        exec(compile(text.replace(ADDRESS, server.address), str(PROTOCOL), "exec"), names)
        self.addCleanup(names["channel"].close)
        self.assertEqual(names["reply"].balance, 900)
        bank = names["bank_pb2"]
        balance = names["ledger"].Balance(
            bank.BalanceRequest(account="bob"), metadata=names["session"], timeout=CALL_SECONDS_MAX
        )
        self.assertEqual(balance.balance, 100)
