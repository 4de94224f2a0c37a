//! What an attempt says of itself in its headers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use rpc_core::activity::{NAME_BYTES_MAX, Name};
use rpc_core::error::Reason;
use rpc_core::id::Attempt;
use rpc_core::negotiate::Unit;
use rpc_core::stream::resume::Resume;
use rpc_flow::Frames;
use rpc_proto::frames::parse_resume;
use rpc_proto::headers::{SESSION_ACTIVITY, SESSION_FRAMES, SESSION_RESUME};
use rpc_proto::status::Refusal;

/// What an attempt says of itself.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) frames: Frames,
    /// Where it goes on, if it says so.
    pub(super) resume: Option<Resume>,
    /// What the call works on, if that has a name.
    pub(super) activity: Option<Name>,
}

impl Joining {
    //= W-14
    pub(super) fn parse(headers: &HeaderMap, attempt: Attempt) -> Result<Self, Refusal> {
        let frames = match single(headers, &SESSION_FRAMES)?.map(HeaderValue::as_bytes) {
            Some(b"1") => Frames::On,
            Some(_) => return Err(invalid("header `session-frames` is not `1`")),
            None => Frames::Off,
        };
        let activity = single(headers, &SESSION_ACTIVITY)?.map(parse_activity).transpose()?;
        let resume = single(headers, &SESSION_RESUME)?;
        // The first attempt has nothing to go on from but an activity, whatever it says.
        let resume = resume.filter(|_| attempt > Attempt(0) || activity.is_some());
        let resume = resume.map(parse_resume).transpose();
        let resume = resume.map_err(|_| invalid("header `session-resume-bin` does not parse"))?;
        if resume.is_none() && attempt > Attempt(0) && frames == Frames::On {
            return Err(invalid("a later attempt with control frames needs the header `session-resume-bin`"));
        }
        Ok(Self { frames, resume, activity })
    }
}

//= D-17
fn parse_activity(value: &HeaderValue) -> Result<Name, Refusal> {
    /// The longest name in base64, with its padding.
    const TEXT_BYTES_MAX: usize = NAME_BYTES_MAX.div_ceil(3) * 4;
    let text = value.as_bytes();
    let bytes = match text.len() {
        ..=TEXT_BYTES_MAX if text.ends_with(b"=") => STANDARD.decode(text).ok(),
        ..=TEXT_BYTES_MAX => STANDARD_NO_PAD.decode(text).ok(),
        _ => None,
    };
    bytes
        .and_then(|bytes| Name::new(bytes).ok())
        .ok_or_else(|| invalid("header `session-activity-bin` is not base64 of 1 to 128 bytes"))
}

//= W-6
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::new(Reason::HeaderRepeated, format!("header `{name}` came more than once")));
    }
    Ok(first)
}

pub(super) fn invalid(text: &str) -> Refusal {
    Refusal::new(Reason::HeaderInvalid, text)
}

/// The call needs a unit that its session has not.
pub(super) fn unit_unsupported(unit: Unit) -> Refusal {
    Refusal::new(Reason::UnitUnsupported, format!("the session was opened without the unit {unit}"))
}

/// The two sides of the call are to speak in turns, and its caller cannot know whose turn it is.
pub(super) fn dialog_required() -> Refusal {
    let text = "the sides of this method take turns: its caller needs a session with the unit resume, and to read \
                control frames";
    Refusal::new(Reason::DialogRequired, text)
}

#[cfg(test)]
mod tests {
    use rpc_proto::frames::resume_value;
    use rpc_proto::status::Details;

    use super::*;

    fn parse(attempt: u32, pairs: &[(&HeaderName, HeaderValue)]) -> Result<Joining, Reason> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.clone());
        }
        let parsed = Joining::parse(&headers, Attempt(attempt));
        parsed.map_err(|refusal| Details::of(&refusal.into_status()).reason.unwrap())
    }

    fn text(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    fn resume() -> HeaderValue {
        resume_value(&Resume::default())
    }

    //= test W-6
    //= test W-14
    #[test]
    fn what_is_not_said_or_said_twice() {
        let plain = parse(0, &[]).unwrap();
        assert_eq!((plain.frames, plain.resume, plain.activity), (Frames::Off, None, None));
        assert_eq!(parse(1, &[]).unwrap().resume, None, "a program that reads no frames asks by a query");
        let on = (&SESSION_FRAMES, text("1"));
        assert_eq!(parse(0, std::slice::from_ref(&on)).unwrap().frames, Frames::On);
        assert_eq!(parse(1, std::slice::from_ref(&on)).unwrap_err(), Reason::HeaderInvalid);
        assert_eq!(parse(0, &[(&SESSION_FRAMES, text("2"))]).unwrap_err(), Reason::HeaderInvalid);
        assert!(parse(1, &[on.clone(), (&SESSION_RESUME, resume())]).unwrap().resume.is_some());
        assert_eq!(parse(1, &[on.clone(), (&SESSION_RESUME, text("?"))]).unwrap_err(), Reason::HeaderInvalid);
        for (name, value) in [(&SESSION_RESUME, resume()), on, (&SESSION_ACTIVITY, text("YQ"))] {
            let twice = [(name, value.clone()), (name, value)];
            assert_eq!(parse(1, &twice).unwrap_err(), Reason::HeaderRepeated, "{name}");
        }
    }

    //= test D-17
    #[test]
    fn an_activity_has_a_name_that_can_be() {
        let named = |value: &str| parse(0, &[(&SESSION_ACTIVITY, text(value))]);
        for name in ["YQ", "YQ=="] {
            assert_eq!(named(name).unwrap().activity.unwrap().as_bytes(), b"a");
        }
        let longest = STANDARD.encode([7; 128]);
        assert_eq!(named(&longest).unwrap().activity.unwrap().as_bytes(), [7; 128]);
        for wrong in ["", "=", "a", "not base64!", &STANDARD.encode([7; 129]), &"A".repeat(10_000)] {
            assert_eq!(named(wrong).unwrap_err(), Reason::HeaderInvalid, "{wrong}");
        }
    }

    #[test]
    fn a_first_attempt_goes_on_from_an_activity_and_from_nothing_else() {
        assert_eq!(parse(0, &[(&SESSION_RESUME, resume())]).unwrap().resume, None);
        let both = [(&SESSION_ACTIVITY, text("YQ")), (&SESSION_RESUME, resume())];
        assert!(parse(0, &both).unwrap().resume.is_some());
    }
}
