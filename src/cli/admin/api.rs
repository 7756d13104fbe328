//! The way to a broker's HTTP API: which one, who calls, what is asked, and what went wrong.
//!
//! Invariants: the password is in no error; a proxy is never asked, nor a redirect followed, since both would be given the
//! password; an answer is read to an end that has a limit.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::address::{ApiAddress, percent};
use super::password;
use crate::cli::{ExitCode, Failure};

/// How long a broker may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take to begin its answer: an import of very many things takes a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// Most bytes of an answer: some hundred million queues.
const ANSWER_MAX: u64 = 4 << 30;

/// Most characters that are shown of an answer that is no JSON.
const TOLD_MAX: usize = 400;

/// Where the HTTP API is, and who calls.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Broker")]
pub(super) struct ApiOptions {
    /// Where the HTTP API is: http://user:password@host:15672 [default: the host and user of RIALTO_URL]
    #[arg(long, env = "RIALTO_API", value_name = "URL", hide_env_values = true)]
    api: Option<String>,
    /// Log in as this user, in place of the address's
    #[arg(long = "as", env = "RIALTO_USER", value_name = "USER")]
    login: Option<String>,
    /// A file whose first line is the password; - is stdin
    // The password itself is no flag: everybody on a machine sees the flags of its processes.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Trust an https:// address whose certificate comes from these authorities (PEM), in place of the well-known ones
    #[arg(long, env = "RIALTO_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

/// The variable with the caller's password.
const PASSWORD_VARIABLE: &str = "RIALTO_PASSWORD";

/// The variable with the address of the broker itself.
const BROKER_VARIABLE: &str = "RIALTO_URL";

impl ApiOptions {
    /// A way to the API, with all that is needed to log in. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ExitCode::Usage`]: the address, a file or a password cannot be used.
    pub(super) fn api(&self) -> Result<Api, Failure> {
        let mut address = self.address()?;
        if let Some(user) = &self.login {
            if *user != address.user {
                address.password = None;
            }
            address.user.clone_from(user);
        }
        if let Some(file) = &self.password_file {
            address.password = Some(password::from_file(file)?);
        } else if let Some(text) = std::env::var(PASSWORD_VARIABLE).ok().filter(|text| !text.is_empty()) {
            address.password = Some(crate::config::Secret::new(text));
        }
        if address.user.contains(':') {
            return Err(Failure::usage("a user whose name has a colon cannot log in over HTTP (RFC 7617)"));
        }
        let secret = match &address.password {
            Some(secret) => secret.clone(),
            None => password::ask(&format!("password of {}: ", address.user))?.ok_or_else(|| {
                Failure::usage(format_args!("no password for {:?}", address.user))
                    .advise("set RIALTO_PASSWORD, name a file with --password-file, or call it from a terminal to be asked")
            })?,
        };
        let credentials = STANDARD.encode(format!("{}:{}", address.user, secret.reveal()));
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .user_agent(concat!("rialto-cli/", env!("CARGO_PKG_VERSION")));
        // The file may be named for other commands, by the variable.
        if let Some(file) = self.tls_ca.as_ref().filter(|_| address.origin.starts_with("https:")) {
            let roots = RootCerts::from(certificates(file)?);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Api {
            agent: config.build().new_agent(),
            origin: address.origin,
            user: address.user,
            authorization: format!("Basic {credentials}"),
        })
    }

    fn address(&self) -> Result<ApiAddress, Failure> {
        if let Some(text) = self.api.as_deref().filter(|text| !text.is_empty()) {
            return ApiAddress::parse(text).map_err(|problem| {
                Failure::usage(format_args!("this is no address of an HTTP API: {problem}"))
                    .at("--api or RIALTO_API")
                    .advise("for example http://guest:guest@127.0.0.1:15672")
            });
        }
        let broker = std::env::var(BROKER_VARIABLE).ok().filter(|text| !text.is_empty());
        let Some(broker) = broker else {
            return Ok(ApiAddress::default());
        };
        let broker: rialto_client::Address = broker.parse().map_err(|error: rialto_client::Error| {
            Failure::usage(error)
                .at("RIALTO_URL")
                .advise("or say where the HTTP API is, with --api or RIALTO_API")
        })?;
        match ApiAddress::beside(&broker) {
            Some(address) => Ok(address),
            None => Err(Failure::usage(
                "the broker is spoken to by TLS, and its HTTP API has an address of its own",
            )
            .at("RIALTO_URL")
            .advise("say where the API is, with --api or RIALTO_API: https://host:port")),
        }
    }
}

fn certificates(file: &PathBuf) -> Result<Vec<Certificate<'static>>, Failure> {
    let text = std::fs::read(file).map_err(|error| Failure::usage(error).at(file.display()))?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(Failure::usage(error).at(file.display())),
        }
    }
    match found.is_empty() {
        true => Err(Failure::usage("there is no certificate in the file").at(file.display())),
        false => Ok(found),
    }
}

/// A path of the API, put together from names as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(String);

impl Path {
    /// `/api/` and these segments, each encoded.
    pub(super) fn new(segments: &[&str]) -> Self {
        let mut path = "/api".to_owned();
        for segment in segments {
            path.push('/');
            path.push_str(&percent::encode(segment));
        }
        Path(path)
    }

    /// Whether every segment says something. One that is empty is none for the API, and the path that of other things.
    fn is_whole(&self) -> bool {
        let path = self.0.split('?').next().unwrap_or_default();
        path.split('/').skip(1).all(|segment| !segment.is_empty())
    }

    /// With a parameter behind it.
    pub(super) fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(&format!("{name}={}", percent::encode(&value.to_string())));
        self
    }
}

/// A broker's HTTP API.
pub(super) struct Api {
    agent: Agent,
    origin: String,
    user: String,
    authorization: String,
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It was not there before.
    Created,
    /// It was there.
    Changed,
}

impl Api {
    /// Who calls.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Asks for something.
    pub(super) fn get(&self, path: &Path) -> Result<Value, ApiError> {
        let (_, value) = self.send("GET", path, None, &[])?;
        value.ok_or_else(|| ApiError::strange("an empty answer"))
    }

    /// Asks for something whose answer is an answer with every status: health checks.
    pub(super) fn ask(&self, path: &Path) -> Result<(u16, Value), ApiError> {
        let answer = self.agent.get(self.url(path)?);
        let answer = answer.header("authorization", &self.authorization).call();
        let (status, body) = self.read(answer.map_err(|error| self.unreachable(error))?)?;
        match (status, serde_json::from_slice(&body)) {
            (401 | 404, Ok(value)) => Err(ApiError::refused(status, &value, &self.user)),
            (status, Ok(value)) => Ok((status, value)),
            (status, Err(_)) => Err(ApiError::told(status, &body, &self.user)),
        }
        .map_err(|error| error.at(&self.origin))
    }

    /// Asks for all rows of a list that comes in pages.
    pub(super) fn pages(
        &self,
        path: &Path,
        page_size: usize,
        mut page: impl FnMut(Vec<Value>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        for number in 1.. {
            let path = path.clone().with("page", number).with("page_size", page_size);
            let mut answer = match self.get(&path) {
                Ok(answer) => answer,
                // Things went away meanwhile, and the last page with them.
                Err(ApiError::Refused { status: 400, .. }) if number > 1 => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let pages = answer["page_count"].as_u64().unwrap_or(1);
            let rows = match &mut answer {
                // Not every list comes in pages.
                Value::Array(rows) => std::mem::take(rows),
                answer => answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default(),
            };
            if !page(rows)? || number >= pages {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes something be so.
    pub(super) fn put(&self, path: &Path, body: &Value) -> Result<Change, ApiError> {
        match self.send("PUT", path, Some(body), &[])? {
            (201, _) => Ok(Change::Created),
            _ => Ok(Change::Changed),
        }
    }

    /// Makes something be so; what is so then.
    pub(super) fn put_for(&self, path: &Path, body: &Value) -> Result<Value, ApiError> {
        Ok(self.send("PUT", path, Some(body), &[])?.1.unwrap_or(Value::Null))
    }

    /// Has something done; what it answers, if it does.
    pub(super) fn post(&self, path: &Path, body: &Value) -> Result<Value, ApiError> {
        Ok(self.send("POST", path, Some(body), &[])?.1.unwrap_or(Value::Null))
    }

    /// Takes something away.
    pub(super) fn delete(&self, path: &Path) -> Result<Value, ApiError> {
        Ok(self.send("DELETE", path, None, &[])?.1.unwrap_or(Value::Null))
    }

    /// Takes something away, with a reason for whoever it is taken from.
    pub(super) fn delete_because(&self, path: &Path, reason: &str) -> Result<(), ApiError> {
        // A header is one line.
        let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.send("DELETE", path, None, &[("x-reason", &reason)]).map(drop)
    }

    fn url(&self, path: &Path) -> Result<String, ApiError> {
        match path.is_whole() {
            true => Ok(format!("{}{}", self.origin, path.0)),
            // Arguments are read by `parse_present`; this is for those that are not.
            false => Err(ApiError::Failed(
                Failure::usage(format_args!("a name is empty in {}", path.0))
                    .advise("say which one is meant; is a variable not set?"),
            )),
        }
    }

    fn send(
        &self,
        method: &str,
        path: &Path,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<(u16, Option<Value>), ApiError> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(self.url(path)?)
            .header("authorization", &self.authorization)
            .header("accept", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = match body {
            Some(value) => {
                request = request.header("content-type", "application/json");
                value.to_string().into_bytes()
            }
            None => Vec::new(),
        };
        let strange = |error: ureq::http::Error| ApiError::strange(error);
        let answer = match body {
            Some(_) => self.agent.run(request.body(bytes).map_err(strange)?),
            None => self.agent.run(request.body(()).map_err(strange)?),
        };
        let (status, body) = self.read(answer.map_err(|error| self.unreachable(error))?)?;
        let value = match body.is_empty() {
            true => None,
            false => Some(serde_json::from_slice(&body)),
        };
        match (status, value) {
            (200..=299, None) => Ok((status, None)),
            (200..=299, Some(Ok(value))) => Ok((status, Some(value))),
            (200..=299, Some(Err(error))) => Err(ApiError::strange(format_args!("no JSON: {error}"))),
            (status, Some(Ok(value))) => Err(ApiError::refused(status, &value, &self.user)),
            (status, _) => Err(ApiError::told(status, &body, &self.user)),
        }
        .map_err(|error| error.at(&self.origin))
    }

    fn read(&self, answer: Response<Body>) -> Result<(u16, Vec<u8>), ApiError> {
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        let read = answer.into_body().into_reader().take(ANSWER_MAX).read_to_end(&mut body);
        read.map_err(|error| self.unreachable(error.into()))?;
        Ok((status, body))
    }

    fn unreachable(&self, error: ureq::Error) -> ApiError {
        let what = match &error {
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::HostNotFound => "there is no such host".to_owned(),
            other => other.to_string(),
        };
        let failure =
            Failure::new(ExitCode::Connection, format_args!("cannot speak with the HTTP API: {what}"));
        let failure = failure.at(&self.origin).advise(
            "start a broker with `rialto serve` (its setting is management.listen), or name another with --api",
        );
        ApiError::Failed(failure)
    }
}

/// Why a request did not do what it was to do.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The broker said no.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why, in the broker's words.
        reason: String,
        /// Who asked.
        user: String,
        /// The address of the API.
        place: String,
    },
    /// No answer came, or none that can be understood.
    Failed(Failure),
}

impl ApiError {
    fn strange(what: impl fmt::Display) -> Self {
        ApiError::Failed(
            Failure::new(ExitCode::Failure, format_args!("the broker says something strange: {what}"))
                .advise("is it the HTTP API of a broker that answers there?"),
        )
    }

    fn refused(status: u16, body: &Value, user: &str) -> Self {
        let text = |value: &Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let reason = text(&body["reason"]).or_else(|| text(&body["error"]));
        let reason = reason.unwrap_or_else(|| format!("HTTP status {status}"));
        ApiError::Refused { status, reason, user: user.to_owned(), place: String::new() }
    }

    /// Refused without JSON: by something else than the HTTP API, which may say in its own words what it is.
    fn told(status: u16, body: &[u8], user: &str) -> Self {
        let text: String = String::from_utf8_lossy(body).chars().take(TOLD_MAX).collect();
        let words: Vec<_> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
        let text = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let reason = match text.is_empty() {
            true => format!("HTTP status {status}"),
            false => format!("HTTP status {status}: {text}"),
        };
        ApiError::Refused { status, reason, user: user.to_owned(), place: String::new() }
    }

    fn at(mut self, origin: &str) -> Self {
        match &mut self {
            ApiError::Refused { place, .. } => origin.clone_into(place),
            ApiError::Failed(failure) => drop(failure.place.get_or_insert_with(|| origin.to_owned())),
        }
        self
    }

    /// Whether it was refused with this reason.
    pub(super) fn is_because(&self, of: &str) -> bool {
        matches!(self, ApiError::Refused { reason, .. } if reason == of)
    }

    /// Whether it is that the thing is not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, ApiError::Refused { status: 404, .. })
    }

    /// As a failure of a command about this thing: `queue "tasks" of vhost "/"`.
    pub(super) fn of(self, thing: impl fmt::Display) -> Failure {
        match self {
            ApiError::Refused { status: 404, place, .. } => {
                Failure::new(ExitCode::Refused, format_args!("there is no {thing}")).at(place)
            }
            other => other.into(),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let (status, reason, user, place) = match error {
            ApiError::Failed(failure) => return failure,
            ApiError::Refused { status, reason, user, place } => (status, reason, user, place),
        };
        let is_login = status == 401 && reason.to_ascii_lowercase().contains("login failed");
        let code = match status {
            _ if is_login => ExitCode::Connection,
            500.. => ExitCode::Failure,
            _ => ExitCode::Refused,
        };
        let failure = match status {
            _ if is_login => {
                Failure::new(code, format_args!("the broker refused to let {user:?} in")).advise(
                    "check user and password: --api, --as, --password-file, RIALTO_API, RIALTO_PASSWORD; \
                     guest may come from this machine only",
                )
            }
            401 | 403 => Failure::new(code, format_args!("{user:?} may not do this: {reason}"))
                .advise("an administrator can give tags with `rialto user set` and permissions with `rialto permission set`"),
            _ => Failure::new(code, reason),
        };
        failure.at(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_holds_names_as_they_are() {
        assert_eq!(Path::new(&["queues", "/", "a/b"]).0, "/api/queues/%2F/a%2Fb");
        assert_eq!(
            Path::new(&["queues"]).with("name", "a&b").with("page", 2).0,
            "/api/queues?name=a%26b&page=2"
        );
    }

    #[test]
    fn a_path_with_an_empty_name_is_not_asked_for() {
        assert!(Path::new(&["queues", "/", "a"]).with("name", "").is_whole());
        assert!(Path::new(&["definitions"]).is_whole());
        assert!(!Path::new(&["definitions", ""]).is_whole());
        assert!(!Path::new(&["permissions", "", "ann"]).with("page", 1).is_whole());
    }

    #[test]
    fn the_exit_code_says_who_is_to_act() {
        let code = |status, body: Value| Failure::from(ApiError::refused(status, &body, "ann")).code;
        assert_eq!(
            code(401, json!({"error": "not_authorised", "reason": "Login failed"})),
            ExitCode::Connection
        );
        assert_eq!(code(401, json!({"reason": "User not authorised"})), ExitCode::Refused);
        assert_eq!(code(400, json!({"reason": "bad"})), ExitCode::Refused);
        assert_eq!(code(404, Value::Null), ExitCode::Refused);
        assert_eq!(code(500, Value::Null), ExitCode::Failure);
    }

    #[test]
    fn what_is_no_api_is_shown_in_its_own_words() {
        let told = |body: &[u8]| Failure::from(ApiError::told(400, body, "ann")).what;
        assert_eq!(told(b"This port speaks\r\n\x1b AMQP.\n"), "HTTP status 400: This port speaks AMQP.");
        assert_eq!(told(b" "), "HTTP status 400");
        assert!(told("ü".repeat(100_000).as_bytes()).chars().count() < 500);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = ApiError::refused(404, &json!({"reason": "Not Found"}), "ann");
        assert_eq!(error.of("queue \"q\"").what, "there is no queue \"q\"");
    }
}
