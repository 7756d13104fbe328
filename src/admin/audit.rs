//! The audit log: one line for each administrative act, done or refused.
//!
//! Invariant: whether the caller may do it is asked inside of what is audited, so that an attempt is a line, too
//! (`tests/permissions/routes.rs` holds every route to it).

use super::ApiError;
use super::caller::Caller;

/// Writes who did what to what, from where, and how it ended: an event of the target `audit`. An object is named, never
/// shown: no password, no message.
pub(super) fn audit<T>(caller: &Caller, act: &str, object: &str, outcome: &Result<T, ApiError>) {
    let (user, from) = (caller.user(), caller.address());
    match outcome {
        Ok(_) => tracing::info!(target: "audit", user, %from, act, object, result = "done"),
        Err(error) => {
            tracing::warn!(target: "audit", user, %from, act, object, result = "refused", reason = error.reason());
        }
    }
}
