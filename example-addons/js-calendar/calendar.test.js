// `node --test` in this folder.
import assert from "node:assert/strict";
import test from "node:test";
import { busy as finding, duration, finish, parse as parsing, property, time } from "./calendar.js";

const parse = (...given) => finish(parsing(...given));
const busy = (...given) => finish(finding(...given));

const ZONE = `BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:DAYLIGHT
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
BEGIN:STANDARD
TZOFFSETTO:+0100
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE`;

const calendar = (...events) =>
  parse(["BEGIN:VCALENDAR", ZONE, ...events.map((event) => `BEGIN:VEVENT\n${event}\nEND:VEVENT`), "END:VCALENDAR"].join("\r\n"));

const at = (text) => Date.parse(text);

/** Beginnings and ends of what is busy in a week of March 2026, as texts. */
function inWeek(options, ...events) {
  const { times, skipped } = busy(calendar(...events), at("2026-03-25T00:00Z"), at("2026-04-01T00:00Z"), options);
  const text = (moment) => new Date(moment).toISOString().slice(5, 16);
  return [...times.map(([begin, end]) => `${text(begin)}/${text(end)}`), ...(skipped ? [`skipped ${skipped}`] : [])];
}

test("lines are taken apart", () => {
  assert.deepEqual(property("DTSTART;TZID=\"a:b\";X=1:20260301"), {
    name: "DTSTART",
    parameters: { TZID: "a:b", X: "1" },
    value: "20260301",
  });
  assert.equal(property("SUMMARY:DTSTART:1"), undefined);
  assert.equal(property(""), undefined);
});

test("times and durations are read", () => {
  assert.deepEqual(time("20260301T090000Z", "x"), { wall: at("2026-03-01T09:00Z"), zone: "UTC", wholeDay: false });
  assert.equal(time("2026-03-01"), undefined);
  assert.equal(duration("PT1H30M"), 90 * 60_000);
  assert.equal(duration("P1W"), 7 * 24 * 60 * 60_000);
  assert.equal(duration("1 h"), undefined);
});

test("events are found", () => {
  for (const [name, options, events, wanted] of [
    ["once", {}, ["DTSTART:20260326T090000Z\nDTEND:20260326T100000Z"], ["03-26T09:00/03-26T10:00"]],
    ["with a duration, folded", {}, ["DTSTART:20260326T0900\n 00Z\nDURATION:PT30M"], ["03-26T09:00/03-26T09:30"]],
    ["before and after", {}, ["DTSTART:20260301T090000Z\nDURATION:PT1H", "DTSTART:20260501T090000Z\nDURATION:PT1H"], []],
    ["without an end", {}, ["DTSTART:20260326T090000Z"], []],
    ["cancelled", {}, ["DTSTART:20260326T090000Z\nDURATION:PT1H\nSTATUS:CANCELLED"], []],
    ["transparent", {}, ["DTSTART:20260326T090000Z\nDURATION:PT1H\nTRANSP:TRANSPARENT"], []],
    ["a whole day", {}, ["DTSTART;VALUE=DATE:20260326\nDTEND;VALUE=DATE:20260327"], []],
    ["a whole day that counts", { allDay: true }, ["DTSTART;VALUE=DATE:20260326"], ["03-26T00:00/03-27T00:00"]],
    ["floating", { floating: 3_600_000 }, ["DTSTART:20260326T090000\nDURATION:PT1H"], ["03-26T08:00/03-26T09:00"]],
    [
      "in a zone, over the change of clocks on 29 March",
      {},
      ["DTSTART;TZID=Europe/Berlin:20250101T090000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;BYDAY=FR,MO"],
      ["03-27T08:00/03-27T09:00", "03-30T07:00/03-30T08:00"],
    ],
    [
      "daily, with an exception and a replacement",
      {},
      [
        "UID:a\nDTSTART:20260327T090000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260328T090000Z",
        "UID:a\nRECURRENCE-ID:20260329T090000Z\nDTSTART:20260329T120000Z\nDURATION:PT2H",
      ],
      ["03-27T09:00/03-27T10:00", "03-29T12:00/03-29T14:00", "03-30T09:00/03-30T10:00"],
    ],
    ["until", {}, ["DTSTART:20260301T090000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20260326"], ["03-25T09:00/03-25T10:00", "03-26T09:00/03-26T10:00"]],
    ["every second week", {}, ["DTSTART:20260319T090000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;INTERVAL=2"], []],
    ["last Tuesday of the month", {}, ["DTSTART:20200128T090000Z\nDURATION:PT1H\nRRULE:FREQ=MONTHLY;BYDAY=-1TU"], ["03-31T09:00/03-31T10:00"]],
    ["the 30th of the month", {}, ["DTSTART:20200130T090000Z\nDURATION:PT1H\nRRULE:FREQ=MONTHLY"], ["03-30T09:00/03-30T10:00"]],
    ["every year", {}, ["DTSTART:20000327T090000Z\nDURATION:PT1H\nRRULE:FREQ=YEARLY"], ["03-27T09:00/03-27T10:00"]],
    ["overlapping", {}, ["DTSTART:20260326T090000Z\nDURATION:PT1H", "DTSTART:20260326T093000Z\nDURATION:PT1H"], ["03-26T09:00/03-26T10:30"]],
    ["not understood", {}, ["DTSTART:20260326T090000Z\nDURATION:PT1H\nRRULE:FREQ=SECONDLY", "DTSTART:20260326T090000Z\nDURATION:PT1H\nRRULE:FREQ=MONTHLY;BYSETPOS=1"], ["skipped 2"]],
    ["without a beginning", {}, ["UID:a"], ["skipped 1"]],
    ["from the middle of a long one", {}, ["DTSTART:20260301T000000Z\nDURATION:P26D"], ["03-01T00:00/03-27T00:00"]],
  ]) {
    assert.deepEqual(inWeek(options, ...events), wanted, name);
  }
});

test("what was over long ago is not read", () => {
  const event = (lines) => `BEGIN:VEVENT\n${lines}\nEND:VEVENT`;
  const text = ["BEGIN:VCALENDAR", event("DTSTART:20200101T000000Z"), event("DTSTART:20200101T000000Z\nRRULE:FREQ=DAILY;UNTIL=20210101"),
    event("DTSTART:20200101T000000Z\nRRULE:FREQ=DAILY"), event("DTSTART;TZID=x:20260301T000000")].join("\n");
  assert.equal(parse(text, at("2026-03-25T00:00Z")).events.length, 2);
  assert.equal(parse(text).events.length, 4);
});

test("other texts are refused", () => {
  for (const text of ["", "<html>", "BEGIN:VCARD"]) assert.throws(() => parse(text));
  assert.deepEqual(parse("BEGIN:VCALENDAR\nEND:VEVENT\nEND:X\nDTSTART:1").events, []);
});
