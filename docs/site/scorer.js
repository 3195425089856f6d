// How search results are ranked: Sphinx's own points, but for pages that name everything, and for parts of a class.
const NAMES_EVERYTHING = ["changelog", "architecture", "contributing", "gallery/index", "reference/index", "reference/commands"];

var Scorer = {
  score: ([page, title, anchor, description, points]) => {
    const [path, isReference] = [page.split("/").pop(), page.startsWith("reference/gpubp.")];
    if (NAMES_EVERYTHING.includes(page)) return points - 20;
    if (isReference && (anchor || "").startsWith(`#${path}.`)) return points - 12; // a method or an attribute
    if (isReference) return points - 4 * (path.split(".").length - 2); // gpubp.x is used more than gpubp.x.y
    return points;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
