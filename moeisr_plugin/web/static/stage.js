// The canvas: what it draws, and how it is moved by mouse, touch and keys.

import { Camera } from "./camera.js";

const KEY_STEP = 80; // device-independent pixels
const CHECK = 8;

export class Stage {
  // `on`: {moved(), wiped(), key(event)}
  constructor(elements, on) {
    this.elements = elements;
    this.on = on;
    this.camera = new Camera();
    this.sides = null;
    this.wipe = 0.5;
    this.map = null; // {image, window, strength}
    this.isOpen = false;
    this.pointers = new Map();
    this.frame = 0;
    this.check = null;
    new ResizeObserver(() => this.#resize()).observe(elements.stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
    this.#listen();
  }

  get ratio() {
    return window.devicePixelRatio || 1;
  }

  open(picture) {
    this.isOpen = true;
    this.map = null;
    this.#resize();
    this.camera.open(picture);
    this.moved();
  }

  moved() {
    this.redraw();
    this.on.moved();
  }

  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.#draw();
    });
  }

  recolour() {
    this.check = null;
    this.redraw();
  }

  setWipe(share) {
    this.wipe = Math.min(Math.max(share, 0), 1);
    const { wipe } = this.elements;
    wipe.style.left = `${100 * this.wipe}%`;
    wipe.setAttribute("aria-valuenow", Math.round(100 * this.wipe));
    wipe.setAttribute("aria-valuetext", `${Math.round(100 * this.wipe)} per cent from the left`);
    this.redraw();
    this.on.wiped();
  }

  #resize() {
    const { canvas, stage } = this.elements;
    const width = Math.max(1, Math.round(stage.clientWidth * this.ratio));
    const height = Math.max(1, Math.round(stage.clientHeight * this.ratio));
    if (canvas.width === width && canvas.height === height) return;
    [canvas.width, canvas.height] = [width, height];
    this.camera.resize(width, height);
    this.#draw();
    if (this.isOpen) this.on.moved();
  }

  #draw() {
    const { canvas } = this.elements;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.isOpen) return;
    const line = Math.round(this.wipe * canvas.width);
    const { place } = this.camera.view();
    const halves = [
      [this.sides.left, place.x, Math.min(line, place.x + place.width)],
      [this.sides.right, Math.max(line, place.x), place.x + place.width],
    ];
    for (const [side, from, to] of halves) {
      if (to <= from) continue;
      context.save();
      context.beginPath();
      context.rect(from, place.y, to - from, place.height);
      context.clip();
      side.draw(context, this.camera, (...area) => this.#checks(context, ...area));
      if (side === this.sides.right) this.#drawMap(context);
      context.restore();
    }
    this.#drawOverview();
  }

  #drawMap(context) {
    if (!this.map) return;
    const { x, y, width, height } = this.camera.placeOf(this.map.window);
    context.globalAlpha = this.map.strength;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.map.image, x, y, width, height);
  }

  // The pattern that shows through transparent parts.
  #checks(context, x, y, width, height) {
    if (!this.check) {
      const style = getComputedStyle(document.documentElement);
      const tile = new OffscreenCanvas(2 * CHECK, 2 * CHECK);
      const pen = tile.getContext("2d");
      pen.fillStyle = style.getPropertyValue("--check-a");
      pen.fillRect(0, 0, 2 * CHECK, 2 * CHECK);
      pen.fillStyle = style.getPropertyValue("--check-b");
      pen.fillRect(0, 0, CHECK, CHECK);
      pen.fillRect(CHECK, CHECK, CHECK, CHECK);
      this.check = tile;
    }
    context.fillStyle = context.createPattern(this.check, "repeat");
    context.fillRect(x, y, width, height);
  }

  #drawOverview() {
    const { overview, stage } = this.elements;
    const { picture, scale, fitScale } = this.camera;
    const image = this.sides.right.preview;
    overview.hidden = !image || scale < 1.3 * fitScale;
    if (overview.hidden) return;
    const room = Math.min(130, stage.clientWidth / 4);
    const shrink = room / Math.max(picture.width, picture.height);
    const [width, height] = [picture.width * shrink, picture.height * shrink].map((n) => Math.max(8, n));
    overview.style.width = `${width}px`;
    overview.style.height = `${height}px`;
    overview.width = Math.round(width * this.ratio);
    overview.height = Math.round(height * this.ratio);
    const context = overview.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, overview.width, overview.height);
    const [top, left, bottom, right] = this.camera.view().window;
    const across = overview.width / picture.width;
    const down = overview.height / picture.height;
    context.lineWidth = 2 * this.ratio;
    context.strokeStyle = "#fff";
    context.fillStyle = "rgb(0 0 0 / 45%)";
    context.beginPath();
    context.rect(0, 0, overview.width, overview.height);
    context.rect(left * across, top * down, (right - left) * across, (bottom - top) * down);
    context.fill("evenodd");
    context.strokeRect(left * across, top * down, (right - left) * across, (bottom - top) * down);
  }

  #at(event) {
    const box = this.elements.canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) * this.ratio, y: (event.clientY - box.top) * this.ratio };
  }

  #zoom(factor, at) {
    this.camera.zoomTo(this.camera.scale * factor, at);
    this.moved();
  }

  #listen() {
    const { canvas, wipe, stage } = this.elements;
    const wheel = (event) => {
      event.preventDefault();
      if (!this.isOpen) return;
      const lines = event.deltaMode === 1 ? 30 : 1;
      const speed = event.ctrlKey ? 0.01 : 0.0018; // ctrlKey: a pinch on a touch pad
      this.#zoom(Math.exp(-event.deltaY * lines * speed), this.#at(event));
    };
    canvas.addEventListener("wheel", wheel, { passive: false });
    wipe.addEventListener("wheel", wheel, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("dblclick", (event) => this.isOpen && this.#zoom(2, this.#at(event)));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    wipe.addEventListener("pointerdown", (event) => wipe.setPointerCapture(event.pointerId));
    wipe.addEventListener("pointermove", (event) => {
      if (!wipe.hasPointerCapture(event.pointerId)) return;
      const box = stage.getBoundingClientRect();
      this.setWipe((event.clientX - box.left) / box.width);
    });
    wipe.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1 };
      const ends = { Home: 0, End: 1 };
      if (event.key in steps) this.setWipe(this.wipe + steps[event.key]);
      else if (event.key in ends) this.setWipe(ends[event.key]);
      else return;
      event.preventDefault();
    });
  }

  #down(event) {
    if (!this.isOpen || event.button > 0) return;
    this.elements.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.#at(event));
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#at(event);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (!other) this.camera.move(now.x - before.x, now.y - before.y);
    else {
      const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y);
      const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
      this.camera.zoomTo((this.camera.scale * apart(now)) / Math.max(1, apart(before)), middle);
      this.camera.move((now.x - before.x) / 2, (now.y - before.y) / 2);
    }
    this.moved();
  }

  #key(event) {
    if (!this.isOpen || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = KEY_STEP * this.ratio;
    const actions = {
      "+": () => this.#zoom(1.25),
      "=": () => this.#zoom(1.25),
      "-": () => this.#zoom(0.8),
      ArrowLeft: () => this.#pan(step, 0),
      ArrowRight: () => this.#pan(-step, 0),
      ArrowUp: () => this.#pan(0, step),
      ArrowDown: () => this.#pan(0, -step),
      0: () => this.fit(),
      "[": () => this.setWipe(this.wipe - 0.05),
      "]": () => this.setWipe(this.wipe + 0.05),
    };
    for (let scale = 1; scale <= 9; scale += 1) {
      actions[scale] = () => this.#zoom(scale / this.camera.scale);
    }
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  #pan(dx, dy) {
    this.camera.move(dx, dy);
    this.moved();
  }

  fit() {
    this.camera.fit();
    this.moved();
  }

  zoomBy(factor) {
    this.#zoom(factor);
  }
}
