import { Panel } from "./base.js";

customElements.define("duo-settings", class extends Panel {
  static panel = "settings";

  async enter() {
    this.textContent = "settings";
  }
});
