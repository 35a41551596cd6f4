// One canvas over all beats: bar numbers, outline, tokens. Only what is in view is drawn, so a long stream costs no more.
const TOUCH_HINT = "Above: the sound. Below: its tokens, the model's notes on each moment. Touch a beat to hear it, twice to play from there.";
const MIN_BEAT = 26, MAX_BEAT = 110, OFF_BY_A_HAIR = 2;

class Timeline {
  constructor(root, onTouch) {
    this.scroll = root.querySelector("[data-scroll]");
    this.canvas = root.querySelector("[data-canvas]");
    this.spacer = root.querySelector("[data-spacer]");
    this.head = root.querySelector("[data-playhead]");
    this.readout = root.querySelector("[data-readout]");
    this.readout.textContent = TOUCH_HINT;
    this.onTouch = onTouch;
    this.chosen = -1;
    this.follow = true;
    this.tiles = new Map();
    this.marks = new Map();
    this.left = 0;
    this.scroll.addEventListener("scroll", () => { this.left = this.scroll.scrollLeft; this.redraw(); });
    this.scroll.addEventListener("pointerdown", () => { this.follow = false; });
    this.scroll.addEventListener("wheel", () => { this.follow = false; }, { passive: true });
    this.scroll.addEventListener("pointermove", (event) => this.point(event));
    this.scroll.addEventListener("pointerleave", () => this.choose(-1));
    this.scroll.addEventListener("click", (event) => this.touch(event));
    this.scroll.addEventListener("dblclick", (event) => this.touchTwice(event));
    this.scroll.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.layout()).observe(this.scroll);
  }

  show(store) {
    if (store !== this.store) {
      this.tiles.clear();
      this.marks.clear();
      this.chosen = -1;
      this.scroll.scrollLeft = 0;
    }
    this.store = store;
    // A quiet loop is drawn larger, never played louder; new beats keep the loop's scale.
    this.zoom = Math.min(4, 0.95 / Math.max(0.05, ...store.loop.beats.map((beat) => beat.outline.reduce((top, x) => Math.max(top, Math.abs(x)), 0))));
    this.layout();
  }

  recolour() {
    const style = getComputedStyle(this.scroll);
    const read = (name) => style.getPropertyValue(name).trim();
    this.colours = { ink: read("--mf-ink"), soft: read("--mf-soft"), accent: read("--mf-accent"), line: read("--mf-line"), mark: read("--mf-mark"), font: style.fontFamily };
    this.tiles.clear();
    this.redraw();
  }

  /** Beats share the width while they fit; then they keep their size and the view scrolls. */
  layout() {
    if (!this.store) return;
    const total = Math.max(this.store.beats.length, this.store.loop.n_beats + (this.store.planned || 0));
    const width = this.width = this.scroll.clientWidth;
    const scale = this.scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    this.beatWidth = Math.max(MIN_BEAT * scale, Math.min(MAX_BEAT * scale, width / total));
    this.total = total;
    this.barRow = 22 * scale;
    this.waveRow = Math.max(110, Math.min(0.16 * window.innerHeight, 320));
    this.tokenTop = this.barRow + this.waveRow + 10 * scale;
    this.tokenRow = Math.max(72, Math.min(0.15 * window.innerHeight, this.store.loop.codes.codebooks * 10 * scale));
    this.height = this.tokenTop + this.tokenRow;
    const ratio = window.devicePixelRatio || 1;
    const size = [Math.round(width * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== size[0] || this.canvas.height !== size[1]) [this.canvas.width, this.canvas.height] = size;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.spacer.style.width = `${Math.ceil(total * this.beatWidth)}px`;
    this.scroll.style.height = `${this.height}px`;
    this.head.style.height = `${this.height}px`;
    this.redraw();
    if (this.onLayout) this.onLayout();
  }

  redraw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      if (this.store) this.draw();
    });
  }

  draw() {
    if (!this.colours) this.recolour();
    const g = this.canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    const left = this.scroll.scrollLeft, width = this.scroll.clientWidth;
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, this.height);
    g.translate(-left, 0);
    const first = Math.max(0, Math.floor(left / this.beatWidth));
    const last = Math.min(this.total, Math.ceil((left + width) / this.beatWidth) + 1);
    for (let k = first; k < last; k++) this.drawBeat(g, k);
    for (let k = first; k <= last; k++) this.drawLine(g, k);
  }

  drawBeat(g, k) {
    const beat = this.store.beats[k], x = k * this.beatWidth;
    if (k === this.chosen) {
      g.fillStyle = this.colours.soft;
      g.fillRect(x, this.barRow, this.beatWidth, this.height - this.barRow);
    }
    if (!beat) {
      g.fillStyle = this.colours.line;
      g.fillRect(x + 2, this.barRow + this.waveRow / 2 - 0.5, this.beatWidth - 4, 1);
      return;
    }
    g.fillStyle = beat.isNew ? this.colours.accent : this.colours.ink;
    g.globalAlpha = this.kept && !beat.isNew && (k < this.kept[0] || k >= this.kept[1]) ? 0.3 : 1; // to be cropped
    this.drawOutline(g, beat.outline, x);
    g.imageSmoothingEnabled = false;
    if (beat.codes.columns) g.drawImage(this.tile(k), x + 0.5, this.tokenTop, this.beatWidth - 1, this.tokenRow);
    g.globalAlpha = 1;
  }

  drawOutline(g, outline, x) {
    const bins = outline.length / 2, step = this.beatWidth / bins, middle = this.barRow + this.waveRow / 2, height = (this.waveRow / 2 - 2) * this.zoom;
    g.beginPath();
    g.moveTo(x, middle - outline[1] * height - 0.5);
    for (let b = 0; b < bins; b++) g.lineTo(x + (b + 1) * step, middle - outline[2 * b + 1] * height - 0.5);
    for (let b = bins - 1; b >= 0; b--) g.lineTo(x + (b + 1) * step, middle - outline[2 * b] * height + 0.5);
    g.lineTo(x, middle - outline[0] * height + 0.5);
    g.fill();
  }

  drawLine(g, k) {
    const bar = this.store.loop.beats_per_bar, x = Math.round(k * this.beatWidth) + 0.5;
    const isBar = k % bar === 0;
    g.strokeStyle = this.colours.line;
    g.globalAlpha = isBar ? 1 : 0.45;
    g.beginPath();
    g.moveTo(x, isBar ? 4 : this.barRow);
    g.lineTo(x, this.height);
    g.stroke();
    g.globalAlpha = 1;
    if (isBar && k < this.total && this.beatWidth * bar > 24) {
      g.fillStyle = this.colours.mark;
      g.font = `${12 * this.scale}px ${this.colours.font}`;
      g.fillText(String(k / bar + 1), x + 5, 15 * this.scale);
    }
    if (this.marks.has(k)) {
      g.fillStyle = this.colours.accent;
      g.fillRect(x - 2, this.barRow - 5, 5, 5);
    }
  }

  /** A beat's codes, one pixel a token; drawn once, then only copied. */
  tile(k) {
    let tile = this.tiles.get(k);
    if (tile) return tile;
    const { codes, isNew } = this.store.beats[k];
    tile = document.createElement("canvas");
    tile.width = codes.columns;
    tile.height = codes.codebooks;
    const g = tile.getContext("2d");
    g.fillStyle = isNew ? this.colours.accent : this.colours.ink;
    for (let c = 0; c < codes.columns; c++) {
      for (let q = 0; q < codes.codebooks; q++) {
        // Neighbouring entries of a codebook have nothing in common, so their shades are spread.
        g.globalAlpha = 0.08 + 0.82 * ((codes.data[c * codes.codebooks + q] * 0.618034) % 1);
        g.fillRect(c, q, 1, 1);
      }
    }
    this.tiles.set(k, tile);
    return tile;
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
    this.roll(x, Math.max(x, this.xOf(limit)));
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

  point(event) {
    if (event.pointerType === "mouse" && this.store) this.choose(this.beatUnder(event));
  }

  touch(event) {
    if (!this.store || event.target.closest("[data-handle]")) return;
    const k = this.beatUnder(event);
    this.choose(k);
    if (this.store.beats[k]) this.onTouch(k);
  }

  touchTwice(event) {
    const k = this.beatUnder(event);
    if (this.store && this.store.beats[k] && !event.target.closest("[data-handle]")) this.onTouchTwice(k);
  }

  key(event) {
    if (!this.store || event.target !== this.scroll) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      event.preventDefault();
      this.choose(Math.max(0, Math.min(this.store.beats.length - 1, this.chosen + step)));
      const x = this.chosen * this.beatWidth;
      if (x < this.scroll.scrollLeft || x > this.scroll.scrollLeft + this.scroll.clientWidth - this.beatWidth) this.scroll.scrollLeft = x - 40;
    } else if (event.key === "Enter" && this.store.beats[this.chosen]) this.onTouch(this.chosen);
  }

  choose(k) {
    if (k === this.chosen) return;
    this.chosen = k;
    this.redraw();
    const beat = this.store && this.store.beats[k];
    if (!beat) { this.readout.textContent = TOUCH_HINT; return; }
    const bar = this.store.loop.beats_per_bar;
    const codes = Array.from(beat.codes.data.subarray(0, beat.codes.codebooks)).join(" ");
    this.readout.textContent = `Beat ${k + 1} · bar ${Math.floor(k / bar) + 1}.${(k % bar) + 1} · ${beat.isNew ? "new" : "your loop"} · first tokens ${codes}`;
  }
}
