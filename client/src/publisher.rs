//! Publishing: a message is encoded into the frame that will carry it, and a future tells its outcome.
//!
//! `async` only for back-pressure: publishing waits while more than the publish buffer
//! ([`ClientBuilder::publish_buffer`](crate::ClientBuilder::publish_buffer)) waits for its outcome, in the
//! order of arrival. Everything that is queued at a moment leaves in as few frames as possible; nothing waits
//! for a frame to fill up.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::TryAcquireError;

use crate::client::Handle;
use crate::confirm::{BatchConfirm, Confirm};
use crate::connection::ledger::Outgoing;
use crate::connection::slots::SlotKey;
use crate::connection::{Shared, Target, entry_len};
use crate::error::{Error, Result};
use crate::message::Message;

/// What the client keeps about a message besides its bytes, roughly, in bytes.
const BOOKKEEPING: usize = 96;

/// Publishes to one exchange with one routing key. Cheap to clone.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = rialto::server::Embedded::start(rialto::broker::Broker::in_memory().build()).await?;
/// # let client = rialto_client::Client::connect(&broker.url()).await?;
/// use rialto_client::Message;
/// # client.exchange("orders").declare().await?;
/// # client.queue("eu").declare().await?;
/// # client.queue("eu").bind("orders", "eu.new").await?;
/// let orders = client.publisher("orders", "eu.new")?;
/// // Waits for room, then for the broker's word.
/// orders.publish("first").await?.await?.accepted()?;
/// // Many messages, one future.
/// let confirm = orders.publish_batch((0..1000).map(|n| Message::new(format!("order {n}")))).await?;
/// confirm.await?.accepted()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Publisher {
    handle: Arc<Handle>,
    target: Target,
    mandatory: bool,
}

impl Publisher {
    pub(crate) fn new(handle: Arc<Handle>, target: Target) -> Self {
        Publisher { handle, target, mandatory: false }
    }

    /// Messages that reach no queue come back: in their outcome, or, when nobody waits for that, to
    /// [`Client::returns`](crate::Client::returns).
    pub fn mandatory(mut self) -> Self {
        self.mandatory = true;
        self
    }

    /// Publishes a message. The returned [`Confirm`] tells its outcome; dropping that forgets the outcome,
    /// not the message. Cancel-safe: a call that is dropped while it waits has published nothing.
    ///
    /// # Errors
    /// [`Error::MessageTooLarge`], [`Error::NameTooLong`] for a property that does not fit, [`Error::Unsendable`]
    /// for properties of more than 128 KiB, [`Error::Closed`].
    pub async fn publish(&self, message: impl Into<Message>) -> Result<Confirm> {
        publish_to(&self.handle.shared, &self.target, self.mandatory, message.into()).await
    }

    /// [`Publisher::publish`] without waiting: `None` if there is no room.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn try_publish(&self, message: impl Into<Message>) -> Result<Option<Confirm>> {
        let shared = &self.handle.shared;
        let (body, properties) = message.into().into_parts()?;
        let cost = cost(shared, &properties, &body);
        match shared.window.try_acquire_many(cost as u32) {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => return Ok(None),
            Err(TryAcquireError::Closed) => return Err(closed(shared)),
        }
        let part = [Part { properties, body, cost }];
        Ok(Some(Confirm::new(shared.clone(), hand_over(shared, &self.target, self.mandatory, &part, 0)?)))
    }

    /// Publishes a message and asks for no outcome. It is lost if the connection breaks before the broker has
    /// it. Waits for room; cancel-safe.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<()> {
        let shared = &self.handle.shared;
        let (body, properties) = message.into().into_parts()?;
        let cost = cost(shared, &properties, &body);
        acquire(shared, cost).await?;
        let outgoing = Outgoing {
            target: &self.target,
            mandatory: self.mandatory,
            properties: &properties,
            body: &body,
            cost,
        };
        let mut ledger = shared.ledger.lock();
        let wake = ledger.check(&properties, &body).map(|()| ledger.push(&outgoing, None));
        drop(ledger);
        if wake.is_err() {
            shared.window.add_permits(cost);
        }
        shared.wake_writer(wake?);
        Ok(())
    }

    /// Publishes many messages, back to back, with one future for all outcomes.
    ///
    /// Cancel-safe: a call that is dropped while it waits has published nothing, unless the batch is larger
    /// than the publish buffer, which takes it in parts.
    ///
    /// # Errors
    /// As [`Publisher::publish`], for the first message that does not fit; none of its part is published then.
    pub async fn publish_batch<M: Into<Message>>(
        &self,
        messages: impl IntoIterator<Item = M>,
    ) -> Result<BatchConfirm> {
        let shared = &self.handle.shared;
        let mut parts = Vec::new();
        for message in messages {
            let (body, properties) = message.into().into_parts()?;
            let cost = cost(shared, &properties, &body);
            parts.push(Part { properties, body, cost });
        }
        let mut confirm = BatchConfirm::new(parts.len());
        let mut done = 0;
        while done < parts.len() {
            let (mut count, mut cost) = (0, 0);
            for part in &parts[done..] {
                if count > 0 && cost + part.cost > shared.options.publish_buffer {
                    break;
                }
                (count, cost) = (count + 1, cost + part.cost);
            }
            acquire(shared, cost).await?;
            let slot = hand_over(shared, &self.target, self.mandatory, &parts[done..done + count], done)?;
            confirm.add(shared, slot);
            done += count;
        }
        Ok(confirm)
    }
}

/// A message that is ready to be encoded.
struct Part {
    properties: Bytes,
    body: Bytes,
    /// What it takes of the window.
    cost: usize,
}

/// Publishes one message, waiting for room.
pub(crate) async fn publish_to(
    shared: &Arc<Shared>,
    target: &Target,
    mandatory: bool,
    message: Message,
) -> Result<Confirm> {
    let (body, properties) = message.into_parts()?;
    let cost = cost(shared, &properties, &body);
    acquire(shared, cost).await?;
    let slot = hand_over(shared, target, mandatory, &[Part { properties, body, cost }], 0)?;
    Ok(Confirm::new(shared.clone(), slot))
}

/// Puts messages, whose cost was acquired, into the ledger under one slot.
fn hand_over(
    shared: &Shared,
    target: &Target,
    mandatory: bool,
    parts: &[Part],
    base: usize,
) -> Result<SlotKey> {
    let mut ledger = shared.ledger.lock();
    let checked = parts.iter().try_for_each(|part| ledger.check(&part.properties, &part.body));
    if let Err(error) = checked {
        drop(ledger);
        shared.window.add_permits(parts.iter().map(|part| part.cost).sum());
        return Err(error);
    }
    let slot = ledger.open_slot(parts.len(), base);
    let mut wake = false;
    for (index, Part { properties, body, cost }) in parts.iter().enumerate() {
        let outgoing = Outgoing { target, mandatory, properties, body, cost: *cost };
        wake |= ledger.push(&outgoing, Some((slot, index)));
    }
    drop(ledger);
    shared.wake_writer(wake);
    Ok(slot)
}

/// Takes room, in the order of arrival.
async fn acquire(shared: &Shared, cost: usize) -> Result<()> {
    match shared.window.acquire_many(cost as u32).await {
        Ok(permit) => {
            permit.forget();
            Ok(())
        }
        Err(_) => Err(closed(shared)),
    }
}

/// What a message takes of the window. One that is larger than the window takes all of it.
fn cost(shared: &Shared, properties: &[u8], body: &[u8]) -> usize {
    (entry_len(properties, body) + BOOKKEEPING).min(shared.options.publish_buffer)
}

fn closed(shared: &Shared) -> Error {
    shared.ledger.lock().check(&[], &[]).err().unwrap_or(Error::Closed { why: None })
}
