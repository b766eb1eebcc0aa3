// Which part of a picture the stage shows. Lengths on the stage are in device pixels.

export const MOST = 30;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Camera {
  constructor() {
    this.picture = { width: 1, height: 1 };
    this.stage = { width: 1, height: 1 };
    this.scale = 1;
    this.x = 0; // of the picture's left edge on the stage
    this.y = 0;
    this.isFitted = true;
  }

  get fitScale() {
    const { picture, stage } = this;
    return Math.min(stage.width / picture.width, stage.height / picture.height);
  }

  get least() {
    return Math.min(this.fitScale, MOST);
  }

  get most() {
    return Math.max(MOST, this.fitScale);
  }

  // Position between fit (0) and the largest zoom (1), on a logarithmic scale.
  get position() {
    return this.most > this.least ? Math.log(this.scale / this.least) / Math.log(this.most / this.least) : 0;
  }

  set position(value) {
    this.zoomTo(this.least * (this.most / this.least) ** clamp(value, 0, 1));
  }

  open(picture) {
    this.picture = picture;
    this.fit();
  }

  resize(width, height) {
    const { stage } = this;
    this.x += (width - stage.width) / 2;
    this.y += (height - stage.height) / 2;
    this.stage = { width, height };
    if (this.isFitted) this.fit();
    else this.#settle();
  }

  fit() {
    this.scale = this.least;
    this.isFitted = true;
    this.#settle();
  }

  // Zoom so that a point of the stage, by default its centre, keeps its place in the picture.
  zoomTo(scale, at = { x: this.stage.width / 2, y: this.stage.height / 2 }) {
    const target = clamp(scale, this.least, this.most);
    const factor = target / this.scale;
    this.x = at.x - (at.x - this.x) * factor;
    this.y = at.y - (at.y - this.y) * factor;
    this.scale = target;
    this.isFitted = target <= this.least * 1.0001;
    this.#settle();
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#settle();
  }

  // Round the origin to whole device pixels, so that views lie on them, and keep the picture in sight.
  #settle() {
    const place = (origin, length, room) =>
      Math.round(length <= room ? (room - length) / 2 : clamp(origin, room - length, 0));
    this.x = place(this.x, this.picture.width * this.scale, this.stage.width);
    this.y = place(this.y, this.picture.height * this.scale, this.stage.height);
  }

  // The visible part: where it lies on the stage, and its window in pixels of the picture.
  view() {
    const across = this.#span(this.x, this.picture.width, this.stage.width);
    const down = this.#span(this.y, this.picture.height, this.stage.height);
    return {
      window: [down.from, across.from, down.to, across.to],
      place: { x: across.start, y: down.start, width: across.length, height: down.length },
    };
  }

  #span(origin, length, room) {
    const start = Math.max(0, origin);
    const stop = Math.max(start + 1, Math.min(room, Math.round(origin + length * this.scale)));
    return {
      start,
      length: stop - start,
      from: clamp((start - origin) / this.scale, 0, length),
      to: clamp((stop - origin) / this.scale, 0, length),
    };
  }

  // Where a window lies on the stage.
  placeOf([top, left, bottom, right]) {
    const { x, y, scale } = this;
    return {
      x: x + left * scale,
      y: y + top * scale,
      width: (right - left) * scale,
      height: (bottom - top) * scale,
    };
  }
}
