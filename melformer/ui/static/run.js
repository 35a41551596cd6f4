// A run: one stream of new beats from the server, from Continue or Keep going to its end.
const SILENT_MS = 3000;

function wish() {
  const perBar = state.loop.beats_per_bar;
  const unit = find("[data-unit]").value;
  const count = Number(find("#mf-count").value) * (unit === "bars" ? perBar : 1);
  return { ...knobs(), n_beats: unit === "endless" ? null : count, seed: Number(find("#mf-seed").value), close_loop: find("#mf-close").checked };
}

function knobs() {
  const value = (id) => Number(find(id).value);
  return { temperature: value("#mf-temperature"), variation: value("#mf-variation"), own_sound: value("[name=mf-sound]:checked"), top_k: value("#mf-topk"), top_p: value("#mf-topp") };
}

function checkWish(asked) {
  const most = state.limits.beats;
  if (asked.close_loop && (asked.n_beats === null || asked.n_beats < 2)) {
    showError("To close the loop, add a number of beats or bars from 2 on: it has to end somewhere.");
    return false;
  }
  if (asked.n_beats === null || (Number.isInteger(asked.n_beats) && asked.n_beats >= 1 && asked.n_beats <= most)) return true;
  showError(`Add from 1 to ${most} beats at a time, or choose Endless; ${asked.n_beats} is not possible.`);
  return false;
}

function secondsOf(loop, frames) { return frames / loop.sample_rate; }

function continueLoop(leadBar = false) {
  if (!state.loop) return;
  const asked = wish();
  if (!checkWish(asked)) return;
  const store = new Store(state.loop, -1);
  const fromBeat = leadBar || find("#mf-lead").value === "bar" ? Math.max(0, state.loop.n_beats - state.loop.beats_per_bar) : 0;
  const from = store.beats[fromBeat].start;
  begin(store, from, { ...asked, lead_in_s: secondsOf(state.loop, store.frames - from) });
}

function keepGoing() {
  const store = state.store;
  if (!store || store.take < 1 || state.run) return;
  const asked = { ...wish(), close_loop: false };
  if (!checkWish(asked)) return;
  const sounding = player.playing && player.store === store && player.until === Infinity;
  const from = store.beats[Math.max(0, store.beats.length - store.loop.beats_per_bar)].start;
  const left = store.frames - (sounding ? player.at : from);
  begin(store, sounding ? null : from, { ...asked, keep: store.take, lead_in_s: secondsOf(store.loop, left) });
}

function anotherTake() {
  if (!state.loop) return;
  const last = state.run ? state.run.asked : state.view.takes[state.view.takes.length - 1];
  const seed = Number(find("#mf-seed").value);
  if (last && last.seed === seed) find("#mf-seed").value = (seed + 1) % 2147483648;
  continueLoop(true);
}

/** Sound may only begin inside a click, and not every browser plays every rate. */
function unlockSound(store) {
  try {
    player.unlock(store.rate, store.channels);
    return true;
  } catch (error) {
    showError(window.isSecureContext
      ? `This browser cannot play ${store.rate} Hz. Use a loop at 44100 or 48000 Hz.`
      : "Browsers play this sound only over https, or on the machine itself at http://127.0.0.1. Open the page that way.");
    return false;
  }
}

/** Another take may begin while one plays: the server stops the old one and keeps what it has. */
function leaveRun() {
  clearTimeout(state.run.timer);
  state.run.store.finish();
  state.missed = [];
}

/** `from` null: the store sounds already and only grows. */
function begin(store, from, asked) {
  showError("");
  const run = ++state.lastRun;
  if (from !== null) silence();
  if (!unlockSound(store)) return;
  if (state.run) leaveRun();
  state.run = { run, store, from, asked, started: false, first: store.nNew, costs: [], healing: false, lastMessage: performance.now() };
  state.busy = true;
  state.store = store;
  store.expect(store.beats.length - store.loop.n_beats + (asked.n_beats || 4 * store.loop.beats_per_bar));
  timeline.show(store);
  timeline.follow = true;
  status("Starting …");
  announce("Playing. New beats follow your loop.");
  trigger("play", { token: state.token, run, ...asked });
  refresh();
}

function receive(message) {
  const started = performance.now();
  const current = state.run;
  if (!message || !current || message.run !== current.run) return;
  current.lastMessage = started;
  if (message.kind === "waiting") return showPlace(message);
  if (message.kind === "making") return status(`Making ${message.n_takes} takes …`);
  if (message.kind === "error") return fail(message.message);
  if (message.kind === "start" || message.kind === "beat") start(current, message);
  if (message.kind === "beat") takeBeat(current, message);
  if (message.kind === "end") finish(current, message);
  state.costs.push(performance.now() - started);
  if (state.costs.length > 4096) state.costs.shift();
}

function showPlace(message) {
  const wait = message.wait_s === null ? "" : `, about ${Math.max(1, Math.round(message.wait_s))} s`;
  const sentence = message.place === 1 ? `You are next${wait}.` : `${message.place - 1} before you${wait}.`;
  status(`The machine is playing for somebody else. ${sentence}`);
}

function start(current, message) {
  if (current.started) return;
  current.started = true;
  current.store.take = message.take;
  refresh();
  if (current.from === null) return player.feed();
  const wait = prebuffer(current, message.cost_s);
  if (wait <= 0.05) return player.play(current.store, current.from);
  current.waitUntil = performance.now() + wait * 1000;
  status(`This machine needs longer for a beat than the beat lasts, so playing starts in ${wait.toFixed(1)} s and then does not break.`);
  current.timer = setTimeout(() => state.run === current && player.play(current.store, current.from), wait * 1000);
}

/** Seconds to wait, so that with beats made in `cost` seconds each arrives before it is due. */
function prebuffer(current, cost) {
  if (!cost) return 0;
  const beat = 60 / current.store.loop.bpm;
  const n = current.asked.n_beats || 16;
  const margin = cost > 0.6 * beat ? 0.3 : 0;
  return Math.max(0, cost - current.asked.lead_in_s, n * cost - (n - 1) * beat - current.asked.lead_in_s) + (cost > beat ? margin : 0);
}

async function takeBeat(current, message) {
  const store = current.store;
  if (message.beat > store.nNew) return heal(current, message);
  if (!store.add(message)) return;
  current.costs.push(message.compute_s || 0);
  if (store.planned < store.nNew) store.planned = store.nNew + store.loop.beats_per_bar * 4;
  markChange(store, message);
  player.feed();
  timeline.layout();
}

/** The page can miss a message when two arrive at once; the server still has the beats. */
async function heal(current, message) {
  state.missed.push(message);
  if (current.healing) return;
  current.healing = true;
  while (state.missed.length) {
    const next = state.missed[0];
    while (next.beat > current.store.nNew) {
      const beats = await call("beats", { take: next.take, first: current.store.nNew, last: next.beat });
      if (!beats || !beats.length) break;
      beats.forEach((beat) => current.store.add(beat));
    }
    if (next.pcm) current.store.add(next);
    state.missed.shift();
  }
  current.healing = false;
  player.feed();
  timeline.layout();
}

function markChange(store, message) {
  const knob = `${message.temperature} ${message.variation} ${message.own_sound}`;
  if (store.knob !== undefined && store.knob !== knob) timeline.marks.set(store.beats.length - 1, knob);
  store.knob = knob;
}

async function finish(current, message) {
  if (message.reason === "chosen") return finishChoice(message);
  const taken = message.view.takes.find((take) => take.number === current.store.take);
  if (taken && taken.n_beats > current.store.nNew) await heal(current, { take: taken.number, beat: taken.n_beats });
  current.store.finish();
  state.run = null;
  state.busy = false;
  state.missed = [];
  player.feed();
  announce(message.message || `Take ${current.store.take} is ready: ${plural(current.store.nNew, "new beat")}.`);
  state.note = message.message;
  await adopt(message.view);
  timeline.show(current.store);
}

function fail(sentence) {
  const current = state.run;
  clearTimeout(current.timer);
  current.store.finish();
  state.run = null;
  state.busy = false;
  silence();
  showError(sentence);
  call("view").then(adopt);
}

async function stop() {
  silence();
  if (!state.run) return refresh();
  clearTimeout(state.run.timer);
  status("Stopping …");
  await call("stop");
}

/** A connection can break without a word: a run that has been silent is looked up. */
async function watchRun() {
  const current = state.run;
  if (!current || performance.now() - current.lastMessage < SILENT_MS) return;
  const view = await call("view");
  if (!view || state.run !== current || performance.now() - current.lastMessage < SILENT_MS) return;
  if (find("[data-error]").textContent === NO_ANSWER) showError("");
  if (view.running || !current.store) return;
  const message = { reason: "lost", view, message: "The connection was lost for a moment. Keep going picks up from here." };
  if (view.takes.some((take) => take.number === current.store.take)) finish(current, message);
  else fail("The page is busy just now. Please try again in a minute.");
}

function silence() {
  player.stop();
}

let steerTimer = 0;
function steer() {
  if (!state.run) return;
  clearTimeout(steerTimer);
  steerTimer = setTimeout(() => call("steer", knobs()), 80);
}
