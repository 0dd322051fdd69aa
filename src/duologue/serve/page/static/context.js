import { Panel } from "./base.js";

customElements.define("duo-context", class extends Panel {
  static panel = "context";

  async enter() {
    this.textContent = "context";
  }
});
