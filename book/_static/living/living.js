// <living-network>: a trained DenseNet that answers while the reader draws, and shows what each layer made of it.
//
//   <living-network show="garments answer questions pixel" block="1">
//     What a reader without JavaScript sees.
//   </living-network>
//
// Without `show` all of these parts are there, without `block` the maps of all blocks. Channels can be switched off where
// the answer is shown.
"use strict";

(() => {
  const { html, svg, inWords, sentence, define } = Elements;
  const { build, allOn, forward, probabilities, terms, receptiveField, garments } = LivingNetwork;
  const SIDE = 28;
  const INK = 220;
  const STEP = 11; // from one garment to another, which is of another class, until all have been shown
  const PARTS = "garments answer questions pixel";

  const PRESETS = [
    { question: "Switch off layer 1 of block 1: which maps change, and which stay?", off: ["layer 1 of block 1"] },
    { question: "Switch off the input of block 2: which garments are still right?", off: ["transition 1"] },
    { question: "Switch off the input of block 3: what is each garment taken for?", off: ["transition 2"] },
    { question: "Switch off layer 1 of block 3: which classes are lost?", off: ["layer 1 of block 3"] },
    {
      question: "How much of the picture does one pixel of the last layer see?",
      pixel: ["layer 2 of block 3", 0, 3, 3],
    },
    {
      question: "And what does it see without the input of its block?",
      off: ["transition 2"],
      pixel: ["layer 2 of block 3", 0, 3, 3],
    },
  ];

  const decimal = (number, digits = 2) =>
    number
      .toFixed(digits)
      .replace("-", "\u2212")
      .replace(/^\u2212(0\.?0*)$/, "$1");
  const percent = (share) => `${(100 * share).toFixed(0)} %`;

  /* Drawing */

  // Lighter is more, so that the maps can be read without their colours.
  const ANCHORS = [
    [0, 32, 77],
    [124, 123, 120],
    [255, 234, 70],
  ];

  function colour(share) {
    const place = Math.min(Math.floor(2 * share), 1);
    const [from, to] = [ANCHORS[place], ANCHORS[place + 1]];
    return from.map((value, i) => value + (to[i] - value) * (2 * share - place));
  }

  const limits = (values) =>
    values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

  // Draws numbers as pixels, from the darkest for `low` to the lightest for `high`.
  function paint(canvas, values, [low, high], shade = colour) {
    const image = new ImageData(canvas.width, canvas.height);
    values.forEach((value, i) => {
      const share = high > low ? (value - low) / (high - low) : 0;
      image.data.set([...shade(share), 255], 4 * i);
    });
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  const grey = (share) => [255 * share, 255 * share, 255 * share];
  const squareCanvas = (side, attributes = {}) => html("canvas", { width: side, height: side, ...attributes });

  // A frame over a canvas of `side` pixels, which `frame` moves.
  function overlay(side) {
    const rect = svg("rect", { class: "living-frame", visibility: "hidden" });
    const picture = svg("svg", { viewBox: `0 0 ${side} ${side}`, "aria-hidden": true }, rect);
    const frame = (box) => {
      rect.setAttribute("visibility", box ? "visible" : "hidden");
      if (!box) return;
      const { top, bottom, left, right } = box;
      const place = { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
      for (const [name, value] of Object.entries(place)) rect.setAttribute(name, value);
    };
    return { picture, frame };
  }

  // The pixel of a square canvas under the pointer.
  function pixelAt(canvas, { clientX, clientY }, side) {
    const box = canvas.getBoundingClientRect();
    const place = (position, start, size) =>
      Math.min(Math.max(Math.floor(((position - start) / size) * side), 0), side - 1);
    return [place(clientY, box.top, box.height), place(clientX, box.left, box.width)];
  }

  /* Element */

  class LivingNetworkElement extends HTMLElement {
    connectedCallback() {
      this.network = build(LIVING_NUMBERS);
      this.garments = garments(LIVING_NUMBERS);
      this.on = allOn(this.network);
      this.parts = (this.getAttribute("show") ?? PARTS).split(" ");
      this.isSwitch = this.shows("answer") && !this.shows("pixel");
      this.radios = [];
      this.groups = new Map();
      this.build();
      this.take(0);
      this.refresh();
      if (this.shows("pixel")) this.look("layer 2 of block 1", 0, 14, 14);
      this.say("Point at a map, or walk to it with the keyboard, to see which channels its layer reads.");
      this.judge();
    }

    shows(part) {
      return this.parts.includes(part);
    }

    indexOf(name) {
      return this.network.nodes.findIndex((node) => node.name === name);
    }

    build() {
      this.status = html("p", { class: "living-status", "aria-live": "polite" });
      const maps = this.networkBox();
      const top = html("div", { class: "living-top" }, this.pictureBox());
      if (this.shows("answer")) top.append(this.answerBox());
      if (this.shows("garments")) top.append(this.garmentBox());
      const questions = this.shows("questions") ? [this.presets()] : [];
      const pixel = this.shows("pixel") ? [this.pixelBox()] : [];
      this.replaceChildren(top, ...questions, this.status, maps, ...pixel);
      // A single block has room beside the picture.
      if (this.hasAttribute("block")) top.after(maps);
    }

    say(text) {
      if (this.status.textContent !== text) this.status.textContent = text;
    }

    /* Presets */

    presets() {
      const hasPlace = ({ off = [], pixel }) =>
        (!pixel || this.shows("pixel")) && off.every((name) => this.groups.has(this.indexOf(name)));
      const buttons = PRESETS.filter(hasPlace).map((preset) => {
        const button = html("button", { type: "button" }, preset.question);
        button.addEventListener("click", () => this.apply(preset));
        return html("li", {}, button);
      });
      const all = html("button", { type: "button" }, "Switch everything on");
      all.addEventListener("click", () => this.apply({ off: [] }));
      return html(
        "div",
        { class: "living-presets", role: "group", "aria-label": "Questions" },
        html("ul", {}, ...buttons, html("li", {}, all)),
      );
    }

    apply({ off = [], pixel }) {
      this.on = allOn(this.network);
      for (const name of off) this.on[this.indexOf(name)].fill(false);
      if (pixel) this.look(...pixel);
      this.refresh();
      this.judge();
      const which = off.length
        ? sentence(`${inWords(off.map((name) => this.named(this.indexOf(name))))} is off`)
        : "Everything is on.";
      this.say(`${which} ${this.answer()}`);
    }

    /* Picture */

    pictureBox() {
      this.canvas = squareCanvas(SIDE);
      const { picture, frame } = overlay(SIDE);
      this.framePicture = frame;
      this.brush = [14, 14];
      const label = "Picture of 28 by 28 pixels. Arrow keys move the brush, the space bar draws, Delete erases.";
      const board = html("div", { class: "living-board", role: "application", tabindex: 0, "aria-label": label });
      board.append(this.canvas, picture);
      const erases = html("input", { type: "checkbox" });
      const empty = html("button", { type: "button" }, "Empty");
      empty.addEventListener("click", () => {
        this.picture.fill(0);
        this.drawn();
      });
      const buttons = [empty, html("label", {}, erases, " erase")];
      if (!this.shows("garments")) {
        const other = html("button", { type: "button" }, "Another garment");
        other.addEventListener("click", () => this.choose((this.place + STEP) % this.garments.length));
        buttons.unshift(other);
      }
      let isDrawing = false;
      board.addEventListener("pointerdown", (event) => {
        isDrawing = true;
        board.setPointerCapture(event.pointerId);
        this.dab(pixelAt(this.canvas, event, SIDE), erases.checked);
      });
      board.addEventListener("pointermove", (event) => {
        if (isDrawing) this.dab(pixelAt(this.canvas, event, SIDE), erases.checked);
      });
      for (const type of ["pointerup", "pointercancel"]) {
        board.addEventListener(type, () => {
          isDrawing = false;
        });
      }
      board.addEventListener("keydown", (event) => this.drawByKey(event));
      board.addEventListener("focus", () => this.showBrush());
      board.addEventListener("blur", () => this.framePicture(this.field));
      return html(
        "div",
        { class: "living-picture" },
        html("p", { class: "living-title" }, "Draw here"),
        board,
        html("p", { class: "living-buttons" }, ...buttons),
      );
    }

    showBrush() {
      const [row, column] = this.brush;
      this.framePicture({ top: row, bottom: row, left: column, right: column });
    }

    drawByKey(event) {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (event.key in moves) {
        this.brush = this.brush.map((place, axis) => Math.min(Math.max(place + moves[event.key][axis], 0), SIDE - 1));
        this.say(`Brush at row ${this.brush[0]}, column ${this.brush[1]}.`);
      } else if (event.key === " " || event.key === "Delete" || event.key === "Backspace") {
        this.dab(this.brush, event.key !== " ");
      } else {
        return;
      }
      event.preventDefault();
      this.showBrush();
    }

    // A dab of the brush: a full pixel, and lighter ones around it, as a garment's edge has them.
    dab([row, column], erases) {
      for (let y = row - 1; y <= row + 1; y++) {
        for (let x = column - 1; x <= column + 1; x++) {
          if (y < 0 || x < 0 || y >= SIDE || x >= SIDE) continue;
          const ink = y === row || x === column ? INK : INK / 2;
          const place = y * SIDE + x;
          this.picture[place] = erases ? 0 : Math.max(this.picture[place], ink);
        }
      }
      this.drawn();
    }

    // The picture is the reader's now. Several dabs between two frames of the screen are answered once.
    drawn() {
      this.label = null;
      this.check(null);
      if (this.waiting) return;
      this.waiting = requestAnimationFrame(() => {
        this.waiting = null;
        this.refresh();
        this.say(this.answer());
      });
    }

    /* Garments */

    garmentBox() {
      const name = `living-${[...document.querySelectorAll("living-network")].indexOf(this)}`;
      const labels = this.garments.map(({ picture }, place) => {
        const radio = html("input", { type: "radio", name, value: place, "aria-label": this.garmentName(place) });
        radio.addEventListener("change", () => this.choose(place));
        this.radios.push(radio);
        const canvas = squareCanvas(SIDE);
        paint(canvas, [...picture], [0, 255], grey);
        return html("label", { class: "living-garment" }, radio, canvas);
      });
      const title = html("legend", { class: "living-title" }, "Or take a test garment");
      return html("fieldset", { class: "living-garments" }, title, html("div", {}, ...labels));
    }

    garmentName(place) {
      return `${this.network.classes[this.garments[place].label]} ${(place % 5) + 1}`;
    }

    take(place) {
      const { picture, label } = this.garments[place];
      this.place = place;
      this.picture = picture.slice();
      this.label = label;
      this.check(place);
    }

    check(chosen) {
      for (const [place, radio] of this.radios.entries()) radio.checked = place === chosen;
    }

    choose(place) {
      this.take(place);
      this.refresh();
      this.say(this.answer());
    }

    /* Answers */

    answerBox() {
      const isJudged = this.shows("garments");
      this.rows = this.network.classes.map((name) => {
        const [bar, right] = ["living-bar", "living-right"].map((look) => html("td", { class: look }));
        bar.append(
          html("span", {}),
          svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": true }),
        );
        const row = html("tr", {}, html("th", { scope: "row" }, name), bar, ...(isJudged ? [right] : []));
        return { row, bar, right };
      });
      const columns = ["class", "probability", ...(isJudged ? ["right of five"] : [])];
      const caption = html("caption", {}, html("span", { class: "living-title" }, "The answer"));
      this.total = html("p", { class: "living-total", "aria-live": "polite" });
      const table = html(
        "table",
        { class: "table" },
        caption,
        html("thead", {}, html("tr", {}, ...columns.map((text) => html("th", { scope: "col" }, text)))),
        html("tbody", {}, ...this.rows.map(({ row }) => row)),
      );
      const box = html("div", { class: "living-answers" }, table, ...(isJudged ? [this.total] : []));
      const head = this.network.nodes.length - 1;
      // It is pointed at like a layer, where what it reads is shown.
      if (this.network.nodes[head].reads.every((source) => this.groups.has(source))) {
        Object.assign(box, { role: "group", tabIndex: 0, ariaLabel: "The head" });
        for (const type of ["pointerenter", "focus"]) box.addEventListener(type, () => this.point(head));
      }
      return box;
    }

    answer() {
      const [best] = this.chances.map((chance, place) => [chance, place]).sort(([a], [b]) => b - a);
      const { classes } = this.network;
      const truth =
        this.label === null
          ? ""
          : `, and it is ${/^[aeiou]/.test(classes[this.label]) ? "an" : "a"} ${classes[this.label]}`;
      return `The network says ${classes[best[1]]}, ${percent(best[0])}${truth}.`;
    }

    // The picture's answer with everything on, for comparison, and with what is on now.
    showAnswer() {
      const everything = this.isWhole() ? this.chances : probabilities(forward(this.network, this.picture).at(-1));
      const most = Math.max(...this.chances);
      this.rows.forEach(({ row, bar }, place) => {
        const [chance, before] = [this.chances[place], everything[place]];
        row.classList.toggle("living-best", chance === most);
        bar.firstChild.textContent = percent(chance);
        const now = svg("rect", { class: "living-now", x: 0, y: 0, width: 100 * chance, height: 10 });
        const then = svg("rect", {
          class: "living-then",
          x: Math.min(100 * before, 98.5),
          y: 0,
          width: 1.5,
          height: 10,
        });
        bar.lastChild.replaceChildren(now, then);
      });
    }

    isWhole() {
      return !this.on.flat().includes(false);
    }

    // All 50 garments, one a task, so that the page goes on answering.
    judge() {
      if (!this.shows("garments")) return;
      const round = {};
      this.round = round;
      const right = Array(this.network.classes.length).fill(0);
      const next = (place) => {
        if (round !== this.round || !this.isConnected) return;
        if (place === this.garments.length) return this.showRight(right);
        const { label, picture } = this.garments[place];
        const logits = forward(this.network, picture, this.on).at(-1);
        const answer = logits.indexOf(Math.max(...logits));
        right[label] += answer === label;
        this.mark(place, label, answer);
        setTimeout(next, 0, place + 1);
      };
      this.total.textContent = "";
      setTimeout(next, 0, 0);
    }

    mark(place, label, answer) {
      const { classes } = this.network;
      const taken = answer === label ? "" : `, taken for: ${classes[answer]}`;
      this.radios[place].parentElement.classList.toggle("living-wrong", answer !== label);
      this.radios[place].setAttribute("aria-label", `${this.garmentName(place)}${taken}`);
      this.radios[place].title = `${classes[label]}${taken}`;
    }

    showRight(right) {
      for (const [place, row] of this.rows.entries()) row.right.textContent = right[place];
      const sum = right.reduce((a, b) => a + b, 0);
      const now = this.isWhole() ? "" : ` With everything on it is ${this.withAllOn}.`;
      if (!now) this.withAllOn = sum;
      this.total.textContent = `${sum} of the ${this.garments.length} garments are right.${now}`;
    }

    /* Network */

    named(index) {
      const { kind, name } = this.network.nodes[index];
      return kind === "layer" || kind === "transition" ? name : `the ${name}`;
    }

    networkBox() {
      const blocks = [];
      const { nodes } = this.network;
      nodes.forEach((node, index) => {
        if (node.kind === "image" || node.kind === "head") return;
        if (node.kind !== "layer") blocks.push([]);
        blocks.at(-1).push(index);
      });
      const box = html("div", { class: "living-network", role: "group", "aria-label": "The network's maps" });
      const only = Number(this.getAttribute("block"));
      blocks.forEach((members, block) => {
        if (only && only !== block + 1) return;
        const sizes = members.map((index) => nodes[index].channels);
        const { side } = nodes[members[0]];
        const joined = `${sizes.join(" + ")} = ${sizes.reduce((a, b) => a + b, 0)} channels`;
        const title = html(
          "p",
          { class: "living-title" },
          `Block ${block + 1}: ${joined} of ${side}\u00a0\u00d7\u00a0${side}`,
        );
        box.append(html("div", { class: "living-block" }, title, ...members.map((index) => this.group(index))));
      });
      for (const type of ["pointerover", "focusin"]) {
        box.addEventListener(type, ({ target }) => {
          const group = target.closest(".living-group");
          if (group) this.point(Number(group.dataset.node));
        });
      }
      box.addEventListener("pointermove", (event) => this.hover(event));
      box.addEventListener("pointerleave", () => this.framePicture(this.field));
      box.addEventListener("click", (event) => {
        const map = event.target.closest(".living-map");
        if (map) this.press(map, event);
      });
      box.addEventListener("keydown", (event) => this.walk(event));
      this.maps = [...box.querySelectorAll(".living-map")];
      this.maps[0].tabIndex = 0;
      return box;
    }

    group(index) {
      const { channels, side, kind, name } = this.network.nodes[index];
      const named = this.named(index);
      // A transition or the stem is shown where its channels are read first: as the input of a block.
      const title = kind === "layer" ? name.split(" of ")[0] : `input, from ${named}`;
      const box = html("input", { type: "checkbox", checked: "" });
      box.addEventListener("change", () => {
        this.on[index].fill(box.checked);
        this.switched(named, box.checked);
      });
      const head = this.shows("answer") ? html("label", {}, box, ` ${title}`) : title;
      const maps = Array.from({ length: channels }, (_, channel) => {
        const label = `channel ${channel} of ${named}`;
        const attributes = {
          type: "button",
          class: "living-map",
          tabindex: -1,
          "data-channel": channel,
          "aria-label": label,
        };
        return html("button", attributes, squareCanvas(side));
      });
      const note = html("span", { class: "living-note", "aria-hidden": true });
      const group = html(
        "div",
        { class: "living-group", role: "group", "aria-label": `${named}: ${channels} channels`, "data-node": index },
        html("p", {}, head, note),
        html("div", { class: "living-maps" }, ...maps),
      );
      this.groups.set(index, { group, box, maps, note });
      return group;
    }

    switched(what, isOn) {
      this.refresh();
      this.judge();
      this.say(`${sentence(`${what} is ${isOn ? "on" : "off"}`)} ${this.answer()}`);
    }

    switchChannel(index, channel, isOn) {
      this.on[index][channel] = isOn;
      this.switched(`channel ${channel} of ${this.named(index)}`, isOn);
    }

    // Shows whose channels a node reads.
    point(index) {
      if (this.pointed === index) return;
      this.pointed = index;
      const { nodes } = this.network;
      const node = nodes[index];
      for (const [place, { group, note }] of this.groups) {
        const isRead = node.reads.includes(place);
        group.classList.toggle("living-pointed", place === index);
        group.classList.toggle("living-read", isRead);
        note.textContent = isRead ? " is read" : place === index ? " reads" : "";
      }
      const total = node.reads.reduce((sum, source) => sum + nodes[source].channels, 0);
      const parts = node.reads.map((source) => `${nodes[source].channels} of ${this.named(source)}`);
      let what = `${total} channels, ${inWords(parts)},`;
      if (parts.length === 1) what = `the ${total} channels of ${this.named(node.reads[0])}`;
      if (node.kind === "stem") what = "the picture";
      const makes = node.kind === "head" ? `the ${node.channels} scores` : `${node.channels} channels`;
      this.say(sentence(`${this.named(index)} reads ${what} and makes ${makes}`));
    }

    hover(event) {
      const map = event.target.closest(".living-map");
      if (!map) return this.framePicture(this.field);
      const index = this.nodeOf(map);
      const { side } = this.network.nodes[index];
      this.framePicture(receptiveField(this.network, this.on, index, ...pixelAt(map.firstChild, event, side)));
    }

    nodeOf(map) {
      return Number(map.closest(".living-group").dataset.node);
    }

    walk(event) {
      const place = this.maps.indexOf(event.target);
      if (place < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
      const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -8, ArrowDown: 8 };
      const targets = { Home: 0, End: this.maps.length - 1 };
      const next = targets[event.key] ?? place + moves[event.key];
      if (Number.isNaN(next)) return;
      event.preventDefault();
      this.maps[next]?.focus();
      if (this.maps[next]) {
        this.maps[place].tabIndex = -1;
        this.maps[next].tabIndex = 0;
      }
    }

    // A map that is pressed shows what one of its pixels sees, or is itself switched off or on where there is an answer
    // that follows, and no other switch for it.
    press(map, event) {
      const [index, channel] = [this.nodeOf(map), Number(map.dataset.channel)];
      if (this.isSwitch) return this.switchChannel(index, channel, !this.on[index][channel]);
      const { name, side } = this.network.nodes[index];
      const middle = Math.floor(side / 2);
      const isByKey = event.detail === 0;
      const [row, column] = isByKey ? [middle, middle] : pixelAt(map.firstChild, event, side);
      this.look(name, channel, row, column);
      if (!this.shows("pixel")) this.say(`This is row ${row}, column ${column} of ${map.ariaLabel}. ${this.seen()}`);
    }

    // Computes everything anew and shows it.
    refresh() {
      const { nodes } = this.network;
      this.features = forward(this.network, this.picture, this.on);
      this.chances = probabilities(this.features.at(-1));
      paint(this.canvas, [...this.picture], [0, 255], grey);
      for (const [index, { box, maps }] of this.groups) {
        const area = nodes[index].side ** 2;
        maps.forEach((map, channel) => {
          const values = this.features[index].subarray(channel * area, (channel + 1) * area);
          paint(map.firstChild, values, limits(values));
          map.classList.toggle("living-off", !this.on[index][channel]);
          map.title = this.on[index][channel] ? "" : "off";
          if (this.isSwitch) map.ariaPressed = this.on[index][channel];
        });
        box.checked = this.on[index].includes(true);
        box.indeterminate = box.checked && this.on[index].includes(false);
      }
      if (this.shows("answer")) this.showAnswer();
      if (this.looked) this.showLooked();
    }

    /* One pixel */

    pixelBox() {
      this.large = squareCanvas(SIDE);
      const { picture, frame } = overlay(SIDE);
      [this.largeOverlay, this.frameLarge] = [picture, frame];
      const board = html("div", { class: "living-board" }, this.large, picture);
      board.addEventListener("click", (event) => {
        const { index, channel } = this.looked;
        const { name, side } = this.network.nodes[index];
        this.look(name, channel, ...pixelAt(this.large, event, side));
      });
      const number = () => html("input", { type: "number", min: 0, inputmode: "numeric" });
      [this.row, this.column] = [number(), number()];
      for (const input of [this.row, this.column]) {
        input.addEventListener("input", () => {
          const inside = ({ value, max }) => Math.min(Math.max(Math.trunc(Number(value)) || 0, 0), max);
          Object.assign(this.looked, { row: inside(this.row), column: inside(this.column) });
          this.showLooked();
        });
      }
      this.channelOn = html("input", { type: "checkbox" });
      this.channelOn.addEventListener("change", () => {
        this.switchChannel(this.looked.index, this.looked.channel, this.channelOn.checked);
      });
      this.term = html("input", { type: "range", min: 0, value: 0 });
      this.term.addEventListener("input", () => this.showLooked());
      this.pixelTitle = html("p", { class: "living-title" });
      this.value = html("p", { "aria-live": "polite" });
      this.step = html("p", { "aria-live": "polite" });
      this.windows = html("div", { class: "living-windows" });
      const controls = html(
        "div",
        { class: "living-pixel-controls" },
        html("label", {}, "row ", this.row),
        html("label", {}, "column ", this.column),
        html("label", {}, this.channelOn, " this channel is on"),
      );
      const stepper = html("label", { class: "living-stepper" }, "step through the channels that it reads ", this.term);
      return html(
        "div",
        { class: "living-pixel", role: "group", "aria-label": "One pixel, step by step" },
        this.pixelTitle,
        html("div", { class: "living-picture" }, board, controls),
        html("div", {}, this.value, stepper, this.step),
        this.windows,
      );
    }

    look(name, channel, row, column) {
      const index = this.indexOf(name);
      this.looked = { index, channel, row, column };
      if (this.shows("pixel")) {
        const { side } = this.network.nodes[index];
        for (const input of [this.row, this.column]) input.max = side - 1;
        [this.large.width, this.large.height] = [side, side];
        this.largeOverlay.setAttribute("viewBox", `0 0 ${side} ${side}`);
        [this.row.value, this.column.value, this.term.value] = [row, column, 0];
      }
      this.showLooked();
    }

    showLooked() {
      const { index, channel, row, column } = this.looked;
      const shown = this.groups.get(index).maps[channel];
      for (const map of this.maps) map.classList.toggle("living-looked-at", map === shown);
      this.field = receptiveField(this.network, this.on, index, row, column);
      this.framePicture(this.field);
      if (this.shows("pixel")) this.takeApart();
    }

    seen() {
      if (!this.field) return "It sees nothing of the picture, since all that leads there is off.";
      const { top, bottom, left, right } = this.field;
      return `It sees rows ${top} to ${bottom} and columns ${left} to ${right} of the picture, framed there.`;
    }

    takeApart() {
      const { index, channel, row, column } = this.looked;
      const { side, kind } = this.network.nodes[index];
      const values = this.features[index].subarray(channel * side * side, (channel + 1) * side * side);
      paint(this.large, values, limits(values));
      this.frameLarge({ top: row, bottom: row, left: column, right: column });
      this.channelOn.checked = this.on[index][channel];
      this.pixelTitle.textContent = sentence(`one pixel of channel ${channel} of ${this.named(index)}`).slice(0, -1);
      const value = values[row * side + column];
      this.value.textContent = `At row ${row}, column ${column} the map is ${decimal(value)}. ${this.seen()}`;
      this.showTerm(terms(this.network, this.features, this.on, index, channel, row, column), kind, value);
    }

    showTerm(parts, kind, value) {
      this.term.max = parts.length - 1;
      const place = Math.min(Number(this.term.value), parts.length - 1);
      const part = parts[place];
      const sums = new Map();
      for (const { source, sum } of parts) sums.set(source, (sums.get(source) ?? 0) + sum);
      const shares = [...sums].map(([source, sum]) => `${decimal(sum)} from ${this.named(source)}`);
      const before = parts.slice(0, place + 1).reduce((sum, other) => sum + other.sum, 0);
      const off = this.on[part.source][part.channel] ? "" : ", which is off";
      this.step.textContent =
        `Number ${place + 1} of ${parts.length}, channel ${part.channel} of ${this.named(part.source)}${off}, adds ` +
        `${decimal(part.sum, 3)}; so far the sum is ${decimal(before, 3)}. ` +
        `In all it is ${inWords(shares)}, together ${decimal(value)}.`;
      const read = kind === "stem" ? "what it reads" : "what it reads, normalised and activated";
      const products = part.values.map((number, i) => (number ?? 0) * part.weights[i]);
      this.windows.replaceChildren(
        this.window(read, part.values),
        html("span", { "aria-hidden": true }, "\u00d7"),
        this.window(kind === "transition" ? "its weight, a fourth for each" : "its weights", part.weights),
        html("span", { "aria-hidden": true }, "="),
        this.window(`products, together ${decimal(part.sum, 3)}`, products),
      );
    }

    // A square of numbers; null is outside the map, and written as a dot.
    window(caption, values) {
      const size = Math.sqrt(values.length);
      const most = Math.max(...values.map(Math.abs), 1e-9);
      const cell = (value) => {
        const text = value === null ? "\u00b7" : decimal(value);
        return html("td", { style: `--share: ${Math.abs(value ?? 0) / most}` }, text);
      };
      const rows = Array.from({ length: size }, (_, row) => values.slice(row * size, (row + 1) * size));
      return html(
        "table",
        {},
        html("caption", {}, caption),
        html("tbody", {}, ...rows.map((row) => html("tr", {}, ...row.map(cell)))),
      );
    }
  }

  define("living-network", LivingNetworkElement);
})();
