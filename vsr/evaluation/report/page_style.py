"""The style sheet of the pages, and the script of their tables and movies."""

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1d21; --muted: #565c66; --line: #d5d9df; --card: #f5f6f8;
  --best: #d9efdf; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --back: #15171b; --text: #e7e9ec; --muted: #a9b0ba; --line: #383d46; --card: #1e2127; --best: #1f4630;
  --link: #8ec2ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(0.9rem, 3vw, 2.5rem) 4rem; max-width: 100rem; background: var(--back);
  color: var(--text); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; }
h1 { margin: 0 0 0.3rem; font-size: 1.6rem; line-height: 1.25; }
h2 { margin: 2.6rem 0 0.6rem; padding-top: 0.6rem; border-top: 1px solid var(--line); font-size: 1.25rem; }
h3 { margin: 1.6rem 0 0.4rem; font-size: 1rem; }
p { margin: 0.4rem 0; max-width: 60rem; }
a { color: var(--link); }
nav a { display: inline-block; margin-right: 1.1rem; padding: 0.15rem 0; }
small, figcaption, .muted { color: var(--muted); font-size: 0.85rem; }
code, pre { font: 0.85rem/1.5 ui-monospace, "Liberation Mono", monospace; overflow-wrap: anywhere; }
pre { margin: 0.5rem 0; padding: 0.8rem 1rem; background: var(--card); border-radius: 0.4rem; white-space: pre-wrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 0.9rem;
  align-items: start; }
.card { padding: 0.7rem 1rem 0.9rem; background: var(--card); border-radius: 0.4rem; }
.card h3, .card summary { margin: 0 0 0.3rem; font-size: 1rem; font-weight: 600; }
.card summary { margin: 0; cursor: pointer; }
.card[open] summary { margin-bottom: 0.3rem; }
.card dl { display: grid; grid-template-columns: minmax(5rem, auto) minmax(0, 1fr); gap: 0.1rem 0.9rem;
  margin: 0; font-size: 0.88rem; }
.card dl + dl { margin-top: 0.6rem; padding-top: 0.5rem; border-top: 1px solid var(--line); }
.card dt { color: var(--muted); overflow-wrap: anywhere; }
.card dd { margin: 0; overflow-wrap: anywhere; }
.tables { display: flex; flex-wrap: wrap; align-items: start; gap: 0 3rem; }
.tables > div { max-width: 100%; }
.scroll { overflow-x: auto; margin: 0.5rem 0; }
.scroll:focus-visible, button:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.28rem 0.7rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child { position: sticky; left: 0; text-align: left; background: var(--back); }
thead th { border-bottom: 2px solid var(--muted); vertical-align: bottom; padding: 0; white-space: normal; }
thead button { width: 100%; padding: 0.28rem 0.7rem; border: 0; background: none; color: inherit; font: inherit; font-weight: 600;
  text-align: inherit; cursor: pointer; text-decoration: underline dotted var(--muted); text-underline-offset: 0.2em; }
thead button::after { content: "\\a0\\2195"; color: var(--muted); }
th[aria-sort="ascending"] button::after { content: "\\a0\\2191"; color: inherit; }
th[aria-sort="descending"] button::after { content: "\\a0\\2193"; color: inherit; }
tbody th { font-weight: 600; max-width: 14rem; overflow: hidden; text-overflow: ellipsis; }
tr.baseline th { font-weight: 400; }
tr.split th { padding-top: 0.8rem; max-width: none; color: var(--muted); font-weight: 600; }
.words th, .words td { text-align: left; }
.words td { white-space: normal; min-width: 7rem; max-width: 40rem; }
td small { display: block; font-size: 0.75rem; line-height: 1.2; }
td.best { background: var(--best); font-weight: 700; }
td.best small { color: inherit; font-weight: 400; }
figure { margin: 0.8rem 0 1.6rem; }
figure img, figure video { display: block; max-width: 100%; height: auto; padding: 0.4rem;
  background: #ffffff; border-radius: 0.4rem; }
.player { display: flex; gap: 0.9rem; align-items: center; max-width: 66rem; margin: 0.5rem 0;
  font-variant-numeric: tabular-nums; }
.player[hidden] { display: none; }
.player input { flex: 1; min-width: 6rem; accent-color: var(--link); }
.player button { min-width: 4rem; padding: 0.3rem 0.7rem; border: 1px solid var(--muted); border-radius: 0.4rem;
  background: var(--card); color: inherit; font: inherit; cursor: pointer; }
.terms { display: grid; grid-template-columns: minmax(8rem, auto) minmax(0, 1fr); gap: 0.2rem 1.2rem; margin: 0.6rem 0;
  font-size: 0.9rem; }
.terms dt { font-weight: 600; }
.terms dd { margin: 0; overflow-wrap: anywhere; }
.compare { position: relative; width: min(100%, 60rem); line-height: 0; }
.compare img { width: 100%; image-rendering: pixelated; border-radius: 0.4rem; }
.compare img + img { position: absolute; inset: 0; clip-path: inset(0 0 0 50%); }
.map { display: grid; grid-template-columns: max-content minmax(0, 60rem); gap: 0.2rem 0.5rem; font-size: 0.8rem; }
.map-y, .map-x { display: flex; justify-content: space-between; }
.map-y { flex-direction: column; align-items: flex-end; }
.map-y span:nth-child(2) { writing-mode: vertical-rl; transform: rotate(180deg); }
.map-x { grid-column: 2; }
.colour-bar { display: flex; gap: 0.6rem; align-items: center; flex-wrap: wrap; font-size: 0.8rem; margin-top: 0.6rem; }
.colour-bar img { width: 14rem; height: 1.2rem; padding: 0; border-radius: 0.2rem; }
.compare-controls { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.4rem 0.9rem;
  width: min(100%, 60rem); margin: 0.6rem 0; align-items: center; }
@media (max-width: 50rem) {
  figure img { max-width: none; width: 54rem; }
  figure video { max-width: none; width: 46rem; }
  th, td, thead button { padding-left: 0.45rem; padding-right: 0.45rem; }
  tbody th { max-width: 8rem; }
  .terms { grid-template-columns: 1fr; }
  .terms dd { margin-bottom: 0.5rem; }
}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const bodies = [...table.tBodies].map(body => [body, [...body.rows].filter(row => row.className !== "split")]);
  heads.forEach((head, at) => head.firstElementChild.addEventListener("click", () => {
    const orders = head.dataset.first === "descending" ? ["descending", "ascending", ""] : ["ascending", "descending", ""];
    const order = orders[(orders.indexOf(head.getAttribute("aria-sort") || "") + 1) % 3];
    heads.forEach(other => other.removeAttribute("aria-sort"));
    if (order) head.setAttribute("aria-sort", order);
    const sign = order === "descending" ? -1 : 1;
    const compare = (one, other) => {
      const [a, b] = [one.cells[at].dataset.value, other.cells[at].dataset.value];
      if (a === undefined) return sign * one.cells[at].textContent.localeCompare(other.cells[at].textContent);
      return (a === "") - (b === "") || sign * (Number(a) - Number(b));
    };
    for (const [body, rows] of bodies) body.append(...(order ? [...rows].sort(compare) : rows));
  }));
}
for (const player of document.querySelectorAll(".player")) {
  const movie = player.parentElement.querySelector("video");
  const [button, slider, shown] = ["button", "input", "output"].map(name => player.querySelector(name));
  const show = frame => { slider.value = frame; shown.value = Number(player.dataset.first) + Number(slider.value); };
  const follow = () => {
    if (movie.paused) return;
    show(Math.floor(movie.currentTime * player.dataset.rate));
    requestAnimationFrame(follow);
  };
  button.addEventListener("click", () => movie.paused ? movie.play() : movie.pause());
  slider.addEventListener("input", () => {
    movie.pause();
    movie.currentTime = (Number(slider.value) + 0.5) / player.dataset.rate;
    show(slider.value);
  });
  movie.addEventListener("play", () => { button.textContent = "stop"; follow(); });
  movie.addEventListener("pause", () => { button.textContent = "play"; });
  movie.controls = player.hidden = false;
  show(0);
}
for (const figure of document.querySelectorAll("figure.before-after")) {
  const [divide, frame] = figure.querySelectorAll("input");
  const pairs = [...figure.querySelectorAll(".compare")];
  const show = () => pairs.forEach((pair, at) => {
    pair.hidden = frame && at !== Number(frame.value);
    pair.lastElementChild.style.clipPath = `inset(0 0 0 ${divide.value}%)`;
  });
  figure.addEventListener("input", show);
  show();
}
"""
