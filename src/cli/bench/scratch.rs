//! Folders that live as long as a round: a node's secrets, a broker's data, what a bare loop writes.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::{BenchResult, Doing};
use super::leftovers::{Guard, Leftover};

/// A new folder that only this user can read. In the folder for temporary files, which `TMPDIR` names: so all
/// contenders write to the same disk.
pub(super) fn scratch_folder() -> BenchResult<(PathBuf, Guard)> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("rialto-bench-{}-{number}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&path).doing(|| format!("cannot create {}", path.display()))?;
    let guard = Guard::new(Leftover::Folder(path.clone()));
    Ok((path, guard))
}
