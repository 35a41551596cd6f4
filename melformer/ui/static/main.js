// Wires the page together.
const state = {
  token: null, view: null, limits: { beats: 256, upload_mb: 20, prompt_beats: 64 }, loop: null, store: null, run: null, lastRun: 0, busy: false, loading: 0,
  loops: new Map(), stores: new Map(), missed: [], taps: [], costs: [], files: [], example: null, range: null, perBar: null, cursor: 0, against: null, rounds: 0, note: "", noteUntil: 0, offline: false,
};
const player = new Player((what) => report(what));
const timeline = new Timeline(element);
Object.assign(timeline.on, {
  seek: seekBeat, play: playFrom, bar: selectBar, range: setRange, choose: showBeat, spoken: () => announce(find("[data-readout]").textContent),
  layout: () => { placeBraces(); placeLaneHeads(); showPosition(); },
});
player.range = (store) => rangeFrames(store);
window.melformer = { state, player, timeline, lanes };

const TOUCH_HINT = "Top: waveform. Bottom: the model's tokens. Click a beat to hear it, double-click to play from there. Click a bar number to select the bar.";

function showBeat(k) {
  const store = state.store;
  if (k < 0) return setText(find("[data-readout]"), TOUCH_HINT);
  const beat = store.beats[k], perBar = store.loop.beats_per_bar;
  const tokens = Array.from(beat.codes.data.subarray(0, Math.min(8, beat.codes.codebooks))).join(" ");
  const origin = beat.isNew ? originWords(beat, perBar) || "new part" : "your loop";
  setText(find("[data-readout]"), `Bar ${barAndBeat(k, perBar)} · ${origin} · tokens ${tokens}`);
}

function wireButtons() {
  const todo = {
    continue: () => continueLoop(), stop, keep: keepGoing, another: anotherTake, crop, choose: chooseTakes, zip: saveAll, play: togglePlay, start: toStart, skip: skipToNew,
    whole: () => setRange(0, Infinity), theme: switchTheme, share, record: openRecorder, "record-start": startRecording, "stems-zip": saveStems, again: tryAgain, ab: switchSides,
    wav: () => save(state.store.take, "wav"), flac: () => save(state.store.take, "flac"), rename: () => renameTake(takeOf(state.store.take)),
    dice: () => { find("#mf-seed").value = Math.floor(Math.random() * 10000); },
    undo: () => travel("undo"), redo: () => travel("redo"),
  };
  for (const [name, run] of Object.entries(todo)) act(name).addEventListener("click", run);
  find("#mf-against").addEventListener("change", (event) => { state.against = Number(event.target.value); showCompare(); });
  findAll("[data-handle]").forEach(wireBrace);
  find(".mf-skip").addEventListener("click", (event) => {
    event.preventDefault(); // not an address: the page may be served below another one
    find("#mf-player").focus();
  });
  findAll("dialog [data-close]").forEach((button) => button.addEventListener("click", () => button.closest("dialog").close(button.dataset.close)));
  wireTabs();
}

/** After undo or redo the shown take may be gone, or shorter: show the loop, or the take as it now is. */
async function travel(what) {
  stopSound();
  const number = state.store ? state.store.take : 0;
  const view = await call(what);
  if (!view) return;
  state.loop = null;
  await adopt(view);
  if (view.takes.some((take) => take.number === number && take.loop_key === view.loop_key)) await showTake(number);
}

function wireTabs() {
  const tabs = findAll("[role=tab]");
  const open = (tab) => {
    showError("");
    tabs.forEach((one) => {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      find(`#${one.getAttribute("aria-controls")}`).hidden = one !== tab;
    });
    if (tab.id === "mf-tab-codes") openCodes();
    else timeline.layout();
  };
  tabs.forEach((tab, k) => {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
      open(tabs[1 - k]);
      tabs[1 - k].focus();
    });
  });
}

/** A menu closes when something in it, or elsewhere, is pressed; what is pressed repeatedly leaves it open. */
function wireMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of findAll(".mf-menu[open]")) {
      const button = event.target.closest("button");
      if (!menu.contains(event.target) || (button && !button.hasAttribute("data-stay"))) menu.open = false;
    }
  });
}

function isDark() { return document.body.classList.contains("dark"); }

function switchTheme() {
  document.body.classList.toggle("dark");
  remember("localStorage", "melformer-theme", isDark() ? "dark" : "light");
}

function showTheme() {
  act("theme").setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  timeline.recolour();
}

/** The server has forgotten this page: a new session. */
async function beginAgain() {
  stopSound();
  remember("sessionStorage", "melformer-token", "");
  Object.assign(state, { run: null, busy: false, loops: new Map(), stores: new Map(), missed: [] });
  lanes.asked.clear();
  await hello();
}

/** A tab that was opened from another has a copy of its token: the first keeps the session, the other begins its own. */
const heldTokens = new Set();
async function ownToken(token) {
  if (!token || !navigator.locks || heldTokens.has(token)) return token;
  return new Promise((resolve) => {
    const giveUp = new AbortController();
    const timer = setTimeout(() => giveUp.abort(), 1500); // a reload frees the lock at once
    navigator.locks.request(`melformer ${token}`, { signal: giveUp.signal }, () => {
      clearTimeout(timer);
      heldTokens.add(token);
      resolve(token);
      return new Promise(() => {}); // held until the tab is gone
    }).catch(() => resolve(null));
  });
}

async function hello() {
  const answer = await call("hello", { token: await ownToken(recall("sessionStorage", "melformer-token")) });
  if (!answer) return null;
  await ownToken(answer.token);
  state.token = answer.token;
  state.limits = answer.limits;
  setKnobs(answer.defaults);
  recallFields();
  remember("sessionStorage", "melformer-token", answer.token);
  find("#mf-takes").max = answer.limits.batch;
  setText(find("[data-upload-mb]"), answer.limits.upload_mb);
  find("[data-examples]").replaceChildren(...answer.examples.map(exampleCard));
  await adopt(answer.view);
  const last = answer.view.takes[answer.view.takes.length - 1];
  if (last) await showTake(last.number);
  return answer;
}

/** There is something to see and hear before any choice: a shared take's loop, or the first example. */
async function welcome() {
  const answer = await hello();
  if (!answer) return;
  const link = readLink(), names = answer.examples.map((one) => one.name);
  if (link) await openLink(link, names);
  if (!state.loop && names.length) await openExample(names[0]);
}

const chosenTheme = recall("localStorage", "melformer-theme");
if (chosenTheme) document.body.classList.toggle("dark", chosenTheme === "dark");
watch("value", () => receive(props.value));
wireNotices();
wireFields();
keepFields();
wireButtons();
wireGrid();
wireDrop();
wireDragOut();
wireRegion();
wireKeys();
wireMenus();
wireCodes();
showTheme();
showBeat(-1);
new MutationObserver(showTheme).observe(document.body, { attributes: true, attributeFilter: ["class"] });
setInterval(watchRun, 1000);
welcome().then(() => element.setAttribute("data-ready", ""));
