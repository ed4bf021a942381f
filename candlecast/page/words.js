// Numbers and instants as people read them; instants are UTC.

// The central bands, narrowest first, as models/forecasts.py has them; a test compares the two.
export const CENTRAL_BANDS = [
  { "percent": 50, "low": "q25", "high": "q75" },
  { "percent": 80, "low": "q10", "high": "q90" },
  { "percent": 95, "low": "q025", "high": "q975" }
];

/** A price; with `like`, it has as many decimals as that price, so that the prices of one table look alike. */
export const price = (value, like = value) => {
  const digits = Math.abs(like) >= 1000 ? 0 : Math.abs(like) >= 1 ? 2 : 6;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
};

export const band = (row, low, high, like = row.q50) => `${price(row[low], like)} – ${price(row[high], like)}`;

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

export const signed = (share, digits = 1) => `${share > 0 ? "+" : ""}${percent(share, digits)}`;

/** A chance; where only its bound is known, that bound, as models/wording.py says it. */
export const chanceWords = ({ chance, bound }) =>
  bound === "exact" ? percent(chance) : `${bound === "at most" ? "Under" : "Over"} ${percent(chance, 0)}`;

/** A day for instants at midnight, day and time for the others. */
export const instant = (text) => text.slice(0, 10) + (text.slice(11, 16) === "00:00" ? "" : ` ${text.slice(11, 16)}`);

const minute = (text) => `${text.slice(0, 10)} ${text.slice(11, 16)} UTC`;

// How people read candles and forecasts, as models/wording.py says it: a daily close is named by the day it covers,
// other closes by their instant.

const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/** Which close is meant: "Thu 2026-04-23" for a day, "2026-04-23 14:00 UTC" for other candles. */
export function closeDay(close, interval) {
  if (interval !== "d") return minute(close);
  const day = new Date(Date.parse(close) - LENGTH_MS.d);
  return `${WEEKDAYS[day.getUTCDay()]} ${day.toISOString().slice(0, 10)}`;
}

export const closeName = (close, interval) => `close ${interval === "d" ? "of" : "at"} ${closeDay(close, interval)}`;

/** The name of a forecast: the last close that it knew. */
export const afterClose = (origin, interval) =>
  interval === "d" ? `after the close of ${closeDay(origin, interval).slice(4)}` : `after the ${closeName(origin, interval)}`;

/** A length of time in its two largest units: "21 h 39 min", "3 days 2 h". */
export function duration(ms) {
  let rest = Math.floor(Math.abs(ms) / 1000);
  const parts = [];
  for (const [unit, seconds] of [["day", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(rest / seconds);
    rest %= seconds;
    if (count && parts.length < 2) parts.push(`${count.toLocaleString("en")} ${unit}${unit === "day" && count > 1 ? "s" : ""}`);
    else if (parts.length) break;
  }
  return parts.join(" ") || "0 s";
}

/** How long before its first close a live forecast was stored, or which of its steps came after the fact. */
export function whenStored(bands, interval) {
  const created = bands[0].created_at;
  const closeOf = (row) => new Date(Date.parse(row.target_time) + LENGTH_MS[interval]).toISOString();
  const late = bands.filter((row) => !row.before_close);
  const reference = closeOf(late.at(-1) ?? bands[0]);
  const apart = duration(Date.parse(reference) - Date.parse(created));
  const name = closeName(reference, interval);
  if (!late.length) return `Stored ${minute(created)}, ${apart} before the ${name}.`;
  const steps = late.length === bands.length ? "all steps are" : late.length === 1 ? "step 1 is" : `steps 1 to ${late.length} are`;
  return `Stored ${minute(created)}, ${apart} after the ${name}: ${steps} after the fact.`;
}

/** When the source publishes, as the API says it, and when it published the newest candle. */
export function published(series, now) {
  const usual = series.usual[0].toUpperCase() + series.usual.slice(1);
  const newest = series.published_at ?? series.seen_at;
  if (newest === null) return `${usual}.`;
  const seen = series.published_at === null ? "seen " : "";
  const today = newest.slice(0, 10) === new Date(now).toISOString().slice(0, 10);
  return `${usual}; ${today ? `today ${seen}${newest.slice(11, 16)} UTC` : `the newest candle was ${seen || "published "}${minute(newest)}`}.`;
}

export function age(ms) {
  const [size, unit] = ms >= 2 * 864e5 ? [864e5, "days"] : ms >= 2 * 36e5 ? [36e5, "hours"] : [6e4, "minutes"];
  return `${Math.floor(ms / size).toLocaleString("en")} ${unit}`;
}

/** What a step is, as a unit of the page's tables. */
export const STEP_UNITS = { d: "days", "1h": "hours", minute: "minutes" };

export const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

export const LENGTH_MS = { d: 864e5, "1h": 36e5, minute: 6e4 };
