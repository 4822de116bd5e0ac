// The buttons beside the chart that say how it is drawn and in whose time.

import { switchZone, zoneText } from "./zone.js";

const styles = document.getElementById("styles");
const zone = document.getElementById("zone");

export function offerStyles(choose) {
  for (const button of styles.children) button.addEventListener("click", () => choose(button.dataset.style));
}

export function showStyle(style) {
  for (const button of styles.children) button.setAttribute("aria-pressed", String(button.dataset.style === style));
}

export function offerZone(onSwitch) {
  const show = () => {
    zone.textContent = zoneText(Date.now());
    zone.setAttribute("aria-label", `Times are in ${zone.textContent}: switch between UTC and your own zone`);
  };
  zone.addEventListener("click", () => {
    switchZone();
    show();
    onSwitch();
  });
  show();
}
