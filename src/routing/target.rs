//! A binding's destination in four bytes: the slot of a queue or of an exchange.

/// Slots of queues, and of exchanges, that a routing table can have: the bits from here on are marks.
/// (A table with so many queues would need more than 100 GB for their names alone, so nothing counts them.)
pub(super) const TARGET_SLOTS_MAX: u32 = 1 << 30;

const EXCHANGE: u32 = 1 << 31;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Queue(u32),
    Exchange(u32),
}

impl Target {
    /// The four bytes in which indexes keep it. The bit [`TARGET_SLOTS_MAX`] is never set.
    pub(super) fn pack(self) -> u32 {
        match self {
            Target::Queue(slot) => slot,
            Target::Exchange(slot) => slot | EXCHANGE,
        }
    }

    pub(super) fn unpack(packed: u32) -> Self {
        match packed & EXCHANGE {
            0 => Target::Queue(packed),
            _ => Target::Exchange(packed & !EXCHANGE),
        }
    }
}
