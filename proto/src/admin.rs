//! What operators are answered, between messages and core types.

use std::time::Duration;

use rpc_core::store::operations::{Contents, Copied, SinceOpen, Statistics, StoreId};

use crate::pb::session::v1::{BackupResponse, StatsResponse, StoreContents, StoreWork};

/// An answer has a field that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not what it must be")]
pub struct Malformed(&'static str);

/// What a store holds and did, as a message.
pub fn statistics_to_wire(statistics: Statistics) -> StatsResponse {
    let Statistics { id, contents, numbers_given, commits, bytes_on_disk, journals, closed, since_open } =
        statistics;
    StatsResponse {
        store: id.to_string(),
        contents: Some(contents_to_wire(&contents)),
        numbers_given,
        commits,
        bytes_on_disk,
        journals,
        closed,
        since_open: Some(work_to_wire(&since_open)),
    }
}

/// The same, read. What an older server does not say is 0.
///
/// # Errors
///
/// The name of the store, a duration, or the number of classes is none.
pub fn statistics_from_wire(answer: StatsResponse) -> Result<Statistics, Malformed> {
    let StatsResponse {
        store,
        contents,
        numbers_given,
        commits,
        bytes_on_disk,
        journals,
        closed,
        since_open,
    } = answer;
    Ok(Statistics {
        id: id_from_wire(&store)?,
        contents: contents_from_wire(&contents.unwrap_or_default()),
        numbers_given,
        commits,
        bytes_on_disk,
        journals,
        closed,
        since_open: since_open.map(work_from_wire).transpose()?.unwrap_or_default(),
    })
}

/// A backup, as a message.
pub fn copied_to_wire(copied: &Copied) -> BackupResponse {
    let Copied { id, contents, numbers_given, commits, bytes_on_disk } = copied;
    BackupResponse {
        store: id.to_string(),
        contents: Some(contents_to_wire(contents)),
        numbers_given: *numbers_given,
        commits: *commits,
        bytes_on_disk: *bytes_on_disk,
    }
}

/// The same, read.
///
/// # Errors
///
/// The name of the store is none.
pub fn copied_from_wire(answer: &BackupResponse) -> Result<Copied, Malformed> {
    let BackupResponse { store, contents, numbers_given, commits, bytes_on_disk } = answer;
    Ok(Copied {
        id: id_from_wire(store)?,
        contents: contents_from_wire(&contents.unwrap_or_default()),
        numbers_given: *numbers_given,
        commits: *commits,
        bytes_on_disk: *bytes_on_disk,
    })
}

fn id_from_wire(text: &str) -> Result<StoreId, Malformed> {
    StoreId::parse(text).ok_or(Malformed("the name of the store"))
}

fn contents_to_wire(contents: &Contents) -> StoreContents {
    let Contents {
        sessions_live,
        sessions_ended,
        session_bytes,
        slots,
        slot_bytes,
        activities,
        activity_bytes,
        values,
        value_bytes,
    } = *contents;
    StoreContents {
        sessions_live,
        sessions_ended,
        session_bytes,
        slots,
        slot_bytes,
        activities,
        activity_bytes,
        values,
        value_bytes,
    }
}

fn contents_from_wire(contents: &StoreContents) -> Contents {
    let StoreContents {
        sessions_live,
        sessions_ended,
        session_bytes,
        slots,
        slot_bytes,
        activities,
        activity_bytes,
        values,
        value_bytes,
    } = *contents;
    Contents {
        sessions_live,
        sessions_ended,
        session_bytes,
        slots,
        slot_bytes,
        activities,
        activity_bytes,
        values,
        value_bytes,
    }
}

fn work_to_wire(work: &SinceOpen) -> StoreWork {
    let SinceOpen {
        syncs,
        writes,
        writes_refused,
        commit_time,
        commit_time_max,
        batch_writes_max,
        batch_classes,
    } = *work;
    // None that a store measures is too long for protobuf.
    let duration = |duration: Duration| prost_types::Duration::try_from(duration).ok();
    StoreWork {
        syncs,
        writes,
        writes_refused,
        commit_time: duration(commit_time),
        commit_time_max: duration(commit_time_max),
        batch_writes_max,
        batch_classes: batch_classes.to_vec(),
    }
}

fn work_from_wire(work: StoreWork) -> Result<SinceOpen, Malformed> {
    let StoreWork {
        syncs,
        writes,
        writes_refused,
        commit_time,
        commit_time_max,
        batch_writes_max,
        batch_classes,
    } = work;
    let duration = |duration: Option<prost_types::Duration>| {
        Duration::try_from(duration.unwrap_or_default()).map_err(|_| Malformed("the time of commits"))
    };
    Ok(SinceOpen {
        syncs,
        writes,
        writes_refused,
        commit_time: duration(commit_time)?,
        commit_time_max: duration(commit_time_max)?,
        batch_writes_max,
        batch_classes: batch_classes.try_into().map_err(|_| Malformed("the number of classes"))?,
    })
}

#[cfg(test)]
mod tests {
    use rpc_core::store::operations::BATCH_CLASSES;

    use super::*;

    /// Each field has another value, so that none is taken for another.
    fn contents() -> Contents {
        Contents {
            sessions_live: 1,
            sessions_ended: 2,
            session_bytes: 3,
            slots: 4,
            slot_bytes: 5,
            activities: 6,
            activity_bytes: 7,
            values: 8,
            value_bytes: 9,
        }
    }

    fn statistics() -> Statistics {
        Statistics {
            id: StoreId([0xa5; 16]),
            contents: contents(),
            numbers_given: 10,
            commits: 11,
            bytes_on_disk: 12,
            journals: 13,
            closed: Some("the disk is full".into()),
            since_open: SinceOpen {
                syncs: 14,
                writes: 15,
                writes_refused: 16,
                commit_time: Duration::from_millis(17),
                commit_time_max: Duration::from_micros(18),
                batch_writes_max: 19,
                batch_classes: std::array::from_fn(|class| 20 + class as u64),
            },
        }
    }

    #[test]
    fn statistics_and_copies_make_the_round_trip() {
        let wire = statistics_to_wire(statistics());
        assert_eq!(statistics_from_wire(wire), Ok(statistics()));
        let copied = Copied {
            id: StoreId([7; 16]),
            contents: contents(),
            numbers_given: 10,
            commits: 11,
            bytes_on_disk: 12,
        };
        assert_eq!(copied_from_wire(&copied_to_wire(&copied)), Ok(copied));
    }

    #[test]
    fn what_is_none_is_refused_and_what_is_not_said_is_nothing() {
        let good = statistics_to_wire(statistics());
        for store in ["", "a5", "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5+5", &"g".repeat(32), &"a".repeat(33)] {
            assert!(statistics_from_wire(StatsResponse { store: store.into(), ..good.clone() }).is_err());
        }
        let few = StoreWork { batch_classes: vec![0; BATCH_CLASSES - 1], ..StoreWork::default() };
        assert!(statistics_from_wire(StatsResponse { since_open: Some(few), ..good.clone() }).is_err());
        let backwards = prost_types::Duration { seconds: -1, nanos: 0 };
        let backwards = StoreWork {
            commit_time: Some(backwards),
            batch_classes: vec![0; BATCH_CLASSES],
            ..StoreWork::default()
        };
        assert!(statistics_from_wire(StatsResponse { since_open: Some(backwards), ..good.clone() }).is_err());
        let little = StatsResponse { contents: None, since_open: None, closed: None, ..good };
        let little = statistics_from_wire(little).unwrap();
        assert_eq!((little.contents, little.since_open), (Contents::default(), SinceOpen::default()));
    }
}
