//! What addons can import, as plain Rust on core types: no wasmtime here.

pub mod blocking;
pub mod host_data;
pub mod http;
pub mod kv;
pub mod leases;
pub mod log;
pub mod system;
