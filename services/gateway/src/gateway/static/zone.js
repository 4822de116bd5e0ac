// In whose time the page speaks: in UTC, as exchanges do, or in the viewer's own. The choice stays in the browser.

const MINUTE = 60_000;
let own = localStorage.getItem("zone") === "own";

export const isOwn = () => own;

export function switchZone() {
  own = !own;
  localStorage.setItem("zone", own ? "own" : "utc");
}

const offset = (milliseconds) => (own ? -new Date(milliseconds).getTimezoneOffset() : 0);

// The date and the time of day, 2024-08-08T00:00:00.123, without the zone.
export function timeText(milliseconds) {
  return new Date(milliseconds + offset(milliseconds) * MINUTE).toISOString().slice(0, -1);
}

// UTC, or how far the viewer is ahead of it at that time: UTC+2, UTC-3:30.
export function zoneText(milliseconds) {
  const minutes = offset(milliseconds);
  if (!minutes) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "-" : "+"}${hours}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
}
