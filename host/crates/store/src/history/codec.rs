//! Columns of numbers as bytes: samples of one series, times of ticks, columns of roll-ups.
//!
//! A column of numbers that all have few decimals is stored as whole numbers, one that rests as a single number. What does not is stored
//! bit for bit. The compression is pco's (<https://github.com/pcodec/pcodec>), which finds common factors and differences by itself.

use pco::ChunkConfig;
use pco::standalone::{simple_compress_into, simple_decompress_into};

/// Numbers of decimals that are tried, as steps in one.
const STEPS: [f64; 4] = [1.0, 100.0, 10_000.0, 1_000_000.0];

/// Set in the first byte when some places have no number.
const GAPS: u8 = 0x80;

/// All numbers are the same one.
const SAME: u8 = 0;
/// Whole numbers of the first of [`STEPS`]; the others follow.
const WHOLE: u8 = 1;
/// Doubles.
const DOUBLE: u8 = 8;
/// Doubles, each rounded to the nearest float.
const FLOAT: u8 = 9;

/// Above this many bytes the map of gaps is compressed.
const SMALL_MAP: usize = 16;

/// A better one takes twice as long for a hundredth of the bytes.
const COMPRESSION_LEVEL: usize = 4;

/// Bytes that are no column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbled;

/// Buffers that are used from one column to the next.
#[derive(Debug, Default)]
pub(crate) struct Coder {
    dense: Vec<f64>,
    wholes: Vec<i64>,
    floats: Vec<f32>,
    map: Vec<u8>,
}

impl Coder {
    /// Adds a column to `out`. NaN is no number. With `rounded`, numbers that have many decimals are rounded to floats.
    pub(crate) fn encode(&mut self, values: &[f64], rounded: bool, out: &mut Vec<u8>) {
        let head = out.len();
        out.push(0);
        let mut form = 0;
        let gaps = values.iter().any(|value| value.is_nan());
        if gaps {
            form |= GAPS;
            self.write_map(values, out);
            self.dense.clear();
            self.dense.extend(values.iter().filter(|value| !value.is_nan()));
        }
        let dense = if gaps { self.dense.as_slice() } else { values };
        let first = dense.first().copied().unwrap_or(0.0);
        if dense.iter().all(|value| value.to_bits() == first.to_bits()) {
            form |= SAME;
            out.extend_from_slice(&first.to_le_bytes());
        } else if let Some(number) = whole(dense, &mut self.wholes) {
            form |= WHOLE + number;
            compress(&self.wholes, out);
        } else if rounded {
            form |= FLOAT;
            self.floats.clear();
            #[expect(clippy::cast_possible_truncation, reason = "it is what was asked for")]
            self.floats.extend(dense.iter().map(|value| *value as f32));
            compress(&self.floats, out);
        } else {
            form |= DOUBLE;
            compress(dense, out);
        }
        if let Some(head) = out.get_mut(head) {
            *head = form;
        }
    }

    /// The map of gaps: its length and a bit for each place, set where there is a number.
    fn write_map(&mut self, values: &[f64], out: &mut Vec<u8>) {
        self.map.clear();
        self.map.extend(values.chunks(8).map(|eight| {
            eight.iter().enumerate().fold(0u8, |bits, (at, value)| bits | u8::from(!value.is_nan()) << at)
        }));
        let packed = (self.map.len() > SMALL_MAP).then(|| zstd::bulk::compress(&self.map, 3).ok()).flatten();
        let map = packed.as_ref().unwrap_or(&self.map);
        write_number(map.len() as u64, out);
        out.extend_from_slice(map);
    }

    /// Puts the `count` numbers of a column at the end of `out`, NaN where there is none.
    pub(crate) fn decode(&mut self, bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Garbled> {
        self.decode_first(bytes, count, count, out)
    }

    /// As [`decode`](Self::decode), when only the first `wanted` numbers are needed: there may be more.
    pub(crate) fn decode_first(
        &mut self,
        bytes: &[u8],
        count: usize,
        wanted: usize,
        out: &mut Vec<f64>,
    ) -> Result<(), Garbled> {
        let (form, mut rest) = bytes.split_first().ok_or(Garbled)?;
        if form & GAPS == 0 {
            return self.decode_dense(*form, rest, whole_batches(wanted, count), out);
        }
        let length = usize::try_from(read_number(&mut rest)?).map_err(|_| Garbled)?;
        let (map, rest) = rest.split_at_checked(length).ok_or(Garbled)?;
        let whole_length = count.div_ceil(8);
        let unpacked;
        let map = if whole_length > SMALL_MAP {
            unpacked = zstd::bulk::decompress(map, whole_length).map_err(|_| Garbled)?;
            &unpacked
        } else {
            map
        };
        if map.len() != whole_length {
            return Err(Garbled);
        }
        let has = |at: usize| map.get(at / 8).is_some_and(|bits| bits >> (at % 8) & 1 == 1);
        let present = (0..count).filter(|at| has(*at)).count();
        let mut dense = std::mem::take(&mut self.dense);
        dense.clear();
        let decoded = self.decode_dense(form & !GAPS, rest, present, &mut dense);
        let mut numbers = dense.iter();
        out.extend(
            (0..count).map(|at| if has(at) { numbers.next().copied().unwrap_or(f64::NAN) } else { f64::NAN }),
        );
        self.dense = dense;
        decoded
    }

    fn decode_dense(
        &mut self,
        form: u8,
        bytes: &[u8],
        count: usize,
        out: &mut Vec<f64>,
    ) -> Result<(), Garbled> {
        match form {
            SAME => {
                let value = f64::from_le_bytes(bytes.try_into().map_err(|_| Garbled)?);
                out.resize(out.len() + count, value);
            }
            DOUBLE => {
                let first = out.len();
                out.resize(first + count, 0.0);
                decompress(bytes, out.get_mut(first..).ok_or(Garbled)?)?;
            }
            FLOAT => {
                self.floats.resize(count, 0.0);
                decompress(bytes, &mut self.floats)?;
                out.extend(self.floats.iter().map(|value| f64::from(*value)));
            }
            whole => {
                let steps = STEPS.get(usize::from(whole - WHOLE)).ok_or(Garbled)?;
                self.wholes.resize(count, 0);
                decompress(bytes, &mut self.wholes)?;
                #[expect(clippy::cast_precision_loss, reason = "only numbers that doubles hold were stored")]
                if *steps == 1.0 {
                    out.extend(self.wholes.iter().map(|whole| *whole as f64));
                } else {
                    out.extend(self.wholes.iter().map(|whole| *whole as f64 / steps));
                }
            }
        }
        Ok(())
    }
}

/// Pco decodes in batches; it can stop between two.
fn whole_batches(wanted: usize, count: usize) -> usize {
    wanted.next_multiple_of(pco::FULL_BATCH_N).min(count)
}

/// The fewest decimals with which all numbers come back bit for bit, as the place in [`STEPS`]; the numbers in these steps are in `wholes`.
fn whole(values: &[f64], wholes: &mut Vec<i64>) -> Option<u8> {
    (0u8..).zip(STEPS).find_map(|(number, steps)| {
        wholes.clear();
        let fit = values.iter().all(|value| {
            let scaled = (value * steps).round();
            #[expect(clippy::cast_possible_truncation, reason = "whole, and used only within 2^53")]
            let whole = scaled as i64;
            wholes.push(whole);
            #[expect(clippy::cast_precision_loss, reason = "within 2^53")]
            let back = whole as f64 / steps;
            scaled.abs() < 9_007_199_254_740_992.0 && back.to_bits() == value.to_bits()
        });
        fit.then_some(number)
    })
}

/// The steps in one of the fewest decimals that all these numbers have; `None` when they have more.
pub(crate) fn steps_of(values: &[f64], wholes: &mut Vec<i64>) -> Option<f64> {
    whole(values, wholes).and_then(|number| STEPS.get(usize::from(number)).copied())
}

fn compress<T: pco::data_types::Number>(values: &[T], out: &mut Vec<u8>) {
    let config = ChunkConfig::default().with_compression_level(COMPRESSION_LEVEL);
    // It fails only for a wrong level, or when what it writes to does.
    let written = simple_compress_into(values, &config, &mut *out);
    debug_assert!(written.is_ok());
}

fn decompress<T: pco::data_types::Number>(bytes: &[u8], values: &mut [T]) -> Result<(), Garbled> {
    let progress = simple_decompress_into(bytes, values).map_err(|_| Garbled)?;
    if progress.n_processed == values.len() { Ok(()) } else { Err(Garbled) }
}

/// Writes a number in groups of seven bits, the lowest first (LEB128).
pub(crate) fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads what [`write_number`] wrote and moves behind it.
pub(crate) fn read_number(bytes: &mut &[u8]) -> Result<u64, Garbled> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Garbled)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Garbled)
}

/// A number with a sign as one without: small ones stay small.
pub(crate) fn fold_sign(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

/// What [`fold_sign`] made of it.
pub(crate) fn unfold_sign(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[f64]) -> usize {
        let mut bytes = vec![0xAA];
        Coder::default().encode(values, false, &mut bytes);
        let mut back = vec![7.0];
        Coder::default().decode(&bytes[1..], values.len(), &mut back).unwrap();
        assert_eq!(back.len(), values.len() + 1);
        for (value, back) in values.iter().zip(&back[1..]) {
            assert!(value.to_bits() == back.to_bits() || value.is_nan() && back.is_nan(), "{value} {back}");
        }
        bytes.len() - 1
    }

    #[test]
    fn what_rests_or_has_few_decimals_is_small() {
        assert_eq!(round_trip(&[0.25; 1_440]), 9);
        let ratios: Vec<f64> = (0..1_440).map(|at| f64::from(at * 7 % 100) / 10_000.0).collect();
        assert!(round_trip(&ratios) < 1_440 * 2);
        let sparse: Vec<f64> = (0..1_440).map(|at| if at % 6 == 0 { 3.0 } else { f64::NAN }).collect();
        assert!(round_trip(&sparse) < 60);
        round_trip(&[]);
        round_trip(&[f64::NAN; 3]);
        round_trip(&[-0.0, 0.0, f64::MAX, 5e-324]);
    }

    proptest! {
        #[test]
        fn any_column_comes_back(values in prop::collection::vec(
            prop_oneof![any::<f64>(), (-1_000_000..1_000_000i64).prop_map(|whole| whole as f64 / 10_000.0), Just(f64::NAN)],
            0..300,
        )) {
            round_trip(&values);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..80), count in 0..2_000usize) {
            let _ = Coder::default().decode(&bytes, count, &mut Vec::new());
        }

        #[test]
        fn numbers_come_back(number in any::<i64>()) {
            let mut bytes = Vec::new();
            write_number(fold_sign(number), &mut bytes);
            prop_assert_eq!(unfold_sign(read_number(&mut bytes.as_slice()).unwrap()), number);
        }
    }
}
