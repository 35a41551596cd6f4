// Small helpers: finding elements, words for numbers, notices, and calls to the server.
const find = (selector) => element.querySelector(selector);
const findAll = (selector) => Array.from(element.querySelectorAll(selector));
const act = (name) => find(`[data-act="${name}"]`);
const clamp = (x, low, high) => Math.max(low, Math.min(high, x));

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** One of the page's own line drawings, by the name of its symbol. */
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "mf-icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#mf-i-${name}`);
  svg.append(use);
  return svg;
}

/** Browser storage, where it is allowed: inside another site's frame it may not be. */
function recall(storage, name) {
  try { return window[storage].getItem(name); } catch (error) { return null; }
}

function remember(storage, name, value) {
  try { window[storage].setItem(name, value); } catch (error) { /* then a reload begins anew */ }
}

const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const trim = (x) => String(Math.round(x * 100) / 100);

/** `4 bars`, or `15 beats` where they are no whole bars. */
function barsOrBeats(n, perBar) { return n > 0 && n % perBar === 0 ? plural(n / perBar, "bar") : plural(n, "beat"); }
/** What a take adds: `4 new bars`, or `4 bars, 69% new` where some of its beats are the loop's own. */
function added(take) {
  const n = take.n_beats, unlike = take.n_unlike;
  if (unlike === null || unlike === n) return newPart(n, take.beats_per_bar);
  return `${barsOrBeats(n, take.beats_per_bar)}, ${unlike ? `${Math.max(1, Math.round((100 * unlike) / n))}% new` : "the loop again"}`;
}
function newPart(n, perBar) { return n > 0 && n % perBar === 0 ? plural(n / perBar, "new bar") : plural(n, "new beat"); }
function barAndBeat(k, perBar) { return `${Math.floor(k / perBar) + 1}.${(k % perBar) + 1}`; }

function temperatureWord(t) {
  return t < 0.4 ? "very safe" : t < 0.8 ? "safe" : t <= 1.1 ? "natural" : t <= 1.5 ? "lively" : "wild";
}

function variationWord(v) {
  return v < 0.2 ? "close to the loop" : v < 0.45 ? "small changes" : v <= 0.6 ? "balanced" : v <= 0.85 ? "more new" : "mostly new";
}

// Notices stand beside what the visitor last touched, inside the view, and push nothing aside.
const NOTICE_GAP = 8;
let lastTouched = null;

function wireNotices() {
  const note = (event) => {
    const at = event.target.closest && event.target.closest("button, input, select, summary, label, [data-scroll]");
    if (at && element.contains(at) && !at.closest("[data-notice]")) lastTouched = at;
  };
  for (const name of ["pointerdown", "keydown", "change"]) document.addEventListener(name, note, true);
  act("dismiss").addEventListener("click", () => showError(""));
}

function showError(sentence, near = lastTouched) {
  const box = find("[data-notice]");
  box.hidden = !sentence;
  setText(find("[data-error]"), sentence || "");
  if (!sentence) return;
  const dialog = find("dialog[open]"); // a dialog covers everything outside of it
  (dialog || find("[data-mf]")).append(box);
  const width = document.documentElement.clientWidth, height = window.innerHeight;
  const floor = Math.min(height, window.matchMedia("(max-width: 640px)").matches && !dialog ? find("[data-bar]").getBoundingClientRect().top || height : height);
  const own = box.getBoundingClientRect();
  const anchor = near && near.isConnected ? near.getBoundingClientRect() : null;
  const visible = anchor && anchor.width && anchor.bottom > 0 && anchor.top < height;
  const left = visible ? anchor.left + anchor.width / 2 - own.width / 2 : (width - own.width) / 2;
  const below = visible ? anchor.bottom + NOTICE_GAP : floor - own.height - 2 * NOTICE_GAP;
  const top = visible && below + own.height > floor ? anchor.top - own.height - NOTICE_GAP : below;
  box.style.left = `${clamp(left, NOTICE_GAP, width - own.width - NOTICE_GAP)}px`;
  box.style.top = `${clamp(top, NOTICE_GAP, Math.max(NOTICE_GAP, floor - own.height - NOTICE_GAP))}px`;
}

function announce(sentence) { setText(find("[data-live]"), sentence); }
function status(sentence) {
  setText(find("[data-status]"), sentence);
  setText(find("[data-reading]"), state.loop ? "" : sentence); // before the first loop there is no transport
}

const RETRY_MS = 1000;

/** One line while the server cannot be reached; it goes as soon as an answer comes. */
function showOffline(offline) {
  if (state.offline === offline) return;
  state.offline = offline;
  find("[data-offline]").hidden = !offline;
  if (!offline) {
    announce("Back online.");
    return;
  }
  announce(find("[data-offline]").textContent);
  const retry = setInterval(async () => {
    const view = await call("view");
    if (state.offline) return;
    clearInterval(retry);
    if (view && !state.run) adopt(view);
  }, RETRY_MS);
}

/** Ask the server; a mistake comes back as a sentence and is shown, and the result is null. */
async function call(what, data = {}) {
  // Where nothing comes back, some versions of Gradio's client throw, others answer `undefined`.
  const answer = await server.call({ do: what, token: state.token, ...data }).catch(() => undefined);
  showOffline(!answer);
  if (!answer) return null;
  if (answer.gone && what !== "hello") await beginAgain();
  if (!answer.error) return answer.ok;
  showError(answer.error);
  return null;
}

/** The address of a file that the server has written. */
function addressOf(path) { return new URL(`gradio_api/file=${encodeURI(path)}`, document.baseURI).href; }

/** Samples that the server keeps as a file, since they are too many for an answer; null where they cannot be had. */
async function fetchPcm(path) {
  try {
    const answer = await fetch(addressOf(path));
    if (answer.ok) return new Int16Array(await answer.arrayBuffer());
  } catch (error) { showOffline(true); }
  return null;
}

function download(path) { saveAs(addressOf(path), path.split("/").pop()); }

function saveAs(href, name) {
  const link = make("a", { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}
