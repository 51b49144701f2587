// Tells when a meeting runs: fetches an iCalendar address every few minutes, and compares its times with the clock.
//
// The address of a calendar is a secret, so it is in no text that this addon gives; nor are titles.
import { get as setting } from "lowtide:addon/config@0.1.0";
import { get } from "lowtide:addon/http@0.1.0";
import { write } from "lowtide:addon/log@0.1.0";
import { busy, parse } from "./calendar.js";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** How far ahead is looked. */
const AHEAD = 8 * DAY;

/** A calendar that was not reached for so long says nothing about now. */
const KEPT = DAY;

/** How long a call reads a calendar before it leaves the rest to the next one. A call has 100 ms. */
const SLICE = 30;

/** The last good answer: when it came, and what is busy. An instance keeps it as long as it lives. */
let known;
/** When the server was asked last, and what was wrong then. */
let asked = -Infinity;
let failure;
/** A calendar that is being read. */
let unread;

/** A failure, for the host; see `failure` in wit/deps/lowtide-addon/types.wit. */
const fail = (tag, val) => ({ tag, val });

/** A setting of one of these kinds; another kind is the operator's mistake. */
function read(key, kinds, otherwise) {
  const value = setting(key);
  if (value === undefined || value === null) {
    if (otherwise === undefined) throw fail("config", `${key}: not set`);
    return otherwise;
  }
  if (!kinds.includes(value.tag)) throw fail("config", `${key}: ${kinds[0]} is needed, ${value.tag} is set`);
  // Whole numbers may come as BigInt.
  return typeof value.val === "bigint" ? Number(value.val) : value.val;
}

function number(key, otherwise, least, most) {
  const value = read(key, ["float", "integer"], otherwise);
  if (!(value >= least && value <= most)) throw fail("config", `${key}: ${value} is not between ${least} and ${most}`);
  return value;
}

/** What a call of the host failed with: the value itself, or wrapped in an Error. */
const cause = (error) => error?.payload ?? error;

/** A byte, a character: there is no TextDecoder here, and what is not ASCII stands only in texts that are not read. */
function text(bytes) {
  let whole = "";
  for (let at = 0; at < bytes.length; at += 8_192) whole += String.fromCharCode.apply(null, bytes.subarray(at, at + 8_192));
  return whole;
}

function fetch(url) {
  let answer;
  try {
    answer = get({ url, headers: [["accept", "text/calendar"]], timeout: 5 });
  } catch (error) {
    const { tag, val } = cause(error) ?? {};
    switch (tag) {
      case "not-granted":
        throw fail("denied", val);
      case "timeout":
        throw fail("unavailable", "the calendar's server did not answer in time");
      case "unreachable":
        throw fail("unavailable", val);
      case "limit-exceeded":
        throw fail("unavailable", "too many requests");
      case "too-large":
        throw fail("other", "the calendar is larger than 512 KiB: choose one without old events");
      case "invalid":
        throw fail("config", "url: it is not an address of http or https");
      default:
        throw error;
    }
  }
  if (answer.status >= 300 && answer.status < 400) throw fail("config", "url: the server sends on elsewhere");
  if (answer.status === 401 || answer.status === 403) throw fail("config", "url: the server does not show this calendar");
  if (answer.status < 200 || answer.status >= 300) {
    throw fail("unavailable", `the calendar's server answered with status ${answer.status}`);
  }
  return text(answer.body);
}

/** Reads the calendar, with pauses; the last step gives what is busy. */
function* reading(body, moment, options) {
  let calendar;
  try {
    calendar = yield* parse(body, moment - DAY);
  } catch (problem) {
    if (typeof problem !== "string") throw problem;
    throw fail("unavailable", `the answer is not a calendar: ${problem}`);
  }
  return { at: moment, ...(yield* busy(calendar, moment - DAY, moment + AHEAD, options)) };
}

/** Asks for the calendar when it is time, or goes on with reading it. */
function work(moment) {
  const every = number("refresh_minutes", 10, 1, 1_440) * MINUTE;
  // After a failure sooner, and after a jump of the clock at once.
  if (!unread && Math.abs(moment - asked) >= (failure ? MINUTE : every)) {
    const url = read("url", ["text"]);
    const options = {
      allDay: read("all_day", ["boolean"], false),
      floating: number("utc_offset_minutes", 0, -720, 840) * MINUTE,
    };
    asked = moment;
    unread = reading(fetch(url), moment, options);
  }
  const end = Date.now() + SLICE;
  while (unread) {
    const { done, value } = unread.next();
    if (done) {
      known = value;
      unread = failure = undefined;
    } else if (Date.now() >= end) {
      return;
    }
  }
}

/** What is busy, as of the last answer that was good. Throws a failure if there is none. */
function look(moment) {
  try {
    work(moment);
  } catch (error) {
    unread = undefined;
    if (typeof error?.tag !== "string") throw error;
    if (!failure) write("warn", `the calendar was not read: ${error.val}`);
    failure = error;
  }
  if (known && Math.abs(moment - known.at) < KEPT) return known;
  throw failure ?? fail("unavailable", "the calendar is large, and was not read to its end yet");
}

const gauge = (name, unit, help) => ({ name, kind: "gauge", unit, help, labels: [], buckets: [] });

export const collector = {
  describe() {
    return {
      help: "Whether a meeting runs, and when the next one begins, by a calendar.",
      interval: 30,
      metrics: [
        gauge("busy", "count", "1 while an event runs, 0 otherwise."),
        gauge("next_busy_in_seconds", "seconds", "Time until the next event begins; left out if none is near."),
        gauge("busy_ends_in_seconds", "seconds", "Time until the events that run are over; left out if none does."),
        gauge("calendar_age_seconds", "seconds", "How long ago the calendar was read."),
        gauge("skipped_events", "count", "Events whose times are not understood."),
      ],
    };
  },

  collect() {
    const moment = Date.now();
    const { at, times, skipped } = look(moment);
    const running = times.find(([begin, end]) => begin <= moment && moment < end);
    const next = times.find(([begin]) => begin > moment);
    const samples = [
      { name: "busy", labels: [], value: running ? 1 : 0 },
      { name: "calendar_age_seconds", labels: [], value: Math.max(0, moment - at) / 1_000 },
      { name: "skipped_events", labels: [], value: skipped },
    ];
    if (running) samples.push({ name: "busy_ends_in_seconds", labels: [], value: (running[1] - moment) / 1_000 });
    if (next) samples.push({ name: "next_busy_in_seconds", labels: [], value: (next[0] - moment) / 1_000 });
    return samples;
  },
};

export const presence = {
  assess() {
    const moment = Date.now();
    const weight = number("weight", 0.8, 0, 1);
    const lead = number("lead_minutes", 0, 0, 120) * MINUTE;
    const present = look(moment).times.find(([begin, end]) => begin - lead <= moment && moment < end);
    if (!present) return [];
    return [{ what: present[0] <= moment ? "meeting now" : "meeting soon", weight, lasts: undefined }];
  },
};
