//! What a crash leaves of a simulated disk.
//!
//! The model: changes reach the disk sector by sector, whenever the system likes. After a crash each sector of a file
//! holds one of the versions that it had since the last sync; the length likewise; each change of a name has happened
//! or not. A sector is never half-written, and never holds a later write without an earlier one to the same sector,
//! since the system writes what it has in memory.
//!
//! Independent dice for everything would hardly ever make the crashes that really happen (all is lost, all is there,
//! all up to a moment is there), so how dice fall is drawn first.

use fastrand::Rng;

use super::contents::{Contents, SECTOR};
use super::state::{FileChange, FileState, State};

/// How a crash treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Survival {
    /// It is lost.
    Nothing,
    /// It is there: the process ended, not the machine.
    Everything,
    /// What was done before this operation is there, the operation itself may be torn, what came later is lost.
    Until(usize),
    /// Each change by itself: in so many of 256 cases it is there, in as many of the others it is torn.
    Dice(u8),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    There,
    Lost,
    Torn,
}

impl Survival {
    pub(super) fn draw(operations: usize, rng: &mut Rng) -> Self {
        match rng.u8(..8) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2..4 => Survival::Until(rng.usize(..=operations)),
            _ => Survival::Dice(rng.u8(..)),
        }
    }

    fn fate(self, number: usize, rng: &mut Rng) -> Fate {
        match self {
            Survival::Nothing => Fate::Lost,
            Survival::Everything => Fate::There,
            Survival::Until(moment) if number < moment => Fate::There,
            Survival::Until(moment) if number > moment => Fate::Lost,
            Survival::Until(_) => Fate::Torn,
            Survival::Dice(share) if rng.u8(..) < share => Fate::There,
            Survival::Dice(share) if rng.u8(..) < share => Fate::Torn,
            Survival::Dice(_) => Fate::Lost,
        }
    }
}

/// The disk as it is found after a crash.
pub(super) fn crash(state: &State, survival: Survival, rng: &mut Rng) -> State {
    let mut names = state.safe_names.clone();
    for (number, change) in &state.pending_names {
        match survival.fate(*number, rng) {
            Fate::There => change.apply(&mut names),
            Fate::Torn if rng.bool() => change.apply(&mut names),
            Fate::Torn | Fate::Lost => {}
        }
    }
    let mut ids: Vec<_> = names.values().copied().collect();
    ids.sort_unstable();
    let files = ids.into_iter().map(|id| {
        let contents = state.file(id).map(|file| file_after(file, survival, rng));
        (id, contents.unwrap_or_default())
    });
    let files: Vec<_> = files.collect();
    State::of(names, files.into_iter())
}

fn file_after(file: &FileState, survival: Survival, rng: &mut Rng) -> Contents {
    if file.pending.is_empty() || survival == Survival::Nothing {
        return file.safe.clone();
    }
    if survival == Survival::Everything {
        return file.current.clone();
    }
    // Every version that the file went through, and what there is of them on disk.
    let (mut version, mut found) = (file.safe.clone(), file.safe.clone());
    for (number, change) in &file.pending {
        change.apply(&mut version);
        let fate = survival.fate(*number, rng);
        if fate == Fate::Lost {
            continue;
        }
        if let FileChange::Write { offset, data } = change
            && !data.is_empty()
        {
            let sector = |byte: u64| byte / SECTOR as u64;
            for sector in sector(*offset)..=sector(offset + data.len() as u64 - 1) {
                if fate == Fate::There || rng.bool() {
                    found.put_sector(&version, sector);
                }
            }
        }
        if fate == Fate::There || rng.bool() {
            found.set_len(version.len());
        }
    }
    found.trim();
    found
}
