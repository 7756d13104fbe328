//! One sample of everything that is counted.

use ahash::AHashMap;

use super::message_stats::{ROW, exchange_row, message_row, queue_row};
use super::series::Series;
use crate::broker::Broker;
use crate::model::{ExchangeName, QueueId, Timestamp, VhostName};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Samples {
    at: Timestamp,
    pub(super) total: Series<ROW>,
    pub(super) vhosts: AHashMap<VhostName, Series<ROW>>,
    pub(super) queues: AHashMap<QueueId, Series<ROW>>,
    pub(super) exchanges: AHashMap<VhostName, AHashMap<ExchangeName, Series<2>>>,
}

impl Samples {
    /// The sample of this moment, which follows another.
    pub(super) fn take(broker: &Broker, before: &Samples) -> Samples {
        let at = broker.now();
        let is_first = before.at == Timestamp::default();
        let seconds = if is_first { 0.0 } else { at.since(before.at).as_secs_f64() };
        let mut samples = Samples {
            at,
            total: Series::next(Some(&before.total), message_row(&broker.counts()), seconds),
            ..Samples::default()
        };
        for vhost in broker.vhosts() {
            let name = vhost.name();
            let of_vhost = Series::next(before.vhosts.get(name), message_row(&vhost.counts()), seconds);
            samples.vhosts.insert(name.clone(), of_vhost);
            for queue in vhost.queues() {
                let of_queue =
                    Series::next(before.queues.get(&queue.id()), queue_row(&queue.figures()), seconds);
                samples.queues.insert(queue.id(), of_queue);
            }
            let of_exchanges = before.exchanges.get(name);
            let exchanges = vhost.all_exchange_counts().into_iter().map(|(exchange, counts)| {
                let before = of_exchanges.and_then(|exchanges| exchanges.get(&exchange));
                let series = Series::next(before, exchange_row(&counts), seconds);
                (exchange, series)
            });
            samples.exchanges.insert(name.clone(), exchanges.collect());
        }
        samples
    }
}
