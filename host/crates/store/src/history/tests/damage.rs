//! Bits that fall over and files that end early: found out, told, and never a panic.

use super::*;
use std::fs;

/// A file with everything in it: segments, roll-ups, a tail, rows.
fn filled(path: &Path) -> Vec<Tick> {
    let mut store = HistoryStore::open(path).unwrap();
    let ids = given(&mut store);
    let ticks = minutes(2 * 1_440 + 200);
    store.append(&ticks.iter().map(|tick| frame(&ids, tick)).collect::<Vec<_>>()).unwrap();
    while store.roll_up(START + 2 * DAY_MS).unwrap() {}
    let document = serde_json::json!({ "why": "it happened" });
    let event = EventRow { id: 0, at_ms: START, kind: "state".into(), subject: None, document };
    store.add_events(&vec![event; 20]).unwrap();
    let quiet =
        QuietRow { from_ms: START, to_ms: START + 9, ticks: 3, score_avg: 90.5, score_min: 80, open: false };
    store.put_quiet(&quiet).unwrap();
    store.sync().unwrap();
    ticks
}

/// Everything that can be asked of the file, as text.
fn all_answers(store: &mut HistoryStore) -> Result<String, StoreError> {
    let ids: Vec<SeriesId> = store.ids(&infos())?.into_iter().flatten().collect();
    let range = TimeRange { from: WallTime(START), to: WallTime(START + 4 * DAY_MS) };
    let mut reader = store.reader();
    let mut text = String::new();
    for step in [None, Some(3_600_000)] {
        let plan = Plan { range, until_ms: i64::MAX, step_ms: step, percentiles: true };
        reader.read(plan, |reading| {
            let Ok(mut reading) = reading else { return Ok(()) };
            let axis = match step {
                Some(_) => Axis::steps(range, Duration::from_secs(3_600)),
                None => Axis::ticks(reading.times()?, range),
            };
            let mut cells = Cells::new(&axis, range, &Agg::ALL);
            reading.prepare(&ids)?;
            for id in &ids {
                reading.lay(*id, &mut cells)?;
                cells.take(|laid| text += &format!("{laid:?}"));
            }
            Ok(())
        })?;
    }
    text += &format!("{:?}", reader.quiet((0, i64::MAX), None, 100)?);
    text += &format!("{:?}", reader.events(&EventsAsked { limit: 100, ..EventsAsked::default() })?);
    Ok(text)
}

#[test]
fn a_thousand_broken_files_are_opened_and_the_damage_is_told() {
    let (folder, path) = folder();
    filled(&path);
    let whole = fs::read(&path).unwrap();
    let sound = all_answers(&mut HistoryStore::open(&path).unwrap()).unwrap();
    let mut random = 7u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    let (mut put_aside, mut told, mut harmless) = (0, 0, 0);
    for number in 0..1_000 {
        let mut bytes = whole.clone();
        if number % 10 == 9 {
            bytes.truncate(next(whole.len()));
        } else {
            let at = next(whole.len());
            bytes[at] ^= 1 << next(8);
        }
        for name in fs::read_dir(folder.path()).unwrap() {
            fs::remove_file(name.unwrap().path()).unwrap();
        }
        fs::write(&path, &bytes).unwrap();
        let mut store = match HistoryStore::open(&path) {
            Ok(store) => store,
            Err(error) => {
                // Its number of the schema is what fell over: that is no damage to put aside, it is a newer file.
                assert!(matches!(error, StoreError::Newer { .. }), "{number}: {error}");
                told += 1;
                continue;
            }
        };
        store.verify().unwrap();
        // Whatever is left is answered, also where one is told that a row is damaged.
        let first = all_answers(&mut store);
        let again = first.or_else(|_| all_answers(&mut store)).unwrap();
        if store.quarantine().is_some() {
            put_aside += 1;
        } else if !store.damages().is_empty() {
            told += 1;
        } else {
            assert_eq!(again, sound, "{number}: a changed file answers otherwise, and nothing is told");
            harmless += 1;
        }
    }
    println!("{put_aside} put aside, {told} told, {harmless} without effect");
    assert!(put_aside > 100 && told > 100, "{put_aside} {told} {harmless}");
}

#[test]
fn a_damaged_chunk_is_a_gap_and_the_rest_is_answered() {
    let (_folder, path) = folder();
    let ticks = filled(&path);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute("UPDATE chunk SET sealed = zeroblob(40) WHERE id = (SELECT min(id) FROM chunk)", [])
        .unwrap();
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let day = TimeRange { from: WallTime(START + DAY_MS), to: WallTime(START + 2 * DAY_MS - 1) };
    compare(&mut store.reader(), &ids, &ticks, day, Some(60_000), false).unwrap();
    assert_eq!(store.damages(), []);
    let first = TimeRange { from: WallTime(START), to: WallTime(START + 1) };
    let (_, columns) = ask(&mut store.reader(), first, None, ids[0]);
    assert!(columns[0][0].is_nan());
    assert_eq!(store.damages().len(), 1);
    assert_eq!(store.damages()[0].table, "chunk");
}

#[test]
fn a_file_that_breaks_under_the_daemon_is_put_aside_and_a_fresh_one_takes_over() {
    let (_folder, path) = folder();
    filled(&path);
    let mut store = HistoryStore::open(&path).unwrap();
    given(&mut store);
    let generation = store.generation();
    let length = fs::metadata(&path).unwrap().len();
    fs::write(&path, vec![0x5A; usize::try_from(length).unwrap()]).unwrap();
    let tick = Tick { at_ms: START + 5 * DAY_MS, values: [Some(0.5), None, None] };
    let mut failures = 0;
    let ids = loop {
        match store.ids(&infos()) {
            Ok(again) if store.quarantine().is_some() => break again,
            Ok(_) => {
                let range = TimeRange { from: WallTime(0), to: WallTime(i64::MAX / 2) };
                let plan = Plan { range, until_ms: i64::MAX, step_ms: None, percentiles: false };
                let _ = store.reader().read(plan, |_| Ok(()));
            }
            Err(_) => {}
        }
        failures += 1;
        assert!(failures < 5, "it is never put aside");
    };
    assert!(store.generation() > generation);
    let ids: Vec<SeriesId> = ids.into_iter().flatten().collect();
    store.append(&[frame(&ids, &tick)]).unwrap();
    let range = TimeRange { from: WallTime(START), to: WallTime(START + 6 * DAY_MS) };
    compare(&mut store.reader(), &ids, &[tick], range, None, false).unwrap();
}

#[test]
fn numbers_of_a_file_that_is_gone_are_not_written_to_the_fresh_one() {
    let (_folder, path) = folder();
    filled(&path);
    let mut store = HistoryStore::open(&path).unwrap();
    let ids = given(&mut store);
    let generation = store.generation();
    let tick = Tick { at_ms: START + 5 * DAY_MS, values: [Some(0.5), None, Some(7.0)] };
    // A reader found out that the file is broken: the next write puts it aside.
    *store.shared.condemned.lock().unwrap() = Some("it is broken".to_owned());
    store.append(&[frame(&ids, &tick)]).unwrap_err();
    assert!(store.quarantine().is_some() && store.generation() > generation);
    // In the fresh file the series get their numbers in another order.
    let mut infos = infos();
    infos.reverse();
    let mut ids: Vec<SeriesId> = store.ids(&infos).unwrap().into_iter().map(Option::unwrap).collect();
    ids.reverse();
    let mut one = frame(&ids, &tick);
    one.samples.sort_by_key(|(id, _)| *id);
    store.append(&[one]).unwrap();
    let range = TimeRange { from: WallTime(START), to: WallTime(START + 6 * DAY_MS) };
    compare(&mut store.reader(), &ids, &[tick], range, None, false).unwrap();
}
