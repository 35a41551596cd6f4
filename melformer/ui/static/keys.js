// The keyboard: space plays and pauses, and a letter each for what is pressed most.
const TYPED_IN = "input:not([type=range]):not([type=checkbox]):not([type=radio]), select, textarea";

/** On a button that was reached by keyboard, space presses it; after a click it is the transport's again. */
function wireKeys() {
  let byPointer = true;
  const isTransport = (event) => {
    const at = event.target;
    if (event.key !== " " || find("dialog[open]") || (at.closest && at.closest(TYPED_IN))) return false;
    return byPointer || !(at.closest && at.closest("button, summary, [type=checkbox], [type=radio]"));
  };
  document.addEventListener("pointerdown", () => { byPointer = true; }, true);
  document.addEventListener("keyup", (event) => { if (isTransport(event)) event.preventDefault(); }); // else Firefox presses
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab") byPointer = false;
    if (event.key === "Escape") escape();
    if (event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
    const at = event.target;
    if (at.closest && at.closest(TYPED_IN)) return;
    if (isTransport(event)) {
      event.preventDefault();
      if (!event.repeat) toggle();
    } else if (!find("#mf-play").hidden && !event.repeat) shortcut(event);
  });
}

function shortcut(event) {
  const key = event.key.toLowerCase(), main = ["continue", "keep", "stop"].map(act).find((button) => !button.hidden);
  const todo = {
    c: () => main.click(), r: () => act("another").click(), l: () => find("[data-loop-play]").click(), n: skipToNew, b: () => act("ab").click(), home: toStart,
    s: () => state.store && state.store.take > 0 && save(state.store.take, "wav"),
  }[key];
  if (todo && !event.shiftKey) todo();
}

/** What is open closes: a notice, a menu, then the braces. */
function escape() {
  if (!find("[data-notice]").hidden) return showError("");
  const menu = find(".mf-menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (state.range && !find("dialog[open]")) setRange(0, Infinity);
}

function toggle() {
  if (!find("#mf-play").hidden) return togglePlay();
  if (player.playing) stopSound();
  else act("decode").click();
}
