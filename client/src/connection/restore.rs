//! A new connection gets back what the old one had: channels, routes, everything declared, consumers, and
//! the messages whose outcome is not known.
//!
//! Order: what was declared, in its order; then consumers; then messages. What the broker refuses is told as
//! an event, and the rest is restored.

use std::sync::Arc;

use rialto_protocol::native::{Command, Response, Welcome};

use super::control::{Answer, Asked, Asker, Control, described};
use super::ledger::{Effects, Ledger};
use super::{CONSUME_CHANNEL, REQUEST_CHANNEL, Shared};
use crate::error::{Error, Result};
use crate::events::Event;
use crate::topology::record::renamed;

/// Steps that are asked for before their answers are read.
const STEPS_AT_ONCE: usize = 256;

/// Opens the channels and defines the routes of a new connection. Returns how many messages will be published
/// again.
pub(crate) fn begin(shared: &Shared, welcome: &Welcome) -> Result<usize> {
    let mut effects = Effects::default();
    let mut ledger = shared.ledger.lock();
    let republished = ledger.restart(welcome, &mut effects);
    let mut control = shared.control.lock();
    control.begin(welcome.frame_max);
    for channel in [REQUEST_CHANNEL, CONSUME_CHANNEL] {
        control.ask(channel, Asked::OpenChannel, Asker::Session)?;
    }
    for channel in ledger.channels() {
        open_for_publishing(channel, &ledger, &mut control)?;
    }
    drop((control, ledger));
    shared.apply(effects);
    Ok(republished)
}

/// Opens a publishing channel and defines every route on it. True: the writer must be woken.
pub(crate) fn open_for_publishing(channel: u16, ledger: &Ledger, control: &mut Control) -> Result<bool> {
    let (_, mut wake) = control.ask(channel, Asked::OpenChannel, Asker::Session)?;
    for (route, exchange, routing_key) in ledger.routes() {
        let (exchange, routing_key) = (exchange.clone(), routing_key.clone());
        wake |= control.say(channel, &Command::DefineRoute { route, exchange, routing_key });
    }
    Ok(wake)
}

/// Restores everything else, and lets requests, consumers and messages flow.
pub(crate) async fn run(shared: &Arc<Shared>) -> Result<()> {
    topology(shared).await?;
    let wake = shared.control.lock().go_online();
    shared.wake_writer(wake);
    for core in shared.all_consumers().into_iter().filter(|core| core.id != 0) {
        core.start()?;
    }
    let wake = shared.ledger.lock().go_online();
    shared.wake_writer(wake);
    Ok(())
}

async fn topology(shared: &Shared) -> Result<()> {
    let steps = shared.control.lock().topology.steps();
    let mut names = Vec::new();
    let mut asked = Vec::new();
    for step in steps {
        let mut request = step.request;
        for (old, new) in &names {
            renamed(&mut request, old, new);
        }
        let what = described(&request);
        let (answers, wake) = {
            let mut control = shared.control.lock();
            if !control.topology.holds(step.id) {
                // Discarded meanwhile.
                continue;
            }
            control.ask(REQUEST_CHANNEL, Asked::Request(request), Asker::Session)?
        };
        shared.wake_writer(wake);
        asked.push((what, answers));
        let made_anew = step.made_name.is_some();
        if made_anew || asked.len() >= STEPS_AT_ONCE {
            // The name that the broker makes now is needed by the steps that follow.
            let last = answered(shared, &mut asked).await?;
            if let (Some(old), Some(Response::QueueDeclared { name: new, .. })) = (step.made_name, last) {
                shared.control.lock().topology.rename(&old, &new);
                for core in shared.all_consumers() {
                    core.rename(&old, &new);
                }
                shared.announcer.tell(Event::QueueRenamed { old: old.clone(), new: new.clone() });
                names.push((old, new));
            }
        }
    }
    answered(shared, &mut asked).await.map(drop)
}

/// Reads the answers; the last one is returned if it is good.
async fn answered(shared: &Shared, asked: &mut Vec<(String, super::Answers)>) -> Result<Option<Response>> {
    let mut last = None;
    for (what, answers) in asked.drain(..) {
        last = match shared.await_answer(what.clone(), answers).await {
            Ok(Answer::Response(response)) => Some(response),
            Ok(Answer::Got(_)) => None,
            Err(error @ Error::Refused { .. }) => {
                shared.announcer.tell(Event::RestoreFailed { what, error });
                None
            }
            Err(error) => return Err(error),
        };
    }
    Ok(last)
}
