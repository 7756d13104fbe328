//! What is refused of a publisher, whichever protocol it speaks.

use rialto_protocol::ReplyCode;
use rialto_protocol::types::RawProperties;

use crate::access::User;
use crate::broker::BrokerError;

/// Consumers may rely on a user id that they find: nobody sends one that is not his own, unless he may act for others.
pub(super) fn check_user_id(properties: &RawProperties<'_>, user: &User) -> Result<(), BrokerError> {
    match properties.user_id() {
        Some(claimed) if claimed != user.name && !user.tags.impersonator => {
            let user = &user.name;
            let text = format!("user_id property set to '{claimed}' but authenticated user was '{user}'");
            Err(BrokerError::refused(ReplyCode::PreconditionFailed, text))
        }
        _ => Ok(()),
    }
}

/// What publishers hear, and who waits for the disk, when the log has stopped for good.
pub(super) fn not_stored(why: &str) -> BrokerError {
    BrokerError::refused(ReplyCode::InternalError, format!("the broker stores nothing more: {why}"))
}
