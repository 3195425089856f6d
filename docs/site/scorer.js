// How search results are ranked: Sphinx's own points, with these differences. A page has points for each word of the
// query, of which it gets the mean: Sphinx gives it those of its best word. A word of its title counts more than one of a
// heading. Parts of a class, and pages that name everything or that few look for, come later.
const NAMES_EVERYTHING = ["changelog", "architecture", "contributing", "gallery/index", "reference/index", "reference/commands"];
const FOR_FEW = ["agreement", "cuda_budget", "function_errors", "glossary", "gpu_benchmark", "paper", "performance", "table_benchmark", "types"];

function pointsOfWords(page) {
  const {docnames, terms, titles, titleterms} = Search._index;
  const [file, stemmer] = [docnames.indexOf(page), new Stemmer()];
  const stems = (text) => splitQuery(text.toLowerCase()).map((word) => stemmer.stemWord(word));
  const has = (index, word) => Object.hasOwn(index, word) && [index[word]].flat().includes(file);
  const query = new URLSearchParams(location.search).get("q") || "";
  const words = stems(splitQuery(query).filter((word) => !stopwords.has(word.toLowerCase())).join(" "));
  const ofTitle = stems(titles[file]);
  const points = words.map((word) => ofTitle.includes(word) ? Scorer.title
      : has(titleterms, word) ? Scorer.heading : has(terms, word) ? Scorer.term : Scorer.partialTerm);
  return points.reduce((sum, one) => sum + one, 0) / Math.max(points.length, 1);
}

var Scorer = {
  score: ([page, title, anchor, description, points, filename, kind]) => {
    const [path, isReference] = [page.split("/").pop(), page.startsWith("reference/gpubp.")];
    if (kind === SearchResultKind.text) points = pointsOfWords(page);
    if (NAMES_EVERYTHING.includes(page)) return points - 20;
    if (FOR_FEW.includes(page)) return points - 2;
    if (isReference && (anchor || "").startsWith(`#${path}.`)) return points - 12; // a method or an attribute
    if (isReference) return points - 4 * (path.split(".").length - 2); // gpubp.x is used more than gpubp.x.y
    return points;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  heading: 8,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
