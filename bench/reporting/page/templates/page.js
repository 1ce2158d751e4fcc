"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("script");

  // Some browsers refuse storage to a page from disk; the theme then lasts as long as the page.
  const kept = {
    get() { try { return localStorage.getItem("bench-theme"); } catch { return null; } },
    set(theme) { try { localStorage.setItem("bench-theme", theme); } catch { /* not kept */ } },
  };
  const chosen = kept.get();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  const MOST = 200;
  let reveal = () => {};

  document.addEventListener("DOMContentLoaded", () => {
    root.classList.add("ready");
    themes();
    copying();
    folding();
    const table = document.getElementById("trials");
    if (table) trials(table);
    follow();
    addEventListener("hashchange", follow);
    document.addEventListener("click", (event) => {
      const link = event.target.closest('a[href^="#"]');
      if (link) open(link.hash);
    });
  });

  function themes() {
    const button = document.getElementById("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const show = () => button.setAttribute("aria-pressed", String(dark()));
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      kept.set(root.dataset.theme);
      show();
    });
    system.addEventListener("change", show);
    show();
  }

  function copying() {
    document.addEventListener("click", async (event) => {
      const button = event.target.closest("button.copy");
      if (!button) return;
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  function folding() {
    for (const button of document.querySelectorAll("button[data-fold]")) {
      button.addEventListener("click", () => {
        for (const part of document.querySelectorAll("details.trial")) {
          part.open = button.dataset.fold === "open";
        }
      });
    }
  }

  // A link to something folded, or to a line that is left out, shows it.
  function open(hash) {
    const id = hash.slice(1);
    if (id && !document.getElementById(id)) reveal(hash);
    const target = id && document.getElementById(id);
    if (!target) return null;
    for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) {
      part.open = true;
    }
    return target;
  }

  function follow() {
    const target = open(location.hash);
    if (!target) return;
    const summary = target.matches("details") ? target.querySelector("summary") : null;
    target.scrollIntoView();
    if (summary) summary.focus({ preventScroll: true });
  }

  function trials(table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const places = new Map(heads.map((head, i) => [head.dataset.key, i]));
    const lines = [...body.rows].map((row, place) => ({ row, place, text: null }));
    const form = document.querySelector("form.filters");
    const words = document.getElementById("words");
    const top = document.getElementById("top");
    const selects = [...form.querySelectorAll("select")];
    const count = document.getElementById("count");
    const all = document.getElementById("all");
    const order = { key: "", up: true, lines };
    let fitting = lines;
    let most = MOST;
    const values = new Map();
    const collator = new Intl.Collator("en", { numeric: true });

    function valuesOf(key) {
      if (!values.has(key)) {
        const place = places.get(key);
        const number = heads[place].dataset.kind === "number";
        values.set(key, lines.map(({ row }) => {
          const cell = row.cells[place];
          const given = cell.dataset.value ?? (number ? "" : cell.textContent.trim());
          if (given === "" || given === "–") return null;
          return number ? Number(given) : given;
        }));
      }
      return values.get(key);
    }

    function sort(key, up) {
      order.key = key;
      order.up = up;
      const found = key ? valuesOf(key) : null;
      const number = key && heads[places.get(key)].dataset.kind === "number";
      order.lines = [...lines].sort((a, b) => {
        if (!found) return a.place - b.place;
        const x = found[a.place];
        const y = found[b.place];
        if (x === null || y === null) return (x === null) - (y === null) || a.place - b.place;
        const way = number ? x - y : collator.compare(x, y);
        return (up ? way : -way) || a.place - b.place;
      });
      for (const head of heads) {
        const here = head.dataset.key === key;
        head.setAttribute("aria-sort", here ? (up ? "ascending" : "descending") : "none");
      }
    }

    function filter() {
      const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = selects.filter((s) => s.value).map((s) => [places.get(s.dataset.key), s.value]);
      fitting = order.lines.filter((line) => {
        line.text ??= [...line.row.cells].map((c) => c.textContent).join(" ").toLowerCase();
        return asked.every((word) => line.text.includes(word))
          && (!top?.checked || line.row.dataset.standing)
          && wanted.every(([place, value]) => first(line.row.cells[place]) === value);
      });
      show();
    }

    // A browser takes seconds to lay out thousands of lines, so it gets the first ones.
    function show() {
      body.replaceChildren(...fitting.slice(0, most).map(({ row }) => row));
      const [some, of] = [fitting.length, lines.length].map((n) => n.toLocaleString("en"));
      const cut = fitting.length > most;
      count.textContent = `${some} of ${of} trials${cut ? `, the first ${most} shown` : ""}`;
      all.hidden = !cut;
      all.textContent = `Show all ${some}`;
    }

    function showAll() {
      most = Infinity;
      show();
    }

    // Without the small print below it.
    function first(cell) {
      return (cell.querySelector(":scope > a") ?? cell).firstChild?.textContent.trim().replace(/\s+/g, " ") ?? "";
    }

    function remember() {
      const state = new URLSearchParams();
      if (words.value.trim()) state.set("words", words.value.trim());
      for (const select of selects) if (select.value) state.set(select.dataset.key, select.value);
      if (top?.checked) state.set("top", "1");
      if (order.key) state.set("sort", (order.up ? "" : "-") + order.key);
      const text = state.toString();
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    }

    function recall() {
      const text = location.hash.slice(1);
      if (!text.includes("=")) return;
      const state = new URLSearchParams(text);
      words.value = state.get("words") ?? "";
      for (const select of selects) {
        const value = state.get(select.dataset.key) ?? "";
        select.value = [...select.options].some((o) => o.value === value) ? value : "";
      }
      if (top) top.checked = state.get("top") === "1";
      const asked = state.get("sort") ?? "";
      const key = asked.replace(/^-/, "");
      sort(places.has(key) ? key : "", !asked.startsWith("-"));
      filter();
    }

    for (const head of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const { key } = head.dataset;
        const best = head.dataset.kind !== "number";
        sort(key, order.key === key ? !order.up : best);
        filter();
        remember();
      });
    }
    let waiting = 0;
    form.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { filter(); remember(); }, 60);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => {
      setTimeout(() => { sort("", true); most = MOST; filter(); remember(); });
    });
    filter();
    recall();
    addEventListener("hashchange", recall);
    all.addEventListener("click", showAll);
    addEventListener("beforeprint", showAll);
    reveal = (hash) => {
      if (!lines.some(({ row }) => `#${row.id}` === hash)) return;
      words.value = "";
      for (const select of selects) select.value = "";
      if (top) top.checked = false;
      sort("", true);
      filter();
      showAll();
    };
  }
})();
