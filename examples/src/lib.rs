//! rpc-examples
