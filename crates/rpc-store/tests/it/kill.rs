//! A process killed while it commits.

use std::env;
use std::io::{BufRead, BufReader};
use std::num::NonZeroU32;
use std::process::{Command, Stdio};

use bytes::Bytes;
use rpc_core::id::{Epoch, Fingerprint, Sequence, SessionId, SlotId};
use rpc_core::record::{CallRecord, Change, Reply, SlotRecord, Write};
use rpc_core::store::{Store, Stored, suite};
use rpc_core::transaction::{Transaction, VALUE_BYTES_MAX, Version};
use rpc_store::EmbeddedStore;

use crate::support::Scratch;

const DIRECTORY: &str = "RPC_STORE_TEST_KILLED";
const BATCH: u64 = 8;
/// Of each batch: so that in the whole test journals are followed by others and tables are made and merged.
const REPLY_BYTES: usize = 1 << 20;

/// One more batch was committed: the total says so, and so does the reply of a call of session 1.
fn booking(store: &EmbeddedStore) -> Write {
    let total = store.get(b"total").expect("works");
    let version = total.as_ref().map_or(Version::NONE, |total| total.version);
    let batches = 1 + total.map_or(0, |total| number(&total.value));
    let mut transaction = Transaction::new();
    transaction.read(Bytes::from_static(b"total"), version).expect("within the bounds");
    let large = Bytes::from(vec![1 + (batches % 255) as u8; VALUE_BYTES_MAX]);
    for (key, value) in [("total", Bytes::from(batches.to_string())), ("large", large)] {
        transaction.write(Bytes::from_static(key.as_bytes()), Some(value)).expect("within the bounds");
    }
    let mut message = batches.to_string().into_bytes();
    message.resize(REPLY_BYTES, b' ');
    let reply = Reply { message: message.into(), ..suite::reply(0) };
    let call = CallRecord::Done(Fingerprint(1), reply);
    let slot = SlotRecord { slot: SlotId(0), sequence: Sequence(batches), call };
    let change = Change::Commit(Box::new(slot), Box::new(transaction));
    Write { session: SessionId::new(1).expect("not 0"), epoch: Epoch(1), change }
}

fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text).expect("text").trim_end().parse().expect("a number")
}

/// How many batches there were, by the total, which the reply must say as well.
fn batches(store: &EmbeddedStore) -> u64 {
    let Some(total) = store.get(b"total").expect("works") else { return 0 };
    let total = number(&total.value);
    let session = store.load(SessionId::new(1).expect("not 0")).expect("works");
    let Some(Stored::Live(_, _, slots)) = session else { panic!("session 1 lives, not {session:?}") };
    let [SlotRecord { sequence, call: CallRecord::Done(_, reply), .. }] = &slots[..] else {
        panic!("one call was made, not {slots:?}");
    };
    assert_eq!((sequence.0, number(&reply.message)), (total, total), "effect and reply are of one call");
    let large = store.get(b"large").expect("works").expect("written with the total");
    assert!(large.value.iter().all(|byte| *byte == 1 + (total % 255) as u8));
    total
}

/// What the process said it had committed is there, and at most the one batch more that it could not speak of any more.
#[test]
fn a_killed_process_has_kept_what_it_said() {
    let scratch = Scratch::new();
    let mut said = 0;
    for lines in [1, 2, 7, 40, 111] {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "kill::commit_and_say", "--ignored", "--nocapture"])
            .env(DIRECTORY, scratch.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs");
        let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let last_said = |line: std::io::Result<String>| line.ok()?.strip_prefix("said ")?.parse::<u64>().ok();
        let begun: Vec<_> = output.by_ref().filter_map(last_said).take(lines).collect();
        child.kill().expect("it runs until it is killed");
        child.wait().expect("it was killed");
        said = output.filter_map(last_said).chain(begun).max().unwrap_or(said);

        let store = EmbeddedStore::open(scratch.path()).expect("what a killed process leaves is a store");
        let found = store.scan(None, usize::MAX).expect("works");
        let last = found.last().map_or(0, |(session, _)| session.value());
        assert!(last == said || last == said + BATCH, "said {said}, found {last}");
        assert_eq!(found.len() as u64, last, "whole batches, without a gap");
        assert_eq!(batches(&store) * BATCH, last, "whole batches, with their transaction");
        let next = store.reserve_numbers(NonZeroU32::MIN).expect("works").start;
        assert!(next > last, "number {next} was given before");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the test above reads it")]
#[ignore = "run by the test above, in a process of its own"]
fn commit_and_say() {
    let store = EmbeddedStore::open(env::var_os(DIRECTORY).expect("run by the test above")).expect("a store");
    let found = store.scan(None, usize::MAX).expect("works");
    let mut last = found.last().map_or(0, |(session, _)| session.value());
    loop {
        store.reserve_numbers(NonZeroU32::new(BATCH as u32).expect("not 0")).expect("works");
        let mut batch: Vec<_> = (last + 1..=last + BATCH)
            .map(|number| Write {
                session: SessionId::new(number).expect("from 1"),
                epoch: Epoch(1),
                change: Change::Create(suite::record(1)),
            })
            .collect();
        batch.push(booking(&store));
        assert!(store.commit(&batch).expect("works").iter().all(Result::is_ok));
        last += BATCH;
        println!("said {last}");
    }
}
