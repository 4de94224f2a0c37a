//! What `slots.rs` takes from the client's events, of which nobody hears here.

use rpc_core::id::CallId;

#[expect(dead_code, reason = "nobody hears of it")]
pub(crate) enum Event {
    CallQuarantined(CallId),
    CallSettled(CallId),
    SlotRetired(CallId),
}

#[derive(Debug, Default)]
pub(crate) struct Announcer;

impl Announcer {
    #[expect(clippy::unused_self, reason = "the client's has listeners")]
    pub(crate) fn say(&self, _: Event) {}
}
