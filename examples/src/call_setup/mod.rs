//! Telephones: ring, answer, talk both at a time, hang up; calls that are refused, and calls that cross.

pub mod command;
mod demonstration;
mod exchange;
mod line;
mod phone;
