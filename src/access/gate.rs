//! How many slow checks run at once, and how many may wait: each takes a processor and many megabytes for a while.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// See the module.
#[derive(Debug)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    running_max: usize,
    places_max: usize,
    state: Mutex<State>,
    turn_came: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Those that run or wait.
    places: usize,
    running: usize,
}

/// A place among those that run or wait. It is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Inner>,
    is_running: bool,
}

impl Gate {
    pub(super) fn new(running_max: usize, places_max: usize) -> Self {
        let state = Mutex::default();
        Gate(Arc::new(Inner {
            running_max: running_max.max(1),
            places_max,
            state,
            turn_came: Condvar::new(),
        }))
    }

    /// A place, if there is one left.
    pub(super) fn enter(&self) -> Option<Place> {
        let mut state = self.0.state.lock();
        if state.places >= self.0.places_max.max(1) {
            return None;
        }
        state.places += 1;
        Some(Place { gate: self.0.clone(), is_running: false })
    }
}

impl Place {
    /// Waits until it may run.
    pub(super) fn wait_for_turn(&mut self) {
        let mut state = self.gate.state.lock();
        self.gate.turn_came.wait_while(&mut state, |state| state.running >= self.gate.running_max);
        state.running += 1;
        self.is_running = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.places -= 1;
        if self.is_running {
            state.running -= 1;
            self.gate.turn_came.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_no_more() {
        let gate = Gate::new(1, 2);
        let (first, second) = (gate.enter(), gate.enter());
        assert!(first.is_some() && second.is_some() && gate.enter().is_none());
        drop(first);
        assert!(gate.enter().is_some());
    }

    #[test]
    fn one_after_the_other_all_have_their_turn() {
        let gate = Gate::new(2, 100);
        let most = Mutex::new((0, 0));
        std::thread::scope(|scope| {
            for _ in 0..20 {
                let mut place = gate.enter().unwrap();
                let most = &most;
                scope.spawn(move || {
                    place.wait_for_turn();
                    {
                        let mut most = most.lock();
                        most.0 += 1;
                        most.1 = most.1.max(most.0);
                    }
                    std::thread::yield_now();
                    most.lock().0 -= 1;
                    drop(place);
                });
            }
        });
        assert!(most.lock().1 <= 2);
    }
}
