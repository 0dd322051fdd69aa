// Settings: who one is, how replies are drawn, how the page looks, the account; for admins what holds for everyone.

import { app, attempt, get, language, node, notice, number, Panel, put, setLanguage, t } from "./base.js";
import { accountSection, peopleSection } from "./account.js";
import { characterSection, serverSection } from "./adminsettings.js";
import { choiceField, skeletons, textField } from "./fields.js";
import { repliesSection } from "./replies.js";
import { setTheme, themeChoice } from "./theme.js";

customElements.define("duo-settings", class extends Panel {
  static panel = "settings";

  async enter() {
    const entry = app.entry();
    const key = `${app.character} ${entry?.rating}`;
    if (this.shown === key) return; // shown, or on its way
    this.shown = key;
    this.replaceChildren(node("div", { class: "page" }, skeletons(4, "7rem")));
    const sections = [];
    // One section that fails, such as a character whose age gate is shut, must not take the others along.
    const add = async (make) => {
      try {
        sections.push(await make());
      } catch (error) {
        sections.push(node("p", { class: "note error" }, error.message));
      }
    };
    if (entry && !entry.fault) {
      const path = `characters/${encodeURIComponent(entry.id)}`;
      await add(async () => {
        const me = await get(`${path}/me`);
        sections.push(personaSection(path, entry, me));
        return repliesSection(path, entry, me);
      });
    }
    sections.push(lookSection());
    await add(limitsSection);
    if (app.state.visitor.way === "session") await add(accountSection);
    if (app.state.visitor.role === "admin") {
      if (entry && !entry.fault) await add(() => characterSection(entry));
      await add(serverSection);
      if (app.state.visitor.way === "session") await add(peopleSection);
    }
    if (this.shown !== key) return; // those of another character were asked for meanwhile
    this.replaceChildren(node("div", { class: "page settings" }, node("div", { class: "page-head" }, node("div", {}, node("h1", {}, t("settings.heading")))),
      node("div", { class: "stack" }, sections.filter(Boolean))));
  }
});

export function section(name, ...content) {
  return node("section", { class: "card stack", "aria-labelledby": `settings-${name}` }, node("h2", { id: `settings-${name}` }, t(`settings.${name}`)), ...content);
}

function personaSection(path, entry, me) {
  const name = textField(t("settings.your_name"), me.name, { maxlength: "80", autocomplete: "nickname", hint: t("settings.your_name_hint", { name: entry.name }) });
  const text = textField(t("settings.your_persona"), me.persona, { rows: 4, maxlength: String(me.max_persona_chars), hint: t("settings.your_persona_hint") });
  const save = async () => {
    const now = await put(`${path}/me/persona`, { name: name.input.value, persona: text.input.value });
    name.input.value = now.name;
    notice(t("settings.persona_saved"));
  };
  return section("you", name, text, node("div", { class: "row end" }, node("button", { type: "button", class: "button primary", onclick: () => attempt(save) }, t("base.save"))));
}

function lookSection() {
  const theme = choiceField(t("settings.theme"), themeChoice(), ["system", "light", "dark"].map((each) => [each, t(`settings.theme_${each}`)]));
  theme.input.addEventListener("change", () => setTheme(theme.input.value));
  const names = { en: "English", de: "Deutsch" };
  const speech = choiceField(t("settings.language"), language, app.state.languages.map((each) => [each, names[each] ?? each]));
  speech.input.addEventListener("change", () => setLanguage(speech.input.value));
  return section("look", node("div", { class: "two" }, theme, speech));
}

async function limitsSection() {
  const found = await get("settings");
  const rows = [
    [t("settings.rating"), t(`characters.rating_${found.rating}`)],
    [t("settings.age"), t(found.age_provider === "none" ? "settings.age_none" : "settings.age_wallet")],
    [t("settings.requests"), t("settings.requests_text", { minute: number(found.requests_per_minute), burst: number(found.burst) })],
    [t("settings.tokens"), t("settings.tokens_text", { minute: number(found.reply_tokens_per_minute), day: number(found.reply_tokens_per_day) })],
    [t("settings.message"), t("settings.message_text", { chars: number(found.max_input_chars) })],
    [t("settings.version"), `duologue ${found.version}`],
  ];
  return section("limits", node("dl", { class: "facts" }, rows.flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, value)])));
}
