//! Who is measured: a Rialto broker, a NATS server, the bare relay; started for a round, or already running.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rialto_client::Address;

use super::error::{BenchError, BenchResult, Doing};
use super::plan::Plan;
use super::process::Process;
use super::round::{self, Measured};
use super::usage::Meter;
use super::{native, nats, relay};

/// Someone to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    /// A broker of this build, or of another, started for each round.
    Rialto {
        /// The program; none: this very one.
        program: Option<PathBuf>,
        /// Its settings; none: the defaults.
        config: Option<PathBuf>,
    },
    /// A broker that is running.
    RialtoAt {
        /// Where.
        address: Address,
        /// Whose CPU and memory to measure.
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
        /// Whose CPU and memory to measure.
        pid: Option<u32>,
    },
    /// The bare relay.
    Limit,
}

/// `limit`, `nats`, `nats=PROGRAM`, `rialto`, `rialto=PROGRAM`.
impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, program) = match text.split_once('=') {
            Some((_, "")) => return Err(format!("{text:?} names no program")),
            Some((name, program)) => (name, Some(PathBuf::from(program))),
            None => (text, None),
        };
        match (name, program) {
            ("limit", None) => Ok(Contender::Limit),
            ("nats", program) => Ok(Contender::Nats { program }),
            ("rialto", program) => Ok(Contender::Rialto { program, config: None }),
            _ => Err("one of: limit, nats, nats=PROGRAM, rialto, rialto=PROGRAM".to_owned()),
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contender::Rialto { program: None, .. } => f.write_str("rialto"),
            Contender::Rialto { program: Some(program), .. } => write!(f, "rialto={}", program.display()),
            Contender::RialtoAt { address, .. } => write!(f, "rialto at {}", address.endpoint()),
            Contender::Nats { .. } => f.write_str("nats"),
            Contender::NatsAt { endpoint, .. } => write!(f, "nats at {endpoint}"),
            Contender::Limit => f.write_str("limit"),
        }
    }
}

/// The usual NATS server.
pub(super) const NATS_PROGRAM: &str = "nats-server";

impl Contender {
    /// Checks that it can do what the plan asks.
    pub(super) fn check(&self, plan: &Plan) -> BenchResult<()> {
        match self {
            Contender::Nats { .. } | Contender::NatsAt { .. } => match nats::unsupported(plan) {
                Some(what) => Err(BenchError::Options(format!("NATS core has no {what}"))),
                None => Ok(()),
            },
            Contender::Limit if plan.rate.is_some() => {
                Err(BenchError::Options("the relay has no rate: it relays what it can".to_owned()))
            }
            Contender::Limit if plan.consumers == 0 => {
                Err(BenchError::Options("the relay needs a consumer".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Measures one round.
    pub(super) fn measure(&self, plan: &Plan) -> BenchResult<Measured> {
        match self {
            Contender::Rialto { program, config } => {
                let program = match program {
                    Some(program) => program.clone(),
                    None => own_program()?,
                };
                let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--in-memory"];
                let config = config.as_deref().map(absolute).transpose()?;
                if let Some(config) = &config {
                    arguments.extend(["--config", config]);
                }
                let process = Process::start(&program, &arguments)?;
                let address = format!("rialto://{}", process.address())
                    .parse()
                    .map_err(|error| BenchError::Process(format!("the broker's address: {error}")))?;
                let ends = native::connect(&address, plan)?;
                round::run(plan, ends, Some(Meter::of(process.pid())))
            }
            Contender::RialtoAt { address, pid } => {
                round::run(plan, native::connect(address, plan)?, pid.map(Meter::of))
            }
            Contender::Nats { program } => {
                let program = program.as_deref().unwrap_or(Path::new(NATS_PROGRAM));
                let process = Process::start(program, &["--addr", "127.0.0.1", "--port", "-1"])?;
                let ends = nats::connect(process.address(), plan)?;
                round::run(plan, ends, Some(Meter::of(process.pid())))
            }
            Contender::NatsAt { endpoint, pid } => {
                round::run(plan, nats::connect(endpoint, plan)?, pid.map(Meter::of))
            }
            Contender::Limit => {
                let [publishers, consumers, copies] =
                    [plan.publishers.into(), plan.consumers.into(), plan.copies()]
                        .map(|n: u64| n.to_string());
                let arguments = ["bench", "relay", &publishers, &consumers, &copies];
                let process = Process::start(&own_program()?, &arguments)?;
                let ends = relay::connect(process.address(), plan)?;
                round::run(plan, ends, Some(Meter::of(process.pid())))
            }
        }
    }
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
        let program = Some(PathBuf::from("/opt/old/rialto"));
        assert_eq!("rialto=/opt/old/rialto".parse(), Ok(Contender::Rialto { program, config: None }));
        assert_eq!("rialto".parse(), Ok(Contender::Rialto { program: None, config: None }));
        assert_eq!("limit".parse(), Ok(Contender::Limit));
        assert_eq!("nats".parse(), Ok(Contender::Nats { program: None }));
        for wrong in ["rabbit", "limit=/bin/true", "nats=", ""] {
            assert!(wrong.parse::<Contender>().is_err(), "{wrong:?}");
        }
    }
}
