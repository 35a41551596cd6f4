// Feeds the worklet from a store, a few seconds ahead, and knows what is heard.
const FEED_AHEAD_S = 4;
const CATCH_UP_BEATS = 4;
const FADE_S = 0.012;

class Player {
  constructor(report) {
    this.report = report;
    this.run = 0;
    this.playing = false;
    this.repeat = false;
    this.range = () => null; // of what is repeated: frames [from, to), or null for all there is
    this.gains = [1, 1, 1];
    this.volume = 1;
    this.joinLeft = 0;
    this.at = 0;
    this.starved = 0;
    this.heardAt = 0;
    this.heard = false;
  }

  /** Call inside a click: an audio context at the stream's own rate, since resampling would spike at the joins. */
  unlock(rate, channels) {
    if (this.context && this.context.sampleRate === rate && this.channels === channels) {
      this.context.resume();
      return this.ready;
    }
    if (!window.isSecureContext) throw new Error("no audio worklet here");
    if (this.context) this.context.close();
    this.channels = channels;
    if (navigator.audioSession) navigator.audioSession.type = "playback"; // else a phone's mute switch silences it
    this.context = new AudioContext({ sampleRate: rate, latencyHint: "playback" });
    this.context.onstatechange = () => this.report("state");
    this.context.resume();
    this.gain = this.context.createGain();
    this.gain.gain.value = this.volume;
    this.ready = this.prepare(this.context, this.gain, channels);
    return this.ready;
  }

  async prepare(context, gain, channels) {
    const url = URL.createObjectURL(new Blob([WORKLET_SOURCE], { type: "text/javascript" }));
    await context.audioWorklet.addModule(url);
    URL.revokeObjectURL(url);
    this.node = new AudioWorkletNode(context, "melformer-fifo", { numberOfInputs: 0, outputChannelCount: [channels] });
    this.node.port.onmessage = (event) => this.receive(event.data);
    this.node.port.postMessage({ gains: this.gains });
    this.node.connect(gain);
    gain.connect(context.destination);
  }

  /** Play `store` from `frame` until `stop` (default: as long as there is something). */
  async play(store, frame = 0, stop = Infinity) {
    const run = ++this.run;
    await this.unlock(store.rate, store.channels);
    if (run !== this.run) return;
    this.store = store;
    this.cursor = frame;
    this.first = frame;
    this.until = stop;
    this.playing = true;
    this.starved = 0;
    this.catchingUp = false;
    this.cutting = false;
    this.at = frame;
    this.pushed = 0;
    this.played = 0;
    this.heardAt = this.context.currentTime;
    this.heard = false;
    this.gain.gain.cancelScheduledValues(0);
    this.gain.gain.value = this.volume;
    this.node.port.postMessage({ clear: run });
    this.feed();
    this.report("started");
  }

  /** What is played round from the cursor on: frames [from, to); null when playing goes straight on. */
  round() {
    if (this.until !== Infinity) return null;
    if (this.store.waiting) return [0, this.store.newStart];
    if (!this.repeat) return null;
    const range = this.range(this.store);
    if (range) return this.cursor <= range[1] && range[1] <= this.store.playable ? range : null;
    return this.store.complete ? [0, this.store.frames] : null;
  }

  feed() {
    if (!this.playing || !this.store || this.cutting) return;
    if (this.catchingUp && !this.caughtUp()) return;
    this.catchingUp = false;
    const ahead = FEED_AHEAD_S * this.store.rate;
    while (this.pushed - this.played < ahead) {
      const round = this.round();
      const chunk = this.store.chunk(this.cursor, round ? round[1] : this.until);
      if (!chunk && round) {
        this.cursor = this.first = round[0];
        continue;
      }
      if (!chunk) {
        if (this.atEnd()) this.node.port.postMessage({ last: true });
        return;
      }
      const frames = chunk.pcm.length / chunk.channels;
      this.cursor += frames;
      this.pushed += frames;
      const stems = (chunk.stems || []).filter(Boolean);
      this.node.port.postMessage(chunk, [chunk.pcm, ...stems].map((one) => one.buffer));
    }
  }

  /** What is played round has changed, or stems have come: queue anew whatever follows the chunk that sounds. */
  requeue() {
    if (!this.playing || this.cutting || !this.node) return;
    this.cutting = true;
    this.node.port.postMessage({ cut: true });
  }

  /** The first new beat is there and the loop is played round: go on into it at the loop's end, over its join. */
  leaveRound() {
    this.store.waiting = false;
    this.joinLeft = Math.ceil(HOLD_S * this.store.rate);
    this.requeue();
  }

  /** After a gap, several beats are waited for: one long pause is better than many short ones. */
  caughtUp() {
    return this.store.complete || this.store.playable - this.cursor >= CATCH_UP_BEATS * this.store.beats[0].frames;
  }

  atEnd() { return this.cursor >= this.until || (this.store.complete && this.cursor >= this.store.frames); }

  receive(message) {
    if (message.run !== this.run || !this.playing) return;
    if (message.cut) {
      this.cutting = false;
      this.pushed = message.pushed;
      if (message.next !== undefined) this.cursor = message.next;
      const late = this.joinLeft && this.cursor > this.store.newStart - this.joinLeft; // past the place of the join
      if (late) this.cursor = this.first = 0;
      this.joinLeft = 0;
      return this.feed();
    }
    if (message.at !== undefined) this.at = message.at;
    this.heardAt = message.time;
    this.heard = message.played > 0;
    this.played = message.played;
    if (message.starved > this.starved) this.catchingUp = true;
    this.starved = message.starved;
    if (this.played === this.pushed && !this.cutting && this.atEnd() && !this.round()) {
      this.playing = false;
      this.report("ended");
      return;
    }
    this.feed();
    this.report("position");
  }

  /** Where the listener is, in frames: the last report, moved on by the clock, less what the device still holds. */
  position() {
    if (!this.playing) return this.at;
    const since = (this.context.currentTime - this.heardAt) * this.store.rate;
    const latency = (this.context.outputLatency || this.context.baseLatency || 0) * this.store.rate;
    return Math.max(this.first, Math.min(this.at + Math.max(0, since) - latency, this.limit()));
  }

  /** How far it can play with what is there now, in frames. */
  limit() { return Math.min(this.until, this.store.frames); }

  /** Whether sound leaves now: a context may wait for its device, or be taken away by a call. */
  get moving() { return this.playing && this.heard && this.context.state === "running"; }

  aheadSeconds() { return this.store && this.playing ? (this.store.playable - this.at) / this.store.rate : 0; }

  setVolume(volume) {
    this.volume = volume;
    if (!this.gain) return;
    const now = this.context.currentTime;
    this.gain.gain.cancelScheduledValues(now);
    this.gain.gain.setValueAtTime(this.gain.gain.value, now);
    this.gain.gain.linearRampToValueAtTime(volume, now + 0.02); // ends exactly at `volume`: full volume stays bit-exact
  }

  /** Of drums, bass and other, each 0 … 1; heard at once. */
  setGains(gains) {
    this.gains = gains;
    if (this.node) this.node.port.postMessage({ gains });
  }

  /** Fall silent within a few milliseconds, without a click. */
  stop() {
    if (!this.playing) return;
    this.playing = false;
    const run = ++this.run;
    const now = this.context.currentTime;
    this.gain.gain.setValueAtTime(this.volume, now);
    this.gain.gain.linearRampToValueAtTime(0, now + FADE_S);
    setTimeout(() => {
      if (run === this.run) this.node.port.postMessage({ clear: run });
    }, 3 * FADE_S * 1000);
    this.report("stopped");
  }
}
