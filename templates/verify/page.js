"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const form = document.getElementById("filter");
  const names = new Set(all("[data-machine]").map((section) => section.dataset.machine));
  const checks = all("[data-outcome]").map((element) => ({
    element,
    outcome: element.dataset.outcome,
    role: element.dataset.role,
    machines: element.dataset.machines.split(" "),
    text: `${element.dataset.machines} ${element.dataset.role} ${element.textContent}`.toLowerCase(),
  }));
  const folds = all("details.machine, details.group");
  const some = (root) => root.querySelector("[data-outcome]:not([hidden])") !== null;
  let before = null; // which were open while everything was shown

  const apply = () => {
    const { text, outcome, role } = Object.fromEntries(new FormData(form));
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    // The name of a machine means that machine, and not every check that speaks of it.
    const says = (check, word) => (names.has(word) ? check.machines.includes(word) : check.text.includes(word));
    const active = words.length > 0 || outcome !== "*" || role !== "*";
    let shown = 0;
    for (const check of checks) {
      const fits =
        (outcome === "*" || check.outcome === outcome) &&
        (role === "*" || check.role === role) &&
        words.every((word) => says(check, word));
      check.element.hidden = !fits;
      shown += fits;
    }
    if (active) before ??= folds.map((fold) => fold.open);
    folds.forEach((fold, i) => {
      fold.hidden = active && !some(fold);
      if (active) fold.open = true;
      else if (before) fold.open = before[i];
    });
    if (!active) before = null;
    for (const row of all("[data-row]")) row.hidden = document.getElementById(row.dataset.row).hidden;
    document.getElementById("shown").textContent = `${shown} of ${checks.length} checks`;
    document.getElementById("nothing").hidden = shown > 0;
  };

  const showAll = () => {
    form.reset();
    apply();
  };

  const arrive = () => {
    const fold = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!(fold instanceof HTMLDetailsElement)) return;
    if (fold.hidden) showAll();
    fold.open = true;
    fold.scrollIntoView();
  };

  for (const event of ["input", "change"]) form.addEventListener(event, apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("all").addEventListener("click", showAll);
  window.addEventListener("hashchange", arrive);
  window.addEventListener("beforeprint", () => all("details.problem").forEach((fold) => (fold.open = true)));
  form.hidden = false;
  apply(); // a browser that comes back to the page has kept what was chosen
  arrive();
})();
