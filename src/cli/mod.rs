//! The `rialto` command: each subcommand is a file, and all but `serve` are thin clients. What applications do goes over
//! Rialto's own protocol; what operators do, over the HTTP API (`admin`).
//!
//! Every command goes the same way: clap reads raw options, the command turns them into checked options
//! before anything runs, and runs; a [`Failure`] says what, where and what to do, and carries the exit code.
//! Invariants: bodies and lists go to stdout, everything else to stderr; a closed pipe is not an error; a
//! command line that is wrong touches no broker.
//! Not here: what the broker does (`server`), how clients talk to it (`rialto-client`).

mod admin;
mod arguments;
mod backup;
mod bench;
mod bind;
mod cert;
mod completions;
mod consume;
mod data;
mod declare;
mod delete;
mod exit_code;
mod failure;
mod hang_up;
mod lines;
mod list;
mod output;
mod publish;
mod purge;
mod serve;
mod signal;
mod table;
mod target;

use std::ffi::OsString;

use anstyle::AnsiColor;
use clap::builder::Styles;
use clap::{CommandFactory, Parser, Subcommand};

pub use arguments::Argument;
pub use exit_code::ExitCode;
pub use failure::Failure;
pub use target::Target;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples, to be pasted one after the other:
  rialto serve &                               # a broker on 127.0.0.1:5672
  rialto declare queue tasks                   # a queue
  rialto publish '' --key tasks hello          # a message, straight into the queue
  rialto consume tasks --ack --count 1         # and out again

  rialto declare exchange events --kind topic
  rialto bind events tasks --key 'order.*'
  seq 1000000 | rialto publish events --key order.new --stdin
  rialto consume tasks --ack --count 1000000 | tail -n 1
  rialto list queues

  rialto explain events --key order.new        # where would it go, and why
  rialto status                                # how the broker is doing
  rialto user add ann --tags administrator     # who else may look after it
";

/// A message broker: exchanges route, queues hold, and consumers get each message once, fairly and in order.
///
/// Without a command, `rialto` serves.
#[derive(Debug, Parser)]
#[command(
    name = "rialto",
    version,
    styles = STYLES,
    max_term_width = 110,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n{}", ExitCode::HELP),
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker
    Serve(serve::Options),
    /// Create an exchange or a queue, or check that it is there
    #[command(subcommand)]
    Declare(declare::Options),
    /// Route messages from an exchange into a queue (or another exchange)
    Bind(bind::Options),
    /// Undo a bind
    Unbind(bind::Options),
    /// Delete an exchange or a queue
    #[command(subcommand)]
    Delete(delete::Options),
    /// Remove all ready messages of a queue
    Purge(purge::Options),
    /// Publish one message, or one for each line of stdin
    Publish(publish::Options),
    /// Print the messages of a queue as they come
    Consume(consume::Options),
    /// Show what a broker has
    List(list::Options),
    /// Show what a broker is doing
    Status(admin::health::Status),
    /// Ask a broker whether it is well
    Health(admin::health::Options),
    /// How queues are doing, and what to do about it
    #[command(subcommand)]
    Queue(admin::queue::Options),
    /// Where messages come in
    #[command(subcommand)]
    Exchange(admin::exchange::Options),
    /// Which exchange routes what into which queue
    #[command(subcommand)]
    Binding(admin::exchange::BindingOptions),
    /// Who is connected
    #[command(subcommand)]
    Connection(admin::connection::Options),
    /// Channels of connections
    #[command(subcommand)]
    Channel(admin::connection::ChannelOptions),
    /// Who consumes from which queue
    #[command(subcommand)]
    Consumer(admin::connection::ConsumerOptions),
    /// Look at messages of a queue without taking them
    Peek(admin::peek::Options),
    /// Move or delete single messages
    #[command(subcommand)]
    Message(admin::message::Options),
    /// Send dead letters back to the queues that they came from
    Redrive(admin::job::Redrive),
    /// Work that goes on in the background
    #[command(subcommand)]
    Job(admin::job::Options),
    /// Tell where a message would go, and why
    Explain(admin::explain::Options),
    /// Who may log in
    #[command(subcommand)]
    User(admin::user::Options),
    /// Rooms of their own for applications
    #[command(subcommand)]
    Vhost(admin::vhost::Options),
    /// What users may do in a vhost
    #[command(subcommand)]
    Permission(admin::permission::Options),
    /// What users may do with routing keys of topic exchanges
    #[command(subcommand)]
    TopicPermission(admin::permission::TopicOptions),
    /// What holds for queues and exchanges by their names
    #[command(subcommand)]
    Policy(admin::policy::Options),
    /// Limits of the operator, above which no application may go
    #[command(subcommand)]
    OperatorPolicy(admin::policy::OperatorOptions),
    /// Settings that are kept for components, as RabbitMQ has them
    #[command(subcommand)]
    Parameter(admin::parameter::Options),
    /// Write all that was declared as RabbitMQ's JSON
    Export(admin::definitions::Export),
    /// Declare all that a file of definitions says
    Import(admin::definitions::Import),
    /// What a running broker logs
    #[command(subcommand)]
    Log(admin::log::Options),
    /// Back up a running broker
    Backup(backup::Options),
    /// Look into a data folder, check it, restore a backup
    #[command(subcommand)]
    Data(data::Options),
    /// Make certificates for trying TLS out
    #[command(subcommand)]
    Cert(cert::Options),
    /// Measure a broker
    #[command(subcommand)]
    Bench(bench::Options),
    /// Print a completion script for a shell
    Completions(completions::Options),
}

/// Runs the command that the process was called with.
pub fn run() -> ExitCode {
    run_with(std::env::args_os())
}

fn run_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` are errors to clap; a closed pipe is none to us.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::Usage } else { ExitCode::Success };
        }
    };
    let done = match cli.command.unwrap_or_else(|| Command::Serve(serve::Options::default())) {
        Command::Serve(options) => serve::run(options),
        Command::Declare(options) => declare::run(options),
        Command::Bind(options) => bind::run_bind(options),
        Command::Unbind(options) => bind::run_unbind(options),
        Command::Delete(options) => delete::run(options),
        Command::Purge(options) => purge::run(options),
        Command::Publish(options) => publish::run(options),
        Command::Consume(options) => consume::run(options),
        Command::List(options) => list::run(options),
        Command::Status(options) => admin::health::run_status(&options),
        Command::Health(options) => admin::health::run(&options),
        Command::Queue(options) => admin::queue::run(options),
        Command::Exchange(options) => admin::exchange::run(options),
        Command::Binding(options) => admin::exchange::run_binding(options),
        Command::Connection(options) => admin::connection::run(options),
        Command::Channel(options) => admin::connection::run_channel(options),
        Command::Consumer(options) => admin::connection::run_consumer(options),
        Command::Peek(options) => admin::peek::run(&options),
        Command::Message(options) => admin::message::run(options),
        Command::Redrive(options) => admin::job::run_redrive(&options),
        Command::Job(options) => admin::job::run(options),
        Command::Explain(options) => admin::explain::run(&options),
        Command::User(options) => admin::user::run(options),
        Command::Vhost(options) => admin::vhost::run(options),
        Command::Permission(options) => admin::permission::run(options),
        Command::TopicPermission(options) => admin::permission::run_topic(options),
        Command::Policy(options) => admin::policy::run(options),
        Command::OperatorPolicy(options) => admin::policy::run_operator(options),
        Command::Parameter(options) => admin::parameter::run(options),
        Command::Export(options) => admin::definitions::run_export(&options),
        Command::Import(options) => admin::definitions::run_import(&options),
        Command::Log(options) => admin::log::run(options),
        Command::Backup(options) => backup::run(&options),
        Command::Data(options) => data::run(options),
        Command::Cert(options) => cert::run(&options),
        Command::Bench(options) => bench::run(options),
        Command::Completions(options) => completions::run(&options, Cli::command()),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            failure.print();
            failure.code
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        fn check(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{path} has no examples");
            assert!(help.contains("rialto "), "{path} has no example to paste");
            // Where no terminal says how wide it is, clap wraps at 100.
            for line in help.lines() {
                assert!(line.chars().count() <= 98, "{path}: {line}");
            }
            for sub in command.get_subcommands() {
                check(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        check(&Cli::command(), "rialto");
    }

    /// The words of the `rialto` command in a line of shell, without what is piped, redirected or remarked.
    fn words(line: &str) -> Option<Vec<String>> {
        let start = line.find("rialto ").filter(|&at| line[..at].ends_with([' ', '(']))?;
        let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
        for c in line[start..].chars() {
            match c {
                '\'' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                ' ' if !quoted => words.extend(word.take()),
                '|' | '&' | '>' | ')' if !quoted => break,
                // In the middle of a word it is no comment.
                '#' if !quoted && word.is_none() => break,
                c => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        Some(words)
    }

    #[test]
    fn every_example_can_be_pasted_as_it_stands() {
        fn check(command: &clap::Command) -> usize {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let mut examples = 0;
            for line in help.lines().filter(|line| line.starts_with("  ")) {
                let words = words(line).unwrap_or_else(|| panic!("no command: {line}"));
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{line}\n{words:?}\n{error}");
                }
                examples += 1;
            }
            examples + command.get_subcommands().map(check).sum::<usize>()
        }
        assert!(check(&Cli::command()) > 40);
    }
}
