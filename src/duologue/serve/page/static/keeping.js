// What this browser keeps: choices until they change, drafts until the tab is closed. Inside a frame of another site a
// browser may keep nothing at all; then it is kept until the page is loaded again.

class Keeping {
  #storage = null;
  #here = new Map();

  constructor(name) {
    try {
      this.#storage = window[name];
    } catch {
      // denied: #here it is
    }
  }

  get(key) { return this.#here.get(key) ?? this.#storage?.getItem(key) ?? null; }

  set(key, value) {
    this.#here.set(key, value);
    try {
      this.#storage?.setItem(key, value);
    } catch {
      // full: #here has it
    }
  }

  delete(key) {
    this.#storage?.removeItem(key);
    this.#here.delete(key);
  }
}

export const choices = new Keeping("localStorage");
export const drafts = new Keeping("sessionStorage");
