"use strict";
document.documentElement.classList.add("live");

// A traversal: each slider shows one frame of its dimension's sheet, in the row of the chosen base.
for (const traversal of document.querySelectorAll(".traversal")) {
  const width = Number(traversal.dataset.width), height = Number(traversal.dataset.height);
  const values = JSON.parse(traversal.querySelector(".values").textContent);
  const scale = Math.max(1, Math.round(128 / Math.max(width, height)));
  let base = 0;

  const dimensions = [...traversal.querySelectorAll(".dimension")].map((figure) => {
    const canvas = figure.querySelector("canvas"), sheet = figure.querySelector(".strip img");
    const slider = figure.querySelector("input"), output = figure.querySelector("output");
    const context = canvas.getContext("2d"), start = figure.dataset.start.split(" ").map(Number);
    canvas.style.width = `${width * scale}px`;
    const draw = () => {
      const frame = Number(slider.value), value = values[frame];
      const shown = (value < -0.005 ? "−" : "+") + Math.abs(value).toFixed(1);
      context.drawImage(sheet, frame * width, base * height, width, height, 0, 0, width, height);
      output.value = shown;
      slider.setAttribute("aria-valuetext", shown);
    };
    slider.addEventListener("input", draw);
    sheet.decode().then(draw, draw);
    return { slider, draw, reset: () => { slider.value = start[base]; draw(); } };
  });

  const reset = () => dimensions.forEach((dimension) => dimension.reset());
  for (const radio of traversal.querySelectorAll(".bases input")) {
    radio.addEventListener("change", () => { base = Number(radio.value); reset(); });
    if (radio.checked) base = Number(radio.value);
  }
  traversal.querySelector(".reset").addEventListener("click", reset);

  const rows = traversal.querySelector(".rows");
  rows.addEventListener("click", () => {
    rows.setAttribute("aria-pressed", String(traversal.classList.toggle("as-rows")));
  });

  // Play: all sliders there and back, at about twelve frames a second.
  const play = traversal.querySelector(".play");
  let timer = null, at = 0;
  play.addEventListener("click", () => {
    const playing = timer === null;
    play.textContent = playing ? "Pause" : "Play";
    play.setAttribute("aria-pressed", String(playing));
    if (!playing) { clearInterval(timer); timer = null; return; }
    const last = values.length - 1;
    timer = setInterval(() => {
      at = (at + 1) % (2 * last);
      for (const { slider, draw } of dimensions) { slider.value = Math.min(at, 2 * last - at); draw(); }
    }, 80);
  });
}

// Charts: the values at the step under the pointer.
const { charts } = JSON.parse(document.getElementById("data").textContent);
for (const svg of document.querySelectorAll("svg[data-chart]")) {
  const { first, last, lines, frame } = charts[Number(svg.dataset.chart)];
  const readout = svg.parentElement.querySelector(".readout"), cursor = svg.querySelector(".cursor");
  const nearest = (steps, step) => {
    let low = 0, high = steps.length - 1;
    while (high - low > 1) { const middle = (low + high) >> 1; if (steps[middle] < step) low = middle; else high = middle; }
    return step - steps[low] < steps[high] - step ? low : high;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * frame.width;
    const share = Math.min(1, Math.max(0, (x - frame.left) / (frame.right - frame.left)));
    const step = first + share * (last - first);
    cursor.setAttribute("d", `M${frame.left + share * (frame.right - frame.left)},${frame.top}V${frame.bottom}`);
    readout.value = `step ${Math.round(step).toLocaleString("en")}: ` + lines.map((line) =>
      `${line.label} ${line.values[nearest(line.steps, step)]}`.trim()).join(", ");
  });
  svg.addEventListener("pointerleave", () => { cursor.setAttribute("d", ""); readout.value = ""; });
}

// Paper folds nothing away.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
