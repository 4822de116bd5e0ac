// What a screen reader is told: how the symbol is, when that changes, and its price now and then; never a stream of numbers.

const PAUSE = 5; // seconds between two sentences at the least
const PRICE = 60; // seconds after which a price that has moved is said again

export class Voice {
  constructor() {
    this.state = null;
    this.price = null;
    this.spokeAt = -Infinity;
  }

  // The sentence to say now, null while nothing is; `now` is in seconds.
  next(state, price, now) {
    const pause = state === this.state ? PRICE : PAUSE;
    if (now - this.spokeAt < pause || (state === this.state && price === this.price)) return null;
    Object.assign(this, { state, price, spokeAt: now });
    return [state, price].filter(Boolean).join(", ");
  }
}
