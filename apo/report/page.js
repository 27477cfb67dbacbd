"use strict";
// The browser of the transcripts. Texts come from the JSON of the page and are set as text, never as HTML.
(() => {
  const { measures, rows } = JSON.parse(document.getElementById("data").textContent);
  if (!rows.length) return;
  const HEIGHT = 60; // of a row, in pixels; page.css has it too
  const SPARE = 8; // rows that are drawn above and below what is in sight
  const at = (id) => document.getElementById(id);
  const list = at("list"), space = at("rows"), dialog = at("open"), search = at("search"), order = at("order");
  let shown = []; // the rows that pass the filters, in their order
  let active = 0; // which of them the keyboard is at

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  // Control characters by their pictures: they would be invisible, or not shown at all.
  const visible = (text) => text.replace(/[\x00-\x08\x0b-\x1f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\x7f-\x9f]/g, "\u2421");
  const number = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));
  const textOf = (row) => row.found ??= [row.query_id, row.query, ...row.answers.map((a) => a.text)].join("\n").toLowerCase();
  const turns = (query) => {
    const parts = query.split(/\n\n(Human|Assistant):/);
    const found = parts[0].trim() ? [["", parts[0]]] : [];
    for (let i = 1; i < parts.length; i += 2) found.push([parts[i], parts[i + 1]]);
    if (found.length > 1 && !found[found.length - 1][1].trim()) found.pop();
    return found;
  };
  const choices = (row) => Object.values(row.chosen);
  const about = (row) => {
    const measure = order.value.split(" ")[0] || "disagreement", value = row.measures[measure];
    const measured = value === undefined ? "" : `${measure === "disagreement" ? "disagreement " : ""}${number(value)}`;
    const parts = [measured, row.round, row.split, row.kind, ...Object.entries(row.chosen).map(([who, i]) => `${who} chose ${row.answers[i].by}`)];
    return parts.filter(Boolean).join(" · ");
  };

  const options = (id, key) => {
    const values = [...new Set(rows.map((row) => row[key]))].filter(Boolean);
    for (const value of ["", ...values]) {
      const option = element("option", "", value || "all");
      option.value = value;
      at(id).append(option);
    }
  };
  for (const key of ["round", "split", "kind"]) options(key, key);
  const add = (value, text) => {
    const option = element("option", "", text);
    option.value = value;
    order.append(option);
  };
  add("", "as in the files");
  for (const [name, words] of Object.entries(measures)) {
    if (!rows.some((row) => name in row.measures)) continue;
    add(`${name} down`, `${words}, highest first`);
    if (name !== "disagreement") add(`${name} up`, `${words}, lowest first`);
  }

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = ["round", "split", "kind"].map((key) => [key, at(key).value]).filter(([, value]) => value);
    const choice = at("choice").value;
    shown = rows.filter((row) => {
      if (wanted.some(([key, value]) => row[key] !== value)) return false;
      if (choice) {
        const made = choices(row);
        // Where the arms have other samples, the numbers of two choices say nothing.
        if (made.length < 2 || !("disagreement" in row.measures) || (made[0] === made[1]) !== (choice === "same")) return false;
      }
      return words.every((word) => textOf(row).includes(word));
    });
    const [measure, direction] = order.value.split(" ");
    if (measure) {
      const sign = direction === "down" ? -1 : 1;
      const [known, unknown] = [shown.filter((r) => measure in r.measures), shown.filter((r) => !(measure in r.measures))];
      known.sort((a, b) => sign * (a.measures[measure] - b.measures[measure]));
      shown = [...known, ...unknown];
    }
    active = 0;
    list.scrollTop = 0;
    space.style.height = `${shown.length * HEIGHT}px`;
    at("count").textContent = `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} transcripts`;
    draw();
  };

  const draw = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - SPARE);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + SPARE);
    const made = document.createDocumentFragment();
    for (let i = first; i < last; i++) made.append(line(i));
    space.replaceChildren(made);
    if (active >= first && active < last) list.setAttribute("aria-activedescendant", `row-${active}`);
    else list.removeAttribute("aria-activedescendant");
  };
  const line = (i) => {
    const row = shown[i], made = element("div", "row");
    made.id = `row-${i}`;
    made.style.top = `${i * HEIGHT}px`;
    made.setAttribute("role", "option");
    made.setAttribute("aria-selected", String(i === active));
    made.setAttribute("aria-setsize", shown.length);
    made.setAttribute("aria-posinset", i + 1);
    const all = turns(row.query), asked = all[all.length - 1] ?? ["", row.query];
    const text = element("div", "", visible(asked[1].trim().slice(0, 300)) || "(blank)");
    text.dir = "auto";
    made.append(text, element("div", "about", about(row)));
    return made;
  };

  const go = (i) => {
    if (!shown.length) return;
    active = Math.max(0, Math.min(shown.length - 1, i));
    const top = active * HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
    draw();
    if (dialog.open) fill();
  };
  const show = () => {
    if (!shown.length) return;
    fill();
    if (!dialog.open) dialog.showModal();
    at("transcript").focus();
  };
  const fill = () => {
    const row = shown[active], made = document.createDocumentFragment();
    at("open-title").textContent = `${active + 1} of ${shown.length} · ${[row.round, row.split, row.kind, row.query_id].filter(Boolean).join(" · ")}`;
    const block = (className, who, text) => {
      const box = element("div", className), words = element("p", "text", visible(text.trim()) || "(blank)");
      words.dir = "auto";
      box.append(element("div", "who", who), words);
      made.append(box);
      return box;
    };
    for (const [who, text] of turns(row.query)) block(`turn ${who === "Human" ? "user" : ""}`, who, text);
    // The golden answer first, as what the others are held against.
    const index = row.answers.map((_, i) => i).sort((a, b) => (row.answers[b].by === "golden") - (row.answers[a].by === "golden"));
    for (const i of index) {
      const answer = row.answers[i], golden = answer.by === "golden";
      const by = Object.entries(row.chosen).filter(([, choice]) => choice === i).map(([who]) => who);
      const box = block(`answer${golden ? " golden" : ""}${by.length ? " chosen" : ""}`, golden ? "golden answer" : answer.by, answer.text);
      const rewards = element("div", "rewards");
      for (const [who, given] of Object.entries(row.rewards)) {
        if (given[i] === null) continue;
        rewards.append(element(by.includes(who) ? "b" : "span", "", `${who} ${number(given[i])}${by.includes(who) ? ", chosen" : ""}`));
      }
      for (const who of by) if (!(who in row.rewards)) rewards.append(element("b", "", `chosen by ${who}`));
      if (rewards.childElementCount) box.append(rewards);
    }
    for (const [name, words] of Object.entries(measures)) {
      if (name in row.measures) made.append(element("div", "note", `${words}: ${number(row.measures[name])}`));
    }
    for (const who of row.outdated) made.append(element("p", "note", `No rewards and no choice of the ${who}: those that there are belong to other samples.`));
    if (row.split === "rm") made.append(element("p", "note", "No reward model rates the samples of RM queries: the APO RM learns from them."));
    at("transcript").replaceChildren(made);
    at("transcript").scrollTop = 0;
  };

  const page = () => Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1);
  const moves = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };
  const plain = (event) => !event.ctrlKey && !event.metaKey && !event.altKey;
  list.addEventListener("keydown", (event) => {
    if (!plain(event)) return;
    const far = { PageDown: active + page(), PageUp: active - page(), Home: 0, End: shown.length - 1 };
    if (event.key in moves) go(active + moves[event.key]);
    else if (event.key in far) go(far[event.key]);
    else if (event.key === "Enter" || event.key === " ") show();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    const writing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (!plain(event) || writing || event.target === list) {
      if (event.target === search && (event.key === "Enter" || event.key === "ArrowDown")) list.focus();
      else if (event.target === search && event.key === "Escape" && !search.value) list.focus();
      else if (event.target !== list || event.key !== "/") return;
      else search.focus();
      event.preventDefault();
    } else if (dialog.open && (event.key === "j" || event.key === "k")) go(active + moves[event.key]);
    else if (!dialog.open && event.key === "/") {
      search.focus();
      event.preventDefault();
    } else if (!dialog.open && (event.key === "j" || event.key === "k")) {
      list.focus();
      go(active + moves[event.key]);
    }
  });
  list.addEventListener("scroll", draw, { passive: true });
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row) {
      go(Number(row.id.slice(4)));
      show();
    }
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => list.focus());
  at("close").addEventListener("click", () => dialog.close());
  at("previous").addEventListener("click", () => go(active - 1));
  at("next").addEventListener("click", () => go(active + 1));
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("input", filter);
  addEventListener("resize", draw);

  at("browser").hidden = false;
  filter();
})();
