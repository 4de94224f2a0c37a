//! What a sender keeps: whole messages, in the buffers in which the application gave them, until they are secured; or until
//! they are sent, where the application can give them again.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::position::Position;
use super::run::{boundary, fitting};
use crate::checksum::append;

/// What one kept chunk costs beside its bytes: its place here and the head of its buffer. Counted into the window, so
/// that many tiny messages cannot cost a multiple of it.
pub(super) const CHUNK_OVERHEAD_BYTES: u64 = 96;
/// Chunks shorter than this are joined with the next ones when they are sent.
const JOIN_BELOW: usize = 4 << 10;
/// They are joined up to this length: one HTTP/2 frame of the default size.
const JOIN_BYTES: usize = 16 << 10;

/// What is kept of a message that was sent and is not secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Keep {
    /// All of it: it can be sent again.
    #[default]
    Bytes,
    /// Nothing but where it lies: the application gives it again.
    Positions,
}

/// One or more whole messages.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    messages: u64,
    /// The application had no more to give at its end.
    ends_batch: bool,
    /// CRC32C of everything before it; meaningless until it was sent once.
    crc_before: u32,
    /// As how many chunks it is counted: as many as it was joined from.
    parts: u64,
}

/// What is taken to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    pub(super) messages: u64,
    pub(super) ends_batch: bool,
}

/// No message ends at that position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotABoundary;

/// The kept messages and a cursor at the next one to be sent. The cursor is always between two chunks: chunks are split
/// where it has to be elsewhere. Where only positions are kept, it is before the first chunk, or nothing is taken.
#[derive(Debug, Default)]
pub(super) struct Replay {
    keep: Keep,
    chunks: VecDeque<Chunk>,
    /// Nothing before it will be asked for.
    base: Position,
    /// Where the first chunk begins: at `base`, if bytes are kept.
    front: Position,
    /// Where the last one ends.
    end: Position,
    /// The chunk after the cursor.
    next: usize,
    cursor: Position,
    /// Where the first chunk begins that was never sent.
    sent: Position,
    /// Sum over all chunks.
    parts: u64,
    /// CRC of everything before the cursor, where only positions are kept and it is before `sent`.
    crc: u32,
}

impl Replay {
    /// With nothing before `base` to be kept.
    pub(super) fn starting_at(base: Position) -> Self {
        Self { base, front: base, end: base, cursor: base, sent: base, ..Self::default() }
    }

    /// From here on no bytes are kept of what was sent. Nothing was given yet.
    pub(super) fn keep_positions(&mut self) {
        debug_assert!(self.chunks.is_empty(), "what was given before cannot be asked for again");
        self.keep = Keep::Positions;
    }

    pub(super) fn keep(&self) -> Keep {
        self.keep
    }

    /// Moves the cursor where only positions are kept. Nothing is taken before it is back where the first chunk begins, or
    /// [`restart_at`](Self::restart_at) was called.
    pub(super) fn stand_at(&mut self, at: Position) {
        self.cursor = at;
    }

    /// Forgets all that is kept: what is given from now on follows `at`. Where only positions are kept.
    pub(super) fn restart_at(&mut self, at: Position, crc: u32) {
        self.chunks.clear();
        (self.parts, self.crc) = (0, crc);
        (self.front, self.end, self.cursor) = (at, at, at);
    }

    pub(super) fn push(&mut self, bytes: Bytes, messages: u64, ends_batch: bool) {
        self.end = self.end.plus(messages, bytes.len() as u64);
        self.parts += 1;
        self.chunks.push_back(Chunk { bytes, messages, ends_batch, crc_before: 0, parts: 1 });
    }

    /// Takes what comes next, as much of it as stays within `room` and ends after `stop` messages or before; `None` if
    /// that is nothing. The cursor moves behind it. `crc` is of everything before the cursor if it is sent for the first
    /// time.
    ///
    /// With `alone`, one message is taken even if it does not stay within `room`.
    pub(super) fn take(&mut self, room: Position, stop: u64, alone: bool, crc: u32) -> Option<Taken> {
        if self.keep == Keep::Positions && self.cursor != self.front {
            return None;
        }
        let first_time = self.cursor == self.sent;
        let stop = if first_time { stop } else { stop.min(self.sent.messages) };
        let messages = room.messages.min(stop.saturating_sub(self.cursor.messages));
        let room = Position { messages, ..room };
        self.join(room);
        let chunk = self.chunks.get(self.next)?;
        let mut fit = Position { messages: chunk.messages, bytes: chunk.bytes.len() as u64 };
        if !fit.within(room) {
            fit = fitting(&chunk.bytes, room);
            if fit.messages == 0 {
                if !alone {
                    return None;
                }
                fit = Position { messages: 1, bytes: boundary(&chunk.bytes, 1)? as u64 };
            }
            if fit.messages < chunk.messages {
                let crc_before = if first_time { crc } else { chunk.crc_before };
                self.split(fit, crc_before, !first_time);
            }
        }
        let taken = match self.keep {
            Keep::Bytes => self.take_and_keep(first_time.then_some(crc)),
            Keep::Positions => self.take_for_good(first_time),
        }?;
        self.cursor = self.cursor.plus(taken.messages, taken.bytes.len() as u64);
        self.sent = self.sent.max(self.cursor);
        if self.keep == Keep::Positions {
            self.front = self.cursor;
        }
        Some(taken)
    }

    fn take_and_keep(&mut self, crc_before: Option<u32>) -> Option<Taken> {
        let chunk = self.chunks.get_mut(self.next)?;
        chunk.crc_before = crc_before.unwrap_or(chunk.crc_before);
        self.next += 1;
        Some(Taken { bytes: chunk.bytes.clone(), messages: chunk.messages, ends_batch: chunk.ends_batch })
    }

    fn take_for_good(&mut self, first_time: bool) -> Option<Taken> {
        let Chunk { bytes, messages, ends_batch, parts, .. } = self.chunks.pop_front()?;
        self.parts -= parts;
        if !first_time {
            self.crc = append(self.crc, &bytes);
        }
        Some(Taken { bytes, messages, ends_batch })
    }

    /// Moves the cursor; answers the CRC of everything before it, where `crc_sent` is that of everything sent.
    ///
    /// # Errors
    ///
    /// No message ends there, or not one that was sent and is still kept. Nothing has changed then.
    pub(super) fn seek(&mut self, to: Position, crc_sent: u32) -> Result<u32, NotABoundary> {
        let (index, begin) = self.find(to)?;
        (self.next, self.cursor) = (index, begin);
        if begin < to {
            let crc_before = self.crc(crc_sent);
            self.split(to.since(begin), crc_before, true);
            (self.next, self.cursor) = (index + 1, to);
        }
        Ok(self.crc(crc_sent))
    }

    /// Whether the cursor could go there.
    pub(super) fn has_boundary(&self, at: Position) -> bool {
        self.find(at).is_ok()
    }

    /// Forgets everything before `secured`, which is where a sync point lies. If that is beyond the cursor, the cursor
    /// goes there and the answer is true: it has jumped.
    //= S-2
    pub(super) fn free(&mut self, secured: Position) -> bool {
        match self.keep {
            Keep::Bytes => self.free_chunks(secured),
            Keep::Positions => self.base = secured,
        }
        let jumped = self.cursor < self.base;
        if jumped {
            self.cursor = self.base;
        }
        jumped
    }

    /// Forgets the chunks before `secured`.
    fn free_chunks(&mut self, secured: Position) {
        while let Some(chunk) = self.chunks.front() {
            let end = self.base.plus(chunk.messages, chunk.bytes.len() as u64);
            if end > secured {
                break;
            }
            (self.base, self.front) = (end, end);
            self.parts -= chunk.parts;
            self.chunks.pop_front();
            self.next = self.next.saturating_sub(1);
        }
        debug_assert_eq!(self.base, secured, "points lie between chunks");
    }

    /// Bytes that are kept, and what it costs to keep them, or did before they were joined. Only [`free`](Self::free) lowers
    /// it, so that a sender without room has none until its peer answers; where only positions are kept, sending does.
    pub(super) fn cost(&self) -> u64 {
        self.end.since(self.front).bytes + self.parts * CHUNK_OVERHEAD_BYTES
    }

    pub(super) fn base(&self) -> Position {
        self.base
    }

    pub(super) fn cursor(&self) -> Position {
        self.cursor
    }

    /// The end of what was sent at least once.
    pub(super) fn sent(&self) -> Position {
        self.sent
    }

    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Bytes that follow the cursor.
    pub(super) fn unsent(&self) -> u64 {
        self.end.since(self.cursor.max(self.front)).bytes
    }

    /// CRC of everything before the cursor.
    pub(super) fn crc(&self, crc_sent: u32) -> u32 {
        match (self.keep, self.chunks.get(self.next)) {
            (Keep::Positions, _) if self.cursor < self.sent => self.crc,
            (Keep::Bytes, Some(chunk)) if self.cursor < self.sent => chunk.crc_before,
            (Keep::Positions | Keep::Bytes, Some(_) | None) => crc_sent,
        }
    }

    /// The chunk that begins at `to`, or in which a message ends there, and where that chunk begins.
    fn find(&self, to: Position) -> Result<(usize, Position), NotABoundary> {
        let mut begin = self.base;
        if !begin.within(to) || !to.within(self.sent) {
            return Err(NotABoundary);
        }
        for (index, chunk) in self.chunks.iter().enumerate() {
            if begin == to {
                return Ok((index, begin));
            }
            let end = begin.plus(chunk.messages, chunk.bytes.len() as u64);
            if to.messages < end.messages {
                let front = to.since(begin);
                let place = boundary(&chunk.bytes, front.messages).map(|place| place as u64);
                let is_there = front.messages > 0 && begin.within(to) && place == Some(front.bytes);
                return if is_there { Ok((index, begin)) } else { Err(NotABoundary) };
            }
            begin = end;
        }
        if begin == to { Ok((self.chunks.len(), begin)) } else { Err(NotABoundary) }
    }

    /// Copies small chunks after the cursor into one, so that they share a DATA frame: h2 counts frames below 256 bytes
    /// that nobody reads, and closes the connection over a few thousand of them.
    fn join(&mut self, room: Position) {
        let (mut count, mut total) = (0, Position::ORIGIN);
        for chunk in self.chunks.range(self.next.min(self.chunks.len())..) {
            let longer = total.plus(chunk.messages, chunk.bytes.len() as u64);
            if chunk.bytes.len() >= JOIN_BELOW || longer.bytes > JOIN_BYTES as u64 || !longer.within(room) {
                break;
            }
            (count, total) = (count + 1, longer);
        }
        if count < 2 {
            return;
        }
        let mut joined = BytesMut::with_capacity(usize::try_from(total.bytes).unwrap_or(JOIN_BYTES));
        let mut parts = self.chunks.drain(self.next..self.next + count);
        let Some(first) = parts.next() else { return };
        joined.extend_from_slice(&first.bytes);
        let (mut ends_batch, mut count) = (first.ends_batch, first.parts);
        for part in parts {
            joined.extend_from_slice(&part.bytes);
            ends_batch = part.ends_batch;
            count += part.parts;
        }
        let chunk = Chunk {
            bytes: joined.freeze(),
            messages: total.messages,
            ends_batch,
            crc_before: first.crc_before,
            parts: count,
        };
        self.chunks.insert(self.next, chunk);
    }

    /// Splits the chunk after the cursor behind `front`; `crc_before` is of everything before it. What was not sent gets its
    /// own when it is.
    fn split(&mut self, front: Position, crc_before: u32, was_sent: bool) {
        let Some(chunk) = self.chunks.get_mut(self.next) else { return };
        let at = usize::try_from(front.bytes).unwrap_or(usize::MAX);
        let bytes = chunk.bytes.split_to(at.min(chunk.bytes.len()));
        chunk.messages -= front.messages;
        if was_sent {
            chunk.crc_before = append(crc_before, &bytes);
        }
        let first = Chunk { bytes, messages: front.messages, ends_batch: false, crc_before, parts: 1 };
        self.parts += 1;
        self.chunks.insert(self.next, first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::tests::messages;

    const ANY: Position = Position { messages: u64::MAX, bytes: u64::MAX };

    fn at(messages: u64, bytes: u64) -> Position {
        Position { messages, bytes }
    }

    /// Three chunks of 2 messages of 5,000 bytes and one of a message without bytes.
    fn filled() -> Replay {
        let mut replay = Replay::default();
        for byte in 1..=3 {
            replay.push(messages(&[(4_995, byte), (4_995, byte + 10)]), 2, true);
        }
        replay.push(messages(&[(0, 0)]), 1, true);
        replay
    }

    fn send_all(replay: &mut Replay) -> u32 {
        let mut crc = 0;
        while let Some(taken) = replay.take(ANY, u64::MAX, false, crc) {
            crc = append(crc, &taken.bytes);
        }
        crc
    }

    #[test]
    fn the_cursor_goes_to_any_message_that_was_sent_and_to_nothing_else() {
        let mut replay = filled();
        assert_eq!(replay.seek(at(1, 5_000), 0), Err(NotABoundary), "not sent yet");
        let sent = send_all(&mut replay);
        let whole = messages(&[(4_995, 1), (4_995, 11)]);
        for (messages, bytes) in [(0, 0), (1, 5_000), (2, 10_000), (3, 15_000), (6, 30_000), (7, 30_005)] {
            let crc = replay.seek(at(messages, bytes), sent).unwrap();
            assert_eq!(replay.cursor(), at(messages, bytes));
            if bytes == 5_000 {
                assert_eq!(crc, append(0, &whole[..5_000]));
            }
        }
        for wrong in [at(1, 4_999), at(2, 10_001), at(0, 1), at(7, 30_006), at(8, 30_010), at(3, 10_000)] {
            assert_eq!(replay.seek(wrong, sent), Err(NotABoundary), "{wrong}");
        }
        assert_eq!(replay.cursor(), at(7, 30_005));
        assert_eq!(replay.seek(at(7, 30_005), sent), Ok(sent));
    }

    #[test]
    fn freeing_beyond_the_cursor_is_a_jump() {
        let mut replay = filled();
        let sent = send_all(&mut replay);
        replay.seek(at(0, 0), sent).unwrap();
        assert!(!replay.free(at(0, 0)));
        assert!(replay.free(at(2, 10_000)));
        assert_eq!((replay.base(), replay.cursor()), (at(2, 10_000), at(2, 10_000)));
        assert_eq!(replay.seek(at(1, 5_000), sent), Err(NotABoundary), "no longer kept");
        assert_eq!(replay.take(ANY, u64::MAX, false, 0).unwrap().bytes, messages(&[(4_995, 2), (4_995, 12)]));
    }

    #[test]
    fn what_does_not_fit_is_split_between_messages() {
        let mut replay = filled();
        assert_eq!(replay.take(at(9, 4_999), u64::MAX, false, 0), None);
        let one = replay.take(at(9, 9_999), u64::MAX, false, 0).unwrap();
        assert_eq!((one.messages, one.ends_batch), (1, false));
        let alone = replay.take(at(9, 4_999), u64::MAX, true, 0).unwrap();
        assert_eq!((alone.messages, alone.ends_batch), (1, true));
    }

    #[test]
    fn small_chunks_are_joined_up_to_a_stop_and_never_over_what_was_sent() {
        let mut replay = Replay::default();
        (0..5).for_each(|byte| replay.push(messages(&[(5, byte), (5, byte)]), 2, true));
        assert_eq!(replay.take(ANY, 3, false, 0).unwrap().messages, 2);
        assert_eq!(replay.take(ANY, 3, false, 0).unwrap().messages, 1, "the stop lies within a chunk");
        assert_eq!(replay.take(ANY, 3, false, 0), None);
        let mut replay = Replay::default();
        (0..10).for_each(|byte| replay.push(messages(&[(5, byte)]), 1, true));
        let cost = replay.cost();
        assert_eq!(replay.take(ANY, 4, false, 0).unwrap().messages, 4);
        assert_eq!(replay.cost(), cost, "what was joined still counts as it was given");
        replay.push(messages(&[(5, 10)]), 1, false);
        replay.seek(at(2, 20), 0).unwrap();
        assert_eq!(replay.take(ANY, u64::MAX, false, 0).unwrap().messages, 2, "sent before");
        let rest = replay.take(ANY, u64::MAX, false, 0).unwrap();
        assert_eq!((rest.messages, rest.ends_batch), (7, false));
        assert_eq!(replay.chunks.len(), 3);
        replay.free(replay.sent());
        assert_eq!((replay.cost(), replay.parts), (0, 0));
    }

    #[test]
    fn what_is_not_kept_costs_nothing_when_it_was_sent() {
        let mut replay = Replay::default();
        replay.keep_positions();
        (0..4).for_each(|byte| replay.push(messages(&[(5, byte), (5, byte)]), 2, true));
        assert_eq!(replay.take(ANY, 3, false, 0).unwrap().messages, 2);
        assert_eq!(replay.take(ANY, 3, false, 0).unwrap().messages, 1);
        assert_eq!((replay.cost(), replay.unsent()), (50 + 3 * CHUNK_OVERHEAD_BYTES, 50));
        assert_eq!(send_all(&mut replay), append(0, &messages(&[(5, 1), (5, 2), (5, 2), (5, 3), (5, 3)])));
        assert_eq!((replay.cost(), replay.parts, replay.cursor()), (0, 0, at(8, 80)));
        replay.restart_at(at(6, 60), 7);
        assert_eq!((replay.crc(1), replay.sent()), (7, at(8, 80)));
        replay.push(messages(&[(5, 3), (5, 3), (5, 4)]), 3, true);
        assert_eq!(replay.take(ANY, u64::MAX, false, 1).unwrap().messages, 2, "sent before");
        assert_eq!((replay.crc(1), replay.unsent()), (1, 10));
        replay.stand_at(at(2, 20));
        assert_eq!(replay.take(ANY, u64::MAX, false, 0), None, "nothing is kept there");
        assert!(replay.free(at(4, 40)));
        assert_eq!((replay.base(), replay.cursor(), replay.unsent()), (at(4, 40), at(4, 40), 10));
    }
}
