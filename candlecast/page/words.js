// Numbers and instants as people read them; instants are UTC.

export const price = (value) => {
  const digits = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 1 ? 2 : 6;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
};

export const band = (row, low, high) => `${price(row[low])} – ${price(row[high])}`;

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

export const signed = (share, digits = 1) => `${share > 0 ? "+" : ""}${percent(share, digits)}`;

/** A day for instants at midnight, day and time for the others. */
export const instant = (text) => text.slice(0, 10) + (text.slice(11, 16) === "00:00" ? "" : ` ${text.slice(11, 16)}`);

export function age(ms) {
  const [size, unit] = ms >= 2 * 864e5 ? [864e5, "days"] : ms >= 2 * 36e5 ? [36e5, "hours"] : [6e4, "minutes"];
  return `${Math.floor(ms / size).toLocaleString("en")} ${unit}`;
}

export const LENGTH_MS = { d: 864e5, "1h": 36e5, minute: 6e4 };
