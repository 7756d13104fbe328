//! rabbitmq_http_client against the HTTP API at CONFORMANCE_HTTP: every call that applies to one node without plugins. Its
//! types are strict, so a key that an answer lacks shows. CONFORMANCE_URL is the same broker's address for AMQP.

mod messages;
mod objects;
mod people;
mod running;
mod suite;

use std::process::ExitCode;

use rabbitmq_http_client::blocking_api::Client;
use rabbitmq_http_client::requests::VirtualHostParams;
use serde_json::{Map, Value};

use suite::{Failure, Suite};

type Api = Client<String, String, String>;
type Done = Result<(), Failure>;

fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// A client that logs in as somebody.
fn log_in(user: &str, password: &str) -> Result<Api, Failure> {
    Ok(Client::new(variable("CONFORMANCE_HTTP")?, user.to_owned(), password.to_owned()))
}

/// A vhost of one scenario, which goes with it and takes all that is in it along.
struct Place {
    api: Api,
    vhost: String,
}

impl Place {
    fn new(stem: &str) -> Result<Place, Failure> {
        let place = Place {
            api: log_in("guest", "guest")?,
            vhost: format!("conformance-{stem}-{}", std::process::id()),
        };
        place.api.create_vhost(&VirtualHostParams::named(&place.vhost))?;
        place.api.grant_full_permissions("guest", &place.vhost)?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.api.delete_vhost(&self.vhost, true) {
            eprintln!("  {} stays behind: {error}", self.vhost);
        }
    }
}

/// Arguments of a queue, an exchange or a binding.
fn table<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn main() -> ExitCode {
    let mut suite = Suite::default();
    running::run(&mut suite);
    people::run(&mut suite);
    objects::run(&mut suite);
    messages::run(&mut suite);
    ExitCode::from(u8::from(!suite.finish()))
}
