// A few photos at a time; the others wait here and not in the service.

// a browser opens six connections to a host; one stays free for the state and the heatmaps
const LANES = 5;

export class Lanes {
  #waiting = [];
  #busy = 0;

  /** `work` must not throw. */
  add(work) {
    this.#waiting.push(work);
    this.#next();
  }

  clear() {
    this.#waiting = [];
  }

  async #next() {
    if (this.#busy >= LANES || !this.#waiting.length) return;
    this.#busy += 1;
    await this.#waiting.shift()();
    this.#busy -= 1;
    this.#next();
  }
}
