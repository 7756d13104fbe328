//! What the log says of a login that was refused: the reason in full, and never a password.

use crate::access::LoginError;
use crate::broker::Link;

/// Most characters of the reason: a user's name comes from a stranger, who may send a very long one.
const REASON_MAX: usize = 400;

/// Writes the line.
pub(super) fn tell_refused_login(link: &Link, error: &LoginError) {
    // Nor may a stranger write lines of its own.
    let shown = |sign: char| if sign.is_control() { char::REPLACEMENT_CHARACTER } else { sign };
    let reason: String = error.reason().chars().take(REASON_MAX).map(shown).collect();
    tracing::warn!(peer = %link.peer(), reason, "login refused");
}
