//! `rialto bind` and `rialto unbind`: from an exchange into a queue or another exchange.

use clap::Args;
use rialto_protocol::native::Binding;
use rialto_protocol::types::ShortStr;

use super::arguments::{self, Argument, parse_argument, parse_name};
use super::output::note;
use super::target::{Target, with_client};
use super::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  rialto bind events tasks --key order.new
  rialto bind events tasks --key 'order.*' --key 'invoice.#'
  rialto bind news archive                          # a fanout exchange needs no key
  rialto bind by-header eu --arg region=eu --arg x-match=all
  rialto bind events audit-exchange --key '#' --to-exchange
  rialto unbind events tasks --key order.new        # and undone again

Binding what is bound already, or unbinding what is not, does nothing.";

/// Source, destination and keys of a bind or an unbind
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// The exchange that messages come from
    #[arg(value_parser = parse_name)]
    exchange: ShortStr,
    /// The queue (with --to-exchange: the exchange) that they go to
    #[arg(value_name = "QUEUE", value_parser = parse_name)]
    destination: ShortStr,
    /// The binding key; may be repeated for several bindings
    #[arg(long = "key", value_name = "KEY", value_parser = parse_name, default_value = "", hide_default_value = true)]
    keys: Vec<ShortStr>,
    /// An argument that a headers exchange matches; may be repeated
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = parse_argument)]
    arguments: Vec<Argument>,
    /// The destination is an exchange
    #[arg(long)]
    to_exchange: bool,
    #[command(flatten)]
    target: Target,
}

impl Options {
    /// The destination, as a person calls it.
    fn destination(&self) -> String {
        format!("{} {:?}", if self.to_exchange { "exchange" } else { "queue" }, self.destination.as_str())
    }

    /// One binding for each key.
    fn bindings(&self) -> Vec<Binding> {
        let arguments = arguments::table(self.arguments.iter().cloned());
        let binding = |key: &ShortStr| Binding {
            source: self.exchange.clone(),
            destination: self.destination.clone(),
            routing_key: key.clone(),
            arguments: arguments.clone(),
        };
        self.keys.iter().map(binding).collect()
    }
}

pub(super) fn run_bind(options: Options) -> Result<ExitCode, Failure> {
    with_client(&options.target, async |client| {
        for Binding { source, destination, routing_key, arguments } in options.bindings() {
            match options.to_exchange {
                true => client.exchange(&destination).bind_with(&source, &routing_key, arguments).await?,
                false => client.queue(&destination).bind_with(&source, &routing_key, arguments).await?,
            }
            let (exchange, key) = (source.as_str(), routing_key.as_str());
            let destination = options.destination();
            note(format_args!("{destination} is bound to exchange {exchange:?} with key {key:?}"));
        }
        Ok(ExitCode::Success)
    })
}

pub(super) fn run_unbind(options: Options) -> Result<ExitCode, Failure> {
    with_client(&options.target, async |client| {
        for Binding { source, destination, routing_key, arguments } in options.bindings() {
            match options.to_exchange {
                true => client.exchange(&destination).unbind_with(&source, &routing_key, arguments).await?,
                false => client.queue(&destination).unbind_with(&source, &routing_key, arguments).await?,
            }
            let (exchange, key) = (source.as_str(), routing_key.as_str());
            let destination = options.destination();
            note(format_args!(
                "{destination} is not bound to exchange {exchange:?} with key {key:?} any more"
            ));
        }
        Ok(ExitCode::Success)
    })
}
