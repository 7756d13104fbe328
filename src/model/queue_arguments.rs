//! The arguments of a queue's declare, read by type: each kind of value with its bounds, and its refusal in RabbitMQ's words.
//!
//! Not here: which arguments there are and what they mean together (`queue_options`).

use rialto_protocol::types::{FieldTable, FieldValue};

use super::queue_options::{DeadLetterTarget, EXPIRY_MS_MAX};
use super::{
    DELAYED_RETRY_MAX_MS, DELAYED_RETRY_MIN_MS, DelayedRetry, DelayedRetryType, ExchangeName,
    InvalidArgument, RoutingKey, expected_integer,
};

/// The table of a declare.
pub(super) struct Arguments<'a>(pub(super) &'a FieldTable);

impl<'a> Arguments<'a> {
    pub(super) fn int(&self, arg: &'static str) -> Result<Option<i64>, InvalidArgument> {
        let Some(value) = self.0.get(arg) else { return Ok(None) };
        value.as_int().map(Some).ok_or_else(|| InvalidArgument::argument(arg, expected_integer(value)))
    }

    pub(super) fn unsigned(&self, arg: &'static str) -> Result<Option<u64>, InvalidArgument> {
        match self.int(arg)? {
            Some(value) => u64::try_from(value).map(Some).map_err(|_| negative(arg, value)),
            None => Ok(None),
        }
    }

    pub(super) fn up_to(
        &self,
        arg: &'static str,
        max: u64,
        problem: &str,
    ) -> Result<Option<u64>, InvalidArgument> {
        match self.unsigned(arg)? {
            Some(value) if value > max => {
                Err(InvalidArgument::argument(arg, format!("{{{problem},{value}}}")))
            }
            value => Ok(value),
        }
    }

    pub(super) fn bool(&self, arg: &'static str) -> Result<Option<bool>, InvalidArgument> {
        self.typed(arg, FieldValue::as_bool)
    }

    pub(super) fn text(&self, arg: &'static str) -> Result<Option<&'a str>, InvalidArgument> {
        self.typed(arg, FieldValue::as_str)
    }

    fn typed<T>(
        &self,
        arg: &'static str,
        read: impl Fn(&'a FieldValue) -> Option<T>,
    ) -> Result<Option<T>, InvalidArgument> {
        let Some(value) = self.0.get(arg) else { return Ok(None) };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => {
                Err(InvalidArgument::argument(arg, format!("{{unacceptable_type,{}}}", value.type_name())))
            }
        }
    }

    pub(super) fn delayed_retry(&self) -> Result<Option<DelayedRetry>, InvalidArgument> {
        const TYPE: &str = "x-delayed-retry-type";
        const MAX: &str = "x-delayed-retry-max";
        let min = self.positive("x-delayed-retry-min")?;
        let max = self.positive(MAX)?;
        let which = match self.text(TYPE)? {
            // LavinMQ has no types: a minimum turns delays on for all.
            None if min.is_some() => DelayedRetryType::All,
            None | Some("disabled") => return Ok(None),
            Some("all") => DelayedRetryType::All,
            Some("failed") => DelayedRetryType::Failed,
            Some("returned") => DelayedRetryType::Returned,
            Some(_) => return Err(InvalidArgument::argument(TYPE, "invalid_delayed_retry_type".into())),
        };
        let min_ms = min.unwrap_or_else(|| max.unwrap_or(DELAYED_RETRY_MIN_MS).min(DELAYED_RETRY_MIN_MS));
        let max_ms = max.unwrap_or(DELAYED_RETRY_MAX_MS.max(min_ms));
        if max_ms < min_ms {
            return Err(InvalidArgument::argument(MAX, format!("{{less_than_min,{max_ms}}}")));
        }
        Ok(Some(DelayedRetry { which, min_ms, max_ms }))
    }

    /// Milliseconds from 1.
    pub(super) fn positive(&self, arg: &'static str) -> Result<Option<u64>, InvalidArgument> {
        match self.up_to(arg, EXPIRY_MS_MAX, "value_too_large")? {
            Some(0) => Err(InvalidArgument::argument(arg, "{value_zero,0}".into())),
            value => Ok(value),
        }
    }

    pub(super) fn dead_letter(&self) -> Result<Option<DeadLetterTarget>, InvalidArgument> {
        const EXCHANGE: &str = "x-dead-letter-exchange";
        const KEY: &str = "x-dead-letter-routing-key";
        let too_long = |arg| move |_| InvalidArgument::argument(arg, "value_too_long".into());
        let key = self.text(KEY)?;
        let routing_key = key.map(RoutingKey::new).transpose().map_err(too_long(KEY))?;
        let exchange = match self.0.get(EXCHANGE) {
            None => None,
            Some(value) => {
                let wrong = InvalidArgument::Type { arg: EXCHANGE, type_name: value.type_name() };
                Some(value.as_str().ok_or(wrong)?)
            }
        };
        match exchange {
            Some(exchange) => {
                let exchange = ExchangeName::new(exchange).map_err(too_long(EXCHANGE))?;
                Ok(Some(DeadLetterTarget { exchange, routing_key }))
            }
            None if routing_key.is_some() => {
                Err(InvalidArgument::argument(KEY, "routing_key_but_no_dlx_defined".into()))
            }
            None => Ok(None),
        }
    }
}

/// A number below 0 where none may be.
pub(super) fn negative(arg: &'static str, value: i64) -> InvalidArgument {
    InvalidArgument::argument(arg, format!("{{value_negative,{value}}}"))
}
