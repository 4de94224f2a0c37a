//! Reflection, in both versions: tools find the services and their options.

use prost::Message as _;
use prost_types::FileDescriptorProto;
use rpc_tests::server::TestServer;
use rpc_tests::soon;

/// Two versions of one protocol, which differ in the name of their package only.
macro_rules! version {
    ($version:ident) => {
        mod $version {
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;

            use super::*;

            async fn ask(server: &TestServer, request: MessageRequest) -> MessageResponse {
                let request =
                    ServerReflectionRequest { message_request: Some(request), ..Default::default() };
                let mut client = ServerReflectionClient::new(server.connect().await);
                let mut answers =
                    client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
                soon("the answer", answers.message()).await.unwrap().unwrap().message_response.unwrap()
            }

            #[tokio::test]
            async fn services_are_listed() {
                let server = TestServer::start().await;
                let answer = ask(&server, MessageRequest::ListServices(String::new())).await;
                let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
                let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
                for name in ["ledger.v1.TestLedger", "session.v1.SessionService", "grpc.health.v1.Health"] {
                    assert!(names.contains(&name), "{name} in {names:?}");
                }
            }

            #[tokio::test]
            async fn a_file_is_found_by_a_symbol_in_it() {
                let server = TestServer::start().await;
                let rows = [
                    ("ledger.v1.TestLedger", "ledger/v1/test.proto"),
                    ("session.v1.SessionService", "session/v1/session.proto"),
                    ("session.v1.CallOutcome", "session/v1/error.proto"),
                ];
                for (symbol, file) in rows {
                    let answer = ask(&server, MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
                    let MessageResponse::FileDescriptorResponse(found) = answer else {
                        panic!("{symbol}: {answer:?}")
                    };
                    let first = FileDescriptorProto::decode(&*found.file_descriptor_proto[0]).unwrap();
                    assert_eq!(first.name(), file);
                }
                let unknown = MessageRequest::FileContainingSymbol("no.Such".to_owned());
                let request =
                    ServerReflectionRequest { message_request: Some(unknown), ..Default::default() };
                let mut client = ServerReflectionClient::new(server.connect().await);
                let asked = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
                assert!(soon("the refusal", asked.into_inner().message()).await.is_err());
            }
        }
    };
}

version!(v1);
version!(v1alpha);
