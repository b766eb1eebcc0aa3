// The pictures of one side of the line: a preview at once, a plain view soon, that of the network later.

import { server } from "./server.js";

const PLAIN_DELAY = 30; // milliseconds after the last movement
const NETWORK_DELAY = 120;

export class Side {
  // `encoder` makes sure that a network has encoded the picture; `report` hears about the network's views.
  constructor(name, encoder, { redraw, report, fail }) {
    this.name = name;
    this.page = crypto.getRandomValues(new Uint32Array(2)).join("-");
    this.number = 0;
    this.encoder = encoder;
    this.redraw = redraw;
    this.report = report;
    this.fail = fail;
    this.picture = null;
    this.preview = null;
    this.source = { method: "bicubic", network: null };
    this.tiles = { plain: null, network: null };
    this.timers = [];
    this.abort = new AbortController();
  }

  setPicture(picture, preview) {
    this.stop();
    this.picture = picture;
    this.preview = preview;
    this.tiles = { plain: null, network: null };
  }

  // `source`: {method: "nearest" | "bicubic" | "network", network, precision, budget}
  setSource(source) {
    const { method, network, precision } = this.source;
    if (source.method !== method) this.tiles.plain = null;
    const isSame = source.method === method && source.network === network && source.precision === precision;
    if (!isSame) this.tiles.network = null;
    this.source = source;
  }

  stop() {
    this.timers.forEach(clearTimeout);
    this.timers = [];
    this.abort.abort();
    this.abort = new AbortController();
  }

  // Ask for the views of what the camera shows. Earlier requests end.
  show(camera, viewPixels) {
    this.stop();
    if (!this.picture) return;
    const { signal } = this.abort;
    const view = camera.view();
    const factor = Math.min(1, Math.sqrt(viewPixels / (view.place.width * view.place.height)));
    const size = [view.place.width, view.place.height].map((n) => Math.max(1, Math.floor(n * factor)));
    const wanted = { window: view.window.join(","), size: size.join("x") };
    this.timers.push(setTimeout(() => this.#plain(view, wanted, signal), PLAIN_DELAY));
    if (this.source.method !== "network") return;
    if (camera.scale < 1) this.report(this, { state: "reduced" });
    else {
      this.report(this, { state: "busy" });
      this.timers.push(setTimeout(() => this.#network(view, wanted, signal), NETWORK_DELAY));
    }
  }

  async #plain(view, wanted, signal) {
    const method = this.source.method === "nearest" ? "nearest" : "bicubic";
    await this.#guarded(signal, async () => {
      const found = await server.plain(this.picture.key, { ...wanted, method }, signal);
      this.#keep("plain", view, found, signal);
    });
  }

  async #network(view, wanted, signal) {
    const { network, precision, budget } = this.source;
    const values = { ...wanted, network, precision, budget };
    await this.#guarded(signal, async () => {
      const { key } = this.picture;
      await this.encoder.ready(this.picture, network, precision, signal);
      this.number += 1;
      const asked = { ...values, page: this.page, side: this.name, number: this.number };
      let found;
      try {
        found = await server.view(key, asked, signal);
      } catch (error) {
        if (error.status !== 409) throw error;
        this.encoder.lost(this.picture, network, precision); // it made room for others
        await this.encoder.ready(this.picture, network, precision, signal);
        found = await server.view(key, asked, signal);
      }
      if (!this.#keep("network", view, found, signal)) return;
      this.report(this, { state: "ready", milliseconds: found.facts.milliseconds });
      const cost = await server.cost(key, values, signal);
      if (!signal.aborted) this.report(this, { state: "ready", ...found.facts, ...cost });
    });
  }

  async #guarded(signal, work) {
    try {
      await work();
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      this.report(this, { state: "failed" });
      this.fail(error);
    }
  }

  #keep(kind, view, found, signal) {
    if (signal.aborted || !found) return false;
    this.tiles[kind]?.image.close();
    this.tiles[kind] = { image: found.image, window: view.window };
    this.redraw();
    return true;
  }

  draw(context, camera, background) {
    if (!this.preview) return;
    const whole = [0, 0, this.picture.height, this.picture.width];
    const layers = [{ image: this.preview, window: whole }, this.tiles.plain, this.tiles.network];
    for (const layer of layers) {
      if (!layer) continue;
      const { x, y, width, height } = camera.placeOf(layer.window);
      const isExact = Math.abs(width - layer.image.width) < 1 && Math.abs(height - layer.image.height) < 1;
      context.imageSmoothingEnabled = !isExact && this.source.method !== "nearest";
      context.imageSmoothingQuality = "high";
      const place = isExact
        ? [Math.round(x), Math.round(y), layer.image.width, layer.image.height]
        : [x, y, width, height];
      if (this.picture.alpha) background(...place);
      context.drawImage(layer.image, ...place);
    }
  }
}

// Keeps track of which networks have encoded the picture, and tells about the progress.
export class Encoder {
  constructor(onProgress) {
    this.onProgress = onProgress;
    this.promises = new Map();
    this.experts = new Map();
  }

  #name(picture, network, precision) {
    return [picture.key, network, precision].join("\n");
  }

  lost(picture, network, precision) {
    this.promises.delete(this.#name(picture, network, precision));
  }

  forget() {
    this.promises.clear();
  }

  expertsOf(network) {
    return this.experts.get(network) || [];
  }

  async ready(picture, network, precision, signal) {
    const name = this.#name(picture, network, precision);
    if (!this.promises.has(name)) {
      const made = this.#make(picture, network, precision);
      this.promises.set(name, made);
      made.catch(() => this.promises.delete(name));
    }
    await this.promises.get(name);
    if (signal.aborted) throw new DOMException("a newer view is wanted", "AbortError");
  }

  async #make(picture, network, precision) {
    let progress = await server.encode(picture.key, network, precision);
    while (progress.state === "waiting" || progress.state === "running") {
      this.onProgress(picture, network, progress);
      await new Promise((resolve) => setTimeout(resolve, 200));
      progress = await server.encoding(picture.key, network, precision);
    }
    this.onProgress(picture, network, progress);
    if (progress.state === "failed") throw new Error(progress.error);
    this.experts.set(network, progress.experts);
  }
}
