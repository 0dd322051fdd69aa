// What an admin sets for everyone: one key at a time, written into the file with its comments kept.

import { app, attempt, duration, get, node, notice, number, put, t } from "./base.js";
import { choiceField, numberField, switchField, textField } from "./fields.js";
import { section } from "./settings.js";

export async function characterSection(entry) {
  const path = `characters/${encodeURIComponent(entry.id)}/settings`;
  const found = await get(path);
  const note = node("p", { class: "soft small" }, t("settings.character_about", { file: found.file, name: entry.name }));
  const made = section("character", note, keyFields(found.keys, path, { waits: false }));
  return made;
}

export async function serverSection() {
  const found = await get("settings/server");
  const open = found.open.map((each) => `${each.name} (${each.base})`).join(", ") || t("settings.none_open");
  const rows = [
    [t("settings.queue"), t("settings.queue_text", { running: found.num_running, most: found.max_waiting })],
    [t("settings.models"), t("settings.models_text", { most: found.max_models, open })],
    [t("settings.uptime"), duration(found.uptime_seconds)],
    [t("settings.address"), found.public_url || found.address],
  ];
  return section("server", node("dl", { class: "facts" }, rows.flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, value)])),
    node("p", { class: "soft small" }, t("settings.server_about", { file: found.file })), keyFields(found.keys, "settings/server", { waits: true }));
}

function keyFields(keys, path, { waits }) {
  const whole = node("div", { class: "keys" });
  const show = (list) => whole.replaceChildren(...list.map((each) => keyField(each, save, waits)));
  const save = (key, value) => attempt(async () => {
    const found = await put(path, { key, value });
    show(found.keys);
    await app.refresh();
    notice(t(waits ? "settings.key_saved_later" : "settings.key_saved", { file: found.file }));
  });
  show(keys);
  return node("details", {}, node("summary", {}, t("settings.change")), whole);
}

function keyField(each, save, waits) {
  const label = t(`settings.key_${each.key.replace(".", "_")}`);
  const value = each.written;
  const waiting = waits && each.written !== each.value ? t("settings.waits", { now: String(each.value) }) : each.key;
  const field = control(label, value, each, waiting);
  const read = () => {
    if (typeof value === "boolean") return field.input.checked;
    if (typeof value === "number") return Number(field.input.value);
    return /^\d+$/.test(field.input.value) && each.choices.includes("auto") ? Number(field.input.value) : field.input.value;
  };
  field.input.addEventListener("change", () => save(each.key, read()));
  return field;
}

function control(label, value, each, hint) {
  if (typeof value === "boolean") return switchField(label, value, { hint });
  if (each.choices.length > 1) return choiceField(label, value, each.choices.map((name) => [name, name]), { hint });
  if (typeof value === "number" && !each.choices.length) return numberField(label, value, { hint, step: Number.isInteger(value) ? "1" : "0.05" });
  const isLong = ["character.persona", "character.author_note"].includes(each.key);
  return textField(label, String(value), { hint, rows: isLong ? 3 : 0 });
}
