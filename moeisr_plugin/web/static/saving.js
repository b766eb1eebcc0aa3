// The group of settings that saves the whole picture as a file.

import { server } from "./server.js";

const LEAST = 1;

export class Saving {
  // `wanted` returns {network, precision, budget}; `encoder` makes sure that the picture is encoded.
  constructor(elements, encoder, wanted, limits) {
    this.elements = elements;
    this.encoder = encoder;
    this.wanted = wanted;
    this.limits = limits;
    this.picture = null;
    this.isLocked = true;
    this.file = null;
    this.#listen();
  }

  setPicture(picture) {
    this.picture = picture;
    this.cancel();
    this.#fail("");
    this.setScale(4);
    const jpeg = this.#format("jpg");
    jpeg.disabled = picture.alpha;
    if (picture.alpha && jpeg.checked) this.#format("png").checked = true;
    this.#update();
  }

  setScale(scale) {
    const { width, height } = this.elements;
    width.value = Math.round(this.picture.width * scale);
    height.value = Math.round(this.picture.height * scale);
    this.#update();
  }

  cancel() {
    if (this.file) server.removeFile(this.file).catch(() => {});
    this.file = null;
    this.elements.progress.hidden = true;
    this.elements.save.disabled = false;
  }

  #format(name) {
    return this.elements.formats.find((each) => each.value === name);
  }

  get #suffix() {
    return this.elements.formats.find((each) => each.checked).value;
  }

  get #size() {
    return [this.elements.width, this.elements.height].map((each) => Number(each.value));
  }

  #fail(line) {
    this.elements.error.textContent = line;
  }

  #update() {
    const { scales, quality, qualityRow, qualityValue, note, save } = this.elements;
    qualityRow.hidden = this.#suffix !== "jpg";
    qualityValue.textContent = quality.value;
    if (!this.picture) return;
    const [width, height] = this.#size;
    for (const button of scales) {
      const scale = Number(button.dataset.scale);
      const isIt = width === Math.round(this.picture.width * scale) && height === Math.round(this.picture.height * scale);
      button.setAttribute("aria-pressed", isIt);
    }
    const fault = this.#fault(width, height);
    save.disabled = Boolean(fault) || this.file !== null;
    note.textContent = fault || this.#describe(width, height);
    note.classList.toggle("error", Boolean(fault));
  }

  #fault(width, height) {
    if (![width, height].every((n) => Number.isInteger(n) && n >= LEAST)) return "Give whole numbers of pixels.";
    const { picture } = this;
    if (width < picture.width || height < picture.height) return `The picture has ${picture.width} × ${picture.height} pixels already; give at least these.`;
    if (width === picture.width && height === picture.height) return "This is the size of the picture; give a larger one.";
    return "";
  }

  #describe(width, height) {
    const parts = [`${((width * height) / 1e6).toFixed(1)} megapixels`];
    if (this.picture.bits === 16) parts.push(this.#suffix === "jpg" ? "16 bits become 8 in JPEG" : "16 bits");
    if (this.picture.alpha) parts.push("with transparency (JPEG has none)");
    if (this.picture.profile) parts.push("with colour profile");
    return parts.join(", ");
  }

  #listen() {
    const { width, height, locked, scales, formats, quality, save, cancel } = this.elements;
    const follow = (from, to, ratio) => {
      const value = Number(from.value);
      if (this.isLocked && this.picture && value > 0) to.value = Math.max(LEAST, Math.round(value * ratio()));
      this.#update();
    };
    width.addEventListener("input", () => follow(width, height, () => this.picture.height / this.picture.width));
    height.addEventListener("input", () => follow(height, width, () => this.picture.width / this.picture.height));
    locked.addEventListener("click", () => {
      this.isLocked = !this.isLocked;
      locked.setAttribute("aria-pressed", this.isLocked);
      if (this.isLocked) follow(width, height, () => this.picture.height / this.picture.width);
    });
    for (const button of scales) button.addEventListener("click", () => this.picture && this.setScale(Number(button.dataset.scale)));
    for (const each of [...formats, quality]) each.addEventListener("input", () => this.#update());
    save.addEventListener("click", () => this.save());
    cancel.addEventListener("click", () => this.cancel());
  }

  async save() {
    if (!this.picture || this.elements.save.disabled) return;
    const { picture } = this;
    const { save, progress, bar, text } = this.elements;
    const [width, height] = this.#size;
    const suffix = this.#suffix;
    this.#fail("");
    [save.disabled, progress.hidden] = [true, false];
    bar.removeAttribute("value");
    text.textContent = "Waiting for the network …";
    try {
      const wanted = this.wanted();
      await this.encoder.ready(picture, wanted.network, wanted.precision, new AbortController().signal);
      const quality = suffix === "jpg" ? Number(this.elements.quality.value) : null;
      let found = await server.makeFile(picture.key, { ...wanted, width, height, suffix, quality });
      if (picture !== this.picture) return;
      this.file = found.key;
      while (found.state === "waiting" || found.state === "running") {
        [bar.max, bar.value] = [found.total, found.done];
        const left = found.seconds_left === undefined ? "" : `, ${Math.ceil(found.seconds_left)} s left`;
        text.textContent = `${Math.floor((100 * found.done) / found.total)} %${left}`;
        await new Promise((resolve) => setTimeout(resolve, 200));
        if (this.file !== found.key) return; // cancelled
        found = await server.file(found.key);
      }
      if (this.file !== found.key) return;
      if (found.state === "failed") throw new Error(found.error);
      this.#download(found);
    } catch (error) {
      if (picture === this.picture) this.#fail(error.message);
    } finally {
      if (picture === this.picture) {
        [this.file, progress.hidden] = [null, true];
        this.#update();
      }
    }
  }

  #download(found) {
    const link = document.createElement("a");
    [link.href, link.download] = [server.content(found.key), found.name];
    document.body.append(link);
    link.click();
    link.remove();
    this.elements.done([`Saved as ${found.name}.`, ...found.notes].join(" "));
  }
}
