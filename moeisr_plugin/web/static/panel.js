// The settings of the networks, the comparison, the experts and the budget.

const option = (value, text = value) => {
  const made = document.createElement("option");
  [made.value, made.textContent] = [value, text];
  return made;
};

export function fillNetworks(select, networks, chosen) {
  select.replaceChildren(...networks.map(({ name }) => option(name, name.replaceAll("_", " "))));
  select.value = chosen;
}

export function fillPrecisions(select, precisions, device) {
  const texts = {
    float32: "float32, exact",
    bfloat16: "bfloat16, half the memory",
    float16: device === "cpu" ? "float16, slow on a CPU" : "float16, half the memory",
    tf32: "tf32, faster",
  };
  select.replaceChildren(...precisions.map((name) => option(name, texts[name] || name)));
}

// Show the experts of a network, with their shares of the view once these are known.
export function showExperts(list, experts, shares) {
  if (list.children.length !== experts.length) {
    list.replaceChildren(...experts.map(makeExpert));
  }
  experts.forEach((expert, j) => {
    const item = list.children[j];
    const share = shares?.[j];
    const colour = `rgb(${expert.colour.join(" ")})`;
    item.querySelector(".swatch").style.background = colour;
    item.querySelector(".depth").textContent = `${expert.depth} layers`;
    const bar = item.querySelector(".share > span");
    bar.style.background = colour;
    bar.style.width = share === undefined ? "0" : `${100 * share}%`;
    item.querySelector(".number").textContent = share === undefined ? "–" : `${Math.round(100 * share)} %`;
  });
}

function makeExpert() {
  const item = document.createElement("li");
  for (const name of ["swatch", "depth", "share", "number"]) {
    const part = document.createElement("span");
    part.className = name;
    if (name === "swatch") part.setAttribute("aria-hidden", "true");
    if (name === "share") {
      part.setAttribute("aria-hidden", "true");
      part.append(document.createElement("span"));
    }
    item.append(part);
  }
  return item;
}

export function inUnits(macs) {
  const units = ["", "k", "M", "G", "T"];
  let value = macs;
  while (value >= 999.5 && units.length > 1) {
    value /= 1000;
    units.shift();
  }
  return `${value.toPrecision(3)} ${units[0]}`.trim();
}

export function inTime(milliseconds) {
  return milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

// Show what the present view costs: its time, its multiply-adds, and where these lie between the extremes.
export function showCost({ milliseconds, macs, meter, meterValue }, cost) {
  milliseconds.textContent = cost.milliseconds === undefined ? "–" : inTime(cost.milliseconds);
  macs.textContent = cost.macs === undefined ? "–" : inUnits(cost.macs);
  const hasRange = cost.most > cost.least;
  meter.hidden = !hasRange;
  const share = hasRange ? (cost.macs - cost.least) / (cost.most - cost.least) : 0;
  meterValue.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
}

export function showEncoding({ box, bar, text }, network, progress) {
  const isGoing = progress.state === "waiting" || progress.state === "running";
  box.hidden = !isGoing;
  if (!isGoing) return;
  if (progress.done) [bar.max, bar.value] = [progress.total, progress.done];
  else bar.removeAttribute("value");
  const left = progress.seconds_left === undefined ? "" : `, ${Math.ceil(progress.seconds_left)} s left`;
  text.textContent = `${network.replaceAll("_", " ")} reads the picture${left} …`;
}
