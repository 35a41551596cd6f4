// A run: one stream of new beats from the server, from Continue or Extend to its end.
const SILENT_MS = 3000;

function readRequest() {
  const perBar = state.loop.beats_per_bar;
  const unit = find("[data-unit]").value;
  const count = Number(find("#mf-count").value) * (unit === "bars" ? perBar : 1);
  return { ...knobs(), n_beats: unit === "endless" ? null : count, seed: Number(find("#mf-seed").value), close_loop: find("#mf-close").checked };
}

function knobs() {
  const value = (id) => Number(find(id).value);
  return { temperature: value("#mf-temperature"), variation: value("#mf-variation"), density: value("#mf-density"), kept: [...lanes.kept], top_k: value("#mf-topk"), top_p: value("#mf-topp") };
}

/** Lengths are answered in the unit they were asked in. */
function checkRequest(asked) {
  const most = state.limits.beats, perBar = state.loop.beats_per_bar, bars = find("[data-unit]").value === "bars";
  const unit = bars ? "bar" : "beat", limit = bars ? Math.floor(most / perBar) : most, given = find("#mf-count").value;
  if (asked.close_loop && (asked.n_beats === null || asked.n_beats < 2)) {
    showError(`To end ready to loop, add at least ${bars ? "1 bar" : "2 beats"}.`, find("#mf-count"));
    return false;
  }
  if (asked.n_beats === null) return true;
  if (given === "" || asked.n_beats < 1) showError(`Add at least 1 ${unit}.`, find("#mf-count"));
  else if (asked.n_beats > most) showError(`You can add up to ${plural(limit, unit)} at a time.`, find("#mf-count"));
  else if (!Number.isInteger(asked.n_beats)) showError(`Add a whole number of ${bars ? "beats" : "beats, not " + given}.`, find("#mf-count"));
  else return true;
  return false;
}

function secondsOf(loop, frames) { return frames / loop.sample_rate; }

function continueLoop(mostLead = "all") {
  if (!state.loop || state.loading) return;
  const asked = readRequest();
  if (!checkRequest(asked)) return;
  const store = new Store(state.loop, -1);
  store.shareStems();
  const order = ["none", "beat", "bar", "all"], lead = find("#mf-lead").value;
  const from = leadFrom(store, order[Math.min(order.indexOf(lead), order.indexOf(mostLead))]);
  begin(store, from, { ...asked, lead_in_s: secondsOf(state.loop, store.frames - from) });
}

function keepGoing() {
  const store = state.store;
  if (!store || store.take < 1 || state.run || state.loading) return;
  const asked = { ...readRequest(), close_loop: false };
  if (!checkRequest(asked)) return;
  const sounding = player.playing && player.store === store && player.until === Infinity && !player.repeat;
  const from = store.beats[Math.max(0, store.beats.length - store.loop.beats_per_bar)].start;
  const left = store.frames - (sounding ? player.at : from);
  begin(store, sounding ? null : from, { ...asked, keep: store.take, lead_in_s: secondsOf(store.loop, left) });
}

/** Another idea over the same loop: a seed that no take of it has yet, unless one was typed in. */
function anotherTake() {
  if (!state.loop) return;
  find("#mf-seed").value = freshSeed(state.loop.key, Number(find("#mf-seed").value));
  continueLoop("bar");
}

/** Another line of one stem while the rest stays: of the stream from its next beat on, else of the shown take, as a take of its own. */
function varyLane(stem) {
  const source = state.store, run = state.run;
  if (state.loading || (run && run.choosing) || (!run && !(source && source.take > 0 && source.nNew > 0))) return showError(`Press Continue first, then ask for ${NEW_WORDS[stem]}.`);
  if (knobs().variation === 0) return showError("At variation 0% every stem repeats the loop. Turn it up first.");
  releaseLane(stem);
  if (run) return redrawLane(stem);
  const taken = takeOf(source.take), store = new Store(source.loop, -1);
  store.shareStems();
  const from = leadFrom(store, "bar");
  begin(store, from, { ...knobs(), n_beats: taken.n_beats, seed: freshSeed(source.loop.key, taken.seed), vary: { take: source.take, stem }, lead_in_s: secondsOf(source.loop, store.frames - from) });
}

function redrawLane(stem) {
  clearTimeout(steerTimer);
  call("steer", { ...knobs(), redraw: stem });
  const words = NEW_WORDS[stem];
  showNote(`${words[0].toUpperCase()}${words.slice(1)} coming up. The rest stays.`);
}

/** Sound may only begin inside a click, and not every browser plays every rate. */
function unlockSound(store) {
  try {
    player.unlock(store.rate, store.channels);
    return true;
  } catch (error) {
    showError(window.isSecureContext
      ? `This browser can't play ${store.rate} Hz. Use a loop at 44100 or 48000 Hz.`
      : "Browsers only play sound over https, or on this computer at http://127.0.0.1. Open the page that way.");
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
  if (from !== null) stopSound();
  if (!unlockSound(store)) return;
  if (state.run) leaveRun();
  state.run = { run, store, from, asked, started: false, first: store.nNew, costs: [], fetching: false, lastMessage: performance.now() };
  state.busy = true;
  state.noteUntil = 0;
  state.store = store;
  state.range = null;
  if (from !== null) state.cursor = from;
  store.expect(store.beats.length - store.loop.n_beats + (asked.n_beats || 4 * store.loop.beats_per_bar));
  timeline.show(store);
  timeline.follow = true;
  status("Starting…");
  announce("Playing. The new part follows your loop.");
  trigger("play", { token: state.token, run, stems: true, ...asked });
  refresh();
}

function receive(message) {
  const started = performance.now();
  const current = state.run;
  if (!message || !current || message.run !== current.run) return;
  current.lastMessage = started;
  if (message.kind === "waiting") return showPlace(current, message);
  if (message.kind === "making") return showMaking(message);
  if (message.kind === "error") return fail(message.message);
  if (message.kind === "start" || message.kind === "beat") start(current, message);
  if (message.kind === "beat") takeBeat(current, message);
  if (message.kind === "end") finish(current, message);
  state.costs.push(performance.now() - started);
  if (state.costs.length > 4096) state.costs.shift();
}

/** In the queue: the loop is played round meanwhile, and the new part joins at its end. */
function showPlace(current, message) {
  const wait = message.wait_s === null ? "" : `, about ${Math.max(1, Math.round(message.wait_s))} s`;
  const ahead = message.place === 1 ? "You're next" : `${message.place - 1} ${message.place === 2 ? "person" : "people"} ahead of you`;
  status(`Server busy. ${ahead}${wait}.${current.choosing ? "" : " Your loop plays until then."}`);
  if (current.from === null || current.queued || current.choosing) return;
  current.queued = true;
  current.store.waiting = current.store.nNew === 0;
  player.play(current.store, current.from);
}

function start(current, message) {
  if (current.started) return;
  current.started = true;
  current.store.take = message.take;
  refresh();
  if (current.from === null) return player.feed();
  const wait = prebuffer(current, message.cost_s);
  if (current.queued) {
    current.leaveAt = performance.now() + wait * 1000;
    return;
  }
  if (wait <= 0.05) return player.play(current.store, current.from);
  status(`The server is slower than real time. Buffering ${wait.toFixed(1)} s so it won't stutter.`);
  current.begin = () => {
    current.begin = null;
    if (state.run === current) player.play(current.store, current.from);
  };
  current.timer = setTimeout(current.begin, wait * 1000);
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
  if (message.beat > store.nNew) return fetchMissing(current, message);
  if (!store.add(message)) return;
  current.costs.push(message.compute_s || 0);
  if (store.planned < store.nNew) store.planned = store.nNew + store.loop.beats_per_bar * 4;
  markChange(store, message);
  if (store.waiting && performance.now() >= (current.leaveAt || 0)) player.leaveRound();
  player.feed();
  timeline.layout();
}

/** The page can miss a message when two arrive at once; the server still has the beats. */
async function fetchMissing(current, message) {
  state.missed.push(message);
  if (current.fetching) return;
  current.fetching = true;
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
  current.fetching = false;
  player.feed();
  timeline.layout();
}

/** Where settings changed while it played: a mark above the timeline, or in the lane that has another line from here on. */
function markChange(store, message) {
  const knob = `${message.temperature} ${message.variation} ${message.density} ${message.keep}`, draws = message.draws || [];
  const old = store.settings, at = store.beats.length - 1;
  const redrawn = STEMS.filter((name, k) => old && old.draws[k] !== draws[k]);
  if (old && (old.knob !== knob || redrawn.length)) timeline.marks.set(at, redrawn);
  store.settings = { knob, draws };
}

async function finish(current, message) {
  if (message.reason === "chosen") return finishChoice(message);
  const made = message.view.takes.some((take) => take.number === message.take);
  if (made) start(current, message); // where the end is the first that arrives
  const taken = message.view.takes.find((take) => take.number === current.store.take);
  if (taken && taken.n_beats > current.store.nNew) await fetchMissing(current, { take: taken.number, beat: taken.n_beats });
  if (current.begin) current.begin(); // all of it is there: nothing is left to wait for
  endRun(current);
  if (state.loading || state.store !== current.store) return refresh(); // another loop is on its way, and its view with it
  if (!current.store.nNew) current.store.take = 0; // stopped before the first beat: nothing was kept
  state.note = message.message;
  announce(message.message || `Take ${current.store.take} is ready: ${taken ? added(taken) : newPart(current.store.nNew, current.store.loop.beats_per_bar)}.`);
  await adopt(message.view);
  timeline.show(current.store);
  fetchStems(current.store);
}

function endRun(current) {
  clearTimeout(current.timer);
  const waited = current.store && current.store.waiting;
  if (current.store) current.store.finish();
  state.run = null;
  state.busy = false;
  state.missed = [];
  if (waited && current.store.nNew) player.leaveRound();
  else if (waited) stopSound();
  player.feed();
}

function fail(sentence) {
  const current = state.run;
  endRun(current);
  stopSound();
  if (current.store && current.store.take < 0) current.store.take = 0;
  showError(sentence);
  refresh();
  call("view").then(adopt);
}

async function stop() {
  stopSound();
  const current = state.run;
  if (!current) return refresh();
  clearTimeout(current.timer);
  current.begin = null;
  status("Stopping…");
  await call("stop");
  if (state.offline && state.run === current) loseRun(current);
}

/** A connection can break without a word: a run that has been silent is looked up. */
async function watchRun() {
  const current = state.run;
  if (!current) return;
  if (state.offline && !player.moving && current.started && !current.choosing) return loseRun(current);
  if (state.offline && player.catchingUp) return loseRun(current);
  if (performance.now() - current.lastMessage < SILENT_MS) return;
  const view = await call("view");
  if (!view || state.run !== current || performance.now() - current.lastMessage < SILENT_MS) return;
  if (view.running) return;
  const message = { reason: "lost", view, message: "The connection dropped for a moment. Press Extend to carry on." };
  if (current.choosing) finishLostChoice(current, view);
  else if (view.takes.some((take) => take.number === current.store.take)) finish(current, message);
  else fail("The server is full right now. Try again in a minute.");
}

/** Cut off, and all that had arrived is played: stop here instead of counting silence. */
function loseRun(current) {
  stopSound();
  endRun(current);
  state.note = "The connection dropped. What you heard is kept: press Extend to carry on.";
  refresh();
}

let steerTimer = 0;
function steer() {
  if (!state.run) return;
  clearTimeout(steerTimer);
  steerTimer = setTimeout(() => call("steer", knobs()), 80);
}
