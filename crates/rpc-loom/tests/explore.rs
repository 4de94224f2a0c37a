//! Every model holds in each of its orders.

use rpc_loom::models::{calls, handover, outbox, streams};

macro_rules! models {
    ($($family:ident: $($model:ident),+;)+) => {$($(
        #[test]
        fn $model() {
            assert!($family::$model() > 1);
        }
    )+)+};
}

models! {
    streams: a_reader_hears_of_every_message, a_body_that_changes_hands_is_read_on, a_waker_may_use_the_stream,
        an_onlooker_sees_the_last_state, views_are_not_overtaken;
    calls: a_slot_goes_from_call_to_call, the_last_call_to_leave_ends_the_wait, closing_sends_everybody_away,
        a_call_that_is_given_up_is_settled;
    handover: a_lost_handler_runs_once_and_answers_the_next_attempt, a_lost_handler_answers_whoever_attached,
        a_lost_durable_handler_runs_once_and_answers_the_next_attempt,
        a_lost_durable_handler_answers_whoever_attached;
    outbox: no_handler_runs_before_its_record, no_reply_leaves_before_its_record,
        a_refused_record_brings_no_news_of_others;
}
