//! `rialto data stats`: what is in the queues of a folder, and what it takes.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use rialto_protocol::types::FieldTable;
use serde_json::json;

use super::folder::{DataFolder, FolderOptions, size};
use super::progress::ProgressLine;
use crate::cli::output::{counted, messages, note, written};
use crate::cli::{ExitCode, Failure, table};
use crate::model::QueueId;
use crate::store::QueueRow;
use crate::store::check::{DataStats, QueueStats, SegmentStats};
use crate::store::recovery::{OnDamage, RecoveryOptions, recover};
use crate::store::segment::file_name;

const EXAMPLES: &str = "\
Examples:
  rialto data stats
  rialto data stats /var/lib/rialto --segments
  rialto data stats --json | jq '.queues[] | select(.messages > 1000)'

Counts what a broker that starts from this folder would have; unacknowledged messages are ready
again then. `live` bytes belong to messages that are left; the others come back when their segment
is deleted, or its survivors have been copied (store.garbage_ratio_max).";

/// Show what is in the queues, and what it takes on disk
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Options {
    /// The data folder, or a backup [default: that of store.data_dir]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Show the segments instead of the queues
    #[arg(long, conflicts_with = "json")]
    segments: bool,
    /// One JSON object, for scripts: all of it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: FolderOptions,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = DataFolder::open(options.options.folder(options.folder.as_deref())?)?;
    let catalog = folder.catalog();
    let catalog =
        catalog.map_err(|error| Failure::new(ExitCode::Damaged, error).at(folder.path.display()))?;
    // Without names there is still something to count.
    let names = catalog.as_ref().map(|contents| names_of(&contents.queues));
    let exists = |id: QueueId| names.as_ref().is_none_or(|names| names.contains_key(&id));
    let mut line = ProgressLine::new("reading");
    let recovered = folder.journal(|disk| {
        // What is damaged is for `check` to tell.
        let options = RecoveryOptions { on_damage: OnDamage::Skip, exists: &exists };
        recover(disk, &options, &mut |now| line.show(now.done, now.of))
    })?;
    drop(line);
    let lost = recovered.damage.iter().any(|damage| damage.is_loss());
    let stats = DataStats::of(&recovered);
    drop(recovered);
    let names = names.unwrap_or_default();
    match (options.json, options.segments) {
        (true, _) => {
            let text = json(&folder, &stats, &names).to_string() + "\n";
            written(io::stdout().write_all(text.as_bytes()))?;
        }
        (false, segments) => {
            note(format_args!("{}", summary(&stats)));
            let rows = if segments { segment_rows(&stats) } else { queue_rows(&stats, &names) };
            if !rows.is_empty() {
                table::write(&rows)?;
            }
        }
    }
    if lost {
        note(format_args!("note: something is damaged; `rialto data check` says what"));
    }
    Ok(ExitCode::Success)
}

/// Vhost and name of each queue.
type Names = HashMap<QueueId, (String, String)>;

fn names_of(queues: &[QueueRow]) -> Names {
    let named = |queue: &QueueRow| (queue.id, (queue.vhost.to_string(), queue.name.to_string()));
    queues.iter().map(named).collect()
}

fn summary(stats: &DataStats) -> String {
    let (count, bodies) =
        stats.queues.iter().fold((0, 0), |sum, queue| (sum.0 + queue.messages, sum.1 + queue.body_bytes));
    format!(
        "{} with {}, of which {} can come back; {} with bodies of {} in {}",
        counted(stats.segments.len() as u64, "segment"),
        size(stats.bytes),
        size(stats.reclaimable_bytes),
        messages(count),
        size(bodies),
        counted(stats.queues.len() as u64, "queue")
    )
}

fn queue_rows(stats: &DataStats, names: &Names) -> Vec<FieldTable> {
    let row = |queue: &QueueStats| {
        let (vhost, name) = names.get(&queue.id).cloned().unwrap_or_default();
        FieldTable::new()
            .with("vhost", vhost)
            .with("name", name)
            .with("id", queue.id.0 as i64)
            .with("messages", queue.messages as i64)
            .with("message_bytes", queue.body_bytes as i64)
            .with("runs", queue.runs as i64)
    };
    stats.queues.iter().map(row).collect()
}

fn segment_rows(stats: &DataStats) -> Vec<FieldTable> {
    let row = |segment: &SegmentStats| {
        FieldTable::new()
            .with("file", file_name(segment.id))
            .with("file_bytes", segment.bytes as i64)
            .with("live_bytes", segment.live_bytes as i64)
            .with("records", segment.records as i64)
            .with("published", segment.total as i64)
            .with("left", segment.live as i64)
    };
    stats.segments.iter().map(row).collect()
}

fn json(folder: &DataFolder, stats: &DataStats, names: &Names) -> serde_json::Value {
    let queue = |queue: &QueueStats| {
        let name = names.get(&queue.id);
        json!({
            "id": queue.id.0,
            "vhost": name.map(|(vhost, _)| vhost),
            "name": name.map(|(_, name)| name),
            "messages": queue.messages,
            "message_bytes": queue.body_bytes,
            "runs": queue.runs,
        })
    };
    let segment = |segment: &SegmentStats| {
        json!({
            "segment": segment.id.0,
            "file": file_name(segment.id),
            "created_at": segment.created_at.as_secs(),
            "bytes": segment.bytes,
            "live_bytes": segment.live_bytes,
            "records": segment.records,
            "published": segment.total,
            "left": segment.live,
        })
    };
    json!({
        "folder": folder.path.display().to_string(),
        "bytes": stats.bytes,
        "reclaimable_bytes": stats.reclaimable_bytes,
        "next_lsn": stats.next_lsn.0,
        "queues": stats.queues.iter().map(queue).collect::<Vec<_>>(),
        "segments": stats.segments.iter().map(segment).collect::<Vec<_>>(),
    })
}
