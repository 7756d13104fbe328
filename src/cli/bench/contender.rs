//! Who is measured: a Rialto broker, RabbitMQ, a NATS server, the bare relay, the disk; started for a round, or already
//! running.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rialto_client::Address;

use super::error::{BenchError, BenchResult, Doing};
use super::listener::listener_at;
use super::nats::jetstream::Server;
use super::plan::{Acks, Plan};
use super::process::Process;
use super::rabbitmq::RabbitMq;
use super::round::{self, Measured};
use super::running::{Kept, Running, Speech};
use super::scratch::scratch_folder;
use super::usage::Meter;
use super::{amqp, disk, native, nats, relay};

/// What is spoken with a broker that understands more than one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wire {
    /// Rialto's own.
    #[default]
    Native,
    /// AMQP 0-9-1.
    Amqp,
}

/// Someone to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    /// A broker of this build, or of another, started for each round.
    Rialto {
        /// The program; none: this very one.
        program: Option<PathBuf>,
        /// Its settings; none: the defaults.
        config: Option<PathBuf>,
        /// What is spoken with it.
        wire: Wire,
    },
    /// A broker that is running.
    RialtoAt {
        /// Where.
        address: Address,
        /// Whose CPU and memory to measure; none: who listens there, if that can be found.
        pid: Option<u32>,
    },
    /// A RabbitMQ node, started for each round.
    RabbitMq {
        /// The program; none: the usual one.
        program: Option<PathBuf>,
    },
    /// Any broker that is running and speaks AMQP 0-9-1.
    AmqpAt {
        /// What to call it.
        name: &'static str,
        /// Where.
        address: Address,
        /// Whose CPU and memory to measure; none: who listens there, if that can be found.
        pid: Option<u32>,
    },
    /// A NATS server, started for each round.
    Nats {
        /// The program; none: the usual one.
        program: Option<PathBuf>,
    },
    /// A NATS server that is running.
    NatsAt {
        /// Host and port.
        endpoint: String,
        /// Whose CPU and memory to measure; none: who listens there, if that can be found.
        pid: Option<u32>,
    },
    /// A NATS server with JetStream, started for each round.
    JetStream {
        /// The program; none: the usual one.
        program: Option<PathBuf>,
        /// Persistent messages are synced before they are confirmed, as ours are; not what it does by default.
        synced: bool,
    },
    /// JetStream of a NATS server that is running.
    JetStreamAt {
        /// Host and port.
        endpoint: String,
    },
    /// The bare relay.
    Limit {
        /// Whose bytes it relays.
        wire: Wire,
    },
    /// Appending and syncing alone.
    Disk {
        /// Messages of one sync; none: all that may wait for one.
        batch: Option<u32>,
    },
}

/// `disk`, `disk=MESSAGES`, `jetstream`, `jetstream=HOST:PORT`, `jetstream=PROGRAM`, `jetstream-unsynced`, `limit`, `nats`,
/// `nats=PROGRAM`, `rabbitmq`, `rabbitmq=HOST:PORT`, `rialto`, `rialto=PROGRAM`.
impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((_, "")) => return Err(format!("{text:?} names nothing behind its =")),
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let wire = Wire::default();
        match (name, value) {
            ("disk", None) => Ok(Contender::Disk { batch: None }),
            ("disk", Some(messages)) => match messages.parse() {
                Ok(batch @ 1..=1_000_000) => Ok(Contender::Disk { batch: Some(batch) }),
                _ => Err(format!("{messages:?} is no number of messages from 1 to 1000000")),
            },
            ("jetstream", Some(endpoint)) if is_endpoint(endpoint) => {
                Ok(Contender::JetStreamAt { endpoint: endpoint.to_owned() })
            }
            ("jetstream" | "jetstream-unsynced", program) => {
                let synced = name == "jetstream";
                Ok(Contender::JetStream { program: program.map(PathBuf::from), synced })
            }
            ("limit", None) => Ok(Contender::Limit { wire }),
            ("nats", program) => Ok(Contender::Nats { program: program.map(PathBuf::from) }),
            ("rabbitmq", None) => Ok(Contender::RabbitMq { program: None }),
            ("rabbitmq", Some(endpoint)) => {
                let address = amqp_address(endpoint)?;
                Ok(Contender::AmqpAt { name: "rabbitmq", address, pid: None })
            }
            ("rialto", program) => {
                Ok(Contender::Rialto { program: program.map(PathBuf::from), config: None, wire })
            }
            _ => {
                let ours = "disk, disk=MESSAGES, limit, rialto, rialto=PROGRAM";
                let nats = "nats, nats=PROGRAM, jetstream, jetstream=PROGRAM, jetstream=HOST:PORT, jetstream-unsynced";
                Err(format!("one of: {ours}, {nats}, rabbitmq, rabbitmq=HOST:PORT"))
            }
        }
    }
}

/// Host and port, rather than a program.
fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

/// `user:password@host:port/vhost`, of which only the host is needed.
pub(super) fn amqp_address(text: &str) -> Result<Address, String> {
    format!("rialto://{text}").parse().map_err(|error: rialto_client::Error| error.to_string())
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contender::Rialto { program, wire, .. } => {
                f.write_str("rialto")?;
                if let Some(program) = program {
                    write!(f, "={}", program.display())?;
                }
                match wire {
                    Wire::Native => Ok(()),
                    Wire::Amqp => f.write_str(" amqp"),
                }
            }
            Contender::RialtoAt { address, .. } => write!(f, "rialto at {}", address.endpoint()),
            Contender::RabbitMq { .. } => f.write_str("rabbitmq"),
            Contender::AmqpAt { name, address, .. } => write!(f, "{name} at {}", address.endpoint()),
            Contender::Nats { .. } => f.write_str("nats"),
            Contender::NatsAt { endpoint, .. } => write!(f, "nats at {endpoint}"),
            Contender::JetStream { synced: true, .. } => f.write_str("jetstream"),
            Contender::JetStream { synced: false, .. } => f.write_str("jetstream-unsynced"),
            Contender::JetStreamAt { endpoint } => write!(f, "jetstream at {endpoint}"),
            Contender::Limit { .. } => f.write_str("limit"),
            Contender::Disk { batch: None } => f.write_str("disk"),
            Contender::Disk { batch: Some(batch) } => write!(f, "disk={batch}"),
        }
    }
}

/// The usual NATS server.
pub(super) const NATS_PROGRAM: &str = "nats-server";

impl Contender {
    /// Checks that it can do what the plan asks.
    pub(super) fn check(&self, plan: &Plan) -> BenchResult<()> {
        match self {
            Contender::Rialto { wire: Wire::Amqp, .. }
            | Contender::RabbitMq { .. }
            | Contender::AmqpAt { .. } => match amqp::unsupported(plan) {
                Some(what) => Err(BenchError::Options(format!("AMQP 0-9-1 has no {what}"))),
                None => Ok(()),
            },
            Contender::Nats { .. } | Contender::NatsAt { .. } => match nats::unsupported(plan) {
                Some(what) => Err(BenchError::Options(format!("NATS core has no {what}"))),
                None => Ok(()),
            },
            Contender::JetStream { .. } | Contender::JetStreamAt { .. } if plan.topic.is_some() => {
                Err(BenchError::Options("jetstream is not measured with bindings: measure nats".to_owned()))
            }
            Contender::JetStream { synced: false, .. } if !plan.persistent => {
                let text = "jetstream-unsynced is for --persistent: in memory there is nothing to sync";
                Err(BenchError::Options(text.to_owned()))
            }
            Contender::Disk { .. } => match disk::unsupported(plan) {
                Some(what) => Err(BenchError::Options(format!("a disk has no {what}"))),
                None => Ok(()),
            },
            Contender::Limit { .. } if plan.consumers == 0 => {
                Err(BenchError::Options("the relay needs a consumer".to_owned()))
            }
            Contender::Limit { .. } => match relay::unsupported(plan) {
                Some(what) => Err(BenchError::Options(format!("a relay has no {what}"))),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Starts it, with a data folder where something has to outlive it; or finds the one that runs.
    ///
    /// # Errors
    ///
    /// It cannot be started, or it is nothing that one can talk to: the relay, the disk.
    pub(super) fn start(&self, persistent: bool) -> BenchResult<Running> {
        match self {
            Contender::Rialto { program, config, wire } => {
                let data = persistent.then(scratch_folder).transpose()?;
                let folder = data.as_ref().map(|(path, _)| path.join("data"));
                let process = start_rialto(program.as_deref(), config.as_deref(), folder.as_deref())?;
                let address = amqp_address(process.address()).map_err(BenchError::Process)?;
                let pid = Some(process.pid());
                let kept = Kept::Process(process, data.map(|(_, guard)| guard));
                Ok(Running::new(wire.speech(address), pid, kept))
            }
            Contender::RialtoAt { address, pid } => {
                let pid = pid.or_else(|| listener_at(&address.endpoint()));
                Ok(Running::new(Speech::Native(address.clone()), pid, Kept::Nothing))
            }
            Contender::RabbitMq { program } => {
                let node = RabbitMq::start(program.as_deref())?;
                let address = amqp_address(node.address()).map_err(BenchError::Process)?;
                let pid = Some(node.pid());
                Ok(Running::new(Speech::Amqp(address), pid, Kept::Node(node)))
            }
            Contender::AmqpAt { address, pid, .. } => {
                let pid = pid.or_else(|| listener_at(&address.endpoint()));
                Ok(Running::new(Speech::Amqp(address.clone()), pid, Kept::Nothing))
            }
            Contender::Nats { program } => {
                let program = program.as_deref().unwrap_or(Path::new(NATS_PROGRAM));
                let process = Process::start(program, &["--addr", "127.0.0.1", "--port", "-1"])?;
                let (endpoint, pid) = (process.address().to_owned(), Some(process.pid()));
                Ok(Running::new(Speech::Nats(endpoint), pid, Kept::Process(process, None)))
            }
            Contender::NatsAt { endpoint, pid } => {
                let pid = pid.or_else(|| listener_at(endpoint));
                Ok(Running::new(Speech::Nats(endpoint.clone()), pid, Kept::Nothing))
            }
            Contender::JetStream { program, synced } => {
                let program = program.as_deref().unwrap_or(Path::new(NATS_PROGRAM));
                let Server { process, folder, unsynced } = Server::start(program, persistent && *synced)?;
                let (endpoint, pid) = (process.address().to_owned(), Some(process.pid()));
                let kept = Kept::Process(process, Some(folder));
                Ok(Running::new(Speech::JetStream { endpoint, unsynced }, pid, kept))
            }
            Contender::JetStreamAt { endpoint } => {
                let speech = Speech::JetStream { endpoint: endpoint.clone(), unsynced: None };
                Ok(Running::new(speech, listener_at(endpoint), Kept::Nothing))
            }
            Contender::Limit { .. } | Contender::Disk { .. } => {
                Err(BenchError::Options(format!("{self} is no broker")))
            }
        }
    }

    /// Measures one round of a flow.
    pub(super) fn measure(&self, plan: &Plan) -> BenchResult<Measured> {
        match self {
            Contender::Limit { wire } => {
                let [publishers, consumers, copies] =
                    [plan.publishers.into(), plan.consumers.into(), plan.copies()]
                        .map(|n: u64| n.to_string());
                let arguments = ["bench", "relay", &publishers, &consumers, &copies];
                let process = Process::start(&own_program()?, &arguments)?;
                let block = wire.block(plan);
                // It relays the same bytes, and answers none of them.
                let plan = &Plan { confirms: None, acks: Acks::Auto, ..plan.clone() };
                let ends = relay::connect(process.address(), plan, &block)?;
                round::run(plan, ends, Some(Meter::of(process.pid())))
            }
            Contender::Disk { batch } => {
                let batch = disk::batch(*batch, plan);
                let plan = &Plan { publishers: 1, consumers: 1, batch, ..plan.clone() };
                round::run(plan, disk::connect(plan)?, None)
            }
            _ => {
                let broker = self.start(plan.persistent)?;
                round::run(plan, broker.ends(plan)?, broker.meter())
            }
        }
    }
}

impl Wire {
    fn speech(self, address: Address) -> Speech {
        match self {
            Wire::Native => Speech::Native(address),
            Wire::Amqp => Speech::Amqp(address),
        }
    }

    /// The bytes of a batch.
    fn block(self, plan: &Plan) -> Vec<u8> {
        match self {
            Wire::Native => native::Block::new(plan).frame(plan.batch, 1, 1).to_vec(),
            Wire::Amqp => amqp::Block::of_plan(plan).frames(plan.batch).to_vec(),
        }
    }
}

/// With a data folder, or all in memory.
fn start_rialto(program: Option<&Path>, config: Option<&Path>, data: Option<&Path>) -> BenchResult<Process> {
    let program = match program {
        Some(program) => program.to_owned(),
        None => own_program()?,
    };
    let data = data.map(absolute).transpose()?;
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0"];
    match &data {
        Some(data) => arguments.extend(["--data-dir", data]),
        None => arguments.push("--in-memory"),
    }
    let config = config.map(absolute).transpose()?;
    if let Some(config) = &config {
        arguments.extend(["--config", config]);
    }
    Process::start_rialto(&program, &arguments)
}

/// A file's place for a process that works in another folder.
fn absolute(file: &Path) -> BenchResult<String> {
    let absolute = std::path::absolute(file).doing(|| format!("cannot find {}", file.display()))?;
    absolute.into_os_string().into_string().map_err(|name| {
        BenchError::Options(format!("the name of {} is not UTF-8", Path::new(&name).display()))
    })
}

fn own_program() -> BenchResult<PathBuf> {
    // The link of the kernel also finds a program that was replaced on disk since it was started.
    let link = Path::new("/proc/self/exe");
    match link.exists() {
        true => Ok(link.to_owned()),
        false => std::env::current_exe().doing(|| "cannot find the own program".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_are_named_with_or_without_a_program() {
        let wire = Wire::Native;
        let program = Some(PathBuf::from("/opt/old/rialto"));
        assert_eq!("rialto=/opt/old/rialto".parse(), Ok(Contender::Rialto { program, config: None, wire }));
        assert_eq!("rialto".parse(), Ok(Contender::Rialto { program: None, config: None, wire }));
        assert_eq!("limit".parse(), Ok(Contender::Limit { wire }));
        assert_eq!("nats".parse(), Ok(Contender::Nats { program: None }));
        let program = Some(PathBuf::from("/opt/nats/nats-server"));
        let jetstream = Contender::JetStream { program, synced: true };
        assert_eq!("jetstream=/opt/nats/nats-server".parse(), Ok(jetstream));
        let unsynced = Contender::JetStream { program: None, synced: false };
        assert_eq!("jetstream-unsynced".parse(), Ok(unsynced));
        let endpoint = "127.0.0.1:4222".to_owned();
        assert_eq!("jetstream=127.0.0.1:4222".parse(), Ok(Contender::JetStreamAt { endpoint }));
        assert_eq!("rabbitmq".parse(), Ok(Contender::RabbitMq { program: None }));
        assert_eq!("disk".parse(), Ok(Contender::Disk { batch: None }));
        assert_eq!("disk=250".parse(), Ok(Contender::Disk { batch: Some(250) }));
        for wrong in
            ["rabbit", "disk=", "disk=0", "disk=many", "limit=/bin/true", "nats=", "rabbitmq=host:port", ""]
        {
            assert!(wrong.parse::<Contender>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_running_rabbitmq_is_named_by_where_it_listens() {
        let contender: Contender = "rabbitmq=ann:secret@127.0.0.1:5673/shop".parse().unwrap();
        assert_eq!(contender.to_string(), "rabbitmq at 127.0.0.1:5673");
        let Contender::AmqpAt { address, .. } = contender else { panic!() };
        assert_eq!((address.user.as_str(), address.vhost.as_str()), ("ann", "shop"));
    }
}
