import { Panel } from "./base.js";

customElements.define("duo-memory", class extends Panel {
  static panel = "memory";

  async enter() {
    this.textContent = "memory";
  }
});
