// How numbers, times and names are written.

import { timeText, zoneText } from "./zone.js";

export const NONE = "–";

const formats = new Map();

export function number(value, decimals) {
  if (value === null || value === undefined) return NONE;
  if (!formats.has(decimals)) {
    formats.set(decimals, new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
  }
  return formats.get(decimals).format(value);
}

export function signed(value, decimals) {
  if (value === null || value === undefined) return NONE;
  const text = number(Math.abs(value), decimals);
  if (Number(text.replaceAll(",", "")) === 0) return text;
  return (value < 0 ? "−" : "+") + text;
}

// The exchange pads its decimals with zeros; those that are ever used tell the tick.
export function decimalsOf(texts) {
  return Math.max(0, ...texts.map((text) => (text.includes(".") ? text.replace(/0+$/, "").split(".")[1].length : 0)));
}

export function decimalsOfNumber(value) {
  return value === null || value === undefined ? 0 : Math.min(8, decimalsOf([value.toFixed(8)]));
}

export function bps(value) {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  return number(value, size >= 10 ? 1 : size >= 0.1 ? 2 : 4);
}

export function quantity(value) {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  return number(value, size >= 10_000 ? 0 : size >= 1000 ? 1 : size >= 100 ? 2 : size >= 10 ? 3 : 4);
}

export function age(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

// How long ago something was that is looked at all the time: nothing flickers while it is young.
export function elapsed(seconds) {
  return seconds < 1 ? "< 1 s" : age(Math.floor(seconds)).replace(".0", "");
}

export function minutes(seconds) {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

export function clock(microseconds) {
  return timeText(microseconds / 1000).slice(11, 19);
}

export function moment(microseconds) {
  return `${timeText(microseconds / 1000).replace("T", " ").slice(0, 21)} ${zoneText(microseconds / 1000)}`;
}

export function words(name) {
  return name.replaceAll("_", " ");
}
