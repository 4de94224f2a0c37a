//! The headers of a request.

use http::{HeaderMap, HeaderName, HeaderValue};
use rpc_core::error::Reason;
use rpc_proto::deadline;
use rpc_proto::frames::{parse_resume, resume_value};
use rpc_proto::headers::{
    Answered, SESSION_CALL, SESSION_OUTCOME, SESSION_RESUME, SESSION_TICKET, SessionHeaders, attempt,
    call_value, session_value, ticket_value,
};

/// Lines of `name: value`, without order or limit: what is accepted is written back as it was, and what is refused is
/// refused for a stable reason that does not repeat it.
pub fn run(bytes: &[u8]) {
    let headers = parsed(bytes);
    session(&headers);
    if let Some(answered) = Answered::parse(&headers) {
        assert_eq!(headers.get(SESSION_OUTCOME), Some(&answered.value()));
    }
    timeout(&headers);
    for value in headers.get_all(SESSION_RESUME) {
        resume(value);
    }
}

fn session(headers: &HeaderMap) {
    match SessionHeaders::parse(headers) {
        Ok(None) => assert!(!headers.contains_key("session") && !headers.contains_key(SESSION_TICKET)),
        Ok(Some(session)) => {
            assert_eq!(headers.get("session"), Some(&session_value(session.session)));
            assert_eq!(headers.get(SESSION_TICKET), Some(&ticket_value(&session.ticket)));
            assert_eq!(headers.get(SESSION_CALL), session.call.map(call_value).as_ref());
            assert!(session.session.value() > 0);
            let ticket = headers[SESSION_TICKET].to_str().expect("it was read");
            assert!(!format!("{session:?}").contains(ticket), "the ticket is shown");
            assert_eq!(
                attempt(headers).ok(),
                Some(session.call.map(|call| call.attempt).unwrap_or_default())
            );
        }
        Err(error) => {
            let reasons = [Reason::HeaderRepeated, Reason::HeaderInvalid, Reason::TicketMissing];
            assert!(reasons.contains(&error.reason()), "{error}");
            assert_eq!(SessionHeaders::parse(headers), Err(error), "another time, another reason");
            let told = format!("{error} {error:?}");
            for value in headers.values().filter(|value| value.len() > 20) {
                assert!(!value.to_str().is_ok_and(|value| told.contains(value)), "{told} repeats a header");
            }
        }
    }
    if let Ok(number) = attempt(headers) {
        assert!(number.0 == 0 || headers.contains_key(SESSION_CALL));
    }
}

/// Eight digits and a unit are exact in the finest unit that holds them.
fn timeout(headers: &HeaderMap) {
    let Ok(Some(timeout)) = deadline::parse(headers) else { return };
    let again = HeaderMap::from_iter([(deadline::GRPC_TIMEOUT, deadline::value(timeout))]);
    assert_eq!(deadline::parse(&again), Ok(Some(timeout)));
}

fn resume(value: &HeaderValue) {
    match parse_resume(value) {
        Ok(resume) => assert_eq!(parse_resume(&resume_value(&resume)), Ok(resume)),
        Err(error) => assert!(["session-resume-bin", "position"].contains(&error.0), "{error}"),
    }
}

pub(super) fn parsed(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii_start());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}
