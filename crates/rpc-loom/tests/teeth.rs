//! Mistakes that were made on purpose are found.

use rpc_loom::models::planted;

#[test]
#[should_panic(expected = "deadlock")]
fn a_reader_that_waits_after_its_look() {
    planted::a_reader_waits_after_its_look();
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_waker_that_is_called_under_the_lock() {
    planted::a_waker_is_called_under_the_lock();
}

#[test]
#[should_panic(expected = "deadlock")]
fn onlookers_that_are_counted_before_the_change() {
    planted::onlookers_are_counted_before_the_change();
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_wait_that_begins_after_the_look() {
    planted::the_wait_begins_after_the_look();
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_handler_that_does_not_move() {
    planted::a_lost_handler_does_not_move();
}

#[test]
#[should_panic(expected = "records in another order")]
fn a_session_that_is_drained_outside_its_lock() {
    planted::a_session_is_drained_outside_its_lock();
}
