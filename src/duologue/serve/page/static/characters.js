import { Panel } from "./base.js";

customElements.define("duo-characters", class extends Panel {
  static panel = "characters";

  async enter() {
    this.textContent = "characters";
  }
});
