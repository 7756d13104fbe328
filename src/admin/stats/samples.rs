//! One sample of everything that is counted.

use ahash::AHashMap;

use super::message_stats::{
    CHANNEL_ROW, ROW, channel_row, exchange_row, message_row, queue_row, traffic_row,
};
use super::series::Series;
use crate::broker::Broker;
use crate::model::{ChannelId, ConnectionId, ExchangeName, QueueId, Timestamp, VhostName};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Samples {
    at: Timestamp,
    pub(super) total: Series<ROW>,
    pub(super) vhosts: AHashMap<VhostName, Series<ROW>>,
    pub(super) queues: AHashMap<QueueId, Series<ROW>>,
    pub(super) exchanges: AHashMap<VhostName, AHashMap<ExchangeName, Series<2>>>,
    pub(super) connections: AHashMap<ConnectionId, OfConnection>,
}

/// Of a connection and of its channels.
#[derive(Debug)]
pub(super) struct OfConnection {
    pub(super) traffic: Series<4>,
    pub(super) channels: AHashMap<ChannelId, Series<CHANNEL_ROW>>,
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
        for connection in broker.connections() {
            let before = before.connections.get(&connection.id);
            let traffic = Series::next(
                before.map(|before| &before.traffic),
                traffic_row(&connection.link.traffic),
                seconds,
            );
            let channels = connection.channels.all().into_iter().map(|channel| {
                let before = before.and_then(|before| before.channels.get(&channel.number));
                (channel.number, Series::next(before, channel_row(&channel.messages), seconds))
            });
            let of_connection = OfConnection { traffic, channels: channels.collect() };
            samples.connections.insert(connection.id, of_connection);
        }
        samples
    }
}
