//! The values that options may have. Each function answers with the core's value or with what is wrong.

use std::{collections::BTreeSet, time::Duration};

/// Longest `timeout` of a method and longest `every` of a checkpoint: a year. Longer is taken for a mistake of units.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Most scopes that a method or a service may name.
pub const SCOPES_MAX: usize = 16;
/// Longest scope, in bytes.
pub const SCOPE_BYTES_MAX: usize = 128;
/// Longest name of an exclusive class, in bytes.
pub const CLASS_BYTES_MAX: usize = 64;

/// A duration over zero and at most [`TIMEOUT_MAX`].
pub(crate) fn duration(option: &str, value: &prost_types::Duration) -> Result<Duration, String> {
    let positive = Duration::try_from(*value).ok().filter(|duration| !duration.is_zero());
    let Some(duration) = positive else {
        return Err(format!("`{option}` must be more than zero"));
    };
    if duration > TIMEOUT_MAX {
        return Err(format!("`{option}` is {} s, at most {} s", duration.as_secs(), TIMEOUT_MAX.as_secs()));
    }
    Ok(duration)
}

/// Scopes as OAuth writes them (RFC 6749, 3.3: no spaces, quotes or backslashes), each named once.
pub(crate) fn scopes(values: &[String]) -> Result<Vec<String>, String> {
    if values.len() > SCOPES_MAX {
        return Err(format!("`scopes` has {} entries, at most {SCOPES_MAX}", values.len()));
    }
    let mut seen = BTreeSet::new();
    for scope in values {
        if scope.is_empty() {
            return Err("`scopes` has an empty entry".to_owned());
        }
        if scope.len() > SCOPE_BYTES_MAX {
            return Err(format!("`scopes` has an entry of {} bytes, at most {SCOPE_BYTES_MAX}", scope.len()));
        }
        if !scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
            let text = "`scopes` may hold printable ASCII without spaces, quotes and backslashes";
            return Err(format!("{text}, not {scope:?}"));
        }
        if !seen.insert(scope) {
            return Err(format!("`scopes` names {scope:?} twice"));
        }
    }
    Ok(values.to_vec())
}

/// The name of an exclusive class; the empty one is none.
pub(crate) fn class(name: &str) -> Result<Option<String>, String> {
    if name.len() > CLASS_BYTES_MAX {
        return Err(format!("`exclusive` has {} bytes, at most {CLASS_BYTES_MAX}", name.len()));
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("`exclusive` may hold printable ASCII without spaces, not {name:?}"));
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proto(seconds: i64, nanos: i32) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos }
    }

    #[test]
    fn durations_lie_between_zero_and_a_year() {
        assert_eq!(duration("timeout", &proto(0, 1)), Ok(Duration::from_nanos(1)));
        assert_eq!(duration("timeout", &proto(31_536_000, 0)), Ok(TIMEOUT_MAX));
        for bad in [proto(0, 0), proto(-1, 0), proto(0, -1)] {
            assert_eq!(duration("timeout", &bad), Err("`timeout` must be more than zero".to_owned()));
        }
        assert_eq!(
            duration("timeout", &proto(31_536_000, 1)),
            Err("`timeout` is 31536000 s, at most 31536000 s".to_owned())
        );
        assert!(duration("timeout", &proto(i64::MAX, i32::MAX)).is_err());
    }

    #[test]
    fn scopes_are_bounded_printable_and_unique() {
        let scope = |text: &str| scopes(&[text.to_owned()]);
        assert_eq!(scope("ledger.write"), Ok(vec!["ledger.write".to_owned()]));
        assert_eq!(scope(&"s".repeat(128)), Ok(vec!["s".repeat(128)]));
        assert_eq!(
            scope(&"s".repeat(129)),
            Err("`scopes` has an entry of 129 bytes, at most 128".to_owned())
        );
        for bad in ["a b", "a\"", "a\\", "a\u{7f}", "ä"] {
            assert!(scope(bad).is_err(), "{bad}");
        }
        let many: Vec<_> = (0..17).map(|number| format!("s{number}")).collect();
        assert_eq!(scopes(&many), Err("`scopes` has 17 entries, at most 16".to_owned()));
        assert!(scopes(&many[..16]).is_ok());
    }

    #[test]
    fn classes_are_bounded_and_printable() {
        assert_eq!(class(""), Ok(None));
        assert_eq!(class(&"c".repeat(64)), Ok(Some("c".repeat(64))));
        assert_eq!(class(&"c".repeat(65)), Err("`exclusive` has 65 bytes, at most 64".to_owned()));
        assert!(class(" ").is_err());
    }
}
