//! rpc-tests
