// The knobs: what their values mean in words, presets over them, and that a reload leaves them as they were.
const KEPT_FIELDS = ["mf-count", "mf-variation", "mf-temperature", "mf-density", "mf-seed", "mf-lead", "mf-topk", "mf-topp", "mf-takes", "mf-close", "mf-volume"];
const FEELS = { tight: {}, fresh: {}, wild: {} }; // around the server's defaults

function wireFields() {
  const words = { "mf-temperature": (v) => `${trim(v)}, ${temperatureWord(v)}`, "mf-variation": (v) => `${Math.round(v * 100)}%, ${variationWord(v)}` };
  for (const output of findAll("output[data-for]")) {
    const input = find(`#${output.dataset.for}`);
    const show = () => setText(output, (words[input.id] || trim)(Number(input.value)));
    input.addEventListener("input", show);
    show();
  }
  for (const id of ["#mf-temperature", "#mf-variation"]) find(id).addEventListener("input", () => { showFeel(); steer(); });
  for (const id of ["#mf-density", "#mf-topk", "#mf-topp"]) find(id).addEventListener("input", steer);
  findAll("[name=mf-feel]").forEach((one) => one.addEventListener("change", () => setFeel(one.value)));
  find("#mf-volume").addEventListener("input", (event) => player.setVolume(Number(event.target.value)));
  find("[data-loop-play]").addEventListener("change", (event) => setRepeat(event.target.checked));
  find("[data-unit]").addEventListener("change", showUnit);
}

function setFeel(name) {
  find("#mf-variation").value = FEELS[name].variation;
  find("#mf-temperature").value = FEELS[name].temperature;
  showKnobs();
  steer();
}

/** The preset whose values stand in the knobs, if any. */
function showFeel() {
  const { variation, temperature } = knobs();
  for (const one of findAll("[name=mf-feel]")) one.checked = FEELS[one.value].variation === variation && FEELS[one.value].temperature === temperature;
}

function showUnit() {
  const unit = find("[data-unit]").value, field = find("#mf-count");
  field.disabled = unit === "endless";
  const perBar = state.loop ? state.loop.beats_per_bar : 4;
  field.max = unit === "bars" ? Math.floor(state.limits.beats / perBar) : state.limits.beats;
}

function showKnobs() {
  findAll("output[data-for]").forEach((output) => find(`#${output.dataset.for}`).dispatchEvent(new Event("input")));
  showFeel();
  showUnit();
}

/** The settings' defaults are written once, on the server. */
function setKnobs(values) {
  for (const [id, name] of [["#mf-temperature", "temperature"], ["#mf-variation", "variation"], ["#mf-density", "density"], ["#mf-topk", "top_k"], ["#mf-topp", "top_p"]]) {
    find(id).value = values[name];
  }
  const { variation, temperature } = values, near = (x) => Math.round(20 * x) / 20; // the slider's steps
  Object.assign(FEELS, { tight: { variation: 0.25, temperature: near(0.75 * temperature) }, fresh: { variation, temperature }, wild: { variation: 0.9, temperature: near(1.5 * temperature) } });
  showKnobs();
}

/** Everything that keeps its value over a reload, by a name of its own. */
function keptFields() {
  const fields = KEPT_FIELDS.map((id) => [id, find(`#${id}`)]);
  return [...fields, ["unit", find("[data-unit]")], ["repeat", find("[data-loop-play]")]];
}

const isSwitch = (input) => input.type === "checkbox" || input.type === "radio";

function keepFields() {
  element.addEventListener("change", () => {
    const values = keptFields().map(([name, input]) => [name, isSwitch(input) ? input.checked : input.value]);
    remember("sessionStorage", "melformer-fields", JSON.stringify(Object.fromEntries(values)));
  });
}

function recallFields() {
  const values = JSON.parse(recall("sessionStorage", "melformer-fields") || "{}");
  for (const [name, input] of keptFields()) {
    if (values[name] === undefined) continue;
    if (isSwitch(input)) input.checked = values[name];
    else input.value = values[name];
    input.dispatchEvent(new Event("input"));
    input.dispatchEvent(new Event("change")); // does not bubble: nothing is kept anew
  }
  showFeel();
}
