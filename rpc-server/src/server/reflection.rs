//! What tools find out about the services of a server.

use std::sync::LazyLock;

use prost::Message;
use prost_types::FileDescriptorProto;
use rpc_proto::pb::FILE_DESCRIPTOR_SET;
use rpc_proto::pb::session::v1::ADMIN_SERVICE_POLICY;
use tonic::service::RoutesBuilder;

use super::StartError;
use crate::methods::{Access, Methods};

/// The file of the service for operators.
const ADMIN_FILE: &str = "session/v1/admin.proto";

/// Adds both versions of the reflection service, which know the services in `descriptors` and the server's own.
pub(super) fn add(
    routes: &mut RoutesBuilder,
    methods: &mut Methods,
    descriptors: &[&'static [u8]],
) -> Result<(), StartError> {
    let broken = |error: tonic_reflection::server::Error| StartError::Reflection(error.to_string());
    let own = [own(methods), tonic_health::pb::FILE_DESCRIPTOR_SET];
    let all = || {
        own.iter().chain(descriptors).fold(tonic_reflection::server::Builder::configure(), |builder, set| {
            builder.register_encoded_file_descriptor_set(set)
        })
    };
    routes.add_service(all().build_v1().map_err(broken)?);
    routes.add_service(all().build_v1alpha().map_err(broken)?);
    methods.add_plain("grpc.reflection.v1.ServerReflection", Access::Public);
    methods.add_plain("grpc.reflection.v1alpha.ServerReflection", Access::Public);
    Ok(())
}

/// The session protocol's own files, without that of a service that is off: tools list what is served.
//= A-26
fn own(methods: &Methods) -> &'static [u8] {
    static WITHOUT_ADMIN: LazyLock<Vec<u8>> = LazyLock::new(without_admin);
    match methods.names().any(|name| name == ADMIN_SERVICE_POLICY.name) {
        true => FILE_DESCRIPTOR_SET,
        false => &WITHOUT_ADMIN,
    }
}

/// A set whose files stay as they are encoded: prost would lose the options in them.
#[derive(Clone, PartialEq, Message)]
struct EncodedFiles {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

fn without_admin() -> Vec<u8> {
    let mut set = EncodedFiles::decode(FILE_DESCRIPTOR_SET).expect("the set is generated and checked in");
    set.files
        .retain(|file| !FileDescriptorProto::decode(&file[..]).is_ok_and(|file| file.name() == ADMIN_FILE));
    set.encode_to_vec()
}
