//! Holding the lease: starts the command, obeys what the link learns, and gives the lease back when the command ends.

use super::RunArgs;
use super::ask::{Granted, Wish};
use super::link::{Link, ORDERS_MAX, Order, Shared};
use super::speaker::Speaker;
use crate::exit::Exit;
use lowtide_run::{Ended, Happening, How, Options, Signals, Where, Work};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::channel;
use tokio::time::{Instant, sleep_until, timeout};

/// One turn of running and standing still, for work that may use only a share.
const PERIOD: Duration = Duration::from_millis(500);

/// How long a command that was told to end by a signal may use for that, before a pause holds again.
const SIGNAL_GRACE: Duration = Duration::from_secs(5);

/// How long giving back the lease may hold up the end. The lease lapses by itself if that does not work.
const RELEASE_PATIENCE: Duration = Duration::from_secs(3);

/// What the command does now.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Run,
    /// It runs for this share of each period.
    Share(f64),
    StandStill,
}

struct Holder<'a> {
    args: &'a RunArgs,
    wish: Wish,
    speaker: Speaker,
    work: Work,
    shared: Arc<Mutex<Shared>>,
    mode: Mode,
    /// When the mode is looked at again: the next half of a period, or the end of a signal's grace.
    turn_at: Option<Instant>,
    kill_at: Option<Instant>,
    /// The lease was taken back: the command is to end, whatever is said afterwards.
    taken_back: bool,
}

/// Runs the command to its end.
pub(super) async fn hold(
    args: &RunArgs,
    wish: Wish,
    granted: Option<Granted>,
    signals: Signals,
    mut speaker: Speaker,
) -> ExitCode {
    let name = granted.as_ref().map_or_else(|| std::process::id().to_string(), |granted| granted.id.clone());
    let options = Options {
        command: args.command.clone(),
        environment: environment(args, &wish, granted.as_ref()),
        name: format!("lowtide-run-{name}"),
        place: Where::Any,
        verbose: args.verbose,
        lease: keep_text(&wish, granted.as_ref().map(|granted| granted.id.as_str()), &Value::Null),
    };
    let work = match lowtide_run::start(&options, signals).await {
        Ok(work) => work,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            speaker.error(&format!("{error}{cause}"));
            if let Some(granted) = &granted {
                let body = json!({ "addon_id": wish.holder, "outcome": "failed", "note": "the command could not be started" });
                let _ = wish.release(&granted.id, &body).await;
            }
            return Exit::Failed.into();
        }
    };
    speaker.detail(&format!("runs in {}", work.place()));
    let lease = granted.as_ref().map(|granted| granted.id.clone());
    let shared = Shared { lease, work: Value::Null, cannot_pause: false };
    let shared = Arc::new(Mutex::new(shared));
    let mut holder = Holder {
        args,
        wish,
        speaker,
        work,
        shared,
        mode: Mode::Run,
        turn_at: None,
        kill_at: None,
        taken_back: false,
    };
    holder.name_work();
    holder.run(granted).await
}

impl Holder<'_> {
    async fn run(mut self, granted: Option<Granted>) -> ExitCode {
        let (orders, mut heard) = channel(ORDERS_MAX);
        let link = Link::new(self.wish.clone(), self.args.cost, Arc::clone(&self.shared), orders);
        let link = tokio::spawn(link.run(granted));
        let ended = loop {
            let (turn_at, kill_at) = (self.turn_at, self.kill_at);
            tokio::select! {
                // Orders first: what stands still by one must not wait behind a command's many signals.
                biased;
                Some(order) = heard.recv() => self.obey(order),
                happening = self.work.next() => match happening {
                    Happening::Ended(ended) => break ended,
                    Happening::GuardLost => {
                        self.speaker.note("a guard was killed: the command is not paused any more");
                        self.shared.lock().unwrap_or_else(PoisonError::into_inner).cannot_pause = true;
                        self.name_work();
                    }
                    Happening::Ending(_) if self.mode != Mode::Run => {
                        self.turn_at = Some(Instant::now() + SIGNAL_GRACE);
                    }
                    Happening::Ending(_) => {}
                },
                () = at(turn_at) => self.turn(),
                () = at(kill_at) => {
                    self.kill_at = None;
                    self.speaker.note("its time is over: killed");
                    self.work.kill();
                }
            }
        };
        link.abort();
        self.finish(ended).await
    }

    fn obey(&mut self, order: Order) {
        // A command that was told to end is not held up any more.
        if self.taken_back && !matches!(order, Order::End(..)) {
            return;
        }
        let mode = match order {
            Order::GoOn => {
                if self.mode != Mode::Run {
                    self.speaker.note("goes on");
                }
                Mode::Run
            }
            // It must not stand still, not even for a moment: its class is all that can be done.
            Order::Shrink(_) if self.args.not_pausable => Mode::Run,
            Order::Shrink(share) => {
                self.speaker.note(&format!("shrunk: runs {:.0} % of the time", share * 100.0));
                Mode::Share(share)
            }
            Order::Pause(why) => {
                // First the deed.
                self.stand_still(true);
                self.speaker.note(&format!("paused: {why}"));
                Mode::StandStill
            }
            Order::End(within, why) => {
                self.work.ask_to_end();
                if !std::mem::replace(&mut self.taken_back, true) {
                    self.speaker
                        .note(&format!("taken back, it has {:.0} s to end: {why}", within.as_secs_f64()));
                }
                let by = Instant::now() + within;
                self.kill_at = Some(self.kill_at.map_or(by, |at| at.min(by)));
                Mode::Run
            }
            Order::Alone(why) => {
                self.work.thaw();
                self.speaker.note(&format!("goes on at the lowest class without a lease: {why}"));
                Mode::Run
            }
            Order::Leased(granted) => {
                self.speaker.note("has a lease again");
                self.keep(Some(&granted.id));
                Mode::Run
            }
        };
        if mode == Mode::Run {
            self.work.thaw();
        }
        self.turn_at = matches!(mode, Mode::Share(_)).then(Instant::now);
        self.mode = mode;
    }

    fn stand_still(&mut self, long: bool) {
        if let Err(error) = self.work.freeze(long) {
            self.speaker.note(&format!("cannot be paused: {error}"));
        }
    }

    /// The next half of a period; or a signal's grace is over.
    fn turn(&mut self) {
        self.turn_at = match self.mode {
            Mode::Run => None,
            Mode::StandStill => {
                self.stand_still(true);
                None
            }
            Mode::Share(share) => {
                let runs = PERIOD.mul_f64(share);
                if self.work.is_frozen() || share <= 0.0 {
                    if share > 0.0 {
                        self.work.thaw();
                    } else {
                        self.stand_still(false);
                    }
                    Some(Instant::now() + runs.max(Duration::from_millis(1)))
                } else if share >= 1.0 {
                    None
                } else {
                    self.stand_still(false);
                    Some(Instant::now() + PERIOD.saturating_sub(runs))
                }
            }
        };
    }

    /// Tells the daemon, and the guards, where the work is now.
    fn name_work(&mut self) {
        let work = json!({ "pid": self.work.root_pid(), "cgroup": self.work.group_path() });
        let lease = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.work = without_null(work);
            shared.lease.clone()
        };
        self.keep(lease.as_deref());
    }

    fn keep(&mut self, lease: Option<&str>) {
        let work = self.shared.lock().unwrap_or_else(PoisonError::into_inner).work.clone();
        self.work.keep(&keep_text(&self.wish, lease, &work));
    }

    async fn finish(mut self, ended: Ended) -> ExitCode {
        let lease = self.shared.lock().unwrap_or_else(PoisonError::into_inner).lease.take();
        let note = match ended.how {
            How::Code(code) => format!("exit code {code}"),
            How::Signal(signal) => format!("ended by signal {signal}"),
        };
        if let Some(lease) = lease {
            let body = release_body(&self.wish.holder, &ended, &note);
            match timeout(RELEASE_PATIENCE, self.wish.release(&lease, &body)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => self.speaker.detail(&format!("the lease was not given back: {error}")),
                Err(_) => self.speaker.detail("the lease was not given back: no answer"),
            }
        }
        self.speaker.detail(&note);
        self.work.close().await;
        if self.taken_back && ended.how != How::Code(0) {
            return Exit::NotNow.into();
        }
        ended.how.exit_code().into()
    }
}

/// The moment, if there is one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What is told when a lease is given back.
pub(super) fn release_body(holder: &str, ended: &Ended, note: &str) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of processor time")]
    let cpu_seconds = ended.used.cpu_ms.map(|ms| ms as f64 / 1_000.0);
    let usage = json!({
        "cpu_seconds": cpu_seconds,
        "read_bytes": ended.used.read_bytes,
        "written_bytes": ended.used.written_bytes,
    });
    let outcome = if ended.how == How::Code(0) { "done" } else { "failed" };
    json!({ "addon_id": holder, "outcome": outcome, "note": note, "usage": without_null(usage) })
}

fn without_null(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

/// What a guard needs to keep the lease when this process is gone.
fn keep_text(wish: &Wish, lease: Option<&str>, work: &Value) -> String {
    json!({ "daemon": wish.daemon.daemon().to_json(), "lease_id": lease, "addon_id": wish.holder, "work": work }).to_string()
}

fn environment(args: &RunArgs, wish: &Wish, granted: Option<&Granted>) -> Vec<(String, String)> {
    if !args.env {
        return Vec::new();
    }
    let mut variables = vec![("LOWTIDE_URL".to_owned(), wish.daemon.daemon().url().to_owned())];
    if let Some(granted) = granted {
        variables.push(("LOWTIDE_LEASE_ID".to_owned(), granted.id.clone()));
        variables.extend(granted.token.map(|token| ("LOWTIDE_FENCING_TOKEN".to_owned(), token.to_string())));
    }
    variables
}
