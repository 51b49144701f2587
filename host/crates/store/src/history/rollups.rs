//! Roll-ups: what is left of a day's samples when they are gone. One row for each series and day, and its sketches in a second one.

use super::codec::{Coder, Garbled, fold_sign, read_number, steps_of, unfold_sign, write_number};
use super::seal::{self, Damages, Table};
use super::{DAY_MS, Known, ROLLUP_STEP_MS, SERIES_BITS, SeriesId, key, segments};
use crate::file::Failure;
use lowtide_core::history::{Before, Bin, Bucket, Rollup};
use rusqlite::{Connection, params};

/// Buckets of a day.
const DAY_BUCKETS: usize = 96;

/// The columns of a roll-up, in their order in the row.
const COLUMNS: usize = 5;

/// Days that are rolled up, sorted.
pub(super) fn days(connection: &Connection, damages: &Damages) -> Result<Vec<i64>, Failure> {
    let mut query = connection.prepare_cached("SELECT id, sealed FROM rolled ORDER BY id")?;
    let mut rows = query.query([])?;
    let mut days = Vec::new();
    while let Some(row) = rows.next()? {
        let day = row.get(0)?;
        match seal::open(Table::Rolled, day, row.get_ref(1)?.as_blob().unwrap_or_default()) {
            Some(_) => days.push(day),
            None => damages.add(Table::Rolled, day),
        }
    }
    Ok(days)
}

/// Rolls up all series of a day.
pub(super) fn roll(
    connection: &Connection,
    known: &mut Known,
    coder: &mut Coder,
    damages: &Damages,
    day: i64,
) -> Result<(), Failure> {
    let day_ms = day * DAY_MS;
    let mut of_day = Vec::new();
    for span in segments::within(&known.segments, day_ms, day_ms + DAY_MS - 1) {
        if let Some(times) = segments::times(connection, coder, damages, &span)? {
            of_day.push(segments::Timed { span, wanted: times.len(), times });
        }
    }
    let mut buffer = Vec::new();
    for series in series_of(connection, &known.segments, day)? {
        let Some(info) = known.catalogue.get(series) else { continue };
        let mut before = Before::default();
        let mut rollup = Rollup::new(ROLLUP_STEP_MS);
        segments::samples(connection, coder, damages, &of_day, series, &mut buffer, |times, values| {
            let first = times.partition_point(|time| *time < day_ms);
            let end = times.partition_point(|time| *time < day_ms + DAY_MS);
            let (earlier, rest) = (0..first, first..end);
            if info.is_cumulative() {
                for (time, value) in
                    times.iter().zip(values).take(earlier.end).filter(|(_, value)| value.is_finite())
                {
                    before.rate(*time, *value);
                }
            }
            let (times, values) = (times.get(rest.clone()), values.get(rest));
            let before = info.is_cumulative().then_some(&mut before);
            add_samples(&mut rollup, times.unwrap_or_default(), values.unwrap_or_default(), before);
        })?;
        let key = key(day, series);
        if let Some(old) = read(connection, coder, damages, key, true)? {
            rollup = richer(old, rollup);
        }
        write(connection, coder, key, &rollup)?;
    }
    let mut sealed = Vec::new();
    seal::seal(Table::Rolled, day, &mut sealed);
    connection
        .prepare_cached("INSERT OR REPLACE INTO rolled (id, sealed) VALUES (?1, ?2)")?
        .execute(params![day, sealed])?;
    if let Err(at) = known.rolled.binary_search(&day) {
        known.rolled.insert(at, day);
    }
    Ok(())
}

/// A bucket whose samples come in two pieces is one bucket.
fn add_samples(rollup: &mut Rollup, times: &[i64], values: &[f64], before: Option<&mut Before>) {
    let mut part = Rollup::new(rollup.step_ms);
    part.samples(times, values, before);
    for bucket in part.buckets {
        let bins = part.bins.get(bucket.bins.clone()).unwrap_or_default();
        match rollup.buckets.last_mut() {
            Some(last) if last.start_ms == bucket.start_ms => last.merge(&bucket, bins, &mut rollup.bins),
            _ => {
                let first = rollup.bins.len();
                rollup.bins.extend_from_slice(bins);
                rollup.buckets.push(Bucket { bins: first..rollup.bins.len(), ..bucket });
            }
        }
    }
}

/// Of each bucket the one that saw more samples: when the clock was set back to a day whose samples are gone, what was rolled up then stays.
fn richer(old: Rollup, new: Rollup) -> Rollup {
    let mut both: Vec<(Bucket, &[Bin])> = Vec::new();
    for (rollup, buckets) in [(&old, &old.buckets), (&new, &new.buckets)] {
        both.extend(
            buckets
                .iter()
                .map(|bucket| (bucket.clone(), rollup.bins.get(bucket.bins.clone()).unwrap_or_default())),
        );
    }
    both.sort_by_key(|(bucket, _)| (bucket.start_ms, std::cmp::Reverse(bucket.count)));
    both.dedup_by_key(|(bucket, _)| bucket.start_ms);
    let mut richer = Rollup::new(new.step_ms);
    for (bucket, bins) in both {
        let first = richer.bins.len();
        richer.bins.extend_from_slice(bins);
        richer.buckets.push(Bucket { bins: first..richer.bins.len(), ..bucket });
    }
    richer
}

/// The series that have a chunk in any segment of a day.
fn series_of(
    connection: &Connection,
    segments: &[segments::Span],
    day: i64,
) -> Result<Vec<SeriesId>, Failure> {
    let mut query = connection.prepare_cached("SELECT id FROM chunk WHERE id >= ?1 AND id < ?2")?;
    let mut series = Vec::new();
    for span in segments.iter().filter(|span| span.day() == day) {
        let mut rows = query.query([span.id << SERIES_BITS, (span.id + 1) << SERIES_BITS])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            series.extend(u32::try_from(id & ((1 << SERIES_BITS) - 1)).map(SeriesId));
        }
    }
    series.sort_unstable();
    series.dedup();
    Ok(series)
}

fn write(connection: &Connection, coder: &mut Coder, key: i64, rollup: &Rollup) -> Result<(), Failure> {
    let mut sealed = Vec::new();
    encode(coder, rollup, &mut sealed);
    seal::seal(Table::Rollup, key, &mut sealed);
    connection
        .prepare_cached("INSERT OR REPLACE INTO rollup (id, sealed) VALUES (?1, ?2)")?
        .execute(params![key, sealed])?;
    let mut sealed = encode_sketches(rollup);
    if sealed.is_empty() {
        connection.prepare_cached("DELETE FROM sketch WHERE id = ?1")?.execute([key])?;
        return Ok(());
    }
    seal::seal(Table::Sketch, key, &mut sealed);
    connection
        .prepare_cached("INSERT OR REPLACE INTO sketch (id, sealed) VALUES (?1, ?2)")?
        .execute(params![key, sealed])?;
    Ok(())
}

/// The roll-up of a series and day, with its sketches if they are asked for; `None` when there is none, or it is damaged.
pub(super) fn read(
    connection: &Connection,
    coder: &mut Coder,
    damages: &Damages,
    key: i64,
    sketches: bool,
) -> Result<Option<Rollup>, Failure> {
    let mut query = connection.prepare_cached("SELECT sealed FROM rollup WHERE id = ?1")?;
    let mut rows = query.query([key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let content = seal::open(Table::Rollup, key, row.get_ref(0)?.as_blob().unwrap_or_default());
    let day_ms = (key >> SERIES_BITS) * DAY_MS;
    let Some(mut rollup) = content.and_then(|content| decode(coder, content, day_ms).ok()) else {
        damages.add(Table::Rollup, key);
        return Ok(None);
    };
    if sketches {
        let mut query = connection.prepare_cached("SELECT sealed FROM sketch WHERE id = ?1")?;
        let mut rows = query.query([key])?;
        if let Some(row) = rows.next()? {
            let content = seal::open(Table::Sketch, key, row.get_ref(0)?.as_blob().unwrap_or_default());
            if content.and_then(|content| decode_sketches(content, &mut rollup).ok()).is_none() {
                damages.add(Table::Sketch, key);
                return Ok(None);
            }
        }
    }
    Ok(Some(rollup))
}

/// Which buckets there are, a bit for each of the day's, then a column each of counts, sums, least, greatest and newest numbers.
fn encode(coder: &mut Coder, rollup: &Rollup, out: &mut Vec<u8>) {
    let mut present = [0u8; DAY_BUCKETS / 8];
    let mut columns: [Vec<f64>; COLUMNS] = Default::default();
    for bucket in &rollup.buckets {
        let number = usize::try_from(bucket.start_ms.rem_euclid(DAY_MS) / ROLLUP_STEP_MS).unwrap_or(0);
        if let Some(bits) = present.get_mut(number / 8) {
            *bits |= 1 << (number % 8);
        }
        let none = |value: f64| if bucket.count == 0 { f64::NAN } else { value };
        let row = [f64::from(bucket.count), none(bucket.sum), bucket.min, bucket.max, bucket.last];
        columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }
    // Sums of decimals have noise far behind the last one, which would make doubles of them.
    let [_, sums, least, greatest, _] = &mut columns;
    let ends: Vec<f64> = least.iter().chain(&*greatest).copied().filter(|value| value.is_finite()).collect();
    if let Some(steps) = steps_of(&ends, &mut Vec::new()) {
        let finer = steps * 10_000.0;
        for sum in sums {
            let whole = (*sum * finer).round();
            if whole.abs() < 4_503_599_627_370_496.0 {
                *sum = whole / finer;
            }
        }
    }
    out.extend_from_slice(&present);
    for column in &columns {
        let mut bytes = Vec::new();
        // A float's error is a ten-millionth, a sketch's a hundredth.
        coder.encode(column, true, &mut bytes);
        write_number(bytes.len() as u64, out);
        out.extend_from_slice(&bytes);
    }
}

fn decode(coder: &mut Coder, content: &[u8], day_ms: i64) -> Result<Rollup, Garbled> {
    let (present, mut rest) = content.split_first_chunk::<{ DAY_BUCKETS / 8 }>().ok_or(Garbled)?;
    let starts = (0i64..).zip(present).flat_map(|(byte, bits)| {
        (0i64..8).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| byte * 8 + bit)
    });
    let starts: Vec<i64> = starts.map(|number| day_ms + number * ROLLUP_STEP_MS).collect();
    let mut numbers = Vec::with_capacity(starts.len() * COLUMNS);
    for _ in 0..COLUMNS {
        let length = usize::try_from(read_number(&mut rest)?).map_err(|_| Garbled)?;
        let (column, behind) = rest.split_at_checked(length).ok_or(Garbled)?;
        coder.decode(column, starts.len(), &mut numbers)?;
        rest = behind;
    }
    let number =
        |column: usize, row: usize| numbers.get(column * starts.len() + row).copied().unwrap_or(f64::NAN);
    let bucket = |(row, start_ms): (usize, &i64)| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole u32 was stored")]
        let count = number(0, row) as u32;
        let sum = if count == 0 { 0.0 } else { number(1, row) };
        let (min, max, last) = (number(2, row), number(3, row), number(4, row));
        Bucket { start_ms: *start_ms, count, sum, min, max, last, bins: 0..0 }
    };
    let buckets = starts.iter().enumerate().map(bucket).collect();
    Ok(Rollup { step_ms: ROLLUP_STEP_MS, buckets, bins: Vec::new() })
}

/// Three streams, compressed together: how many bins each bucket has, their keys as differences, their counts. Empty without any bin.
fn encode_sketches(rollup: &Rollup) -> Vec<u8> {
    let (mut lengths, mut keys, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    let mut first = 0;
    for bucket in &rollup.buckets {
        let bins = rollup.bins.get(bucket.bins.clone()).unwrap_or_default();
        write_number(bins.len() as u64, &mut lengths);
        let mut before = first;
        for (number, bin) in bins.iter().enumerate() {
            let further = i64::from(bin.key) - i64::from(before);
            // Within a bucket keys grow; from one to the next they go either way.
            let further = if number == 0 { fold_sign(further) } else { further.cast_unsigned() - 1 };
            write_number(further, &mut keys);
            write_number(u64::from(bin.count), &mut counts);
            before = bin.key;
        }
        first = bins.first().map_or(first, |bin| bin.key);
    }
    if keys.is_empty() {
        return Vec::new();
    }
    let mut plain = lengths;
    plain.extend_from_slice(&keys);
    plain.extend_from_slice(&counts);
    let mut out = Vec::new();
    write_number(plain.len() as u64, &mut out);
    // It fails only without memory; then the row is found damaged.
    out.extend(zstd::bulk::compress(&plain, 6).unwrap_or_default());
    out
}

/// Bytes of all sketches of a series and day: a bin for each sample of a tick each second would fit.
const SKETCHES_BYTES_MAX: usize = 1 << 20;

fn decode_sketches(content: &[u8], rollup: &mut Rollup) -> Result<(), Garbled> {
    let mut rest = content;
    let length = usize::try_from(read_number(&mut rest)?).map_err(|_| Garbled)?;
    if length > SKETCHES_BYTES_MAX {
        return Err(Garbled);
    }
    let plain = zstd::bulk::decompress(rest, length).map_err(|_| Garbled)?;
    let mut plain = plain.as_slice();
    let mut total = 0;
    for bucket in &mut rollup.buckets {
        let bins = usize::try_from(read_number(&mut plain)?).map_err(|_| Garbled)?;
        bucket.bins = total..total + bins;
        total += bins;
        if total > SKETCHES_BYTES_MAX {
            return Err(Garbled);
        }
    }
    let mut first = 0i64;
    rollup.bins.reserve(total);
    for bucket in &rollup.buckets {
        let mut before = first;
        for number in 0..bucket.bins.len() {
            let further = read_number(&mut plain)?;
            let key = if number == 0 {
                before.wrapping_add(unfold_sign(further))
            } else {
                before.wrapping_add_unsigned(further).wrapping_add(1)
            };
            rollup.bins.push(Bin { key: i32::try_from(key).map_err(|_| Garbled)?, count: 0 });
            before = key;
            if number == 0 {
                first = key;
            }
        }
    }
    for bin in &mut rollup.bins {
        bin.count = u32::try_from(read_number(&mut plain)?).map_err(|_| Garbled)?;
    }
    Ok(())
}
