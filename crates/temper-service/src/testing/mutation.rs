//! Changes of a request's bytes, without regard to what they mean.

use proptest::{collection::vec, prelude::*, sample::Index};
use prost::{bytes::BufMut as _, encoding::encode_varint};

/// A change. Places are shares of the length that there is by then.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// Inverts bits of a byte.
    Flip(Index, u8),
    /// Cuts the rest off.
    Cut(Index),
    /// Copies a part to another place.
    Splice(Index, Index, usize),
    /// Puts bytes in between.
    Insert(Index, Vec<u8>),
    /// Puts a number in between.
    Varint(Index, u64),
    /// Appends a field of a length that does not follow.
    Length(u32, u64),
    /// Appends the whole: every field twice.
    Double,
    /// Appends groups within groups.
    Nest(usize),
}

/// Changes of each kind.
pub fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), 1_u8..).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        2 => index().prop_map(Mutation::Cut),
        2 => (index(), index(), 1..64_usize).prop_map(|(from, to, n)| Mutation::Splice(from, to, n)),
        2 => (index(), vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (index(), any::<u64>()).prop_map(|(at, number)| Mutation::Varint(at, number)),
        1 => (1..20_u32, any::<u64>()).prop_map(|(tag, length)| Mutation::Length(tag, length)),
        1 => Just(Mutation::Double),
        1 => (1..300_usize).prop_map(Mutation::Nest),
    ]
}

impl Mutation {
    /// Makes the change.
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        // One more than there are: the end is a place too.
        let place = |index: &Index| index.index(bytes.len() + 1);
        match self {
            Self::Flip(at, bits) => {
                let at = place(at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Splice(from, to, length) => {
                let (from, to) = (place(from), place(to));
                let part: Vec<u8> = bytes[from..].iter().take(*length).copied().collect();
                bytes.splice(to..to, part);
            }
            Self::Insert(at, more) => {
                let at = place(at);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Varint(at, number) => {
                let at = place(at);
                let mut varint = Vec::new();
                encode_varint(*number, &mut varint);
                bytes.splice(at..at, varint);
            }
            Self::Length(tag, length) => {
                encode_varint(u64::from(*tag) << 3 | 2, bytes);
                encode_varint(*length, bytes);
            }
            Self::Double => bytes.extend_from_within(..),
            // The start of a group with number 1.
            Self::Nest(depth) => bytes.put_bytes(0x0b, *depth),
        }
    }
}
