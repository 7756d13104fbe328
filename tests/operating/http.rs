//! A broker with its HTTP API, and someone who asks it.

use std::sync::Arc;
use std::time::Duration;

use rialto::admin::{self, AdminState};
use rialto::config::Settings;
use rialto::server::Embedded;
use rialto_client::Client;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support;

/// A broker whose clock stands still, its client, and its API.
pub(crate) struct World {
    pub(crate) broker: Embedded,
    pub(crate) client: Client,
    url: String,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl World {
    pub(crate) async fn start() -> World {
        Self::start_with(Settings::default()).await
    }

    pub(crate) async fn start_with(settings: Settings) -> World {
        let (broker, client) = support::start_and_connect().await;
        let listeners = admin::bind(&["127.0.0.1:0".parse().unwrap()]).await.expect("a free port");
        let url = format!("http://{}", listeners[0].local_addr().unwrap());
        let state = AdminState::new(broker.broker().clone(), Arc::new(settings), Vec::new());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(admin::serve(state, listeners, stop.clone()));
        World { broker, client, url, stop, serving }
    }

    /// Stops the API, and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        support::soon("the end of the API", self.serving).await.unwrap();
    }

    /// What is answered: a status and a body.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/{path}", self.url))
            .header("authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
            .body(body.map(|body| body.to_string()).unwrap_or_default())
            .unwrap();
        let asking = tokio::task::spawn_blocking(move || {
            let config = ureq::Agent::config_builder().http_status_as_error(false).build();
            let mut answer = ureq::Agent::from(config).run(request).expect("an answer");
            let text = answer.body_mut().read_to_string().expect("a body");
            let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
            (answer.status().as_u16(), body)
        });
        asking.await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(body.clone())).await;
        assert!((200..300).contains(&status), "POST {path} {body}: {status} {answer}");
        answer
    }

    /// What a request is refused with.
    pub(crate) async fn refused(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.ask(method, path, Some(body)).await;
        assert!((400..500).contains(&status), "{method} {path}: {status} {answer}");
        (status, answer["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// Bodies of what waits in a queue.
    pub(crate) async fn waiting(&self, queue: &str) -> Vec<String> {
        let found = self.post(&format!("queues/%2F/{queue}/peek"), json!({"limit": 1000})).await;
        texts(&found["messages"], "payload")
    }

    /// Waits until a job has ended. Everything that was seen of it on the way.
    pub(crate) async fn finish(&self, job: &Value) -> Vec<Value> {
        let path = format!("jobs/{}", job["id"]);
        let mut seen = Vec::new();
        let ended = async {
            loop {
                let job = self.get(&path).await;
                let is_running = job["state"] == "running";
                seen.push(job);
                if !is_running {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        support::soon("the end of a job", ended).await;
        seen
    }
}

/// One field of each entry.
pub(crate) fn texts(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|entry| entry[field].as_str().unwrap_or_default().to_owned()).collect()
}
