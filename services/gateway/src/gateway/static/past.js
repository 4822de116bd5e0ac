// Asks the store for what the chart shows, once at a time and not while the reader is still moving.

const PAUSE = 150; // milliseconds without a move before the store is asked
const PATIENCE = 8000;

export class Past {
  // `take(answer)` gets what /api/history answers, `tell(sentence)` why there is none, "" when there is.
  constructor({ take, tell }) {
    this.take = take;
    this.tell = tell;
    this.timer = 0;
    this.asking = new AbortController();
  }

  // `key` is venue/symbol, times are milliseconds; `end` null is the newest.
  ask(key, span, end) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetch(address(key, span, end)), PAUSE);
  }

  forget() {
    clearTimeout(this.timer);
    this.asking.abort();
  }

  async fetch(path) {
    this.asking.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    try {
      const answer = await fetch(path, { signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]) });
      const body = await answer.json();
      if (signal.aborted) return;
      if (answer.ok) this.take(body);
      this.tell(answer.ok ? body.note ?? "" : body.error);
    } catch {
      if (!signal.aborted) this.tell("the gateway does not answer about the past");
    }
  }
}

export function address(key, span, end, extra = "") {
  const [from, to] = [`-${Math.ceil(span / 1000)}s`, end === null ? "" : `${Math.round(end * 1000)}`];
  return `api/history?symbol=${encodeURIComponent(key.replace("/", ":"))}&from=${from}&to=${to}${extra}`;
}
