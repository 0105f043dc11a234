"use strict";
// Switches the heights of the rows (by steps or to scale), and shows the evidence for the row that is pointed at or focused.
(() => {
  const source = document.getElementById("data").textContent;
  if (!source) return; // the index has no stories
  const { kinds, stories, words } = JSON.parse(source);
  const ladders = [...document.querySelectorAll("figure svg")];
  const panel = document.getElementById("panel");
  const [heading, button, records] = ["h2", "button", ".records"].map((name) => panel.querySelector(name));

  function setHeights(which) {
    ladders.forEach((ladder, n) => {
      const heights = stories[n][which];
      const end = heights[heights.length - 1];
      const at = (place) => (place < 0 ? end : heights[place]);
      ladder.setAttribute("viewBox", ladder.getAttribute("viewBox").replace(/\S+$/, end));
      ladder.classList.toggle("to-scale", which === "to_scale");
      rowsOf(ladder).forEach((row, place) => row.setAttribute("transform", `translate(0 ${heights[place]})`));
      for (const bar of ladder.querySelectorAll(".bar")) {
        const [top, bottom] = [at(Number(bar.dataset.first)), at(Number(bar.dataset.last))];
        bar.setAttribute("y", top);
        bar.setAttribute("height", Math.max(0, bottom - top));
      }
      for (const rail of ladder.querySelectorAll(".rail")) rail.setAttribute("d", rail.getAttribute("d").replace(/V.*/, `V${end}`));
    });
    document.body.classList.toggle("to-scale", which === "to_scale");
  }

  // On paper, a ladder longer than a sheet, or beside such a one, is split into pieces (views of the whole) between rows.
  function cut(ladder) {
    const heights = stories[ladders.indexOf(ladder)][document.querySelector("[name=heights]:checked").value];
    const [left, top, width, end] = ladder.getAttribute("viewBox").split(" ").map(Number);
    const rows = rowsOf(ladder);
    const around = [...ladder.children].filter((child) => !rows.includes(child));
    for (let [first, from, n] = [0, top, 1]; n <= rows.length; n++) {
      const to = n < rows.length ? heights[n] - 18 : end; // where its text begins
      if (to - from < 120 && n < rows.length) continue;
      const piece = ladder.cloneNode(false);
      piece.append(...[...around, ...rows.slice(first, n)].map((part) => part.cloneNode(true)));
      piece.setAttribute("viewBox", `${left} ${from} ${width} ${to - from}`);
      piece.classList.add("piece");
      ladder.parentNode.append(piece);
      [first, from] = [n, to];
    }
  }

  const rowsOf = (ladder) => [...ladder.querySelectorAll(".row")];

  function element(name, content, className) {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...[content].flat());
    return made;
  }

  function shown(value) {
    if (Array.isArray(value)) return element("span", `${value[0]} (${value[1].toFixed(3)} ${words.started})`);
    if (value === null || typeof value !== "object") return element("span", String(value));
    const head = element("tr", kinds[value.members[0][0]].map((name) => element("th", name)));
    const lines = value.members.map(([, ...values]) => element("tr", values.map((each) => element("td", shown(each)))));
    const table = element("table", [element("thead", head), element("tbody", lines)]);
    return element("div", value.left_out ? [table, `… ${value.left_out} ${words.more}`] : [table]);
  }

  function record([kind, ...values]) {
    const pairs = kinds[kind].flatMap((name, n) => [element("dt", name), element("dd", shown(values[n]))]);
    return element("section", [element("h3", kind), element("dl", pairs)], kind);
  }

  function show(row) {
    const ladder = row.ownerSVGElement;
    const evidence = stories[ladders.indexOf(ladder)].evidence[rowsOf(ladder).indexOf(row)];
    for (const other of document.querySelectorAll(".row[aria-selected]")) other.removeAttribute("aria-selected");
    row.setAttribute("aria-selected", "true");
    heading.textContent = row.getAttribute("aria-label");
    records.replaceChildren(...evidence.map(record));
    records.scrollTop = 0;
    panel.hidden = false;
  }

  function hide() {
    back();
    panel.hidden = true;
    for (const row of document.querySelectorAll(".row[aria-selected]")) row.removeAttribute("aria-selected");
  }

  // Moves the focus from the evidence to its row; false if the focus is elsewhere.
  function back() {
    if (!panel.contains(document.activeElement)) return false;
    focus(document.querySelector(".row[aria-selected]"));
    return true;
  }

  function focus(row) {
    for (const other of rowsOf(row.ownerSVGElement)) other.setAttribute("tabindex", other === row ? "0" : "-1");
    row.focus();
  }

  function walk(event) {
    const rows = rowsOf(event.currentTarget);
    const here = rows.indexOf(document.activeElement);
    const there = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (here >= 0 && event.key === "Enter") records.focus();
    if (here < 0 || there === undefined) return;
    event.preventDefault();
    if (rows[there]) focus(rows[there]);
  }

  for (const ladder of ladders) {
    const around = ladder.parentNode; // an SVG that listens for focus would itself be reached by Tab
    rowsOf(ladder)[0]?.setAttribute("tabindex", "0");
    around.addEventListener("keydown", walk);
    for (const name of ["focusin", "pointerover"])
      around.addEventListener(name, ({ target }) => target.closest(".row") && show(target.closest(".row")));
    around.addEventListener("click", ({ target }) => target.closest(".row") && focus(target.closest(".row")));
  }
  for (const choice of document.querySelectorAll("[name=heights]"))
    choice.addEventListener("change", () => setHeights(choice.value));
  setHeights(document.querySelector("[name=heights]:checked").value); // a reloaded page keeps its choice
  addEventListener("beforeprint", () => ladders.filter((ladder) => ladder.closest(".stories:has(.long)")).forEach(cut));
  addEventListener("afterprint", () => document.querySelectorAll(".piece").forEach((piece) => piece.remove()));
  button.addEventListener("click", hide);
  document.addEventListener("keydown", ({ key }) => key === "Escape" && (back() || hide()));
  document.body.classList.add("scripted");
})();
