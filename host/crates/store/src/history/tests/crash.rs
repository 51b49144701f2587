//! Crashes at every write, truncation and sync: what is left is a file as it was after one of its commits, and not an older one than was
//! promised. A VFS of SQLite (`shim`) notes what reaches the disk while a scene is played; the pictures of what a crash before each
//! operation could leave are then opened like any file.

use super::*;
use crate::shim::{Cut, Disk, Files, Random, replace};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Random pictures of each power cut, besides the four that are always made. For a soak: `LOWTIDE_CRASH_DRAWS=100`.
const DRAWS: usize = 2;

/// What a file must answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// Everything that was ever written.
    pub(super) ticks: Vec<Tick>,
    /// Days whose ticks are gone, since 1970.
    pub(super) raw_gone: Vec<i64>,
    /// Days with roll-ups.
    pub(super) rolled: Vec<i64>,
    /// Of these, days with ticks that their roll-ups do not tell of yet: they came late, and are in no segment.
    pub(super) behind: Vec<i64>,
}

/// Rows of each table, and a hash of what is in them.
pub(super) type Content = BTreeMap<String, (usize, u64)>;

/// The file after a commit.
struct Commit {
    /// Operations when it began, and when it had returned.
    begun: usize,
    done: usize,
    content: Content,
    expected: Expected,
}

/// A scene while it is played.
pub(super) struct Scene {
    _folder: tempfile::TempDir,
    path: PathBuf,
    pub(super) disk: Disk,
    pub(super) store: Option<HistoryStore>,
    pub(super) expected: Expected,
    commits: Vec<Commit>,
    /// Operations when a sync had returned, and the commit that it promised.
    synced: Vec<(usize, usize)>,
}

impl Scene {
    /// Opens the file, of which `before` has made something.
    pub(super) fn begin(before: impl FnOnce(&Path, &mut Expected)) -> Self {
        let (folder, path) = folder();
        let mut expected = Expected::default();
        let hasty = Disk::hasty();
        before(&path, &mut expected);
        drop(hasty);
        let disk = Disk::recording(folder.path());
        let store = HistoryStore::open(&path).unwrap();
        let mut scene = Self {
            _folder: folder,
            path,
            disk,
            store: Some(store),
            expected,
            commits: Vec::new(),
            synced: vec![(0, 0)],
        };
        let content = scene.content();
        let (done, expected) = (scene.disk.operations(), scene.expected.clone());
        scene.commits.push(Commit { begun: 0, done, content, expected });
        scene
    }

    pub(super) fn store(&mut self) -> &mut HistoryStore {
        self.store.as_mut().unwrap()
    }

    pub(super) fn content(&mut self) -> Content {
        content(self.store())
    }

    /// One call that commits, and what it changes in the answers.
    fn commit<T>(
        &mut self,
        call: impl FnOnce(&mut HistoryStore) -> Result<T, StoreError>,
        change: impl FnOnce(&mut Expected, &T),
    ) {
        let begun = self.disk.operations();
        let result = call(self.store()).unwrap();
        let done = self.disk.operations();
        change(&mut self.expected, &result);
        let (content, expected) = (self.content(), self.expected.clone());
        assert_eq!(self.disk.operations(), done, "looking writes nothing");
        assert_ne!(self.commits.last().map(|last| &last.content), Some(&content), "nothing was done");
        self.commits.push(Commit { begun, done, content, expected });
    }

    fn append(&mut self, ticks: &[Tick]) {
        let frames = frames(ticks);
        self.commit(|store| store.append(&frames), |expected, ()| expected.ticks.extend_from_slice(ticks));
    }

    fn compact(&mut self, now_ms: i64) {
        self.commit(|store| store.compact(now_ms), |_, ()| {});
    }

    fn roll_up(&mut self, now_ms: i64, day: i64) {
        self.commit(
            |store| store.roll_up(now_ms),
            |expected, rolled| {
                assert!(rolled);
                expected.rolled.push(day);
            },
        );
    }

    fn sync(&mut self) {
        let promised = self.commits.len() - 1;
        let synced = self.store().sync().unwrap();
        assert_eq!(synced.moved_pages, synced.logged_pages);
        self.synced.push((self.disk.operations(), promised));
    }

    fn open_anew(&mut self) {
        self.store = None;
        self.store = Some(HistoryStore::open(&self.path).unwrap());
    }

    /// Ends the scene, makes all pictures and looks at them.
    fn crash_everywhere(mut self, name: &str) {
        self.store = None;
        let recording = self.disk.take();
        let [writes, truncations, syncs] = recording.kinds();
        assert!(recording.len() > 50 && syncs > 5, "{} points, {syncs} syncs", recording.len());
        let draws = std::env::var("LOWTIDE_CRASH_DRAWS").map_or(DRAWS, |draws| draws.parse().unwrap());
        let mut gallery = Gallery {
            folder: tempfile::tempdir().unwrap(),
            commits: &self.commits,
            seen: HashMap::new(),
            pictures: 0,
            _disk: Disk::hasty(),
        };
        let mut random = Random(20_270_101);
        for point in 0..=recording.len() {
            let newest = self.commits.iter().rposition(|commit| commit.begun < point).unwrap_or(0);
            let done = self.commits.iter().rposition(|commit| commit.done <= point).unwrap_or(0);
            let promised =
                self.synced.iter().rfind(|(done, _)| *done <= point).map_or(0, |(_, commit)| *commit);
            gallery.look(&recording.killed(point), (done, newest), &format!("{name}, killed at {point}"));
            let mut cut = |cut: Cut| {
                let files = recording.cut(point, cut, &mut random);
                let what = format!("{name}, power gone at {point}, {cut:?}");
                gallery.look(&files, (promised, newest), &what);
            };
            [Cut::Nothing, Cut::AllButOne, Cut::Torn].into_iter().for_each(&mut cut);
            (0..draws).for_each(|_| cut(Cut::Some));
        }
        println!(
            "{name}: {} points ({writes} writes, {truncations} truncations, {syncs} syncs), {} commits, {} pictures, {} of them different",
            recording.len() + 1,
            self.commits.len(),
            gallery.pictures,
            gallery.seen.len()
        );
    }
}

/// What was looked at.
struct Gallery<'a> {
    folder: tempfile::TempDir,
    commits: &'a [Commit],
    /// Pictures by their hash, each with the commit that it shows.
    seen: HashMap<u64, usize>,
    pictures: usize,
    _disk: Disk,
}

impl Gallery<'_> {
    /// A picture must show a commit, from the oldest that it may be to the newest that was begun.
    fn look(&mut self, files: &Files, (oldest, newest): (usize, usize), what: &str) {
        self.pictures += 1;
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        let hash = hasher.finish();
        let shown = match self.seen.get(&hash) {
            Some(shown) => *shown,
            None => {
                let shown = self.open(files, what);
                self.seen.insert(hash, shown);
                shown
            }
        };
        let newest = newest.max(oldest);
        assert!((oldest..=newest).contains(&shown), "{what}: commit {shown}, not {oldest} to {newest}");
    }

    fn open(&self, files: &Files, what: &str) -> usize {
        replace(self.folder.path(), files);
        let path = self.folder.path().join("history.db");
        let mut store = HistoryStore::open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(store.quarantine(), None, "{what}");
        let found = content(&mut store);
        let Some(shown) = self.commits.iter().position(|commit| commit.content == found) else {
            panic!("{what}: no commit looks like this: {found:?}");
        };
        let mut expected = self.commits[shown].expected.clone();
        sound(&mut store, what);
        agrees(&mut store, &expected, what);
        use_on(&mut store, &mut expected);
        sound(&mut store, what);
        // Asking for all of it takes the most time: once in a while will do where nothing but ordinary use came after the crash.
        if self.seen.len().is_multiple_of(4) {
            agrees(&mut store, &expected, what);
        }
        assert_eq!(store.quarantine(), None, "{what}");
        shown
    }
}

/// All rows of all tables.
pub(super) fn content(store: &mut HistoryStore) -> Content {
    let read = |connection: &mut Connection| {
        let mut content = Content::new();
        for name in Table::ALL.iter().map(|table| table.name()).chain(["sqlite_sequence"]) {
            let mut query = connection.prepare(&format!("SELECT * FROM {name} ORDER BY rowid"))?;
            let columns = query.column_count();
            let (mut found, mut count, mut hasher) = (query.query([])?, 0, DefaultHasher::new());
            while let Some(row) = found.next()? {
                count += 1;
                for column in 0..columns {
                    format!("{:?}", row.get_ref(column)?).hash(&mut hasher);
                }
            }
            content.insert(name.to_owned(), (count, hasher.finish()));
        }
        Ok(content)
    };
    store.file.with(read).unwrap()
}

/// Neither SQLite nor the checksums find anything.
pub(super) fn sound(store: &mut HistoryStore, what: &str) {
    store.verify().unwrap();
    assert_eq!(store.damages(), [], "{what}");
    let check = |connection: &mut Connection| {
        Ok(connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))?)
    };
    assert_eq!(store.file.with(check).unwrap(), "ok", "{what}");
}

/// Every tick that is to be there is there once, with its samples, and no other; roll-ups tell of the days that have them.
pub(super) fn agrees(store: &mut HistoryStore, expected: &Expected, what: &str) {
    let is_raw = |tick: &&Tick| !expected.raw_gone.contains(&tick.at_ms.div_euclid(DAY_MS));
    let mut raw: Vec<&Tick> = expected.ticks.iter().filter(is_raw).collect();
    raw.sort_by_key(|tick| tick.at_ms);
    let (stored, rolled) = store
        .write(|_, known, _, _| {
            let in_segments: usize = known.segments.iter().map(|span| span.ticks).sum();
            Ok((in_segments + known.tail.ticks, known.rolled.clone()))
        })
        .unwrap();
    assert_eq!(stored, raw.len(), "{what}: ticks that are stored");
    let mut should = expected.rolled.clone();
    should.sort_unstable();
    assert_eq!(rolled, should, "{what}: days that are rolled up");
    let mut reader = store.reader();
    if let [first, .., last] = *raw {
        let range = TimeRange { from: WallTime(first.at_ms), to: WallTime(last.at_ms) };
        let newest = Agg::ALL.iter().position(|agg| *agg == Agg::Last).unwrap();
        for (number, id) in IDS.iter().enumerate() {
            let (times, columns) = ask(&mut reader, range, None, *id);
            assert!(times.iter().eq(raw.iter().map(|tick| &tick.at_ms)), "{what}: the times of ticks");
            let same = raw.iter().zip(&columns[newest]).all(|(tick, got)| match tick.values[number] {
                Some(value) => value.to_bits() == got.to_bits(),
                None => got.is_nan(),
            });
            assert!(same, "{what}: the samples of series {number}");
        }
        // A step that roll-ups cannot answer.
        let cells = compare(&mut reader, &IDS, &expected.ticks, range, Some(200_000_001), false);
        cells.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    for day in should.iter().filter(|day| !expected.behind.contains(day)) {
        let range = TimeRange { from: WallTime(day * DAY_MS), to: WallTime((day + 1) * DAY_MS - 1) };
        let of_day = |tick: &&Tick| tick.at_ms.div_euclid(DAY_MS) == *day;
        let ticks: Vec<Tick> = expected.ticks.iter().filter(of_day).cloned().collect();
        let cells = compare(&mut reader, &IDS, &ticks, range, Some(43_200_000), true);
        cells.unwrap_or_else(|error| panic!("{what}: roll-ups of {day}: {error}"));
    }
    assert_eq!(store.damages(), [], "{what}");
}

/// The file goes on as if nothing had been: a tick, a segment, roll-ups, a sync.
pub(super) fn use_on(store: &mut HistoryStore, expected: &mut Expected) {
    assert_eq!(given(store), IDS);
    let at_ms = START + 10 * DAY_MS;
    let tick = Tick { at_ms, values: [Some(0.25), None, Some(9_000_000.0)] };
    store.append(&[frame(&IDS, &tick)]).unwrap();
    expected.ticks.push(tick);
    store.compact(at_ms + DAY_MS).unwrap();
    let days = expected.ticks.iter().map(|tick| tick.at_ms.div_euclid(DAY_MS));
    expected.rolled.extend(days.filter(|day| !expected.raw_gone.contains(day)));
    expected.rolled.sort_unstable();
    expected.rolled.dedup();
    expected.behind.clear();
    while store.roll_up(at_ms + DAY_MS).unwrap() {}
    let synced = store.sync().unwrap();
    assert_eq!(synced.moved_pages, synced.logged_pages);
}

/// The numbers that the first series of a file get.
pub(super) const IDS: [SeriesId; 3] = [SeriesId(1), SeriesId(2), SeriesId(3)];

/// The first day of the scenes, since 1970.
pub(super) const DAY: i64 = START / DAY_MS;

pub(super) fn frames(ticks: &[Tick]) -> Vec<Frame> {
    ticks.iter().map(|tick| frame(&IDS, tick)).collect()
}

/// The first minutes of a day, a tick each.
pub(super) fn morning(day: i64, count: i64) -> Vec<Tick> {
    let mut ticks = minutes((day + 1) * count).split_off(usize::try_from(day * count).unwrap());
    ticks.iter_mut().for_each(|tick| tick.at_ms += day * (DAY_MS - count * 60_000));
    ticks
}

/// A file with mornings in it; the days before the last are segments.
pub(super) fn mornings(path: &Path, expected: &mut Expected, days: i64, count: i64) -> HistoryStore {
    let mut store = HistoryStore::open(path).unwrap();
    assert_eq!(given(&mut store), IDS);
    expected.ticks = (0..days).flat_map(|day| morning(day, count)).collect();
    store.append(&frames(&expected.ticks)).unwrap();
    store
}

/// A file with mornings of days that are all rolled up, and a series that only the first of them has.
pub(super) fn rolled_mornings(path: &Path, expected: &mut Expected, days: i64, count: i64) {
    let mut store = mornings(path, expected, days, count);
    let gone = store.ids(&[info("gone_total", Kind::Counter, Unit::Count)]).unwrap()[0].unwrap();
    let at_ms = START + count * 60_000;
    store.append(&[Frame { at_ms, samples: vec![(gone, 1.0)] }]).unwrap();
    expected.ticks.push(Tick { at_ms, values: [None; 3] });
    store.compact(START + days * DAY_MS).unwrap();
    while store.roll_up(START + days * DAY_MS).unwrap() {}
    expected.rolled = (DAY..DAY + days).collect();
}

/// A file of the first schema with these ticks in its tail.
pub(super) fn first_schema(path: &Path, expected: &mut Expected, count: i64) {
    let file = File::open(path, &SCHEMA[..1], Durability::AtCheckpoints).unwrap();
    expected.ticks = morning(0, count);
    let written = file.with(|connection| {
        let transaction = connection.transaction()?;
        let mut catalogue = Catalogue::default();
        catalogue.ids(&transaction, &infos())?;
        let mut state = tail::State::default();
        for frame in frames(&expected.ticks) {
            tail::append(&transaction, &mut state, &frame)?;
        }
        Ok(transaction.commit()?)
    });
    written.unwrap();
}

#[test]
fn a_crash_while_ticks_are_written() {
    let mut scene = Scene::begin(|_, _| {});
    scene.commit(|store| store.ids(&infos()), |_, _| {});
    let ticks = morning(0, 30);
    for tick in &ticks[..8] {
        scene.append(std::slice::from_ref(tick));
    }
    scene.sync();
    scene.append(&ticks[8..18]);
    scene.append(&ticks[18..19]);
    scene.open_anew();
    scene.append(&ticks[19..21]);
    scene.sync();
    scene.sync();
    let event = EventRow {
        id: 0,
        at_ms: START,
        kind: "state".into(),
        subject: None,
        document: serde_json::json!({ "why": "it happened ".repeat(500) }),
    };
    scene.commit(|store| store.add_events(&[event.clone(), event]), |_, ()| {});
    for tick in &ticks[21..] {
        scene.append(std::slice::from_ref(tick));
    }
    let quiet =
        QuietRow { from_ms: START, to_ms: START + 9, ticks: 3, score_avg: 90.5, score_min: 80, open: false };
    scene.commit(|store| store.put_quiet(&quiet), |_, ()| {});
    scene.crash_everywhere("ticks");
}

#[test]
fn a_crash_while_the_tail_becomes_a_segment() {
    let mut scene = Scene::begin(|path, expected| drop(mornings(path, expected, 1, 300)));
    scene.append(&[Tick { at_ms: START + 20_000_000, values: [Some(0.5), Some(1.0 / 3.0), None] }]);
    scene.compact(START + DAY_MS);
    // In the same log as what follows, and in pages that the tail has left.
    scene.append(&morning(1, 60));
    scene.sync();
    // A tick of the next day makes a segment of the day before.
    scene.append(&morning(2, 30));
    scene.append(&morning(3, 1));
    let direct = morning(4, 60);
    scene.commit(
        |store| store.append_segments(&frames(&direct)),
        |expected, ()| expected.ticks.extend_from_slice(&direct),
    );
    scene.sync();
    scene.append(&morning(5, 40));
    scene.compact(START + 6 * DAY_MS);
    scene.crash_everywhere("segments");
}

#[test]
fn a_crash_while_days_are_rolled_up() {
    let mut scene = Scene::begin(|path, expected| drop(mornings(path, expected, 4, 70)));
    let now_ms = START + 4 * DAY_MS;
    scene.compact(now_ms);
    scene.roll_up(now_ms, DAY);
    scene.sync();
    scene.roll_up(now_ms, DAY + 1);
    scene.roll_up(now_ms, DAY + 2);
    // A late tick of the first day: once it is in a segment the day is rolled up again.
    let late = Tick { at_ms: START + 1_234, values: [Some(0.9), Some(1.0), None] };
    scene.expected.behind = vec![DAY];
    scene.append(&[late]);
    scene.commit(
        |store| store.compact(now_ms),
        |expected, ()| {
            expected.rolled.retain(|day| *day != DAY);
            expected.behind.clear();
        },
    );
    scene.roll_up(now_ms, DAY);
    scene.sync();
    scene.roll_up(now_ms, DAY + 3);
    scene.append(&morning(5, 2));
    scene.crash_everywhere("roll-ups");
}

#[test]
fn a_crash_while_old_days_go() {
    let mut scene = Scene::begin(|path, expected| rolled_mornings(path, expected, 6, 60));
    let forget = |scene: &mut Scene, keep: Keep, raw: Option<i64>, rollup: Option<i64>| {
        scene.commit(
            |store| store.forget(&keep),
            |expected, kept| {
                assert_eq!((kept.raw_days > 0, kept.rollup_days > 0), (raw.is_some(), rollup.is_some()));
                expected.raw_gone.extend(raw);
                expected.rolled.retain(|day| Some(*day) != rollup);
            },
        );
    };
    let raw = Keep { raw_days: 0, rollup_days: 365, bytes_max: 1 << 30 };
    forget(&mut scene, raw, Some(DAY), None);
    forget(&mut scene, raw, Some(DAY + 1), None);
    scene.sync();
    forget(&mut scene, raw, Some(DAY + 2), None);
    // What is free is used again.
    scene.append(&morning(6, 60));
    scene.compact(START + 7 * DAY_MS);
    scene.roll_up(START + 7 * DAY_MS, DAY + 6);
    forget(&mut scene, raw, Some(DAY + 3), None);
    let both = Keep { raw_days: 365, rollup_days: 4, bytes_max: 1 << 30 };
    forget(&mut scene, both, None, Some(DAY));
    assert_eq!(scene.store().size().unwrap().series, 3, "the series that nothing is left of is gone too");
    scene.sync();
    forget(&mut scene, both, None, Some(DAY + 1));
    forget(&mut scene, Keep { bytes_max: 1, ..both }, Some(DAY + 4), None);
    scene.append(&morning(7, 3));
    scene.crash_everywhere("old days");
}

#[test]
fn a_crash_while_an_older_file_is_brought_up_to_date() {
    let mut scene = Scene::begin(|path, expected| first_schema(path, expected, 60));
    scene.append(&[Tick { at_ms: START + 8_000_000, values: [Some(0.5), None, None] }]);
    scene.sync();
    scene.append(&morning(1, 60));
    scene.compact(START + 2 * DAY_MS);
    scene.roll_up(START + 2 * DAY_MS, DAY);
    scene.sync();
    scene.append(&morning(3, 2));
    scene.crash_everywhere("an older file");
}
