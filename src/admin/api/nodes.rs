//! The node: what this process takes of the machine.

use std::fs;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::overview::exchange_types;
use crate::admin::caller::{Caller, Level};
use crate::admin::error::ErrorBody;
use crate::admin::input::Path;
use crate::admin::process::{Process, disk_space};
use crate::admin::{AdminState, ApiError, resident_memory};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(memory))
}

/// The nodes: this one
#[utoipa::path(get, path = "/api/nodes", tag = "nodes", responses(
    (status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn list(caller: Caller, State(state): State<AdminState>) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Monitoring)?;
    Ok(Json(state.blocking(|state| json!([render(state)])).await))
}

/// One node
#[utoipa::path(get, path = "/api/nodes/{node}", tag = "nodes", params(("node" = String, Path)), responses(
    (status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
))]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path(node): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Monitoring)?;
    state.check_node(&node)?;
    Ok(Json(state.blocking(render).await))
}

/// What a node's memory is used for
#[utoipa::path(get, path = "/api/nodes/{node}/memory", tag = "nodes", params(("node" = String, Path)), responses(
    (status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
))]
async fn memory(
    caller: Caller,
    State(state): State<AdminState>,
    Path(node): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Monitoring)?;
    state.check_node(&node)?;
    let (resident, messages) = (resident_memory().unwrap_or(0), state.broker.memory_bytes());
    // Tools want all of RabbitMQ's keys; what is theirs alone is 0.
    let mut memory: Map<String, Value> =
        MEMORY_KEYS.iter().map(|key| ((*key).to_owned(), 0.into())).collect();
    memory.insert("strategy".to_owned(), "rss".into());
    memory.insert("total".to_owned(), json!({"rss": resident, "allocated": resident, "erlang": resident}));
    memory.insert("binary".to_owned(), messages.into());
    memory.insert("other_proc".to_owned(), resident.saturating_sub(messages).into());
    Ok(Json(json!({"memory": memory})))
}

/// What RabbitMQ divides its memory into.
const MEMORY_KEYS: [&str; 26] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_procs",
    "queue_slave_procs",
    "quorum_queue_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "metadata_store",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "metadata_store_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
    "other_system",
    "allocated_unused",
    "reserved_unallocated",
];

fn render(state: &AdminState) -> Value {
    let (alarms, process) = (state.alarms(), Process::now());
    let settings = &state.settings;
    let applications = json!([{
        "name": "rabbit", "description": "Rialto", "version": settings.management.announce_version,
    }]);
    let folder = &settings.store.data_dir;
    json!({
        "name": state.node.name(),
        "type": "disc",
        "running": true,
        "being_drained": false,
        "os_pid": std::process::id().to_string(),
        "uptime": state.node.uptime().as_millis() as u64,
        "fd_used": process.open_files.unwrap_or(0),
        "fd_total": process.open_files_max.unwrap_or(u64::from(u32::MAX)),
        "sockets_used": state.broker.connections().len(),
        "sockets_total": settings.server.connections_max,
        "proc_used": threads(),
        "proc_total": 32_768,
        "mem_used": process.resident.unwrap_or(0),
        "mem_limit": state.memory_limit().unwrap_or(0),
        "mem_alarm": alarms.contains(&"memory"),
        "mem_calculation_strategy": "rss",
        "disk_free": disk_space(folder).or_else(|| disk_space(".".as_ref())).unwrap_or(0),
        "disk_free_limit": settings.store.free_space_min.bytes(),
        "disk_free_alarm": alarms.contains(&"disk"),
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "run_queue": 0,
        "rates_mode": "basic",
        "net_ticktime": 60,
        "partitions": [],
        "cluster_links": [],
        "db_dir": folder.display().to_string(),
        "config_files": [],
        "log_files": ["<stderr>"],
        "enabled_plugins": ["rabbitmq_management", "rabbitmq_prometheus"],
        "exchange_types": exchange_types(),
        "auth_mechanisms": state.mechanisms().iter().map(|name| {
            json!({"name": name, "description": format!("SASL {name}"), "enabled": true})
        }).collect::<Vec<_>>(),
        "applications": applications,
        "contexts": super::overview::contexts(state),
    })
}

/// 0 where the system does not say.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
