"""Check the built site: links and alternative texts, each page in a browser, in light and in dark, and the search.

In the browser no page may print an error, request anything from elsewhere, show a picture that is missing, or have text
that is hard to read on its background. Without Chromium only the files are checked.
"""

import functools
import json
import sys
import tempfile
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import topics

from tests import browser

SITE = Path(__file__).parents[2] / "build" / "site"

PALE = """(theme) => {
  document.documentElement.dataset.theme = theme;
  document.head.insertAdjacentHTML("beforeend", "<style>* { transition: none !important }</style>");
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const parsed = (color) => {
    if (!known.has(color)) known.set(color, computed(color));
    return known.get(color);
  };
  const computed = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const color = parsed(getComputedStyle(e).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const pale = new Set();
  for (const e of document.querySelectorAll("body *")) {
    const text = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join("");
    if (!text || !e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const style = getComputedStyle(e), color = parsed(style.color);
    if (color[3] < 255 || e.closest("[disabled], .visually-hidden, .skip-link")) continue;
    const [low, high] = [light(color), light(behind(e))].sort((a, b) => a - b);
    const large = parseFloat(style.fontSize) >= 24;
    if ((high + 0.05) / (low + 0.05) >= (large ? 3 : 4.5)) continue;
    pale.add(`${e.tagName}.${e.className} "${text.slice(0, 30)}"`);
  }
  return [...pale].slice(0, 5);
}"""
"""Text whose contrast is below that of WCAG 2 level AA, in a theme."""

NAMELESS = """[...document.querySelectorAll("a[href], button, input, select")].filter((e) => e.checkVisibility()
    && !(e.ariaLabel || e.title || e.textContent.trim() || e.labels?.length || e.placeholder
         || e.querySelector("img[alt]:not([alt=''])"))).map((e) => e.outerHTML.slice(0, 100))"""
"""Links and controls that a screen reader cannot name."""

FIRST = """(phrases) => phrases.map((phrase) => {
  history.replaceState(null, "", `?q=${encodeURIComponent(phrase)}`);
  return (Search._performSearch(...Search._parseQuery(phrase)).pop() || [""])[0];
})"""
"""The pages that the site's search has first; its results begin with the last."""


def pages_of(site):
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)


class HTMLFile(HTMLParser):
    """The links, anchors and pictures of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.without_alt = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors.update(values[key] for key in ("id", "name") if values.get(key))
        self.links += [values[key] for key in ("href", "src") if values.get(key)]
        if tag == "img" and not values.get("alt"):
            self.without_alt.append(values.get("src"))


def faults_of_files(site):
    """List broken links, and pictures without a text for those who cannot see them."""
    pages = {path: HTMLFile(path) for path in pages_of(site)}
    faults = [
        f"{path.relative_to(site)}: {image} has no alt" for path, page in pages.items() for image in page.without_alt
    ]
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(urljoin(path.as_uri(), link))
            if parts.scheme != "file":
                continue
            target = Path(unquote(parts.path))
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                faults.append(f"{path.relative_to(site)}: the link {link} leads nowhere")
    return faults


def faults_in_browser(site, chromium):
    """Open each page; list what its console, its requests and its texts have wrong."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root, faults = f"http://127.0.0.1:{server.server_address[1]}/", []
    with tempfile.TemporaryDirectory() as folder, browser.opened(chromium, Path(folder)) as opened:
        for path in pages_of(site):
            name = path.relative_to(site).as_posix()
            with opened.page() as page:
                page.screen(1280)
                page.open(root + name)
                faults += [f"{name}: {fault}" for fault in faults_of_page(page, root)]
        with opened.page() as page:
            page.open(f"{root}search.html")
            faults += faults_of_search(page)
    server.shutdown()
    return faults


def faults_of_page(page, root):
    faults = [f"console: {event['entry']['text']}" for event in page.events("Log.entryAdded")]
    faults += [f"script: {event['exceptionDetails']['text']}" for event in page.events("Runtime.exceptionThrown")]
    faults += [f"a request of {url}" for url in page.requested_urls() if not url.startswith((root, "blob:"))]
    broken = "[...document.images].filter((i) => i.complete && !i.naturalWidth).map((i) => i.src)"
    faults += [f"the picture {url} is not shown" for url in page.value(broken)]
    faults += [f"no name for {element}" for element in page.value(NAMELESS)]
    for theme in ("light", "dark"):
        faults += [f"too little contrast in {theme}: {text}" for text in page.value(f"({PALE})('{theme}')")]
    return faults


def faults_of_search(page):
    """List phrases for which the search does not have the right page first."""
    places = {phrase: places for phrases, places in topics.TOPICS.items() for phrase in phrases}
    found = page.value(f"({FIRST})({json.dumps([*places])})")
    return [
        f"the search for {phrase!r} has {first!r} first, not {' or '.join(places[phrase])}"
        for phrase, first in zip(places, found, strict=True)
        if first not in {place.partition("#")[0] for place in places[phrase]}
    ]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def main():
    pages = len(pages_of(SITE))
    if not pages:
        sys.exit("no site to check: run docs/site/build.py first")
    faults = faults_of_files(SITE)
    if chromium := browser.find():
        faults += faults_in_browser(SITE, chromium)
    print(f"{pages} pages checked, {'in Chromium' if chromium else 'without a browser, since there is none'}")
    print(*faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
