//! The HTTP API while messages flow: how long a page of queues takes, and what the flow loses by it.
//!
//! `cargo bench --bench management -- [queues] [connections] [messages each second] [seconds]`: a broker of its own, in a
//! process of its own, with so many queues and connections. Messages go through one of the queues at a fixed rate, and
//! for every other second pages of queues are asked for, one after the other; the seconds with and without are compared.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rialto_client::{Client, Message};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is asked for: unsorted, sorted by a figure of each queue, and filtered by name.
const PAGES: [(&str, &str); 3] = [
    ("by name", "/api/queues?page=50&page_size=100"),
    ("sorted by messages", "/api/queues?page=1&page_size=100&sort=messages&sort_reverse=true"),
    ("filtered by a pattern", "/api/queues?page=1&page_size=100&name=%5Ebench.*7%24&use_regex=true"),
];

const BODY: [u8; 100] = [b'x'; 100];

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let queues = numbers.next().unwrap_or(10_000);
    let connections = numbers.next().unwrap_or(1000);
    let rate = numbers.next().unwrap_or(50_000);
    let seconds = numbers.next().unwrap_or(30);
    let broker = Broker::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(&broker, queues, connections, rate, seconds));
}

async fn run(broker: &Broker, queues: u64, connections: u64, rate: u64, seconds: u64) {
    let client = Client::connect(&broker.url).await.expect("the broker serves");
    for n in 0..queues {
        client.queue(&format!("bench.{n}")).declare().await.expect("a new queue");
    }
    let mut idle = Vec::new();
    for _ in 0..connections {
        idle.push(Client::connect(&broker.url).await.expect("room for a connection"));
    }
    println!("{queues} queues, {connections} connections, {rate} messages/s for {seconds} s\n");
    let taken = Arc::new(AtomicU64::new(0));
    let asking = Arc::new(AtomicBool::new(false));
    let consuming = tokio::spawn(consume(broker.url.clone(), taken.clone()));
    let publishing = tokio::spawn(publish(broker.url.clone(), rate));
    let asker = std::thread::spawn({
        let (asking, http) = (asking.clone(), broker.http.clone());
        move || ask(&http, &asking, seconds)
    });
    // Flow of the seconds without and with pages.
    let mut flows = [Vec::new(), Vec::new()];
    for second in 0..seconds {
        let with_pages = second % 2 == 1;
        asking.store(with_pages, Ordering::Relaxed);
        let (before, began) = (taken.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let flow = (taken.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
        // The first seconds are those in which everything starts.
        if second >= 4 {
            flows[usize::from(with_pages)].push(flow);
        }
    }
    publishing.abort();
    consuming.abort();
    for (name, times) in asker.join().expect("it asks to its end") {
        println!(
            "{name:<24} {:>6} pages   p50 {:>6.1} ms   p99 {:>6.1} ms   most {:>6.1} ms",
            times.len(),
            times.value_at_quantile(0.5) as f64 / 1000.0,
            times.value_at_quantile(0.99) as f64 / 1000.0,
            times.max() as f64 / 1000.0,
        );
    }
    let [without, with] = flows.map(|flows| flows.iter().sum::<f64>() / flows.len().max(1) as f64);
    println!("\nflow without pages {without:>9.0} messages/s");
    println!("flow with pages    {with:>9.0} messages/s: {:+.1} %", (with / without - 1.0) * 100.0);
}

async fn consume(url: String, taken: Arc<AtomicU64>) {
    let client = Client::connect(&url).await.expect("the broker serves");
    let mut consumer = client.consume("bench.0").auto_ack().start().await.expect("the queue exists");
    while let Some(Ok(_)) = consumer.next().await {
        taken.fetch_add(1, Ordering::Relaxed);
    }
}

/// Publishes at a rate: every 10 ms what is due by then.
async fn publish(url: String, rate: u64) {
    let client = Client::connect(&url).await.expect("the broker serves");
    let publisher = client.publisher("", "bench.0").expect("a short name");
    let (began, mut sent) = (Instant::now(), 0u64);
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        let messages: Vec<_> = (sent..due).map(|_| Message::new(BODY.to_vec())).collect();
        sent = due;
        if messages.is_empty() {
            continue;
        }
        let confirm = publisher.publish_batch(messages).await.expect("room to publish");
        tokio::spawn(confirm);
    }
}

/// Asks for pages while `asking`, and says how long each kind took, in microseconds.
fn ask(http: &str, asking: &AtomicBool, seconds: u64) -> Vec<(&'static str, Histogram<u64>)> {
    let mut socket = BufReader::new(TcpStream::connect(http).expect("the HTTP API answers"));
    let mut times = PAGES.map(|(name, _)| (name, Histogram::new(3).expect("three digits")));
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if !asking.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        for ((_, path), (_, times)) in PAGES.iter().zip(&mut times) {
            let began = Instant::now();
            let head = format!(
                "GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n"
            );
            socket.get_mut().write_all(head.as_bytes()).expect("the HTTP API answers");
            read_answer(&mut socket);
            times.record(began.elapsed().as_micros() as u64).expect("less than a day");
        }
        // A person looks at a page for a while; this one is in a hurry.
        std::thread::sleep(Duration::from_millis(100));
    }
    times.into()
}

fn read_answer(socket: &mut BufReader<TcpStream>) {
    let (mut line, mut length) = (String::new(), 0);
    let mut is_first = true;
    loop {
        line.clear();
        socket.read_line(&mut line).expect("the head of an answer");
        assert!(!is_first || line.contains(" 200 "), "{line}");
        is_first = false;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).expect("the whole body");
}

/// A broker in a process of its own.
struct Broker {
    process: Child,
    url: String,
    http: String,
}

impl Broker {
    fn start() -> Broker {
        let mut process = Command::new(env!("CARGO_BIN_EXE_rialto"))
            .args(["serve", "--in-memory", "--listen", "127.0.0.1:0"])
            .env("RIALTO_MANAGEMENT__LISTEN", "127.0.0.1:0")
            .env("RIALTO_METRICS__LISTEN", "none")
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with this bench");
        let mut log = BufReader::new(process.stderr.take().expect("it is piped"));
        let (mut url, mut http, mut line) = (None, None, String::new());
        while url.is_none() || http.is_none() {
            line.clear();
            let read = log.read_line(&mut line).expect("the log is text");
            assert!(read > 0, "the broker ended before it served");
            if let Some((_, found)) = line.split_once("serving on ") {
                url = Some(format!("{}/", found.trim()));
            }
            if let Some((_, found)) = line.split_once("answers on http://") {
                http = found.split('/').next().map(str::to_owned);
            }
        }
        // Somebody must read on, or the log would fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Broker { process, url: url.expect("just found"), http: http.expect("just found") }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
