// Tells outside of the page that the price has left a range or cannot be trusted any more, once the reader has asked.

const byId = (id) => document.getElementById(id);
const open = byId("notify-open");
const dialog = byId("notify");
const note = byId("notify-note");

// Where a price is: "lost" with an alarm, else "below", "above" or "within" the range, null while nobody knows.
export function whereabouts({ low, high }, price, alarm) {
  if (alarm) return "lost";
  if (price === null) return null;
  return price < low ? "below" : price > high ? "above" : "within";
}

export class Notices {
  // `current()` returns the { key, name } that the page shows; `notify(text)` is called once each time it goes wrong.
  constructor(current, notify = (text) => new Notification("Fairprice", { body: text, icon: "static/icon.svg", tag: "fairprice" })) {
    this.current = current;
    this.notify = notify;
    this.wish = null; // { key, low, high }
    this.place = null;
    open.addEventListener("click", () => this.ask());
    dialog.querySelector("form").addEventListener("submit", (event) => this.answer(event));
  }

  ask() {
    byId("notify-symbol").textContent = this.current().name;
    note.textContent = "";
    dialog.showModal();
  }

  async answer(event) {
    const wanted = event.submitter.value;
    if (wanted === "close") return;
    if (wanted === "stop") return this.begin(null);
    event.preventDefault();
    const [low, high] = ["notify-low", "notify-high"].map((id) => byId(id).valueAsNumber);
    const problem = low >= high ? "the lower end has to be below the upper one" : await refusal();
    note.textContent = problem;
    if (problem) return;
    this.begin({ key: this.current().key, low: Number.isNaN(low) ? -Infinity : low, high: Number.isNaN(high) ? Infinity : high });
    dialog.close();
  }

  begin(wish) {
    this.wish = wish;
    this.place = "within";
    open.setAttribute("aria-pressed", String(Boolean(wish)));
  }

  // What the page shows now; `alarm` says why the price cannot be trusted, `text` is the price as it is written.
  look({ key, name }, price, text, alarm) {
    if (this.wish && this.wish.key !== key) this.begin(null);
    if (!this.wish) return;
    const place = whereabouts(this.wish, price, alarm) ?? this.place;
    if (place !== this.place && place !== "within") this.notify(place === "lost" ? `${name}: ${alarm}` : `${name} is ${place} your range: ${text}`);
    this.place = place;
  }
}

// Why the browser will not notify, "" if it will.
async function refusal() {
  if (!window.isSecureContext || !("Notification" in window)) return "this browser notifies only from pages by HTTPS or from this machine";
  const permission = await Notification.requestPermission();
  return permission === "granted" ? "" : "this browser does not allow it: allow notifications in the settings of this page, and try again";
}
