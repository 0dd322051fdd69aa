// Steps 1 and 2: the conversations, what the check says about them, and what exactly would be learned.

import { app, ask, attempt, fileDrop, get, icon, iconButton, node, notice, number, post, put, remove, t } from "./base.js";

const ACCEPTED = ".json,.jsonl,.ndjson,.txt,.log,.csv,.tsv,.parquet,.gz";
const POLL_MILLISECONDS = 400;

export class DataSteps {
  // `tellReady(true)` is called when the conversations were checked and something of them can be learned.
  constructor(entry, isCurrent, tellReady) {
    this.entry = entry;
    this.isCurrent = isCurrent;
    this.tellReady = tellReady;
    this.path = `characters/${entry.id}`;
    this.files = node("ul", { class: "files", "aria-label": t("train.files") });
    this.drop = dropZone(t("train.drop"), (files) => this.add(files));
    this.example = node("div", { class: "row" });
    this.result = node("div", { class: "stack", "aria-live": "polite" });
    this.nodes = [
      step(1, t("train.step_data"), t("train.step_data_about", { name: entry.name }), this.drop, this.files, this.example),
      step(2, t("train.step_check"), t("train.step_check_about", { name: entry.name }), this.result),
    ];
  }

  async start() {
    const { files } = await get(`${this.path}/data`);
    this.showFiles(files);
    await this.check();
  }

  showFiles(files) {
    this.files.replaceChildren(...files.map((file) => this.fileRow(file)));
    const useExample = () => attempt(async () => this.showAdded(await post(`${this.path}/data`, { example: true })));
    this.example.replaceChildren(...(files.length ? [] : [
      node("button", { type: "button", class: "button", onclick: useExample }, icon("spark"), t("train.use_example")),
      node("span", { class: "soft small" }, t("train.use_example_about")),
    ]));
  }

  fileRow(file) {
    const away = iconButton("close", t("train.remove_file", { file: file.name }), () => this.takeAway(file), { class: "plain small" });
    return node("li", {}, icon("chat"), node("span", { class: "title" }, file.name), node("span", { class: "soft small" }, bytes(file.num_bytes)),
      file.can_be_removed ? away : null);
  }

  async add(files) {
    const uploads = await upload(files, this.drop);
    if (!uploads.length || !this.isCurrent()) return;
    await attempt(async () => this.showAdded(await post(`${this.path}/data`, { uploads })));
  }

  async showAdded({ files }) {
    this.showFiles(files);
    await this.check();
  }

  takeAway(file) {
    return attempt(async () => {
      const { upload: id, files } = await remove(`${this.path}/data/${encodeURIComponent(file.name)}`);
      this.showFiles(files);
      const putBack = async () => this.showAdded(await post(`${this.path}/data`, { uploads: [id] }));
      notice(t("train.removed", { file: file.name }), { action: { label: t("base.undo"), run: putBack } });
      await this.check();
    });
  }

  // Asks until the check is done; a newer check ends an older one's asking.
  async check() {
    const mine = (this.checking = {});
    this.tellReady(false);
    const isMine = () => this.checking === mine && this.isCurrent();
    while (isMine()) {
      let found;
      try {
        found = await get(`${this.path}/check`);
      } catch (error) {
        if (isMine()) this.result.replaceChildren(refusedCheck(error, () => this.check()));
        return;
      }
      if (!isMine()) return;
      if (found.state === "running") this.showRunning();
      else return this.showChecked(found);
      await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
    }
  }

  showRunning() {
    if (this.result.querySelector(".progress")) return;
    this.result.replaceChildren(
      node("p", { class: "soft" }, t("train.checking")),
      node("div", { class: "progress unknown", role: "progressbar", "aria-label": t("train.checking") }, node("i")),
    );
  }

  showChecked(found) {
    if (found.state === "empty") {
      this.result.replaceChildren(node("p", { class: "soft" }, t("train.nothing_yet")));
      return;
    }
    const { account } = found;
    const isReady = account.num_conversations > 0 && (account.num_trained_tokens ?? 1) > 0;
    this.result.replaceChildren(...[
      isReady ? null : node("div", { class: "note error", role: "alert" }, icon("warn"), node("span", {}, t("train.nothing_usable"))),
      found.speakers.length ? this.whoIsWho(found.speakers) : null,
      isReady ? figures(account, this.entry) : null,
      remarks(account),
      faults(account),
      found.conversations.length ? preview(found) : null,
      found.preview_fault && isReady ? node("p", { class: "soft small" }, t("train.no_preview", { reason: found.preview_fault })) : null,
    ].filter(Boolean));
    this.tellReady(isReady);
  }

  whoIsWho(speakers) {
    const choose = (name) => attempt(async () => {
      await put(`${this.path}/names`, { character_names: [name], user_names: [] });
      await this.check();
    });
    const buttons = speakers.map((each) =>
      node("button", { type: "button", class: "button small", onclick: () => choose(each.name) }, each.name,
        node("span", { class: "soft" }, t("train.num_messages", { num: number(each.num_messages) }))));
    return node("div", { class: "note warn" }, node("div", { class: "stack" }, node("strong", {}, t("train.who_is_who", { name: this.entry.name })),
      node("div", { class: "row" }, buttons)));
  }
}

// A numbered part of the way.
export function step(place, heading, about, ...content) {
  return node("li", { class: "step" },
    node("span", { class: "step-number", "aria-hidden": "true" }, String(place)),
    node("div", { class: "stack" }, node("div", {}, node("h2", {}, heading), about ? node("p", { class: "soft" }, about) : null), ...content));
}

export function dropZone(text, take, { accept = ACCEPTED, isMultiple = true } = {}) {
  const input = node("input", { type: "file", accept, multiple: isMultiple, class: "hidden-label", tabIndex: -1, "aria-hidden": "true" });
  const choose = node("button", { type: "button", class: "button", onclick: () => input.click() }, icon("upload"), t("train.choose_files"));
  const zone = node("div", { class: "drop" }, node("p", {}, text), choose, input, node("div", { class: "uploading", "aria-live": "polite" }));
  fileDrop(zone, take);
  return zone;
}

// Sends files one after the other; returns the ids of those that arrived. What was refused is said.
export async function upload(files, zone) {
  const said = zone.querySelector(".uploading");
  const ids = [];
  for (const file of files) {
    said.textContent = t("train.uploading", { file: file.name, size: bytes(file.size) });
    const sent = await attempt(() => ask("POST", `uploads?name=${encodeURIComponent(file.name)}`, file));
    if (sent) ids.push(sent.id);
  }
  said.textContent = "";
  return ids;
}

export function bytes(num) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const at = Math.min(units.length - 1, Math.floor(Math.log(Math.max(1, num)) / Math.log(1000)));
  return number(num / 1000 ** at, { style: "unit", unit: units[at], maximumFractionDigits: at ? 1 : 0 });
}

function figures(account, entry) {
  const total = account.num_trained_tokens + account.num_context_tokens;
  const share = total ? account.num_trained_tokens / total : 0;
  const figure = (value, text) => node("div", { class: "figure" }, node("b", {}, value), node("span", {}, text));
  return node("div", { class: "figures" },
    figure(number(account.num_conversations), t("train.fig_conversations")),
    figure(number(account.num_turns), t("train.fig_replies", { name: entry.name })),
    figure(number(share, { style: "percent" }), t("train.fig_learned")),
    figure(number(account.splits.validation), t("train.fig_held_out")));
}

// What somebody should know before the data is used: dropped rows, personal data, conversations that repeat.
function remarks(account) {
  const list = [];
  const remark = (kind, text) => list.push(node("li", {}, node("span", { class: `badge ${kind}` }, icon(kind === "good" ? "check" : "warn")), node("span", {}, text)));
  if (!account.num_dropped) remark("good", t("train.nothing_dropped"));
  else remark("warn", t("train.dropped", { num: number(account.num_dropped) }));
  const personal = Object.entries(account.personal_data ?? {}).map(([kind, num]) => `${number(num)} × ${t(`train.personal_${kind.replaceAll(/\W/g, "_")}`)}`);
  if (personal.length) remark("warn", t("train.personal", { found: personal.join(", ") }));
  const { exact, near } = account.duplicates;
  if (exact) remark("warn", t("train.twice", { num: number(exact) }));
  if (near) remark("warn", t("train.near", { num: number(near) }));
  return node("ul", { class: "remarks" }, list);
}

function faults(account) {
  const rows = account.files.flatMap((file) => file.faults.map((fault) => node("tr", {},
    node("td", {}, fault.path), node("td", {}, fault.row ? number(fault.row) : "–"), node("td", {}, fault.reason), node("td", {}, fault.action))));
  if (!rows.length) return null;
  const all = account.files.reduce((sum, file) => sum + file.num_faults, 0);
  const heads = ["file", "row", "what", "done"].map((name) => node("th", { scope: "col" }, t(`train.fault_${name}`)));
  return node("details", {}, node("summary", {}, t("train.faults", { num: number(all) })),
    node("div", { class: "table" }, node("table", {}, node("thead", {}, node("tr", {}, heads)), node("tbody", {}, rows))));
}

// Conversations as they are trained: the words that are learned in colour.
function preview(found) {
  let at = 0;
  const body = node("div", { class: "preview", tabIndex: 0, role: "region", "aria-label": t("train.preview") });
  const where = node("span", { class: "soft small" });
  const show = () => {
    const conversation = found.conversations[at];
    where.textContent = t("train.preview_where", { file: conversation.path, row: number(conversation.row), tokens: number(conversation.num_trained_tokens) });
    body.replaceChildren(...conversation.messages.map((message) => node("p", { class: `said ${message.role}` }, message.spans.map(span))));
  };
  const turn = (by) => () => { at = (at + by + found.conversations.length) % found.conversations.length; show(); };
  show();
  const legend = ["trained", "context", "cut"].map((state) => node("span", { class: "legend" }, node("i", { class: `tok ${state}` }), t(`train.tok_${state}`)));
  return node("details", { open: true }, node("summary", {}, t("train.preview")),
    node("div", { class: "stack" }, node("div", { class: "row small" }, legend), body,
      node("div", { class: "spread" }, where, node("div", { class: "row" },
        iconButton("left", t("train.preview_before"), turn(-1), { class: "small" }), iconButton("right", t("train.preview_next"), turn(1), { class: "small" })))));
}

function span(part) {
  return node("span", { class: `tok ${part.state}${part.is_control ? " control" : ""}` }, part.text);
}

function refusedCheck(error, again) {
  return node("div", { class: "note error", role: "alert" }, icon("warn"), node("span", {}, error.message),
    node("button", { type: "button", class: "button small", onclick: again }, t("base.again")));
}
