//! The words of `[store]`.

use super::words::words;

words! {
    /// When what was written is forced onto the disk (`fdatasync`), so that a power cut cannot take it back.
    SyncMode, "a way to sync" {
        /// Before anything is confirmed: whatever waits at the same time shares one sync.
        #[default]
        Always = "always",
        /// Every `store.sync_interval`; confirms do not wait for it.
        Interval = "interval",
        /// When the operating system likes.
        Never = "never",
    }
}

words! {
    /// What happens at start when a record of the journal is damaged other than by being cut off at the end.
    OnDamage, "an answer to damage" {
        /// The broker does not start, and says which record it is.
        #[default]
        Refuse = "refuse",
        /// The record is left out, and that is logged.
        Skip = "skip",
    }
}
