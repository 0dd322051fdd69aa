// One's own account: password, API keys, leaving; for admins everybody's.

import { attempt, confirmed, get, icon, iconButton, node, notice, post, relativeTime, remove, t } from "./base.js";
import { choiceField, textField } from "./fields.js";
import { section } from "./settings.js";

export async function accountSection() {
  const account = await get("account");
  const keys = node("ul", { class: "list" });
  const show = (list) => keys.replaceChildren(...(list.length ? list.map((key) => keyRow(key, reload)) : [node("li", { class: "soft" }, t("settings.no_keys"))]));
  const reload = async () => show((await get("account")).keys);
  show(account.keys);
  const leave = node("form", { method: "post", action: "/logout" }, node("button", { class: "button" }, t("settings.log_out")));
  return section("account", node("div", { class: "spread" }, node("p", {}, t("settings.logged_in", { name: account.name })), leave),
    account.has_password ? passwordForm() : null, node("h3", {}, t("settings.keys")), node("p", { class: "soft small" }, t("settings.keys_about")), keys, keyForm(reload));
}

function passwordForm() {
  const old = textField(t("settings.old_password"), "", { type: "password", autocomplete: "current-password" });
  const fresh = textField(t("settings.new_password"), "", { type: "password", autocomplete: "new-password" });
  const form = node("form", { class: "stack" }, node("div", { class: "two" }, old, fresh), node("div", { class: "row end" }, node("button", { class: "button" }, t("settings.change_password"))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      await post("account/password", { old: old.input.value, new: fresh.input.value });
      form.reset();
      notice(t("settings.password_changed"));
    });
  });
  return node("details", {}, node("summary", {}, t("settings.change_password")), form);
}

function keyRow(key, reload) {
  const drop = async () => {
    if (!(await confirmed({ heading: t("settings.key_delete", { name: key.name }), text: t("settings.key_delete_text"), action: t("characters.delete"), isDanger: true }))) return;
    await remove(`account/keys/${encodeURIComponent(key.id)}`);
    await reload();
  };
  const used = key.used_at ? t("settings.key_used", { when: relativeTime(key.used_at) }) : t("settings.key_unused");
  return node("li", { class: "spread" }, node("span", {}, node("strong", {}, key.name), " ", node("span", { class: "soft small" }, used)),
    iconButton("trash", t("settings.key_delete", { name: key.name }), () => attempt(drop), { class: "plain small" }));
}

function keyForm(reload) {
  const name = textField(t("settings.key_name"), "", { maxlength: "80", required: true });
  const shown = node("div", { "aria-live": "polite" });
  const form = node("form", { class: "row key-form" }, name, node("button", { class: "button" }, icon("add"), t("settings.key_make")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      const { key } = await post("account/keys", { name: name.input.value });
      form.reset();
      const copy = iconButton("copy", t("settings.copy"), () => attempt(async () => { await navigator.clipboard.writeText(key); notice(t("settings.copied")); }), { class: "small" });
      shown.replaceChildren(node("p", { class: "note warn" }, node("span", {}, t("settings.key_once"), node("br"), node("code", {}, key)), copy));
      await reload();
    });
  });
  return node("div", { class: "stack" }, form, shown);
}

export async function peopleSection() {
  const list = node("ul", { class: "list" });
  const reload = async () => list.replaceChildren(...(await get("accounts")).accounts.map((each) => personRow(each, reload)));
  await reload();
  return section("people", list, personForm(reload));
}

function personRow(account, reload) {
  const drop = async () => {
    if (!(await confirmed({ heading: t("settings.person_delete", { name: account.name }), text: t("settings.person_delete_text"), action: t("characters.delete"), isDanger: true }))) return;
    await remove(`accounts/${encodeURIComponent(account.id)}`);
    await reload();
  };
  return node("li", { class: "spread" }, node("span", {}, node("strong", {}, account.name), " ", node("span", { class: "badge" }, t(`settings.role_${account.role}`))),
    iconButton("trash", t("settings.person_delete", { name: account.name }), () => attempt(drop), { class: "plain small" }));
}

function personForm(reload) {
  const name = textField(t("settings.person_name"), "", { required: true, autocomplete: "off" });
  const password = textField(t("settings.person_password"), "", { type: "password", required: true, autocomplete: "new-password" });
  const role = choiceField(t("settings.role"), "user", [["user", t("settings.role_user")], ["admin", t("settings.role_admin")]]);
  const form = node("form", { class: "stack" }, node("div", { class: "two" }, name, password, role), node("div", { class: "row end" }, node("button", { class: "button" }, icon("add"), t("settings.person_add"))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      await post("accounts", { name: name.input.value, password: password.input.value, role: role.input.value });
      form.reset();
      await reload();
    });
  });
  return node("details", {}, node("summary", {}, t("settings.person_add")), form);
}
