//! The jobs of an addon as the rest of the host sees them: what they are, what they are doing, and which of them somebody ordered.

use crate::answers::JobDescription;
use crate::status::{JobEnd, JobState, JobView, Problem};
use lowtide_core::units::WallTime;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Debug)]
struct Row {
    view: JobView,
    /// It can never run as it is.
    unfit: bool,
    /// Somebody wants it to run now.
    ordered: bool,
}

#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Row>,
    /// There is a task that runs them.
    active: bool,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct JobBoard {
    // Held for a copy or an assignment, never across an await.
    rows: Mutex<Rows>,
    /// Wakes the task that runs them.
    news: Notify,
}

/// Why a job cannot be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoOrder {
    Unknown,
    CannotRun(String),
}

impl JobBoard {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a new instance says that its jobs are, and why some of them cannot run. What is known of those that it had before stays.
    pub(crate) fn describe(
        &self,
        jobs: Vec<JobDescription>,
        at: WallTime,
        unfit: impl Fn(&JobDescription) -> Option<(&'static str, String)>,
    ) {
        let mut names = BTreeSet::new();
        let mut rows = self.rows();
        let mut before = std::mem::take(&mut rows.rows);
        for job in jobs {
            let mut why = unfit(&job);
            if !names.insert(job.name.clone()) && why.is_none() {
                why = Some(("invalid_job", format!("job {}: another one has this name", job.name)));
            }
            let known = before.iter().position(|row| row.view.description.name == job.name);
            let mut row = match known.map(|place| before.swap_remove(place)) {
                Some(row) => row,
                None => Row { view: JobView::new(job.clone()), unfit: false, ordered: false },
            };
            row.view.description = job;
            if row.unfit {
                row.view.problem = None;
            }
            row.unfit = why.is_some();
            if let Some((code, text)) = why {
                row.view.problem = Some(Problem { code, text, at });
            }
            rows.rows.push(row);
        }
        drop(rows);
        self.wake();
    }

    /// Something may have changed.
    pub(crate) fn wake(&self) {
        self.news.notify_one();
    }

    /// Resolves when something may have changed since this last did.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Whether there is a task that runs them. What they were doing ends with it.
    pub(crate) fn set_active(&self, active: bool) {
        let mut rows = self.rows();
        rows.active = active;
        for row in &mut rows.rows {
            let view = &mut row.view;
            (view.state, view.lease, view.due_at, row.ordered) = (JobState::Idle, None, None, false);
        }
    }

    /// All of them, copied.
    pub(crate) fn view(&self) -> Vec<JobView> {
        self.rows().rows.iter().map(|row| row.view.clone()).collect()
    }

    /// The first problem of any of them.
    pub(crate) fn problem(&self) -> Option<Problem> {
        self.rows().rows.iter().find_map(|row| row.view.problem.clone())
    }

    /// Those that can run, and whether somebody ordered them.
    pub(super) fn fit(&self) -> Vec<(JobDescription, bool)> {
        let rows = self.rows();
        let fit = rows.rows.iter().filter(|row| !row.unfit);
        fit.map(|row| (row.view.description.clone(), row.ordered)).collect()
    }

    /// Wants a job to run now.
    pub(crate) fn order(&self, name: &str) -> Result<(), NoOrder> {
        let mut rows = self.rows();
        let active = rows.active;
        let row = rows.rows.iter_mut().find(|row| row.view.description.name == name);
        let row = row.ok_or(NoOrder::Unknown)?;
        if row.unfit {
            let why = row.view.problem.as_ref().map(|problem| problem.text.clone());
            return Err(NoOrder::CannotRun(why.unwrap_or_default()));
        }
        if !active {
            let why = "its addon does not run, or this daemon runs without leases";
            return Err(NoOrder::CannotRun(why.to_owned()));
        }
        row.ordered |= row.view.state == JobState::Idle;
        drop(rows);
        self.wake();
        Ok(())
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Row)) {
        let mut rows = self.rows();
        if let Some(row) = rows.rows.iter_mut().find(|row| row.view.description.name == name) {
            change(row);
        }
    }

    /// The order is carried out.
    pub(super) fn take_order(&self, name: &str) {
        self.change(name, |row| row.ordered = false);
    }

    pub(super) fn set_due(&self, name: &str, at: Option<WallTime>) {
        self.change(name, |row| row.view.due_at = at);
    }

    pub(super) fn set_state(&self, name: &str, state: JobState, lease: Option<String>) {
        self.change(name, |row| (row.view.state, row.view.lease) = (state, lease));
    }

    pub(super) fn set_problem(&self, name: &str, problem: Option<Problem>) {
        self.change(name, |row| row.view.problem = problem);
    }

    /// It has a place at the scheduler: why it had none before is over.
    pub(super) fn has_a_place(&self, name: &str, codes: &[&str]) {
        self.change(name, |row| {
            row.view.problem.take_if(|problem| codes.contains(&problem.code));
        });
    }

    /// A run is over.
    pub(super) fn ended(&self, name: &str, end: JobEnd, problem: Option<Problem>) {
        self.change(name, |row| {
            (row.view.state, row.view.lease) = (JobState::Idle, None);
            (row.view.last, row.view.problem) = (Some(end), problem);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::LeasePriority;
    use lowtide_core::lease::Constraints;

    fn job(name: &str) -> JobDescription {
        JobDescription {
            name: name.to_owned(),
            help: String::new(),
            cost_units: 1,
            priority: LeasePriority::Low,
            expected_duration: None,
            constraints: Constraints::default(),
            every: None,
            pausable: false,
        }
    }

    fn bad(job: &JobDescription) -> Option<(&'static str, String)> {
        (job.name == "bad").then(|| ("not_granted", "no".to_owned()))
    }

    #[test]
    fn what_is_known_of_a_job_survives_a_new_instance_and_a_second_of_its_name_never_runs() {
        let board = JobBoard::default();
        board.describe(vec![job("one"), job("one"), job("bad")], WallTime(0), bad);
        assert_eq!(board.fit().len(), 1);
        let end = JobEnd { outcome: "done", text: String::new(), at: WallTime(1) };
        board.ended("one", end.clone(), None);
        board.describe(vec![job("bad"), job("one"), job("new")], WallTime(2), |_| None);
        let views = board.view();
        assert_eq!(views[1].last, Some(end));
        assert_eq!((views[2].last.clone(), board.problem()), (None, None));
    }

    #[test]
    fn only_what_can_run_is_ordered_and_only_while_it_is_idle() {
        let board = JobBoard::default();
        board.describe(vec![job("one"), job("bad")], WallTime(0), bad);
        assert_eq!(board.order("other"), Err(NoOrder::Unknown));
        assert_eq!(board.order("bad"), Err(NoOrder::CannotRun("no".to_owned())));
        assert!(matches!(board.order("one"), Err(NoOrder::CannotRun(_))), "nobody runs it");
        board.set_active(true);
        assert_eq!(board.order("one"), Ok(()));
        assert_eq!(board.fit(), [(job("one"), true)]);
        board.take_order("one");
        board.set_state("one", JobState::Running, None);
        assert_eq!(board.order("one"), Ok(()));
        assert_eq!(board.fit(), [(job("one"), false)]);
    }
}
