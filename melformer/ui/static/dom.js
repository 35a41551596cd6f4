// Small helpers: finding elements, words for numbers, calls to the server.
const find = (selector) => element.querySelector(selector);
const findAll = (selector) => Array.from(element.querySelectorAll(selector));
const act = (name) => find(`[data-act="${name}"]`);

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Browser storage, where it is allowed: inside another site's frame it may not be. */
function recall(storage, name) {
  try { return window[storage].getItem(name); } catch (error) { return null; }
}

function remember(storage, name, value) {
  try { window[storage].setItem(name, value); } catch (error) { /* then a reload begins anew */ }
}

const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const trim = (x) => String(Math.round(x * 100) / 100);

function barsAndBeats(n, perBar) {
  return n % perBar === 0 ? `${plural(n, "beat")} (${plural(n / perBar, "bar")})` : plural(n, "beat");
}

function temperatureWord(t) {
  return t < 0.4 ? "very safe" : t < 0.8 ? "safe" : t <= 1.1 ? "natural" : t <= 1.5 ? "lively" : "wild";
}

function variationWord(v) {
  return v < 0.2 ? "nearly the same" : v < 0.45 ? "small changes" : v <= 0.6 ? "balanced" : v <= 0.85 ? "many ideas" : "mostly new";
}

const NO_ANSWER = "The server does not answer. Check the connection; what was made is kept.";

/** Ask the server; a mistake comes back as a sentence and is shown, and the result is null. */
async function call(what, data = {}) {
  try {
    const answer = await server.call({ do: what, token: state.token, ...data });
    if (answer.gone && what !== "hello") await beginAgain();
    if (answer.error) {
      showError(answer.error);
      return null;
    }
    return answer.ok;
  } catch (error) {
    showError(NO_ANSWER);
    return null;
  }
}

function showError(sentence) {
  const box = find("[data-error]");
  box.hidden = !sentence;
  box.textContent = sentence || "";
}

function announce(sentence) { setText(find("[data-live]"), sentence); }
function status(sentence) { setText(find("[data-status]"), sentence); }

function download(path) {
  const link = make("a", { href: new URL(`gradio_api/file=${encodeURI(path)}`, document.baseURI).href, download: path.split("/").pop() });
  document.body.append(link);
  link.click();
  link.remove();
}
