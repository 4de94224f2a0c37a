//! The Rust names that tonic gives to what it generates for a service.

/// `TestLedger` → `test_ledger`, the stem of tonic's module names.
///
/// tonic's rule, which is private there: an underscore before every capital but the first. `service` is the name that
/// prost-build gives (`HTTPLog` in the file is `HttpLog` by then).
pub(crate) fn module_stem(service: &str) -> String {
    let mut stem = String::with_capacity(service.len() + 4);
    for (index, letter) in service.chars().enumerate() {
        if index > 0 && letter.is_uppercase() {
            stem.push('_');
        }
        stem.push(letter.to_ascii_lowercase());
    }
    stem
}

/// `TestLedger` → `TEST_LEDGER_POLICY`.
pub(crate) fn policy_static(service: &str) -> String {
    format!("{}_POLICY", module_stem(service).to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_tonic() {
        assert_eq!(module_stem("Ledger"), "ledger");
        assert_eq!(module_stem("TestLedger"), "test_ledger");
        assert_eq!(module_stem("HttpLog"), "http_log");
        assert_eq!(policy_static("TestLedger"), "TEST_LEDGER_POLICY");
    }
}
