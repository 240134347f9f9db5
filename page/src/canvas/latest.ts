// One call at a time, and then the newest wish: what came in between is left out, as a pointer's places should be.
export class Latest<T> {
  #wish: ((wanted: () => boolean) => Promise<T>) | null = null;
  #busy = false;
  #generation = 0;

  /** @param done told of every result that is still wanted. */
  constructor(readonly done: (result: T) => void) {}

  /**
   * Asks for another result, once the call in progress has ended.
   *
   * @param call is given a function that says whether its result is still wanted.
   */
  ask(call: (wanted: () => boolean) => Promise<T>): void {
    this.#wish = call;
    if (!this.#busy) void this.#run();
  }

  /** Nothing is wanted any more, not even what is on its way. */
  drop(): void {
    this.#wish = null;
    ++this.#generation;
  }

  async #run(): Promise<void> {
    this.#busy = true;
    while (this.#wish !== null) {
      const call = this.#wish;
      const generation = this.#generation;
      this.#wish = null;
      try {
        const wanted = (): boolean => generation === this.#generation;
        const result = await call(wanted);
        if (wanted()) this.done(result);
      } catch {
        // A preview that fails is none; what is clicked on says what is wrong.
      }
    }
    this.#busy = false;
  }
}
