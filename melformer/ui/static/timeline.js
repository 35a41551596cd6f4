// One canvas over all beats: bars, the waveform, one row a stem, and the tokens. Only what is in view is drawn,
// so a long stream costs no more. Where things are is decided here; how they look stands in drawing.js.
const MIN_BEAT = 26, MAX_BEAT = 110, OFF_BY_A_HAIR = 2, DRAG_PX = 6, KEPT_COLUMNS = 200;

class Timeline {
  constructor(root) {
    this.scroll = root.querySelector("[data-scroll]");
    this.canvas = root.querySelector("[data-canvas]");
    this.spacer = root.querySelector("[data-spacer]");
    this.head = root.querySelector("[data-playhead]");
    this.chosen = -1;
    this.follow = true;
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.lanes = [];
    this.tiles = new Map();
    this.columns = new Map();
    this.marks = new Map();
    this.left = 0;
    this.on = {}; // seek(beat), play(beat), bar(beat), range(first, last), layout(), choose(beat)
    this.wire();
    new ResizeObserver(() => this.layout()).observe(this.scroll);
  }

  wire() {
    this.scroll.addEventListener("scroll", () => { this.left = this.scroll.scrollLeft; this.redraw(); });
    this.scroll.addEventListener("wheel", () => { this.follow = false; }, { passive: true });
    this.scroll.addEventListener("pointerdown", (event) => this.press(event));
    this.scroll.addEventListener("pointermove", (event) => this.move(event));
    this.scroll.addEventListener("pointerup", () => { this.drag = null; });
    this.scroll.addEventListener("pointercancel", () => { this.drag = null; });
    this.scroll.addEventListener("pointerleave", () => this.choose(-1));
    this.scroll.addEventListener("click", (event) => this.touch(event));
    this.scroll.addEventListener("dblclick", (event) => this.touchTwice(event));
    this.scroll.addEventListener("keydown", (event) => this.key(event));
  }

  show(store) {
    if (store !== this.store) {
      this.tiles.clear();
      this.columns.clear();
      this.marks.clear();
      this.chosen = -1;
      this.scroll.scrollLeft = 0;
    }
    this.store = store;
    // A quiet loop is drawn larger, never played louder; new beats keep the loop's scale.
    this.zoom = Math.min(4, 0.95 / Math.max(0.05, ...store.loop.beats.map((beat) => beat.outline.reduce((top, x) => Math.max(top, Math.abs(x)), 0))));
    this.layout();
  }

  /** A quiet stem is drawn larger too, by one factor for the whole loop, once its stems are there. */
  laneZoom(name) {
    if (!this.store.loop.present.length) return 1;
    if (this.zoomed !== this.store.loop) [this.zoomed, this.laneZooms] = [this.store.loop, {}];
    if (!this.laneZooms[name]) {
      const peaks = this.store.loop.beats.map((beat) => (beat.stems && beat.stems.outlines[name] ? beat.stems.outlines[name].reduce((top, x) => Math.max(top, Math.abs(x)), 0) : 0));
      this.laneZooms[name] = clamp(0.95 / Math.max(0.02, ...peaks) / this.zoom, 0.5, 6);
    }
    return this.laneZooms[name];
  }

  recolour() {
    this.colours = readColours(this.scroll);
    this.tiles.clear();
    this.columns.clear();
    this.redraw();
  }

  /** Beats share the width while they fit; then they keep their size and the view scrolls. */
  layout() {
    if (!this.store || !this.scroll.clientWidth) return;
    const total = Math.max(this.store.beats.length, this.store.loop.n_beats + (this.store.planned || 0));
    const width = this.width = this.scroll.clientWidth;
    const scale = this.scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    this.beatWidth = Math.max(MIN_BEAT * scale, Math.min(MAX_BEAT * scale, width / total));
    this.total = total;
    this.rows = rowsOf(scale, this.lanes, this.store.loop.codes.codebooks);
    this.height = this.rows.height;
    const ratio = window.devicePixelRatio || 1;
    const size = [Math.round(width * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== size[0] || this.canvas.height !== size[1]) [this.canvas.width, this.canvas.height] = size;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.spacer.style.width = `${Math.ceil(total * this.beatWidth)}px`;
    this.scroll.style.height = `${this.height}px`;
    this.head.style.height = `${this.height}px`;
    this.redraw();
    if (this.on.layout) this.on.layout();
  }

  redraw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      if (!this.store || !this.rows) return;
      if (!this.colours) this.recolour();
      drawTimeline(this);
    });
  }

  /** A beat's codes, one pixel a token; drawn once, then only copied. */
  tile(k) {
    let tile = this.tiles.get(k);
    if (!tile) this.tiles.set(k, tile = tokenTile(this.store.beats[k], this.colours));
    return tile;
  }

  /** A beat of the loop or of a take, drawn once, `width` pixels wide: a redraw only copies it. */
  column(k, width) {
    const beat = this.store.beats[k], ratio = window.devicePixelRatio || 1;
    const muted = this.gains ? STEMS.filter((name) => this.gains[name] === 0).join() : "";
    const key = [width, this.height, ratio, muted, this.tinted, this.rows.lanes.length, this.zoom, this.store.loop.present.length].join(" ");
    const kept = this.columns.get(k);
    if (kept && kept.key === key && kept.outline === beat.outline && kept.stems === beat.stems) return kept.canvas;
    if (this.columns.size > KEPT_COLUMNS) this.columns.clear();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [Math.ceil(width * ratio), Math.ceil(this.height * ratio)];
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, -k * this.beatWidth * ratio, 0);
    drawColumn(g, this, k);
    this.columns.set(k, { key, canvas, outline: beat.outline, stems: beat.stems });
    return canvas;
  }

  xOf(frame) {
    const k = this.store.beatAt(frame), beat = this.store.beats[k];
    return (k + Math.min(1, (frame - beat.start) / beat.frames)) * this.beatWidth;
  }

  /** The playhead stands at `frame`, or moves on from there up to `limit` when that is given. */
  place(frame, limit = null) {
    if (this.head.hidden !== !this.store) this.head.hidden = !this.store;
    if (!this.store) return;
    const x = this.xOf(frame);
    if (limit === null) return this.hold(x);
    if (this.calm.matches) this.hold(this.store.beatAt(frame) * this.beatWidth); // from beat to beat
    else this.roll(x, Math.max(x, this.xOf(limit)));
    if (!this.follow) return;
    if (x < this.left || x > this.left + this.width * 0.8) this.scroll.scrollLeft = this.left = Math.max(0, x - this.width * 0.3);
  }

  hold(x) {
    if (this.motion) this.motion.cancel();
    this.motion = null;
    this.head.style.transform = `translateX(${x}px)`;
  }

  /** The browser moves the playhead by itself, without a script at every frame; it is put right where it is off by more than a hair. */
  roll(x, end) {
    const speed = (this.beatWidth * this.store.rate) / (1000 * this.store.beats[0].frames); // pixels a millisecond
    const motion = this.motion, now = performance.now();
    if (motion && motion.end === end && motion.speed === speed) {
      const there = Math.min(end, motion.x + speed * (now - motion.since));
      if (Math.abs(there - x) < OFF_BY_A_HAIR) return;
    }
    this.hold(x);
    const frames = [{ transform: `translateX(${x}px)` }, { transform: `translateX(${end}px)` }];
    this.motion = Object.assign(this.head.animate(frames, { duration: (end - x) / speed, fill: "forwards" }), { x, end, speed, since: now });
  }

  beatUnder(event) {
    const box = this.scroll.getBoundingClientRect();
    return Math.floor((event.clientX - box.left + this.scroll.scrollLeft) / this.beatWidth);
  }

  inRuler(event) { return event.clientY - this.scroll.getBoundingClientRect().top < this.rows.ruler; }

  /** A drag along the bar numbers marks a range, a click on one its bar. */
  press(event) {
    this.follow = false;
    this.dragged = false;
    if (!this.store || event.target.closest("[data-handle]") || event.button || !this.inRuler(event)) return;
    this.drag = { x: event.clientX, beat: this.beatUnder(event) };
    if (event.pointerType === "mouse") this.scroll.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.store) return;
    if (this.drag && (this.dragged || Math.abs(event.clientX - this.drag.x) > DRAG_PX)) {
      this.dragged = true;
      const k = clamp(this.beatUnder(event), 0, this.store.beats.length - 1);
      this.on.range(Math.min(k, this.drag.beat), Math.max(k, this.drag.beat) + 1);
    } else if (event.pointerType === "mouse") this.choose(this.beatUnder(event), this.laneUnder(event));
  }

  laneUnder(event) {
    const y = event.clientY - this.scroll.getBoundingClientRect().top;
    const row = this.rows.lanes.find((one) => y >= one.top && y < one.top + one.height);
    return row ? row.name : null;
  }

  touch(event) {
    if (!this.store || this.dragged || event.target.closest("[data-handle]")) return;
    const k = this.beatUnder(event);
    this.choose(k);
    if (this.store.beats[k]) (this.inRuler(event) ? this.on.bar : this.on.seek)(k);
  }

  touchTwice(event) {
    const k = this.beatUnder(event);
    if (this.store && this.store.beats[k] && !this.inRuler(event) && !event.target.closest("[data-handle]")) this.on.play(k);
  }

  key(event) {
    if (!this.store || event.target !== this.scroll) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      event.preventDefault();
      this.choose(clamp(this.chosen + step, 0, this.store.beats.length - 1));
      const x = this.chosen * this.beatWidth;
      if (x < this.scroll.scrollLeft || x > this.scroll.scrollLeft + this.scroll.clientWidth - this.beatWidth) this.scroll.scrollLeft = x - 40;
      if (this.on.spoken) this.on.spoken();
    } else if (event.key === "Enter" && this.store.beats[this.chosen]) this.on.seek(this.chosen);
  }

  choose(k, lane = null) {
    if (k === this.chosen && lane === this.lane) return;
    this.chosen = k;
    this.lane = lane;
    this.redraw();
    if (this.on.choose) this.on.choose(this.store && this.store.beats[k] ? k : -1);
  }
}
