//! The data folder of a running broker: opened with the broker, driven by threads of its own, closed when it stops.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::serve::ServeError;
use crate::broker::{Broker, Builder, Turn};
use crate::config::{self, StoreSettings};
use crate::model::{Clock, SystemClock, VhostName};
use crate::store::backup::{RunningStore, check_finished};
use crate::store::journal::{JournalOptions, JournalThreads, SyncMode};
use crate::store::recovery::{OnDamage, Progress};
use crate::store::{Catalog, FileDisk, Store, StoreError, StoreOptions};

/// How often a long recovery says how far it is.
const REPORT: Duration = Duration::from_secs(1);

/// Threads that write what the broker tells the journal and the catalog.
pub(super) struct Storage {
    journal: JournalThreads,
    catalog: Arc<Catalog>,
    writer: JoinHandle<()>,
    running: Arc<RunningStore>,
    disk: Arc<FileDisk>,
}

/// Makes a broker of a data folder. `policies` sets what must hold before the queues have their messages. Waits for the
/// disk.
pub(super) fn open(
    settings: &StoreSettings,
    builder: Builder,
    vhosts: Vec<VhostName>,
    policies: impl FnOnce(&Broker),
) -> Result<(Broker, Storage), ServeError> {
    let folder = settings.data_dir.as_path();
    let failed = |error: StoreError| ServeError::Store { folder: folder.display().to_string(), error };
    check_finished(folder).map_err(|error| failed(io::Error::other(error).into()))?;
    let disk = Arc::new(FileDisk::open(folder).map_err(|error| failed(error.into()))?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let began = Instant::now();
    let mut reported = began;
    let mut report = |progress: Progress| {
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            let Progress { done, of, messages } = progress;
            let percent = 100 * done / of.max(1);
            tracing::info!(messages, "reading the journal: {percent} % done");
        }
    };
    let store = Store::open(disk.clone(), clock.clone(), options(settings), &mut report).map_err(failed)?;
    tell(&store, folder, began.elapsed());
    store.keep_vhosts(vhosts).map_err(|error| failed(error.into()))?;
    let Store { journal, catalog, contents, held, delivered_before, .. } = store;
    let writer = catalog.spawn_writer().map_err(|error| failed(error.into()))?;
    let threads = JournalThreads::spawn(journal.clone()).map_err(|error| failed(error.into()))?;
    let running = Arc::new(RunningStore::new(journal.clone(), catalog.clone()));
    let storage = Storage { journal: threads, catalog: catalog.clone(), writer, running, disk };
    let broker = builder.clock(clock).restore(journal, catalog, contents).map_err(ServeError::Restore)?;
    policies(&broker);
    broker.restore_messages(held, delivered_before, &mut Turn::new());
    Ok((broker, storage))
}

fn tell(store: &Store, folder: &Path, took: Duration) {
    let messages: u64 = store.held.values().map(|held| held.messages()).sum();
    let (queues, folder) = (store.contents.queues.len(), folder.display());
    let took = humantime::format_duration(Duration::from_millis(took.as_millis() as u64));
    tracing::info!("{folder}: {queues} durable queues with {messages} messages, read in {took}");
    if let Some(cut) = &store.cut {
        tracing::warn!(
            segment = %cut.segment, offset = cut.offset, bytes = cut.bytes,
            "the last process was interrupted while it wrote; that was never confirmed, and is gone"
        );
    }
    for damage in &store.damage {
        tracing::error!("{damage}");
    }
}

fn options(settings: &StoreSettings) -> StoreOptions {
    StoreOptions {
        journal: JournalOptions {
            segment_size: settings.segment_size.as_u32(),
            sync: match settings.sync {
                config::SyncMode::Always => SyncMode::Always,
                config::SyncMode::Interval => SyncMode::Interval(settings.sync_interval),
                config::SyncMode::Never => SyncMode::Never,
            },
            free_space_min: settings.free_space_min.bytes(),
            garbage_ratio: f64::from(settings.garbage_ratio_max) / 100.0,
            nonce_seed: None,
        },
        on_damage: match settings.on_damage {
            config::OnDamage::Refuse => OnDamage::Refuse,
            config::OnDamage::Skip => OnDamage::Skip,
        },
    }
}

impl Storage {
    /// A socket in the folder, to ask for backups. A broker without one serves all the same.
    pub(super) fn control(&self, folder: &Path, stop: CancellationToken) -> Option<Control> {
        let control = Control::bind(folder, self.running.clone(), stop);
        control
            .inspect_err(|error| tracing::warn!(%error, "no control socket: backups are not possible"))
            .ok()
    }

    /// Writes what is left and ends the threads. Waits for the disk. Nothing may be published any more. `all_ended`: no
    /// consumer was cut off, so whatever it held is back in its queue.
    pub(super) fn close(self, all_ended: bool) {
        let Storage { journal, catalog, writer, running, disk } = self;
        drop(running);
        let closed = journal.close();
        catalog.close();
        if writer.join().is_err() {
            tracing::error!("the catalog's thread has failed");
        }
        match closed {
            Err(why) => tracing::error!("the journal was not closed in good order: {why}"),
            Ok(()) if all_ended => {
                if let Err(error) = Store::note_end(&*disk) {
                    tracing::warn!(%error, "messages will come back as delivered before");
                }
            }
            Ok(()) => {}
        }
    }
}
