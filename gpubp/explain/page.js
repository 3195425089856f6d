(() => {
  "use strict";
  const steps = [...document.querySelectorAll(".step")];
  const links = [...document.querySelectorAll("#contents a")];
  const [back, on, all, now] = ["back", "on", "all", "now"].map((id) => document.getElementById(id));
  let place = 0;
  let showsAll = false;

  function placeInHash() {
    const found = /^#step-(\d+)$/.exec(location.hash);
    return found ? Math.min(Math.max(Number(found[1]) - 1, 0), steps.length - 1) : 0;
  }

  function show() {
    document.body.classList.toggle("one-by-one", !showsAll);
    steps.forEach((step, k) => { step.hidden = !showsAll && k !== place; });
    links.forEach((link, k) => {
      if (k === place) link.setAttribute("aria-current", "step");
      else link.removeAttribute("aria-current");
    });
    back.setAttribute("aria-disabled", String(place === 0)); // not disabled: that would take the focus away
    on.setAttribute("aria-disabled", String(place === steps.length - 1));
    all.setAttribute("aria-pressed", String(showsAll));
    now.textContent = `Step ${place + 1} of ${steps.length}: ${steps[place].querySelector("h2").textContent}`;
    if (showsAll) {
      steps[place].scrollIntoView();
    } else {
      steps[place].querySelector("circle.active")?.scrollIntoView({ inline: "center" }); // in a drawing that scrolls
      scrollTo(0, 0);
    }
  }

  function go(to) {
    const next = Math.min(Math.max(to, 0), steps.length - 1);
    if (next === place) return;
    const inside = steps[place].contains(document.activeElement);
    place = next;
    history.pushState(null, "", `#step-${place + 1}`);
    show();
    if (inside) steps[place].querySelector("h2").focus();
  }

  back.addEventListener("click", () => go(place - 1));
  on.addEventListener("click", () => go(place + 1));
  all.addEventListener("click", () => { showsAll = !showsAll; show(); });
  for (const event of ["hashchange", "popstate"]) {
    addEventListener(event, () => { place = placeInHash(); show(); });
  }
  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    const ways = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: steps.length - 1 };
    if (!(event.key in ways)) return;
    const wide = event.target.closest?.(".terms, figure");
    if (wide && wide.scrollWidth > wide.clientWidth) return; // the keys move its contents
    event.preventDefault();
    go(ways[event.key]);
  });

  document.getElementById("controls").hidden = false;
  place = placeInHash();
  show();
})();
