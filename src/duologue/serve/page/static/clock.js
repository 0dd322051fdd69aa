// Dates and durations in the language of the page.

import { language, t } from "./base.js";

const STEPS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

// "3 hours ago", "vor 3 Stunden"; below a minute "just now".
export function relativeTime(moment, now = Date.now()) {
  const seconds = (new Date(moment).getTime() - now) / 1000;
  const step = STEPS.find(([, size]) => Math.abs(seconds) >= size);
  if (!step) return t("base.now");
  return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(Math.round(seconds / step[1]), step[0]);
}

// "22 Nov 2026, 21:04"
export function dateTime(moment) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(moment));
}

// "Today", "Yesterday", else the date: a heading between messages of different days.
export function dayName(moment, now = new Date()) {
  const day = new Date(moment);
  const days = Math.round((startOfDay(day) - startOfDay(now)) / 86400000);
  if (days > -2 && days <= 0) {
    const name = new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(days, "day");
    return name.charAt(0).toUpperCase() + name.slice(1);
  }
  return new Intl.DateTimeFormat(language, { dateStyle: "long" }).format(day);
}

export function clockTime(moment) {
  return new Intl.DateTimeFormat(language, { timeStyle: "short" }).format(new Date(moment));
}

// "2:05", "1:02:05"
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":");
}

export function number(value, options = {}) {
  return new Intl.NumberFormat(language, options).format(value);
}

function startOfDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}
