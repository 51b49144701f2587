// iCalendar (RFC 5545) as far as meetings need it. Nothing of Lowtide is in here: `node --test` tests it.
//
// A local time is a number of milliseconds as if it were UTC ("wall"); its zone makes a moment of it.

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** Repetitions that are looked at before an event counts as too much work. */
const STEPS_MAX = 4_000;

const WEEKDAYS = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"];

const INTERESTING = new Set([
  "BEGIN", "END", "UID", "DTSTART", "DTEND", "DURATION", "RRULE", "EXDATE", "RECURRENCE-ID", "STATUS", "TRANSP",
  "TZID", "TZOFFSETTO",
]);

/** Name, parameters and value of a line; undefined for a line that does not matter. */
export function property(line) {
  // Most lines end here, so this is done without a regular expression.
  const colon = line.indexOf(":");
  const semicolon = line.indexOf(";");
  const name = line.slice(0, semicolon >= 0 && semicolon < colon ? semicolon : Math.max(0, colon)).toUpperCase();
  if (!INTERESTING.has(name)) return undefined;
  // A colon within quotes belongs to a parameter.
  if (line[name.length] === ":") return { name, parameters: {}, value: line.slice(colon + 1).trim() };
  const match = /^[^;:]+((?:;[^=;:]+=(?:"[^"]*"|[^";:])*)*):([^\r]*)/.exec(line);
  if (!match) return undefined;
  const parameters = {};
  for (const part of match[1].split(";").slice(1)) {
    const [key, value = ""] = part.split("=");
    parameters[key.toUpperCase()] = value.replace(/"/g, "");
  }
  return { name, parameters, value: match[2].trim() };
}

/** `20260301T090000Z`, `20260301T090000` or `20260301`; undefined for any other text. */
export function time(value, zone) {
  const match = /^(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z)?)?$/.exec(value);
  if (!match) return undefined;
  const [, year, month, day, hour = 0, minute = 0, second = 0, utc] = match;
  return {
    wall: Date.UTC(year, month - 1, day, hour, minute, second),
    zone: utc ? "UTC" : zone,
    wholeDay: match[4] === undefined,
  };
}

/** `PT1H30M`, `P1D`, `P2W` in milliseconds; undefined for any other text. */
export function duration(value) {
  const match = /^\+?P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/.exec(value);
  if (!match) return undefined;
  const [weeks, days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0));
  return (weeks * 7 + days) * DAY + (hours * 60 + minutes) * MINUTE + seconds * 1_000;
}

/** `FREQ=WEEKLY;BYDAY=MO,TU` as an object. */
function rule(value) {
  return Object.fromEntries(value.split(";").map((part) => part.split("=")));
}

/** Single events that began longer before what is looked at are not read: a large calendar has thousands of them. */
const PAST = 40 * DAY;

/**
 * Events and zones of a calendar, without what was over long before the moment `from`. Throws a text when it is none.
 *
 * This and `busy` pause after each event: the host gives a call 100 ms, and a large calendar takes longer. `finish` does it all.
 */
export function* parse(text, from = 0) {
  if (!/^(?:\xEF\xBB\xBF)?BEGIN:VCALENDAR/.test(text)) throw "it does not begin with BEGIN:VCALENDAR";
  const calendar = { events: [], zones: {}, skipped: 0 };
  const since = new Date(Math.max(0, from - PAST)).toISOString().slice(0, 10).replace(/-/g, "");
  for (const block of blocks(text, "VTIMEZONE")) read(calendar, block);
  for (const block of blocks(text, "VEVENT")) {
    if (!isOver(block, since)) read(calendar, block);
    yield;
  }
  return calendar;
}

/** Runs to the end what pauses. */
export function finish(steps) {
  let step = steps.next();
  while (!step.done) step = steps.next();
  return step.value;
}

function* blocks(text, kind) {
  let begin = text.indexOf(`BEGIN:${kind}`);
  while (begin >= 0) {
    const end = text.indexOf(`END:${kind}`, begin);
    yield end < 0 ? text.slice(begin) : text.slice(begin, end + 4 + kind.length);
    begin = end < 0 ? -1 : text.indexOf(`BEGIN:${kind}`, end);
  }
}

/** Whether an event is over, by a quick look at its text; false in doubt. Interpreted code has little time. */
function isOver(block, since) {
  const rule = block.indexOf("\nRRULE");
  if (rule >= 0) {
    const until = block.indexOf("UNTIL=", rule);
    return until >= 0 && block.slice(until + 6, until + 14) < since;
  }
  const start = block.indexOf("\nDTSTART");
  const value = block.indexOf(":", start) + 1;
  return start >= 0 && block.slice(value, value + 8) < since;
}

function read(calendar, block) {
  const open = [];
  for (const line of block.replace(/\r?\n[ \t]/g, "").split("\n")) {
    const found = property(line);
    if (!found) continue;
    const { name, parameters, value } = found;
    const inner = open[open.length - 1];
    if (name === "BEGIN") {
      open.push({ kind: value.toUpperCase(), excluded: [], onsets: [] });
    } else if (name === "END") {
      open.pop();
      close(calendar, inner, open[open.length - 1]);
    } else if (inner) {
      set(inner, name, parameters, value);
    }
  }
}

function set(part, name, parameters, value) {
  switch (name) {
    case "UID":
      part.uid = value;
      break;
    case "DTSTART":
      part.start = time(value, parameters.TZID);
      break;
    case "DTEND":
      part.end = time(value, parameters.TZID);
      break;
    case "DURATION":
      part.duration = duration(value);
      break;
    case "RRULE":
      part.rule = rule(value);
      break;
    case "EXDATE":
      part.excluded.push(...value.split(",").map((one) => time(one, parameters.TZID)?.wall));
      break;
    case "RECURRENCE-ID":
      part.replaces = time(value, parameters.TZID)?.wall;
      break;
    case "STATUS":
      part.cancelled = value.toUpperCase() === "CANCELLED";
      break;
    case "TRANSP":
      part.transparent = value.toUpperCase() === "TRANSPARENT";
      break;
    case "TZID":
      part.id = value;
      break;
    case "TZOFFSETTO":
      part.offset = offset(value);
      break;
  }
}

/** `+0130` in milliseconds. */
function offset(value) {
  const match = /^([+-])(\d\d)(\d\d)/.exec(value);
  return match ? (match[1] === "-" ? -1 : 1) * (Number(match[2]) * 60 + Number(match[3])) * MINUTE : undefined;
}

function close(calendar, part, outer) {
  if (part?.kind === "VEVENT") {
    if (part.start) calendar.events.push(part);
    else calendar.skipped += 1;
  } else if ((part?.kind === "STANDARD" || part?.kind === "DAYLIGHT") && part.start && part.offset !== undefined) {
    outer?.onsets.push(part);
  } else if (part?.kind === "VTIMEZONE" && part.id) {
    calendar.zones[part.id] = part.onsets;
  }
}

/** The moment of a local time. What has no zone, or one that the calendar does not describe, has the offset `floating`. */
export function moment({ wall, zone }, zones, floating) {
  if (zone === "UTC") return wall;
  let newest;
  for (const onset of zones[zone] ?? []) {
    const since = latestOnset(onset, wall);
    if (since !== undefined && (!newest || since > newest.since)) newest = { since, offset: onset.offset };
  }
  return wall - (newest?.offset ?? floating);
}

/** When this rule of a zone began to hold last, at or before a local time. */
function latestOnset(onset, wall) {
  const start = onset.start.wall;
  if (wall < start) return undefined;
  if (onset.rule?.FREQ !== "YEARLY" || !onset.rule.BYMONTH) return start;
  const year = new Date(wall).getUTCFullYear();
  for (const candidate of [year, year - 1]) {
    const month = Number(onset.rule.BYMONTH) - 1;
    const days = onset.rule.BYDAY
      ? weekdaysOfMonth(candidate, month, onset.rule.BYDAY)
      : [new Date(start).getUTCDate()];
    const at = days.length ? Date.UTC(candidate, month, days[0]) + (start % DAY) : undefined;
    if (at !== undefined && at <= wall && at >= start) return at;
  }
  return start;
}

/** Days of a month that are `MO`, `2TU` or `-1SU`, separated by commas. */
function weekdaysOfMonth(year, month, list) {
  const last = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  const days = [];
  for (const one of list.split(",")) {
    const match = /^([+-]?\d+)?(SU|MO|TU|WE|TH|FR|SA)$/.exec(one);
    if (!match) continue;
    const weekday = WEEKDAYS.indexOf(match[2]);
    const first = 1 + ((weekday - new Date(Date.UTC(year, month, 1)).getUTCDay() + 7) % 7);
    const all = [];
    for (let day = first; day <= last; day += 7) all.push(day);
    const place = Number(match[1] ?? 0);
    if (place === 0) days.push(...all);
    else if (place > 0 && all[place - 1]) days.push(all[place - 1]);
    else if (place < 0 && all[all.length + place]) days.push(all[all.length + place]);
  }
  return days.sort((a, b) => a - b);
}

/** Local times at which an event begins, from the first on and in order, until `to`. Throws a text for a rule it does not know. */
export function* starts(event, from, to) {
  const start = event.start.wall;
  if (!event.rule) {
    yield start;
    return;
  }
  const { FREQ, INTERVAL, COUNT, UNTIL, BYDAY, BYMONTHDAY, WKST, ...others } = event.rule;
  const unknown = Object.keys(others).filter((key) => key !== "BYMONTH" || FREQ !== "YEARLY");
  if (unknown.length > 0) throw `${unknown[0]} is not understood`;
  const every = Math.max(1, Number(INTERVAL ?? 1));
  const count = COUNT === undefined ? Infinity : Number(COUNT);
  // The end is a moment and a local time is not: a day more does no harm to what is looked at.
  const until = UNTIL === undefined ? Infinity : (time(UNTIL)?.wall ?? Infinity) + (time(UNTIL)?.wholeDay ? DAY - 1 : 0);
  let given = 0;
  // Without a count nobody has to know what was before.
  const step = count === Infinity ? firstStep(FREQ, start, from, every) : 0;
  for (let at = step; at < step + STEPS_MAX; at += 1) {
    for (const wall of within(event, at * every, FREQ, BYDAY, BYMONTHDAY, WKST)) {
      if (wall < start) continue;
      if (given >= count || wall > until || wall > to) return;
      given += 1;
      if (wall >= from) yield wall;
    }
  }
  throw "it repeats too often";
}

function firstStep(frequency, start, from, every) {
  const passed = Math.max(0, from - start);
  const days = { DAILY: 1, WEEKLY: 7, MONTHLY: 31, YEARLY: 366 }[frequency];
  return days ? Math.max(0, Math.floor(passed / (days * DAY * every)) - 1) : 0;
}

/** Local times of one day, week, month or year after the event's first. */
function within({ start: { wall: start } }, steps, frequency, byDay, byMonthDay, weekStart) {
  const first = new Date(start);
  const clock = start % DAY;
  const [year, month, day] = [first.getUTCFullYear(), first.getUTCMonth(), first.getUTCDate()];
  switch (frequency) {
    case "DAILY": {
      const wall = start + steps * DAY;
      return !byDay || byDay.split(",").includes(WEEKDAYS[new Date(wall).getUTCDay()]) ? [wall] : [];
    }
    case "WEEKLY": {
      if (!byDay) return [start + steps * 7 * DAY];
      const weekBegins = WEEKDAYS.indexOf(weekStart ?? "MO");
      const into = (first.getUTCDay() - weekBegins + 7) % 7;
      const week = start + (steps * 7 - into) * DAY;
      const days = byDay.split(",").map((one) => (WEEKDAYS.indexOf(one) - weekBegins + 7) % 7);
      return days.sort((a, b) => a - b).map((one) => week + one * DAY);
    }
    case "MONTHLY": {
      const begin = new Date(Date.UTC(year, month + steps, 1));
      const last = new Date(Date.UTC(year, month + steps + 1, 0)).getUTCDate();
      const days = byDay
        ? weekdaysOfMonth(begin.getUTCFullYear(), begin.getUTCMonth(), byDay)
        : (byMonthDay ?? String(day)).split(",").map((one) => (Number(one) < 0 ? last + 1 + Number(one) : Number(one)));
      return days.filter((one) => one >= 1 && one <= last).map((one) => begin.getTime() + (one - 1) * DAY + clock);
    }
    case "YEARLY": {
      const wall = Date.UTC(year + steps, month, day) + clock;
      // 29 February is not there in every year.
      return new Date(wall).getUTCDate() === day ? [wall] : [];
    }
    default:
      throw `FREQ=${frequency} is not understood`;
  }
}

/** Times between `from` and `to` (moments) at which somebody is busy, in order, overlapping ones joined. */
export function* busy(calendar, from, to, { allDay = false, floating = 0 } = {}) {
  const replaced = new Set();
  for (const event of calendar.events) {
    if (event.replaces !== undefined) replaced.add(`${event.uid} ${event.replaces}`);
  }
  const found = [];
  let skipped = calendar.skipped;
  for (const event of calendar.events) {
    yield;
    if (event.cancelled || event.transparent || (event.start.wholeDay && !allDay)) continue;
    const end = event.end && moment(event.end, calendar.zones, floating);
    const begin = moment(event.start, calendar.zones, floating);
    const lasts = event.duration ?? (end === undefined ? (event.start.wholeDay ? DAY : 0) : end - begin);
    if (!(lasts > 0)) continue;
    const gone = new Set(event.excluded);
    try {
      // Two days more at both ends than any zone is away.
      for (const wall of starts(event, from - lasts - 2 * DAY, to + 2 * DAY)) {
        if (gone.has(wall) || (event.replaces === undefined && replaced.has(`${event.uid} ${wall}`))) continue;
        const at = moment({ wall, zone: event.start.zone }, calendar.zones, floating);
        if (at < to && at + lasts > from) found.push([at, at + lasts]);
      }
    } catch (problem) {
      if (typeof problem !== "string") throw problem;
      skipped += 1;
    }
  }
  found.sort(([a], [b]) => a - b);
  const times = [];
  for (const [begin, end] of found) {
    const last = times[times.length - 1];
    if (last && begin <= last[1]) last[1] = Math.max(last[1], end);
    else times.push([begin, end]);
  }
  return { times, skipped };
}
