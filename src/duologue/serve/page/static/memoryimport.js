// Memories from a file: JSON lines or the diary that the export writes, sent in parts that a slow line can carry.

import { attempt, node, notice, post, t } from "./base.js";

const PART_CHARS = 300_000;

export function importMemories(path, done) {
  const input = node("input", { type: "file", accept: ".jsonl,.md,.json,text/markdown" });
  input.addEventListener("change", () => input.files.length && attempt(async () => {
    const [file] = input.files;
    const form = /\.md$/i.test(file.name) ? "md" : "jsonl";
    let added = 0;
    for (const lines of parts(await file.text())) added += (await post(`${path}-import`, { lines, form })).num_new;
    notice(t("memory.imported", { number: added }));
    await done();
  }));
  input.click();
}

export function parts(text) {
  const found = [];
  let part = [];
  let length = 0;
  for (const line of text.split("\n")) {
    if (length + line.length > PART_CHARS && part.length) {
      found.push(part.join("\n"));
      part = [];
      length = 0;
    }
    part.push(line);
    length += line.length + 1;
  }
  if (part.some((line) => line.trim())) found.push(part.join("\n"));
  return found;
}
