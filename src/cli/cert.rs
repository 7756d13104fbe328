//! `rialto cert`: certificates for trying TLS out. Works on files, not through a broker.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::output::{Written, written};
use super::{ExitCode, Failure};
use crate::tls::TlsError;
use crate::tls::dev::{Authority, Leaf};

const EXAMPLES: &str = "\
Examples:
  rialto cert dev
  rialto cert dev --name mq.example.org --name 10.0.0.7 --client ann --client worker
  rialto cert dev --dir /tmp/certs --days 1

Then, for example:
  RIALTO_TLS__CERT=certs/server.pem RIALTO_TLS__KEY=certs/server.key rialto serve &
  rialto list queues --url rialtos://localhost:5671 --tls-ca certs/ca.pem";

/// Make certificates for trying TLS out
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Options {
    /// An authority of one's own, a certificate for the broker, and some for clients
    Dev(Dev),
}

/// An authority of one's own, a certificate for the broker, and some for clients
///
/// The authority is kept: run it again for new certificates that the same clients trust, also while the broker runs,
/// which takes them up by itself. Whoever has ca.key can be anybody for those who trust ca.pem: do not use it in earnest.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Dev {
    /// Folder for the files
    #[arg(long, value_name = "DIR", default_value = "certs")]
    dir: PathBuf,
    /// Names and addresses by which clients reach the broker [default: localhost, 127.0.0.1, ::1]
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Users to make a client certificate for; each gets USER.pem and USER.key
    #[arg(long = "client", value_name = "USER", value_parser = parse_user)]
    clients: Vec<String>,
    /// Days that the certificates hold
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

/// A user's name is a file's name here.
fn parse_user(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    match text {
        "" => Err("the name is empty".to_owned()),
        "ca" | "server" => Err(format!("{text}.pem is the name of another file here")),
        text if text.starts_with('.') || !text.chars().all(is_plain) => {
            Err("write letters, digits, and - _ . @ between them: it becomes the name of a file".to_owned())
        }
        text => Ok(text.to_owned()),
    }
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let Options::Dev(options) = options;
    make(options)
}

fn make(options: &Dev) -> Result<ExitCode, Failure> {
    let dir = &options.dir;
    std::fs::create_dir_all(dir).map_err(|error| {
        Failure::new(ExitCode::Failure, format!("cannot make the folder: {error}")).at(dir.display())
    })?;
    let authority = Authority::of_folder(dir).map_err(unusable)?;
    let names: Vec<&str> = match options.names.is_empty() {
        true => vec!["localhost", "127.0.0.1", "::1"],
        false => options.names.iter().map(String::as_str).collect(),
    };
    let server = Leaf { common_name: names[0], names: &names, days: options.days, is_client: false };
    let mut rows = vec![row(&dir.join("ca.pem"), "the authority: for clients to trust, and tls.client_ca")];
    let (certificate, key) = issue(&authority, server, dir, "server")?;
    rows.push(row(&certificate, &format!("the broker, as {}: tls.cert", names.join(", "))));
    rows.push(row(&key, "its key: tls.key"));
    for user in &options.clients {
        let client = Leaf { common_name: user, names: &[], days: options.days, is_client: true };
        let (certificate, key) = issue(&authority, client, dir, user)?;
        rows.push(row(&certificate, &format!("the user {user}: a client's certificate")));
        rows.push(row(&key, "its key"));
    }
    let width = rows.iter().map(|(file, _)| file.len()).max().unwrap_or_default();
    let text: String = rows.iter().map(|(file, what)| format!("{file:width$}  {what}\n")).collect();
    match written(std::io::stdout().write_all(text.as_bytes()))? {
        Written::All | Written::PipeClosed => Ok(ExitCode::Success),
    }
}

fn row(path: &Path, what: &str) -> (String, String) {
    (path.display().to_string(), what.to_owned())
}

fn issue(
    authority: &Authority,
    leaf: Leaf<'_>,
    dir: &Path,
    file: &str,
) -> Result<(PathBuf, PathBuf), Failure> {
    let issued = authority.issue(leaf).map_err(|error| {
        Failure::usage(format!("{:?} cannot stand in a certificate: {error}", leaf.names)).at("--name")
    })?;
    issued.write(dir, file).map_err(unusable)
}

fn unusable(error: TlsError) -> Failure {
    Failure::new(ExitCode::Failure, error.problem)
        .at(error.path.display())
        .advise("remove ca.pem and ca.key to begin with a new authority, or name another folder with --dir")
}
