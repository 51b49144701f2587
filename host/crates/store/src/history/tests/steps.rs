//! Single steps of the file's life: segments, roll-ups, what goes, an older file, rows, copies.

use super::*;

fn all(last_ms: i64) -> TimeRange {
    TimeRange { from: WallTime(START), to: WallTime(last_ms) }
}

fn wide() -> Keep {
    Keep { raw_days: 7, rollup_days: 365, bytes_max: 1 << 30 }
}

#[test]
fn a_full_tail_becomes_a_segment_and_a_day_that_is_over_does() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let seconds =
        |second: i64| Tick { at_ms: START + second * 1_000, values: [Some(0.5), None, Some(second as f64)] };
    let ticks: Vec<Tick> = (0..1_441).map(seconds).collect();
    let frames: Vec<Frame> = ticks.iter().map(|tick| frame(&ids, tick)).collect();
    store.append(&frames).unwrap();
    assert_eq!(store.size().unwrap().segments, 1);
    store.compact(START + 2_000_000).unwrap();
    assert_eq!(store.size().unwrap().segments, 1, "the day goes on");
    store.compact(START + DAY_MS).unwrap();
    assert_eq!(store.size().unwrap().segments, 2);
    compare(&mut store.reader(), &ids, &ticks, all(START + DAY_MS), None, false).unwrap();
}

#[test]
fn after_the_clock_was_set_back_every_tick_is_there_at_its_time() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let mut ticks = minutes(600);
    let mut again = minutes(300);
    again.iter_mut().for_each(|tick| tick.at_ms += 30_017);
    ticks.append(&mut again);
    for tick in &ticks {
        store.append(&[frame(&ids, tick)]).unwrap();
    }
    let last = START + DAY_MS - 1;
    for step in [None, Some(60_000), Some(900_000)] {
        // The increases of a counter follow the order of times.
        compare(&mut store.reader(), &ids[..2], &ticks, all(last), step, false).unwrap();
    }
    store.compact(START + DAY_MS).unwrap();
    compare(&mut store.reader(), &ids, &ticks, all(last), Some(60_000), false).unwrap();
    assert!(store.roll_up(START + DAY_MS).unwrap());
    compare(&mut store.reader(), &ids, &ticks, all(last), Some(900_000), true).unwrap();
}

#[test]
fn a_day_that_gets_more_ticks_is_rolled_up_again_and_one_without_samples_keeps_what_it_has() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let mut ticks = minutes(3 * 1_440);
    let write = |store: &mut HistoryStore, ticks: &[Tick]| {
        let frames: Vec<Frame> = ticks.iter().map(|tick| frame(&ids, tick)).collect();
        store.append(&frames).unwrap();
    };
    write(&mut store, &ticks);
    store.compact(START + 3 * DAY_MS).unwrap();
    while store.roll_up(START + 3 * DAY_MS).unwrap() {}
    let late = Tick { at_ms: START + 1_234, values: [Some(0.9), Some(1.0), None] };
    write(&mut store, std::slice::from_ref(&late));
    ticks.push(late);
    let whole = all(START + 3 * DAY_MS - 1);
    compare(&mut store.reader(), &ids, &ticks, whole, Some(900_000), true).unwrap();
    store.compact(START + 3 * DAY_MS).unwrap();
    assert!(store.roll_up(START + 3 * DAY_MS).unwrap());
    assert!(!store.roll_up(START + 3 * DAY_MS).unwrap());
    let range = all(START + 3 * DAY_MS - 1);
    compare(&mut store.reader(), &ids, &ticks, range, Some(900_000), true).unwrap();

    // Now the first day's samples go, and the clock is set back to it.
    let keep = Keep { raw_days: 1, ..wide() };
    while store.forget(&keep).unwrap().more {}
    write(&mut store, &[Tick { at_ms: START + 5_000, values: [Some(0.1), None, None] }]);
    store.compact(START + 4 * DAY_MS).unwrap();
    while store.roll_up(START + 4 * DAY_MS).unwrap() {}
    let last_two_are_gone_from = TimeRange { from: WallTime(START), to: WallTime(START + DAY_MS - 1) };
    let kept = Keep { raw_days: 0, ..wide() };
    while store.forget(&kept).unwrap().more {}
    compare(&mut store.reader(), &ids, &ticks, last_two_are_gone_from, Some(900_000), true).unwrap();
}

#[test]
fn what_is_old_goes_by_recorded_days_and_not_by_the_clock() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let write = |store: &mut HistoryStore, ticks: &[Tick]| {
        let frames: Vec<Frame> = ticks.iter().map(|tick| frame(&ids, tick)).collect();
        store.append(&frames).unwrap();
        let last = ticks.last().unwrap().at_ms;
        store.compact(last + DAY_MS).unwrap();
        while store.roll_up(last + DAY_MS).unwrap() {}
        while store.forget(&wide()).unwrap().more {}
    };
    write(&mut store, &minutes(10 * 1_440));
    let size = store.size().unwrap();
    // Eight and not seven: a day goes when what is newer covers seven whole ones.
    assert_eq!((size.raw_since_ms, size.rolled_since_day), (Some(START + 2 * DAY_MS), Some(20_800)));
    // A year ahead for two minutes, and back.
    let mut ahead = minutes(2);
    ahead.iter_mut().for_each(|tick| tick.at_ms += 400 * DAY_MS);
    write(&mut store, &ahead);
    assert_eq!(store.size().unwrap().raw_since_ms, Some(START + 2 * DAY_MS));
}

#[test]
fn for_room_the_oldest_goes_first_and_the_newest_day_stays() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let frames: Vec<Frame> = minutes(6 * 1_440).iter().map(|tick| frame(&ids, tick)).collect();
    store.append(&frames).unwrap();
    store.compact(START + 6 * DAY_MS).unwrap();
    while store.roll_up(START + 6 * DAY_MS).unwrap() {}
    let keep = Keep { bytes_max: 1, ..wide() };
    let first = store.forget(&keep).unwrap();
    assert_eq!((first.raw_days, first.rollup_days, first.more, first.for_room), (1, 0, true, true));
    while store.forget(&keep).unwrap().more {}
    let size = store.size().unwrap();
    assert_eq!((size.raw_since_ms, size.rolled_since_day), (Some(START + 5 * DAY_MS), Some(20_805)));
    assert_eq!(size.series, 3);
}

#[test]
fn series_of_which_nothing_is_left_leave_the_catalogue() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let gone = store.ids(&[info("gone_total", Kind::Counter, Unit::Count)]).unwrap()[0].unwrap();
    store.append(&[Frame { at_ms: START, samples: vec![(gone, 1.0)] }]).unwrap();
    let later: Vec<Frame> = minutes(4 * 1_440)[1_440..].iter().map(|tick| frame(&ids, tick)).collect();
    store.append(&later).unwrap();
    store.compact(START + 4 * DAY_MS).unwrap();
    while store.roll_up(START + 4 * DAY_MS).unwrap() {}
    let keep = Keep { raw_days: 0, rollup_days: 2, ..wide() };
    while store.forget(&keep).unwrap().more {}
    assert_eq!(store.size().unwrap().series, 3);
    let again = store.ids(&[info("gone_total", Kind::Counter, Unit::Count)]).unwrap()[0].unwrap();
    assert!(again > gone, "numbers are not used again");
}

#[test]
fn what_changes_its_kind_and_back_has_two_numbers() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let mut ask = |kind| store.ids(&[info("made_up_things", kind, Unit::Count)]).unwrap()[0].unwrap();
    let (gauge, counter) = (ask(Kind::Gauge), ask(Kind::Counter));
    assert_ne!(gauge, counter);
    assert_eq!((ask(Kind::Gauge), ask(Kind::Counter)), (gauge, counter));
}

#[test]
fn beyond_the_samples_a_fine_step_is_refused_with_what_would_work() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let frames: Vec<Frame> = minutes(4 * 1_440).iter().map(|tick| frame(&ids, tick)).collect();
    store.append(&frames).unwrap();
    store.compact(START + 4 * DAY_MS).unwrap();
    while store.roll_up(START + 4 * DAY_MS).unwrap() {}
    while store.forget(&Keep { raw_days: 1, ..wide() }).unwrap().more {}
    let plan = Plan {
        range: all(START + 4 * DAY_MS - 1),
        until_ms: i64::MAX,
        step_ms: Some(60_000),
        percentiles: false,
    };
    let refused = store.reader().read(plan, |reading| Ok(reading.err())).unwrap();
    let raw_since_ms = store.size().unwrap().raw_since_ms;
    assert_eq!(refused, Some(TooFine { raw_since_ms, step_ms: ROLLUP_STEP_MS }));
    compare(
        &mut store.reader(),
        &ids,
        &minutes(4 * 1_440),
        all(START + 4 * DAY_MS - 1),
        Some(3_600_000),
        true,
    )
    .unwrap();
}

#[test]
fn columns_taken_over_at_once_answer_like_ticks() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let ticks = minutes(2 * 1_440);
    let times: Vec<i64> = ticks.iter().map(|tick| tick.at_ms).collect();
    let column = |series: usize| ticks.iter().map(|tick| tick.values[series].unwrap_or(f64::NAN)).collect();
    store.append_columns(&times, &ids, &[column(0), column(1), column(2)]).unwrap();
    compare(&mut store.reader(), &ids, &ticks, all(START + 2 * DAY_MS), Some(3_000), false).unwrap();
    assert_eq!(store.size().unwrap().segments, 2);
}

#[test]
fn a_file_of_the_first_schema_is_brought_up_to_date_with_all_that_is_in_it() {
    let (_folder, path) = folder();
    let ids = {
        let file = File::open(&path, &SCHEMA[..1], Durability::AtCheckpoints).unwrap();
        let written = file.with(|connection| {
            let mut catalogue = Catalogue::default();
            let ids =
                catalogue.ids(connection, &infos())?.into_iter().map(Option::unwrap).collect::<Vec<_>>();
            let mut state = tail::State::default();
            for tick in minutes(100) {
                tail::append(connection, &mut state, &frame(&ids, &tick))?;
            }
            Ok(ids)
        });
        written.unwrap()
    };
    assert!(HistoryReader::open_file(&path).unwrap_err().to_string().contains("start the daemon once"));
    let mut store = HistoryStore::open(&path).unwrap();
    assert_eq!(given(&mut store), ids);
    compare(&mut store.reader(), &ids, &minutes(100), all(START + DAY_MS), None, false).unwrap();
    store.add_events(&[event(START, "state", None)]).unwrap();
    assert!(HistoryReader::open_file(&path).is_ok());
}

fn event(at_ms: i64, kind: &str, subject: Option<&str>) -> EventRow {
    let document = serde_json::json!({ "at": at_ms });
    EventRow { id: 0, at_ms, kind: kind.into(), subject: subject.map(str::to_owned), document }
}

#[test]
fn rows_are_read_in_pages() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let rows: Vec<EventRow> = (0..10)
        .map(|number| event(START + number, if number % 2 == 0 { "lease" } else { "state" }, Some("a")))
        .collect();
    store.add_events(&rows).unwrap();
    let mut reader = store.reader();
    let mut ids = |asked: EventsAsked| -> Vec<i64> {
        reader.events(&asked).unwrap().into_iter().map(|event| event.id).collect()
    };
    let ask = |limit| EventsAsked { limit, ..EventsAsked::default() };
    assert_eq!(ids(ask(3)), [10, 9, 8]);
    assert_eq!(ids(EventsAsked { before: Some(8), ..ask(3) }), [7, 6, 5]);
    assert_eq!(ids(EventsAsked { after: Some(0), ..ask(2) }), [1, 2]);
    assert_eq!(ids(EventsAsked { kind: Some("lease".into()), ..ask(9) }), [9, 7, 5, 3, 1]);
    assert_eq!(ids(EventsAsked { from_ms: Some(START + 8), subject: Some("a".into()), ..ask(9) }), [10, 9]);
    assert_eq!(ids(EventsAsked { subject: Some("b".into()), ..ask(9) }), [0; 0]);

    let mut row =
        QuietRow { from_ms: START, to_ms: START + 5, ticks: 2, score_avg: 90.0, score_min: 80, open: true };
    store.put_quiet(&row).unwrap();
    row = QuietRow { to_ms: START + 9, ticks: 4, open: false, ..row };
    store.put_quiet(&row).unwrap();
    let next = QuietRow { from_ms: START + 20, to_ms: START + 30, ..row };
    store.put_quiet(&next).unwrap();
    assert_eq!(store.reader().quiet((START, START + 100), None, 9).unwrap(), [row, next]);
    assert_eq!(store.reader().quiet((START + 10, START + 100), None, 9).unwrap(), [next]);
    assert_eq!(store.reader().quiet((START, START + 100), Some(START), 9).unwrap(), [next]);
}

#[test]
fn a_copy_is_whole_and_nothing_is_overwritten() {
    let (folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let ticks = minutes(2_000);
    store.append(&ticks.iter().map(|tick| frame(&ids, tick)).collect::<Vec<_>>()).unwrap();
    let copy = folder.path().join("copy.db");
    HistoryStore::backup(&path, &copy).unwrap();
    compare(
        &mut HistoryReader::open_file(&copy).unwrap(),
        &ids,
        &ticks,
        all(START + 3 * DAY_MS),
        None,
        false,
    )
    .unwrap();
    let refused = HistoryStore::backup(&path, &copy).unwrap_err().to_string();
    assert!(refused.contains("choose a place where no file is"), "{refused}");
    let missing = folder.path().join("none.db");
    assert!(HistoryStore::backup(&missing, &folder.path().join("other.db")).is_err());
    assert!(!folder.path().join("other.db").exists());
}

#[test]
fn a_look_into_the_file_finds_what_the_writer_tells() {
    let (_folder, path) = folder();
    let mut store = HistoryStore::open(&path).unwrap();
    let mut reader = HistoryReader::open_file(&path).unwrap();
    let empty = reader.contents().unwrap();
    assert_eq!((empty.ticks, empty.raw_until_ms, empty.rolled_until_day), (0, None, None));
    let ids = given(&mut store);
    let ticks = minutes(2_000);
    store.append(&ticks.iter().map(|tick| frame(&ids, tick)).collect::<Vec<_>>()).unwrap();
    while store.roll_up(START + 2 * DAY_MS).unwrap() {}
    store.add_events(&[event(START, "lease", None), event(START + 1, "state", None)]).unwrap();
    let found = reader.contents().unwrap();
    assert_eq!(found.size, store.size().unwrap());
    let expected = Contents {
        size: found.size,
        schema: 2,
        raw_until_ms: Some(START + 1_999 * 60_000),
        ticks: 2_000,
        rolled_until_day: Some(START / DAY_MS),
        rolled_days: 1,
        events: 2,
        quiet_intervals: 0,
    };
    assert_eq!(found, expected);
    assert_eq!(reader.damages(), []);
}
