// Wires the page together.
const SAY_EVERY_MS = 150;
const state = {
  token: null, view: null, limits: { beats: 256, upload_mb: 20 }, loop: null, store: null, run: null, lastRun: 0, busy: false,
  loops: new Map(), stores: new Map(), missed: [], taps: [], costs: [], crop: { first: 0, last: 1 }, note: "",
};
const player = new Player((what) => report(what));
const timeline = new Timeline(element, (k) => touchBeat(k));
timeline.onTouchTwice = playFrom;
timeline.onLayout = () => { placeHandles(); showPosition(); };
window.melformer = { state, player, timeline };

function touchBeat(k) {
  if (state.run) return; // a stream that plays is not interrupted by a stray touch
  const beat = state.store.beats[k];
  player.play(state.store, beat.start, Math.min(beat.start + beat.frames, state.store.playable));
}

function playFrom(k) {
  if (!state.run) player.play(state.store, state.store.beats[k].start).then(refresh);
}

function report(what) {
  showPosition();
  if (what === "position") sayPosition();
  if (what === "ended") refresh();
}

function showPosition() {
  if (state.store && player.store === state.store) timeline.place(player.position(), player.moving ? player.limit() : null);
  else if (state.store) timeline.place(0);
}

let saidAt = 0;
function sayPosition() {
  const store = state.store, now = performance.now();
  if (now - saidAt < SAY_EVERY_MS) return;
  saidAt = now;
  if (!store || player.store !== store || (state.run && !state.run.started)) return;
  const k = store.beatAt(player.at), fresh = k - store.loop.n_beats;
  const parts = [fresh < 0 ? `Your loop, beat ${k + 1} of ${store.loop.n_beats}` : `New beat ${fresh + 1}${endlessOr(store)}`];
  if (state.run && state.run.costs.length) {
    const cost = state.run.costs.slice(-16).reduce((a, b) => a + b, 0) / Math.min(16, state.run.costs.length);
    parts.push(`${Math.max(0, player.aheadSeconds()).toFixed(1)} s ready ahead`);
    if (cost > 0) parts.push(`made at ${Math.max(0.1, 60 / store.loop.bpm / cost).toFixed(cost > 60 / store.loop.bpm / 10 ? 1 : 0)}× real time`);
  }
  if (player.starved) parts.push(`the machine fell behind: ${(player.starved / store.rate).toFixed(2)} s of silence`);
  status(parts.join(" · "));
}

function endlessOr(store) {
  if (state.run && state.run.asked.n_beats === null) return "";
  return ` of ${state.run ? state.run.first + state.run.asked.n_beats : store.nNew}`;
}

/** What can be pressed, and one sentence on where things stand. */
function refresh() {
  const { loop, store, run, view } = state;
  const take = view && store && view.takes.find((one) => one.number === store.take);
  const active = Boolean(run) || player.playing;
  act("continue").disabled = !loop || state.busy;
  swapMain(active); // once it is enabled: nothing else can have the focus
  act("keep").disabled = !take || !take.n_beats || state.busy;
  act("another").disabled = !loop || !view || (run ? !run.started || !run.asked : !view.takes.length);
  act("choose").disabled = !loop || state.busy;
  act("undo").disabled = !view || !view.can_undo || state.busy;
  placeHandles();
  if (take && store.nNew) state.stores.set(store.take, store);
  if (active) return;
  if (!loop) status("");
  else if (take) status(`Take ${take.number}: ${plural(take.n_beats, "new beat")}, seed ${take.seed}. ${state.note || ""}`);
  else status("Ready. Continue plays your loop and goes on from it.");
}

/** Continue and Stop share one place; who pressed one by keyboard stands on the other. */
function swapMain(active) {
  const [shown, gone] = active ? [act("stop"), act("continue")] : [act("continue"), act("stop")];
  const focused = document.activeElement === gone;
  gone.hidden = true;
  shown.hidden = false;
  if (focused) shown.focus({ preventScroll: true });
}

function wireButtons() {
  const todo = {
    continue: () => continueLoop(), stop, keep: keepGoing, another: anotherTake, crop, tap, choose: chooseTakes, zip: saveAll,
    half: () => setTempo(state.loop.bpm / 2), double: () => setTempo(state.loop.bpm * 2), theme: switchTheme,
    dice: () => { find("#mf-seed").value = Math.floor(Math.random() * 10000); },
    undo: async () => { silence(); await adoptAll(await call("undo")); },
  };
  for (const [name, run] of Object.entries(todo)) act(name).addEventListener("click", run);
  findAll("[data-handle]").forEach(wireHandle);
  wireTabs();
}

/** After undo the shown take may be gone, or shorter: show the loop, or the take as it now is. */
async function adoptAll(view) {
  if (!view) return;
  const number = state.store ? state.store.take : 0;
  state.loop = null;
  await adopt(view);
  if (view.takes.some((take) => take.number === number)) await showTake(number, false);
}

function wireTabs() {
  const tabs = findAll("[role=tab]");
  const open = (tab) => tabs.forEach((one) => {
    one.setAttribute("aria-selected", String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
    find(`#${one.getAttribute("aria-controls")}`).hidden = one !== tab;
    if (one === tab && one.id === "mf-tab-codes") openCodes();
  });
  tabs.forEach((tab, k) => {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
      open(tabs[1 - k]);
      tabs[1 - k].focus();
    });
  });
}

function wireDrop() {
  const drop = find("[data-drop]"), input = find("#mf-file");
  input.addEventListener("change", () => { openFile(input.files[0]); input.value = ""; });
  element.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("mf-over"); });
  element.addEventListener("dragleave", () => drop.classList.remove("mf-over"));
  element.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("mf-over"); openFile(event.dataTransfer.files[0]); });
}

/** A menu closes when something in it, or elsewhere, is pressed. */
function wireMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of findAll(".mf-menu[open]")) {
      if (!menu.contains(event.target) || event.target.closest("button")) menu.open = false;
    }
  });
}

function isDark() { return document.body.classList.contains("dark"); }

function switchTheme() {
  document.body.classList.toggle("dark");
  remember("localStorage", "melformer-theme", isDark() ? "dark" : "light");
}

function showTheme() {
  setText(act("theme"), isDark() ? "Light" : "Dark");
  act("theme").setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  timeline.recolour();
}

function exampleButton(name) {
  const words = name.replace(/\.[a-z]+$/, "").replace(/_/g, " ").replace(/ (\d+)bpm/i, " $1");
  return make("button", { type: "button", class: "mf-plain", title: name, onclick: () => openWith("example", { name }) }, words[0].toUpperCase() + words.slice(1));
}

/** The server has forgotten this page: a new session, and an empty desk. */
async function beginAgain() {
  silence();
  remember("sessionStorage", "melformer-token", "");
  Object.assign(state, { run: null, busy: false, loops: new Map(), stores: new Map(), missed: [] });
  await hello();
}

async function hello() {
  const answer = await call("hello", { token: recall("sessionStorage", "melformer-token") });
  if (!answer) return;
  state.token = answer.token;
  state.limits = answer.limits;
  setKnobs(answer.defaults);
  recallFields();
  remember("sessionStorage", "melformer-token", answer.token);
  find("#mf-takes").max = answer.limits.batch;
  find("[data-examples]").replaceChildren(...findAll("[data-examples] > span"), ...answer.examples.map(exampleButton));
  await adopt(answer.view);
  const last = answer.view.takes[answer.view.takes.length - 1];
  if (last) await showTake(last.number, false);
}

const chosenTheme = recall("localStorage", "melformer-theme");
if (chosenTheme) document.body.classList.toggle("dark", chosenTheme === "dark");
watch("value", () => receive(props.value));
wireFields();
keepFields();
wireButtons();
wireDrop();
wireKeys();
wireMenus();
wireCodes();
showTheme();
new MutationObserver(showTheme).observe(document.body, { attributes: true, attributeFilter: ["class"] });
setInterval(watchRun, 1000);
hello().then(() => element.setAttribute("data-ready", ""));
