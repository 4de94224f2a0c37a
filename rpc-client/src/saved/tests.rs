//! Bytes and files.

use std::fs;
use std::time::Duration;

use rpc_core::negotiate::{FirstTurn, Grant, ServiceGrant, Unit, Units};

use super::*;

fn saved(previous: Option<Ticket>) -> SavedSession {
    let granted = |name: &str| ServiceGrant { name: name.into(), result: Grant::Granted };
    SavedSession {
        target: "https://ledger.example:50051".into(),
        number: SessionId::new(4711).unwrap(),
        epoch: Epoch(3),
        tickets: Tickets { current: Ticket(*b"ticket-canary-ticket-canary-tick"), previous },
        agreement: Agreement {
            version: 1,
            units: [Unit::ExactlyOnce, Unit::NegotiatedRelease]
                .into_iter()
                .fold(Units::default(), Units::with),
            lease: Duration::from_millis(30_500),
            linger: Duration::from_secs(600),
            slots: 64,
            reply_bytes: 65_536,
            window_bytes: 4 << 20,
            first_turn: FirstTurn::Acceptor,
            services: vec![granted("bank.v1.Ledger"), granted("bank.v1.Archive")],
        },
        services: vec![ServiceRequest {
            name: "bank.v1.Ledger".into(),
            version: 2,
            policy_hash: u64::MAX - 1,
        }],
    }
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("session");
    (directory, path)
}

fn names(directory: &tempfile::TempDir) -> Vec<String> {
    let names = fs::read_dir(directory.path()).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_is_written_is_read() {
    for previous in [None, Some(Ticket([9; 32]))] {
        let session = saved(previous);
        assert_eq!(SavedSession::from_bytes(&session.to_bytes()).unwrap(), session);
    }
    let mut bare = saved(None);
    bare.services.clear();
    bare.agreement.services.clear();
    assert_eq!(SavedSession::from_bytes(&bare.to_bytes()).unwrap(), bare);
}

#[test]
fn bytes_that_are_cut_off_longer_or_changed_are_refused() {
    let whole = saved(None).to_bytes();
    for length in 0..whole.len() {
        assert!(SavedSession::from_bytes(&whole[..length]).is_err(), "{length} bytes");
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(matches!(SavedSession::from_bytes(&longer), Err(SavedError::Damaged)));
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            let error = SavedSession::from_bytes(&changed).unwrap_err();
            let is_right = match at {
                0..8 => matches!(error, SavedError::NotASession),
                8..12 => matches!(error, SavedError::Version { .. }),
                _ => matches!(error, SavedError::Damaged),
            };
            assert!(is_right, "byte {at}, bit {bit}: {error:?}");
        }
    }
}

/// The checksum is right, and what it covers is no session.
#[test]
fn contents_that_cannot_be_are_refused() {
    let number = saved(None).to_bytes();
    let no_slots = SavedSession { agreement: Agreement { slots: 0, ..saved(None).agreement }, ..saved(None) };
    let lease = Duration::ZERO;
    let no_lease = SavedSession { agreement: Agreement { lease, ..saved(None).agreement }, ..saved(None) };
    let mut without_number = number[..number.len() - 4].to_vec();
    without_number[12..20].fill(0);
    let checksum = rpc_core::checksum::crc32c(&without_number);
    without_number.extend(checksum.to_le_bytes());
    for bytes in [no_slots.to_bytes(), no_lease.to_bytes(), without_number] {
        assert!(matches!(SavedSession::from_bytes(&bytes), Err(SavedError::Damaged)));
    }
}

/// A flag of 2 was read as "no ticket before this one", a ticket without its flag was forgotten, and units that nobody knows
/// were dropped: what came back was not what the file said. Found by the fuzzer.
#[test]
fn there_is_one_spelling_of_each_session() {
    let whole = saved(None).to_bytes();
    let flag = 8 + 4 + 8 + 8 + 32;
    let units = flag + 1 + 32 + 2 + saved(None).target.len() + 4;
    let (kernel, unknown) = ((units, whole[units] | 1), (units + 3, 0x80));
    for (at, value) in [(flag, 2), (flag, 1 << 7), (flag + 1, 9), kernel, unknown] {
        let mut changed = whole[..whole.len() - 4].to_vec();
        changed[at] = value;
        changed.extend(rpc_core::checksum::crc32c(&changed).to_le_bytes());
        assert!(matches!(SavedSession::from_bytes(&changed), Err(SavedError::Damaged)), "byte {at}: {value}");
    }
}

//= test W-13
#[test]
fn a_saved_session_does_not_print_its_tickets() {
    let session = saved(Some(Ticket(*b"before-canary-before-canary-befo")));
    let printed = format!("{session:?} {:?}", session.tickets.current);
    assert!(printed.contains("4711") && !printed.contains("canary"), "{printed}");
}

#[test]
fn a_file_is_replaced_whole_and_none_is_none() {
    let (directory, path) = file();
    assert_eq!(SavedSession::load(&path).unwrap(), None);
    saved(None).save(&path).unwrap();
    // A process was killed while it wrote.
    fs::write(beside(&path), b"half of").unwrap();
    saved(Some(Ticket([9; 32]))).save(&path).unwrap();
    assert_eq!(SavedSession::load(&path).unwrap(), Some(saved(Some(Ticket([9; 32])))));
    assert_eq!(names(&directory), ["session"]);
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one() {
    let (directory, path) = file();
    saved(None).save(&path).unwrap();
    fs::create_dir(beside(&path)).unwrap();
    let error = saved(Some(Ticket([9; 32]))).save(&path).unwrap_err();
    assert!(matches!(error, SavedError::Io { .. }), "{error:?}");
    assert_eq!(SavedSession::load(&path).unwrap(), Some(saved(None)));
    let nowhere = directory.path().join("none").join("session");
    assert!(matches!(saved(None).save(nowhere), Err(SavedError::Io { .. })));
}

#[test]
fn what_is_no_saved_session_is_not_taken_for_one() {
    let (directory, path) = file();
    assert!(matches!(
        SavedSession::load(directory.path()),
        Err(SavedError::Exposed { .. } | SavedError::Io { .. })
    ));
    saved(None).save(&path).unwrap();
    let huge = fs::OpenOptions::new().write(true).open(&path).unwrap();
    huge.set_len(2 << 20).unwrap();
    assert!(matches!(SavedSession::load(&path), Err(SavedError::NotASession)));
    huge.set_len(3).unwrap();
    assert!(matches!(SavedSession::load(&path), Err(SavedError::NotASession)));
}

#[cfg(unix)]
#[test]
fn only_its_owner_can_read_the_file_and_any_other_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_directory, path) = file();
    saved(None).save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for mode in [0o604, 0o640, 0o602, 0o601, 0o644, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = SavedSession::load(&path).unwrap_err();
        assert!(matches!(error, SavedError::Exposed { mode: found, .. } if found == mode), "{error:?}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    SavedSession::load(&path).unwrap();
    // The next one is the owner's alone, whatever the one before was.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    saved(None).save(&path).unwrap();
    SavedSession::load(&path).unwrap();
}

#[test]
fn targets_are_compared_as_http_does() {
    for (one, other, same) in [
        ("https://ledger.example", "https://LEDGER.example:443/", true),
        ("http://[::1]:80", "http://[::1]", true),
        ("https://ledger.example", "http://ledger.example", false),
        ("https://ledger.example:1", "https://ledger.example:2", false),
        ("https://ledger.example", "https://ledger.example.org", false),
    ] {
        let name = |target: &str| target_name(&target.parse().unwrap());
        assert_eq!(name(one) == name(other), same, "{one} {other}");
    }
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// A renewal that was stopped while it wrote its ticket went on in its own thread, and brought the file of a session back
/// that had been released.
#[tokio::test]
async fn the_file_of_a_session_that_has_ended_is_not_written_again() {
    let (_directory, path) = file();
    let session = saved(None);
    let saving = Saving {
        target: session.target.clone(),
        services: Vec::new(),
        path: Some(path.clone()),
        lock: Arc::default(),
        over: Arc::default(),
    };
    saving.write(session.clone()).await.unwrap();
    assert_eq!(SavedSession::load(&path).unwrap().as_ref(), Some(&session));
    saving.remove(session.number()).await;
    saving.write(session).await.unwrap();
    assert_eq!(SavedSession::load(&path).unwrap(), None);
}
