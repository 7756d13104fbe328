//! `rialto data check`: every record and every message is read, and what is damaged is named.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::folder::{DataFolder, FolderOptions, size};
use super::progress::ProgressLine;
use crate::cli::output::{counted, grouped, messages, written};
use crate::cli::{ExitCode, Failure};
use crate::store::CatalogContents;
use crate::store::check::{Checked, check};
use crate::store::recovery::{Cut, Damage};
use crate::store::segment::file_name;

const EXAMPLES: &str = "\
Examples:
  rialto data check
  rialto data check /var/lib/rialto && echo all is well
  rialto data check /backups/monday --json | jq -r '.damage[].what'

Reads everything, so it takes as long as the disk does. Each damage is told with its segment, the
offset in it and the messages that were there. A torn tail is what a crash leaves of a record that
nobody was told is safe: no damage. Exit code 7 if anything is damaged.

With store.on_damage = \"skip\" a broker starts without what is lost; a backup has all of it.";

/// Read every message and say what is damaged, and where
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Options {
    /// The data folder, or a backup [default: that of store.data_dir]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: FolderOptions,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let found = look(options.options.folder(options.folder.as_deref())?)?;
    let text = if options.json { found.json().to_string() + "\n" } else { found.text() };
    written(io::stdout().write_all(text.as_bytes()))?;
    Ok(if found.is_well() { ExitCode::Success } else { ExitCode::Damaged })
}

/// What was found in a folder.
pub(super) struct Found {
    path: PathBuf,
    journal: Checked,
    catalog: CatalogFound,
}

enum CatalogFound {
    Whole(Box<CatalogContents>),
    /// A folder in which nothing was ever declared.
    None,
    /// A broker was writing to it.
    Busy,
    Damaged(String),
}

/// Checks a folder.
pub(super) fn look(path: PathBuf) -> Result<Found, Failure> {
    let folder = DataFolder::open(path)?;
    let mut line = ProgressLine::new("checking");
    let mut once = || folder.journal(|disk| check(disk, &mut |now| line.show(now.done, now.of)));
    let mut journal = once()?;
    if !journal.damage.is_empty() {
        // A broker may have been in the middle of writing it. What is damaged stays so.
        let again = once()?;
        let first = std::mem::replace(&mut journal, again).damage;
        journal.damage.retain(|damage| first.contains(damage));
    }
    let catalog = match folder.catalog() {
        Ok(Some(contents)) => CatalogFound::Whole(Box::new(contents)),
        Ok(None) if folder.is_in_use() => CatalogFound::Busy,
        Ok(None) if journal.segments == 0 => CatalogFound::None,
        Ok(None) => CatalogFound::Damaged("it is missing: no queue of the journal is known".to_owned()),
        Err(error) => CatalogFound::Damaged(error.to_string()),
    };
    Ok(Found { path: folder.path, journal, catalog })
}

impl Found {
    /// Whether nothing is damaged.
    pub(super) fn is_well(&self) -> bool {
        self.journal.damage.is_empty() && !matches!(self.catalog, CatalogFound::Damaged(_))
    }

    /// What is damaged, a line each.
    pub(super) fn damage(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.journal.damage.iter().map(ToString::to_string).collect();
        if let CatalogFound::Damaged(what) = &self.catalog {
            lines.push(format!("the catalog: {what}"));
        }
        lines
    }

    fn text(&self) -> String {
        let Checked { segments, bytes, records, messages: count, cut, .. } = &self.journal;
        let mut out = format!(
            "{}: {} with {}, {}, {}\n",
            self.path.display(),
            counted(*segments, "segment"),
            size(*bytes),
            counted(*records, "record"),
            messages(*count)
        );
        match &self.catalog {
            CatalogFound::Whole(contents) => {
                let (queues, bindings) = (contents.queues.len() as u64, contents.bindings.len() as u64);
                let (queues, bindings) = (counted(queues, "queue"), counted(bindings, "binding"));
                let _ = writeln!(out, "the catalog: {queues}, {bindings}");
            }
            CatalogFound::None => out.push_str("the catalog: none yet\n"),
            CatalogFound::Busy => out.push_str("the catalog: not checked, a broker is writing to it\n"),
            CatalogFound::Damaged(_) => {}
        }
        if let Some(Cut { segment, offset, bytes, removed }) = cut {
            let file = file_name(*segment);
            let bytes = counted(*bytes, "byte");
            let _ = writeln!(out, "a torn tail: {bytes} at {offset} of {file}, which the next start cuts");
            for segment in removed {
                let _ = writeln!(out, "a torn tail: {}, which the next start removes", file_name(*segment));
            }
        }
        for line in self.damage() {
            let _ = writeln!(out, "damaged: {line}");
        }
        match (self.is_well(), self.journal.damage.iter().any(Damage::is_loss)) {
            (true, _) => out.push_str("all is well\n"),
            (false, true) => {
                let places = grouped(self.journal.damage.len() as u64);
                let _ = writeln!(out, "{places} places are damaged, and messages may be lost");
            }
            (false, false) => out.push_str("no message is lost by what is damaged in the journal\n"),
        }
        out
    }

    fn json(&self) -> Value {
        let damage = |damage: &Damage| {
            json!({
                "segment": damage.segment.0,
                "file": file_name(damage.segment),
                "offset": damage.offset,
                "bytes": damage.len,
                "what": damage.to_string(),
                "is_loss": damage.is_loss(),
                "first_message": damage.messages.map(|(first, _)| first.0),
                "last_message": damage.messages.map(|(_, last)| last.0),
            })
        };
        let cut = |cut: &Cut| {
            json!({
                "segment": cut.segment.0,
                "file": file_name(cut.segment),
                "offset": cut.offset,
                "bytes": cut.bytes,
                "removed": cut.removed.iter().map(|segment| file_name(*segment)).collect::<Vec<_>>(),
            })
        };
        let catalog = match &self.catalog {
            CatalogFound::Whole(contents) => json!({
                "state": "whole",
                "vhosts": contents.vhosts.len(),
                "exchanges": contents.exchanges.len(),
                "queues": contents.queues.len(),
                "bindings": contents.bindings.len(),
            }),
            CatalogFound::None => json!({ "state": "none" }),
            CatalogFound::Busy => json!({ "state": "busy" }),
            CatalogFound::Damaged(what) => json!({ "state": "damaged", "what": what }),
        };
        json!({
            "folder": shown(&self.path),
            "is_well": self.is_well(),
            "segments": self.journal.segments,
            "bytes": self.journal.bytes,
            "records": self.journal.records,
            "messages": self.journal.messages,
            "damage": self.journal.damage.iter().map(damage).collect::<Vec<_>>(),
            "torn_tail": self.journal.cut.as_ref().map(cut),
            "catalog": catalog,
        })
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
