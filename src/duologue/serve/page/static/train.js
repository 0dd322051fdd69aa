import { Panel } from "./base.js";

customElements.define("duo-train", class extends Panel {
  static panel = "train";

  async enter() {
    this.textContent = "train";
  }
});
