//! What happens next: mostly something sensible.

use super::*;

const HOLDERS: [&str; 4] = ["backup", "index", "backup/mirror", "train"];

const SIGNALS: [&str; 8] =
    ["cpu", "cpu_pressure", "disk_busy", "api_rate", "memory_available", "presence", "dwell", "hold"];

/// The host is quiet more often than not: else nothing would happen.
const LEVELS: [Level; 10] = [
    Level::Quiet,
    Level::Quiet,
    Level::Quiet,
    Level::Quiet,
    Level::Quiet,
    Level::Normal,
    Level::Busy,
    Level::Busy,
    Level::Busy,
    Level::Panic,
];

const DAY: i64 = 86_400_000;

impl World {
    pub(super) fn let_time_pass(&mut self) {
        let random = &mut self.random;
        let passed = match random.below(1_000) {
            0..150 => 0,
            150..600 => random.below(600),
            600..970 => random.below(2_000),
            970..985 => 2_000 + random.below(4_000),
            985..994 => 6_000 + random.below(20_000),
            994..997 => random.below(600_000),
            997..999 => 0,
            _ => random.below(6 * 3_600_000),
        };
        let passed = passed as i64;
        (self.mono, self.wall) = (self.mono + passed, self.wall + passed);
        if random.below(1_000) < 4 {
            self.jumped = true;
            self.tally.count("clock jumps");
            self.wall = match random.below(8) {
                0 => self.wall - 3_600_000,
                1 => self.wall + 3_600_000,
                2 => self.wall - DAY,
                3 => self.wall + DAY,
                4 => 1_000,
                5 => 2_147_483_647_000,
                // And back to the true time.
                _ => 1_800_000_000_000 + self.mono,
            };
        }
    }

    pub(super) fn input(&mut self) -> Input {
        let begins = !self.trouble;
        match self.random.below(1_000) {
            0..230 => self.tick(),
            230..270 => self.edge(),
            270..560 => {
                let (name, holder) = self.name();
                Input::Heartbeat { name, holder, reached: self.random.percent(60) }
            }
            560..590 => {
                let (name, holder) = self.name();
                Input::Report { name, holder, progress: Progress::default() }
            }
            590..680 => {
                let (name, holder) = self.name();
                let done = self.random.percent(70);
                Input::Release { name, holder, done, note: text("over"), usage: Usage::default() }
            }
            680..710 => {
                let (name, _) = self.name();
                let grace = self.random.maybe(60, |random| secs(random.below(4) * 3));
                Input::Revoke { name, why: text("operator"), grace }
            }
            710..730 => Input::Policy(Box::new(self.other_policy())),
            730..745 if begins => Input::Override(self.order()),
            745..755 if begins => {
                let count = self.random.below(3);
                Input::Windows((0..count).map(|_| self.window()).collect())
            }
            _ if begins => {
                let request = self.request();
                if self.asked.len() >= 8 {
                    self.asked.remove(0);
                }
                self.asked.push(request.clone());
                Input::Request { request: Box::new(request), secret: self.random.next() }
            }
            _ => self.tick(),
        }
    }

    /// What a fast look shows: mostly what the newest tick showed.
    fn edge(&mut self) -> Input {
        let random = &mut self.random;
        let needed = if self.level < Level::Busy { random.percent(25) } else { random.percent(75) };
        let edge = needed.then(|| {
            let level = random.pick(&[Level::Normal, Level::Busy, Level::Busy]);
            Box::new(Edge { level, cause: cause(random.pick(&SIGNALS[..4]), 0.9, 0.5) })
        });
        Input::Edge(edge)
    }

    fn tick(&mut self) -> Input {
        if self.random.percent(12) {
            self.level = self.random.pick(&LEVELS);
            self.load_ratio = self.random.below(100) as f64 / 100.0;
            if self.level == Level::Quiet {
                self.load_ratio /= 2.0;
            }
            let count = self.random.below(4);
            let level = self.level;
            self.causes = (0..count)
                .map(|_| {
                    let level = if self.random.percent(80) { level } else { Level::Quiet };
                    (level, cause(self.random.pick(&SIGNALS[..]), 0.9, 0.5))
                })
                .collect();
        }
        if self.random.percent(1) {
            self.blind_until = self.mono + self.random.below(30_000) as i64;
        }
        if self.mono < self.blind_until || self.random.percent(5) {
            return Input::Tick(None);
        }
        let old = if self.random.percent(8) { self.random.below(9_000) as i64 } else { 0 };
        Input::Tick(Some(self.conditions(self.mono - old)))
    }

    pub(super) fn conditions(&mut self, at: i64) -> Box<Conditions> {
        self.snapshots += 1;
        // A minute of the week for each second, so that windows come and go.
        let minute = u16::try_from(self.mono / 1_000 % 10_080).unwrap();
        Box::new(Conditions {
            sequence: self.snapshots,
            at: Moment(at),
            score: u8::try_from(self.random.below(101)).unwrap(),
            level: self.level,
            causes: self.causes.clone(),
            load_ratio: self.load_ratio,
            quiet_in: None,
            week_minute: (!self.snapshots.is_multiple_of(20)).then_some(minute),
        })
    }

    /// Whom a client speaks for: mostly one that is held, and mostly by its right name.
    fn name(&mut self) -> (LeaseName, Option<Text>) {
        let held = self.random.percent(80) && self.naive.held().next().is_some();
        let of_these = |mine: &&super::super::naive::Mine| !held || mine.held();
        let count = self.naive.leases.values().filter(of_these).count() as u64;
        let any = LeaseName { id: LeaseId(self.random.below(2_000)), secret: self.random.next() };
        if count == 0 || self.random.percent(1) {
            return (any, None);
        }
        let chosen = self.random.below(count) as usize;
        let Some(mine) = self.naive.leases.values().filter(of_these).nth(chosen) else { return (any, None) };
        let holder = match self.random.below(20) {
            0 => Some(text(HOLDERS[self.random.below(4) as usize])),
            1..10 => None,
            _ => Some(Text::clone(&mine.request.holder)),
        };
        let mut name = mine.name();
        if self.random.percent(1) {
            name.secret ^= 1;
        }
        (name, holder)
    }

    fn request(&mut self) -> Request {
        let random = &mut self.random;
        if random.percent(15) && !self.asked.is_empty() {
            let mut again = random.pick(&self.asked);
            if random.percent(20) {
                again.units += 1;
            }
            return again;
        }
        let units = match random.below(100) {
            0..60 => 1 + random.below(20),
            60..88 => 20 + random.below(40),
            88..98 => 60 + random.below(41),
            _ => random.below(200) + 1,
        };
        let holder = random.pick(&HOLDERS);
        let constrained = random.percent(50);
        Request {
            job_type: text(random.pick(&["full", "part"])),
            priority: random.pick(&Priority::ALL),
            expected_duration: secs(random.below(60)),
            constraints: Constraints {
                cpu_heavy: constrained && random.percent(50),
                disk_write_heavy: constrained && random.percent(50),
                network_heavy: constrained && random.percent(50),
            },
            pausable: random.percent(50),
            max_freeze: secs(random.below(40)),
            deadline: random.maybe(30, |random| secs(random.below(300))),
            wait: random.percent(60),
            wait_max: random.maybe(40, |random| secs(random.below(90))),
            key: random.maybe(30, |random| text(random.pick(&["mon", "tue", "wed", "thu"]))),
            owner_units_max: random.maybe(15, |random| 10 + random.below(70) as u32),
            ..asks(holder, units as u32)
        }
    }

    fn order(&mut self) -> Option<Override> {
        let random = &mut self.random;
        if random.percent(50) {
            return None;
        }
        let lasts = random.maybe(80, |random| random.below(30_000) as i64);
        Some(Override {
            mode: random.pick(&[Mode::Allow, Mode::Block]),
            owner: text("ada"),
            reason: text("because"),
            set: WallTime(self.wall),
            expires: lasts.map(|lasts| WallTime(self.wall + lasts)),
        })
    }

    fn window(&mut self) -> Window {
        let random = &mut self.random;
        let mut days = [false; 7];
        for day in &mut days {
            *day = random.percent(30);
        }
        let mut minute = || random.below(1_440) as u16;
        let (from, to) = (minute(), minute());
        let mode = random.pick(&[Mode::Allow, Mode::Block]);
        Window { name: text("a window"), mode, days, from, to }
    }

    pub(super) fn other_policy(&mut self) -> Policy {
        let random = &mut self.random;
        Policy {
            capacity_units: random.pick(&[100, 100, 100, 150, 60, 30]),
            headroom_ratio: random.pick(&[0.25, 0.25, 0.0, 0.5]),
            leases_max: random.pick(&[8, 8, 5]),
            leases_per_holder_max: random.pick(&[3, 3, 2, 6]),
            queue_max: random.pick(&[10, 6]),
            ttl: secs(random.pick(&[10, 10, 5, 20])),
            cool_down: secs(random.pick(&[10, 3])),
            reserve_after: secs(random.pick(&[30, 10])),
            revoke_grace: secs(random.pick(&[5, 0, 20])),
            hold_max: secs(random.pick(&[120, 120, 60])),
            ..policy()
        }
    }
}
