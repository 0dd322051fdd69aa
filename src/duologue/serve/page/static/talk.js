import { Panel } from "./base.js";

customElements.define("duo-talk", class extends Panel {
  static panel = "talk";

  async enter() {
    this.textContent = "talk";
  }
});
