//! Tests of the store as its users have it.

mod crash;
mod disk;
mod kill;
mod model;
mod operators;
mod support;
mod syscalls;
