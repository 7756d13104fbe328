//! Which figures somebody asks for.

use axum::extract::Query;
use axum::http::Uri;

use crate::admin::ApiError;

/// A group of metrics, by RabbitMQ's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// How many messages each queue has.
    QueueCoarse,
    /// What they take.
    Queue,
    /// How many consumers each queue has.
    QueueConsumers,
    /// What was delivered from each queue.
    QueueDelivery,
    /// What each exchange has taken.
    Exchange,
    /// What each channel holds.
    Channel,
    /// What each connection's socket has carried.
    ConnectionCoarse,
    /// The same in packets.
    Connection,
    /// What has come and gone.
    Churn,
    /// Which vhosts there are.
    Vhosts,
    /// Which exchanges there are.
    ExchangeNames,
    /// How many bindings each exchange has.
    ExchangeBindings,
}

impl Family {
    /// All that go without asking. Names of exchanges and their bindings are told only to who asks, as in RabbitMQ.
    pub(super) const ALL: [Family; 10] = [
        Family::QueueCoarse,
        Family::Queue,
        Family::QueueConsumers,
        Family::QueueDelivery,
        Family::Exchange,
        Family::Channel,
        Family::ConnectionCoarse,
        Family::Connection,
        Family::Churn,
        Family::Vhosts,
    ];

    const NAMED: [(&str, Family); 12] = [
        ("queue_coarse_metrics", Family::QueueCoarse),
        ("queue_metrics", Family::Queue),
        ("queue_consumer_count", Family::QueueConsumers),
        ("queue_delivery_metrics", Family::QueueDelivery),
        ("exchange_metrics", Family::Exchange),
        ("channel_metrics", Family::Channel),
        ("connection_coarse_metrics", Family::ConnectionCoarse),
        ("connection_metrics", Family::Connection),
        ("connection_churn_metrics", Family::Churn),
        ("vhost_status", Family::Vhosts),
        ("exchange_names", Family::ExchangeNames),
        ("exchange_bindings", Family::ExchangeBindings),
    ];

    /// RabbitMQ's families that have nothing here: a scrape that asks for them still gets the others.
    const EMPTY: [&str; 9] = [
        "ra_metrics",
        "node_coarse_metrics",
        "node_metrics",
        "node_persister_metrics",
        "auth_attempt_metrics",
        "auth_attempt_detailed_metrics",
        "channel_exchange_metrics",
        "channel_queue_metrics",
        "channel_queue_exchange_metrics",
    ];
}

/// What a scrape asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Of the whole broker.
    Whole,
    /// Of each object, too.
    Each,
    /// Of these families.
    Some {
        /// Each once.
        families: Vec<Family>,
        /// Of objects in these vhosts; in all of them if there are none.
        vhosts: Vec<String>,
    },
}

impl Selection {
    /// Reads `family=…&family=…&vhost=…`.
    ///
    /// # Errors
    /// There is no such family.
    pub(super) fn read(uri: &Uri) -> Result<Selection, ApiError> {
        let (mut families, mut vhosts) = (Vec::new(), Vec::new());
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ApiError::bad_request(format!("the query cannot be read: {error}")))?;
        for (key, value) in pairs {
            match key.as_str() {
                "family" => match Family::NAMED.iter().find(|(name, _)| *name == value) {
                    Some((_, family)) if !families.contains(family) => families.push(*family),
                    Some(_) => {}
                    None if Family::EMPTY.contains(&value.as_str()) => {}
                    None => {
                        let known: Vec<_> = Family::NAMED.iter().map(|(name, _)| *name).collect();
                        let reason = format!("there is no family {value:?}; there are {}", known.join(", "));
                        return Err(ApiError::bad_request(reason));
                    }
                },
                "vhost" => vhosts.push(value),
                _ => {}
            }
        }
        Ok(Selection::Some { families, vhosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Selection, ApiError> {
        Selection::read(&format!("/metrics/detailed?{query}").parse().unwrap())
    }

    #[test]
    fn families_and_vhosts_are_read_each_once() {
        let asked =
            "family=queue_coarse_metrics&vhost=%2F&family=ra_metrics&family=queue_coarse_metrics&other=1";
        let families = vec![Family::QueueCoarse];
        assert_eq!(read(asked).unwrap(), Selection::Some { families, vhosts: vec!["/".to_owned()] });
        let none = Selection::Some { families: Vec::new(), vhosts: Vec::new() };
        assert_eq!(read("").unwrap(), none);
        assert!(read("family=queues").is_err());
    }
}
