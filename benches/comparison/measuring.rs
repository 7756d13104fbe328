//! Runs `rialto bench` for each scenario and keeps what it says, a file each.
//!
//! Invariants: a file is whole or not there; a scenario that fails is told and the next one is measured.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::machine::Machine;
use crate::scenarios::{AmqpPeer, Length, Peer, Scenario};

/// Before each window: connections are made, caches and just-in-time compilers warm up.
const WARM_UP_MS: u32 = 1000;

/// A round of a contender beside its window and its start: connecting, draining, counting.
const AROUND_MS: u32 = 200;

/// How `rialto` ends when it does not understand what it is told: an older one, without the scenario.
const EXIT_USAGE: i32 = 2;

/// Why a scenario could not be measured.
struct NotMeasured {
    said: String,
    is_usage: bool,
}

/// How scenarios are measured.
pub(crate) struct Measuring<'a> {
    /// `rialto`.
    pub(crate) program: &'a Path,
    /// Where files go.
    pub(crate) folder: &'a Path,
    /// Who is here.
    pub(crate) machine: &'a Machine,
    /// Rounds of each scenario.
    pub(crate) rounds: u32,
    /// Instead of each scenario's own.
    pub(crate) duration: Option<Duration>,
    /// Those that have a file, too.
    pub(crate) again: bool,
    /// Brokers measured wherever RabbitMQ is.
    pub(crate) amqp: &'a [AmqpPeer],
}

impl Measuring<'_> {
    /// Says what would be measured.
    pub(crate) fn list(&self, scenarios: &[&Scenario]) {
        let mut all = Duration::ZERO;
        for scenario in scenarios {
            let takes = self.takes(scenario);
            let done = self.is_done(scenario);
            let time = if done { "done".to_owned() } else { clock(takes) };
            println!("{:>6}  {:22} {}", time, scenario.id, scenario.what);
            if !done {
                all += takes;
            }
        }
        println!("{:>6}  in all, {} rounds", clock(all), self.rounds);
    }

    /// Measures all that has to be. False: not everything could be.
    pub(crate) fn run(&self, scenarios: &[&Scenario]) -> Result<bool, Failure> {
        let missing: Vec<&str> = [Peer::RabbitMq, Peer::Nats]
            .into_iter()
            .filter(|peer| !self.machine.has(*peer))
            .map(Peer::name)
            .collect();
        if !missing.is_empty() {
            eprintln!("not installed, so left out: {}", missing.join(", "));
        }
        let todo: Vec<&&Scenario> = scenarios.iter().filter(|scenario| !self.is_done(scenario)).collect();
        if todo.len() < scenarios.len() {
            let done = scenarios.len() - todo.len();
            eprintln!("measured before: {done} of {}; --again measures them anew", scenarios.len());
        }
        self.machine.write(self.folder)?;
        let begun = Instant::now();
        let mut complete = true;
        let mut expected = Duration::ZERO;
        for (n, scenario) in todo.iter().enumerate() {
            let left: Duration = todo[n..].iter().map(|scenario| self.takes(scenario)).sum();
            // As much slower or faster than expected as it has been so far.
            let pace = match expected.as_secs_f64() {
                some if some > 10.0 => begun.elapsed().as_secs_f64() / some,
                _ => 1.0,
            };
            let left = clock(left.mul_f64(pace));
            eprint!("{:>2}/{} {:55} {left:>6} left ", n + 1, todo.len(), scenario.what);
            let started = Instant::now();
            let mut result = self.measure(scenario)?;
            if matches!(&result, Err(NotMeasured { is_usage: false, .. })) {
                // A broker that did not start in time may do so the next time.
                eprint!("once more ");
                result = self.measure(scenario)?;
            }
            eprintln!(
                "{:>6}  {}",
                clock(started.elapsed()),
                result.as_ref().err().map_or("", |error| error.said.as_str())
            );
            complete &= result.is_ok();
            expected += self.takes(scenario);
        }
        Ok(complete)
    }

    /// Measures a scenario, or says why it could not be.
    fn measure(&self, scenario: &Scenario) -> Result<Result<(), NotMeasured>, Failure> {
        let mut command = Command::new(self.program);
        command.arg("bench").args(scenario.arguments.split_whitespace());
        command.arg("--rounds").arg(self.rounds_of(scenario).to_string()).arg("--json");
        if let Some(window) = self.window(scenario) {
            let window = humantime::format_duration(window).to_string();
            let warm_up = format!("{}ms", warm_up_ms(scenario));
            command.args(["--duration", &window.replace(' ', ""), "--warm-up", &warm_up]);
        }
        let peers = self.peers(scenario);
        if !peers.is_empty() {
            command.arg("--against").arg(peers.join(","));
        }
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason said");
            let is_usage = output.status.code() == Some(EXIT_USAGE);
            return Ok(Err(NotMeasured { said: format!("not measured: {said}"), is_usage }));
        }
        let mut run: Value = serde_json::from_slice(&output.stdout)?;
        self.complete(&mut run);
        let file = self.file(scenario);
        let unfinished = file.with_extension("unfinished");
        writeln!(fs::File::create(&unfinished)?, "{run}")?;
        fs::rename(&unfinished, &file)?;
        Ok(Ok(()))
    }

    /// Names brokers as they were named to us, and adds what pictures are drawn over.
    fn complete(&self, run: &mut Value) {
        for result in run["results"].as_array_mut().into_iter().flatten() {
            let Some(at) = result["contender"].as_str().and_then(|name| name.strip_prefix("rabbitmq at "))
            else {
                continue;
            };
            let known = self.amqp.iter().find(|peer| peer.endpoint() == at);
            if let Some(peer) = known {
                result["contender"] = peer.name.clone().into();
            }
        }
        let scenario = &mut run["scenario"];
        let ends = [&scenario["publishers"], &scenario["consumers"]].map(Value::as_u64);
        if let [Some(publishers), Some(consumers)] = ends {
            scenario["connections"] = (publishers + consumers).into();
        }
    }

    /// Those of its peers that are here, as `--against` wants them.
    fn peers(&self, scenario: &Scenario) -> Vec<String> {
        let installed = scenario.peers.iter().filter(|peer| self.machine.has(**peer));
        let mut peers: Vec<String> = installed.map(|peer| peer.name().to_owned()).collect();
        if scenario.peers.contains(&Peer::RabbitMq) {
            peers.extend(self.amqp.iter().map(|peer| format!("rabbitmq={}", peer.address)));
        }
        peers
    }

    fn window(&self, scenario: &Scenario) -> Option<Duration> {
        match scenario.length {
            Length::Window(ms) | Length::Warmed(ms) => {
                Some(self.duration.unwrap_or(Duration::from_millis(ms.into())))
            }
            Length::Work(_) | Length::Once(_) => None,
        }
    }

    fn rounds_of(&self, scenario: &Scenario) -> u32 {
        match scenario.length {
            Length::Once(_) => 1,
            Length::Window(_) | Length::Warmed(_) | Length::Work(_) => self.rounds,
        }
    }

    /// About how long it takes, all rounds and contenders.
    fn takes(&self, scenario: &Scenario) -> Duration {
        let each = match (self.window(scenario), scenario.length) {
            (Some(window), _) => window + Duration::from_millis(u64::from(warm_up_ms(scenario) + AROUND_MS)),
            (None, Length::Work(ms) | Length::Once(ms) | Length::Window(ms) | Length::Warmed(ms)) => {
                Duration::from_millis(ms.into())
            }
        };
        let peers = scenario.peers.iter().filter(|peer| self.machine.has(**peer));
        let peers = peers.map(|peer| each + Duration::from_millis(peer.start_ms().into()));
        (each + peers.sum::<Duration>()) * self.rounds_of(scenario)
    }

    fn is_done(&self, scenario: &Scenario) -> bool {
        !self.again && self.file(scenario).exists()
    }

    fn file(&self, scenario: &Scenario) -> PathBuf {
        self.folder.join(scenario.id).with_extension("json")
    }
}

fn warm_up_ms(scenario: &Scenario) -> u32 {
    match scenario.length {
        Length::Warmed(_) => 3 * WARM_UP_MS,
        Length::Window(_) | Length::Work(_) | Length::Once(_) => WARM_UP_MS,
    }
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
