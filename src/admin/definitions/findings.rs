//! What was found in definitions: errors, each with its place, and notices, those of one kind together.
//!
//! Invariant: as long as there is one error, nothing is imported. However much is wrong, what is kept of it is bounded.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Most errors that are told one by one; of the others, how many there are.
const ERRORS_MAX: usize = 1000;

/// Most places that are told of one notice.
const PLACES_MAX: usize = 10;

/// Most notices that differ.
const NOTICES_MAX: usize = 200;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::admin) struct Fault {
    /// Where, from the top of the document.
    #[schema(example = "queues[17].arguments.x-max-length")]
    pub(in crate::admin) at: String,
    /// What is wrong there.
    pub(in crate::admin) problem: String,
}

/// Something that is taken otherwise than it stands there, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::admin) struct Notice {
    /// What.
    pub(in crate::admin) notice: String,
    /// How often.
    pub(in crate::admin) count: usize,
    /// Where, the first ones.
    pub(in crate::admin) at: Vec<String>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::admin) struct Findings {
    faults: Vec<Fault>,
    faults_more: usize,
    notices: BTreeMap<String, Notice>,
    notices_more: usize,
}

impl Findings {
    pub(in crate::admin) fn fault(&mut self, at: &str, problem: impl Into<String>) {
        if self.faults.len() < ERRORS_MAX {
            self.faults.push(Fault { at: at.to_owned(), problem: problem.into() });
        } else {
            self.faults_more += 1;
        }
    }

    pub(in crate::admin) fn notice(&mut self, at: &str, what: impl Into<String>) {
        let what = what.into();
        if self.notices.len() >= NOTICES_MAX && !self.notices.contains_key(&what) {
            self.notices_more += 1;
            return;
        }
        let empty = || Notice { notice: what.clone(), count: 0, at: Vec::new() };
        let notice = self.notices.entry(what.clone()).or_insert_with(empty);
        notice.count += 1;
        if notice.at.len() < PLACES_MAX {
            notice.at.push(at.to_owned());
        }
    }

    /// Whether nothing is wrong.
    pub(in crate::admin) fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Everything that is wrong, and how much more there is than is told.
    pub(in crate::admin) fn faults(&self) -> (&[Fault], usize) {
        (&self.faults, self.faults_more)
    }

    /// The notices, the most frequent first.
    pub(in crate::admin) fn notices(&self) -> Vec<Notice> {
        let mut notices: Vec<_> = self.notices.values().cloned().collect();
        notices.sort_by_key(|notice| std::cmp::Reverse(notice.count));
        if self.notices_more > 0 {
            let notice = format!("and {} more notices of other kinds", self.notices_more);
            notices.push(Notice { notice, count: self.notices_more, at: Vec::new() });
        }
        notices
    }

    /// Everything that is wrong in one text, a line each.
    pub(in crate::admin) fn text(&self) -> String {
        let lines = self.faults.iter().map(|Fault { at, problem }| match at.as_str() {
            "" => problem.clone(),
            at => format!("{at}: {problem}"),
        });
        let mut lines: Vec<_> = lines.collect();
        if self.faults_more > 0 {
            lines.push(format!("and {} more", self.faults_more));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_counted() {
        let mut findings = Findings::default();
        for n in 0..ERRORS_MAX + 5 {
            findings.fault(&format!("queues[{n}]"), "wrong");
            findings.notice(&format!("queues[{n}]"), "unknown key 'x'");
        }
        assert_eq!((findings.faults().0.len(), findings.faults().1), (ERRORS_MAX, 5));
        assert!(findings.text().ends_with("queues[999]: wrong\nand 5 more"));
        let notices = findings.notices();
        assert_eq!((notices.len(), notices[0].count, notices[0].at.len()), (1, ERRORS_MAX + 5, PLACES_MAX));
        for n in 0..NOTICES_MAX + 5 {
            findings.notice("", format!("notice {n}"));
        }
        assert_eq!(findings.notices().last().unwrap().notice, "and 6 more notices of other kinds");
    }
}
