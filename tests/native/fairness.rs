//! Fair dispatch: work goes to whoever has room, in proportion to how fast each is.

use rialto_client::{Client, Consumer, Delivery};

use crate::support::*;

/// A worker on a connection of its own, on a schedule of virtual time: a task costs it so many ticks.
struct Worker {
    _client: Client,
    tasks: Consumer,
    cost: u64,
    /// What it works on, and when it will be done.
    work: Option<(Delivery, u64)>,
    done: Vec<u64>,
}

impl Worker {
    async fn hire(broker: &rialto::server::Embedded, cost: u64) -> Worker {
        let client = connect(broker).await;
        let tasks = client.consume("tasks").prefetch(1).start().await.unwrap();
        Worker { _client: client, tasks, cost, work: None, done: Vec::new() }
    }

    /// Takes the next task, which a worker with room is given for as long as there are any.
    async fn begin(&mut self, now: u64) {
        self.work = Some((next(&mut self.tasks).await, now + self.cost));
    }

    fn finish(&mut self) -> u64 {
        let (task, now) = self.work.take().expect("it has work");
        self.done.push(task.text().unwrap().parse().unwrap());
        task.ack().unwrap();
        now
    }
}

/// Has all tasks done by workers with these costs. How many each did.
async fn work(count: usize, costs: &[u64]) -> Vec<usize> {
    let broker = start().await;
    let client = connect(&broker).await;
    client.queue("tasks").declare().await.unwrap();
    let mut workers = Vec::new();
    for cost in costs {
        workers.push(Worker::hire(&broker, *cost).await);
    }
    fill_numbers(&client, "tasks", count).await;
    for worker in &mut workers {
        worker.begin(0).await;
    }
    for done in 1..=count {
        let busy = workers.iter_mut().filter(|worker| worker.work.is_some());
        let first = busy.min_by_key(|worker| worker.work.as_ref().map(|(_, at)| *at)).unwrap();
        let now = first.finish();
        if done + costs.len() <= count {
            first.begin(now).await;
        }
    }
    let mut all: Vec<_> = workers.iter().flat_map(|worker| worker.done.iter().copied()).collect();
    for worker in &workers {
        assert!(worker.done.is_sorted(), "each gets its tasks in the order of publishing");
    }
    all.sort_unstable();
    assert_eq!(all, (1..=count as u64).collect::<Vec<_>>(), "every task once");
    workers.iter().map(|worker| worker.done.len()).collect()
}

#[tokio::test]
async fn a_worker_ten_times_as_fast_does_ten_times_as_much() {
    let done = work(1000, &[1, 10]).await;
    let ratio = done[0] as f64 / done[1] as f64;
    assert!((9.5..=10.5).contains(&ratio), "{done:?}");
}

#[tokio::test]
async fn equal_workers_do_equal_shares() {
    assert_eq!(work(400, &[3, 3, 3, 3]).await, [100; 4]);
}

#[tokio::test]
async fn the_slowest_of_many_is_not_starved() {
    let done = work(500, &[1, 1, 1, 1, 50]).await;
    assert!((2..=4).contains(&done[4]), "{done:?}");
}

#[tokio::test]
async fn every_consumer_of_many_has_its_turn() {
    let broker = start().await;
    let client = connect(&broker).await;
    client.queue("tasks").declare().await.unwrap();
    let mut consumers = Vec::new();
    for _ in 0..50 {
        consumers.push(client.consume("tasks").prefetch(4).start().await.unwrap());
    }
    fill_numbers(&client, "tasks", 200).await;
    for (place, consumer) in consumers.iter_mut().enumerate() {
        let expected: Vec<_> = (0..4).map(|round| (round * 50 + place + 1).to_string()).collect();
        assert_eq!(bodies(&take(consumer, 4).await), expected, "consumer {place}");
    }
}

#[tokio::test]
async fn a_backlog_in_one_queue_does_not_hold_up_another() {
    let (_broker, client) = start_and_connect().await;
    for queue in ["backlog", "small"] {
        client.queue(queue).declare().await.unwrap();
    }
    fill_numbers(&client, "backlog", 20_000).await;
    let mut backlog = client.consume("backlog").auto_ack().start().await.unwrap();
    let mut small = client.consume("small").start().await.unwrap();
    for round in 0..20 {
        publish(&client, "", "small", "quick").await;
        assert_eq!(take_bodies(&mut small, 1).await, ["quick"], "round {round}");
        let _ = take(&mut backlog, 100).await;
    }
}
