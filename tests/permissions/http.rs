//! The HTTP API of a world's broker, and a client that keeps its connection.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rialto::admin::{self, AdminState};
use rialto::config::Settings;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// See the module. The API ends with it.
pub(crate) struct Http {
    url: String,
    agent: ureq::Agent,
    stop: CancellationToken,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn reason(&self) -> &str {
        self.body["reason"].as_str().unwrap_or_default()
    }
}

impl Http {
    pub(crate) fn start(world: &World) -> Http {
        let state =
            AdminState::new(world.embedded.broker().clone(), Arc::new(Settings::default()), Vec::new());
        let free = "127.0.0.1:0".parse().expect("an address");
        let listeners = world.runtime.block_on(admin::bind(&[free])).expect("a free port");
        let url = format!("http://{}", listeners[0].local_addr().expect("it is bound"));
        let stop = CancellationToken::new();
        world.runtime.spawn(admin::serve(state, listeners, stop.clone()));
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        Http { url, agent: config.build().into(), stop }
    }

    /// Asks; `login` is a user and a password.
    pub(crate) fn ask(&self, login: Option<(&str, &str)>, method: &str, path: &str, body: &str) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some((user, password)) = login {
            let login = BASE64.encode(format!("{user}:{password}"));
            request = request.header("authorization", format!("Basic {login}"));
        }
        let request = request.body(body.to_owned()).expect("a request");
        let answer = self.agent.run(request);
        let mut answer = answer.unwrap_or_else(|error| panic!("no answer to {method} {path}: {error}"));
        // Read whatever it is: the connection is wanted again.
        let text = answer.body_mut().read_to_string().expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status: answer.status().as_u16(), body }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
