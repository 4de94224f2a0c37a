"""What the server offers beside the user's services, asked with the clients that gRPC ships for Python."""

import unittest

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from by_hand import CALL_SECONDS_MAX
from servers import ledger_server

SERVICES = {"bank.v1.Ledger", "session.v1.SessionService", "grpc.health.v1.Health"}


def setUpModule():
    global server
    server = ledger_server()


def tearDownModule():
    status = server.stop()
    if status != 0:
        raise RuntimeError(f"the server ended with status {status}")


class Services(unittest.TestCase):
    """None of these needs a token."""

    def setUp(self):
        self.channel = grpc.insecure_channel(server.address)
        self.addCleanup(self.channel.close)

    def test_health_says_serving(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        for service in ("", "bank.v1.Ledger"):
            with self.subTest(service=service):
                reply = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=CALL_SECONDS_MAX)
                self.assertEqual(reply.status, health_pb2.HealthCheckResponse.SERVING)

    def test_reflection_lists_the_services(self):
        # The two versions differ in nothing but the name of their package.
        for version in ("v1", "v1alpha"):
            with self.subTest(version=version):
                self.assertLessEqual(SERVICES, self.reflected(version))

    def test_reflection_describes_methods_and_the_session_protocol(self):
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))
        ledger = pool.FindServiceByName("bank.v1.Ledger")
        self.assertEqual([method.name for method in ledger.methods], ["Transfer", "Balance", "Ping"])
        self.assertEqual(ledger.methods_by_name["Transfer"].input_type.full_name, "bank.v1.TransferRequest")
        options = ledger.methods_by_name["Transfer"].GetOptions()
        self.assertTrue(options.SerializeToString(), "the promise of the method is gone from its descriptor")

    def reflected(self, version):
        """The names that server reflection lists."""
        ask = self.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        replies = list(ask(iter([request]), timeout=CALL_SECONDS_MAX))
        self.assertEqual(len(replies), 1)
        return {service.name for service in replies[0].list_services_response.service}
