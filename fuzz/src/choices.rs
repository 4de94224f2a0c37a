//! A fuzzer's bytes as choices.

/// Bytes from which a series of operations takes what it needs. Used up, each choice is the first one.
pub(super) struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Nothing is left to choose.
    pub(super) fn are_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    pub(super) fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number under `limit`, which is at least 1.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let bytes =
            if limit > 256 { u16::from_le_bytes([self.byte(), self.byte()]) } else { self.byte().into() };
        usize::from(bytes) % limit
    }

    /// Bytes, as many as the first one says and there are.
    pub(super) fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(length);
        self.rest = rest;
        piece
    }

    /// What was not taken yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}
