// <densenet-explorer>: turn the sizes of a DenseNet, and see at once its drawing to scale, its shapes and its cost.
//
//   <densenet-explorer network="121" side="224" batch="16" show="drawing table memory" linked>
//     What a reader without JavaScript sees.
//   </densenet-explorer>
//
// The one that is `linked` writes its settings into the page's address, and reads them from there:
// #network=121&batch=16&growth_rate=12&blocks=6,12 is DenseNet-121 but for these three.
"use strict";

(() => {
  const { presets, CHOICES, checkSpec, layers, byStage, total, memoryEfficient } = DenseNetCost;
  const { html, svg, scrolling, grouped, inWords, sentence, define, leadsToSection } = Elements;
  const PARTS = ["drawing", "table", "memory"];
  const MOST_LAYERS = 1000;

  const SETTINGS = ["side", "batch", "growth_rate", "blocks", "bottleneck_width", "compression", "stem"];
  SETTINGS.push("initial_channels", "channels", "num_classes");
  const MORE_SETTINGS = ["activation", "pooling", "use_bias", "drop_rate"];

  function settingsOf(network) {
    if (!Object.hasOwn(presets, network)) {
      throw new RangeError(`There is no network '${network}': take one of ${Object.keys(presets).join(", ")}.`);
    }
    const spec = presets[network];
    const input = spec.stem === "imagenet" ? { side: 224, num_classes: 1000 } : { side: 32, num_classes: 10 };
    return { ...spec, ...input, channels: 3, batch: 1 };
  }

  // Values are written as in Python in controls and addresses: None, True, 6,12.
  function asText(value) {
    if (Array.isArray(value)) return value.join(",");
    return { null: "None", true: "True", false: "False" }[value] ?? String(value);
  }

  function asValue(text, name) {
    if (name === "blocks")
      return text
        .split(/[\s,]+/)
        .filter(Boolean)
        .map((part) => asValue(part));
    const named = { None: null, True: true, False: false };
    if (Object.hasOwn(named, text)) return named[text];
    return text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
  }

  const megabytes = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const inMegabytes = (bytes) => megabytes.format(bytes / 1e6);

  /* Drawing */

  const LAYER_WIDTH = 8;
  const BOX_ROOM = 170;
  const ARC_ROOM = 60;
  const FLOOR = ARC_ROOM + 4 + BOX_ROOM;
  const SLOT = 90; // of the narrowest stage: room for its label
  const GAP = 12;

  // What the drawing has a box for: the layers of blocks, and the other stages whole.
  function boxesOf(stages, spec, inputChannels) {
    const boxes = [];
    const blocks = spec.blocks.values();
    let reads = inputChannels;
    for (const {
      stage,
      output_shape: [, channels, side = 1],
    } of stages) {
      if (stage.startsWith("block")) {
        const numLayers = blocks.next().value;
        for (let number = 1; number <= numLayers; number++) {
          const name = `layer ${number} of ${stage}`;
          boxes.push({ stage, name, reads, makes: spec.growth_rate, side, isLayer: true });
          reads += spec.growth_rate;
        }
      } else {
        boxes.push({ stage, name: stage, reads, makes: channels, side, isLayer: false });
        reads = channels;
      }
    }
    return boxes;
  }

  const outputOf = ({ isLayer, reads, makes, side }) =>
    `${grouped(isLayer ? reads + makes : makes)} × ${side} × ${side}`;

  function describe(box, spec) {
    const width = box.isLayer && spec.bottleneck_width;
    const through = width ? `, through a bottleneck of ${grouped(width * spec.growth_rate)}` : "";
    const scores = box.name === "head" ? " scores" : "";
    return `${box.name} reads ${grouped(box.reads)} channels, makes ${grouped(box.makes)}${scores}${through}`;
  }

  // From each box whose output the box at `index` reads: those before it, back to its block's input.
  function arcsTo(boxes, index) {
    const to = boxes[index];
    const sources = boxes.slice(0, index);
    return sources
      .slice(sources.findLastIndex((box) => !box.isLayer))
      .map(({ middle, top }) => {
        const rise = Math.min((to.middle - middle) / 2, ARC_ROOM);
        // A cubic's top is at three quarters of its handles.
        const handle = Math.min(top, to.top) - rise / 0.75;
        return `M${middle} ${top}C${middle} ${handle} ${to.middle} ${handle} ${to.middle} ${to.top}`;
      })
      .join("");
  }

  function place(boxes, spec) {
    const numChannels = boxes.reduce((sum, box) => sum + box.makes, 0);
    const widthOfOne = Math.min(Math.max(LAYER_WIDTH / spec.growth_rate, 500 / numChannels), 3000 / numChannels);
    const heightOfOne = BOX_ROOM / Math.max(...boxes.map((box) => box.side));
    const labels = [];
    let x = 1;
    for (const stage of new Set(boxes.map((box) => box.stage))) {
      const inside = boxes.filter((box) => box.stage === stage);
      const width = inside.reduce((sum, box) => sum + box.makes * widthOfOne, 0);
      const slot = Math.max(width, SLOT);
      labels.push({ stage, middle: x + slot / 2, last: inside.at(-1) });
      let left = x + (slot - width) / 2;
      for (const box of inside) {
        Object.assign(box, { left, width: box.makes * widthOfOne, height: box.side * heightOfOne });
        box.middle = left + box.width / 2;
        box.top = FLOOR - box.height;
        left += box.width;
      }
      x += slot + GAP;
    }
    return { labels, width: Math.ceil(x - GAP + 1) };
  }

  // `point` is called with the layer that the reader points at: at first `name`, or else the last of block 1.
  function draw(stages, spec, inputChannels, title, name, point) {
    const boxes = boxesOf(stages, spec, inputChannels);
    const { labels, width } = place(boxes, spec);
    const arcs = svg("path", { class: "explorer-arcs" });
    const nodes = boxes.map((box) => {
      const kind = box.isLayer ? "explorer-layer" : "explorer-layer explorer-stage";
      const [x, y] = [box.left, box.top];
      return svg(
        "g",
        { class: kind, role: "img", "aria-label": box.name, tabindex: -1 },
        // A finger finds a box of any height.
        svg("rect", { class: "explorer-reach", x, y: 0, width: box.width, height: FLOOR }),
        svg("rect", { class: "explorer-box", x, y, width: box.width, height: box.height }),
      );
    });
    let shown;
    const show = (index) => {
      nodes[shown]?.classList.remove("explorer-shown");
      nodes[shown]?.setAttribute("tabindex", -1);
      shown = index;
      nodes[shown].classList.add("explorer-shown");
      nodes[shown].setAttribute("tabindex", 0);
      arcs.setAttribute("d", arcsTo(boxes, shown));
      point(boxes[shown]);
    };
    const texts = labels.map(({ stage, middle, last }) => {
      const shape = svg("tspan", { x: middle, dy: 17 }, stage === "head" ? grouped(last.makes) : outputOf(last));
      return svg("text", { x: middle, y: FLOOR + 16, "aria-hidden": true }, stage, shape);
    });
    const attributes = { width, height: FLOOR + 40, role: "group", "aria-label": summary(labels, spec, title) };
    const picture = svg("svg", attributes, ...nodes, ...texts, arcs);
    for (const type of ["pointerover", "focusin"]) {
      picture.addEventListener(type, ({ target }) => {
        const index = nodes.indexOf(target.closest(".explorer-layer"));
        if (index >= 0) show(index);
      });
    }
    picture.addEventListener("keydown", (event) => {
      const next = { ArrowLeft: shown - 1, ArrowRight: shown + 1, Home: 0, End: nodes.length - 1 }[event.key];
      // With Alt, an arrow goes back in the browser's history.
      if (next === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      nodes[next]?.focus();
    });
    const same = boxes.findIndex((box) => box.name === name);
    show(same >= 0 ? same : spec.blocks[0]);
    return picture;
  }

  function summary(labels, spec, title) {
    const outputs = labels.filter(({ stage }) => stage.startsWith("block")).map(({ last }) => outputOf(last));
    const numbers = `${inWords(spec.blocks)} layers`;
    const [blocks, sizes] =
      outputs.length > 1
        ? [
            `${outputs.length} dense blocks of ${numbers} with a transition between each two`,
            `The output of the first block is ${outputs[0]}, that of the last ${outputs.at(-1)}.`,
          ]
        : [`one dense block of ${numbers}`, `The output of the block is ${outputs[0]}.`];
    return `${title} to scale, from left to right: the stem, ${blocks}, and the head. ${sizes}`;
  }

  /* Tables */

  // Cells are texts, or { text, share } for a number with a bar under it.
  function table(caption, head, rows, sums) {
    // Columns of one width make their bars comparable.
    const look = (column) => (column ? { style: `width: ${80 / (head.length - 1)}%` } : { class: "explorer-name" });
    const headers = head.map((name, column) => html("th", { scope: "col", ...look(column) }, name));
    const row = ([name, ...cells]) =>
      html(
        "tr",
        {},
        html("th", { scope: "row", class: "explorer-name" }, name),
        ...cells.map(({ text, share = 0 }) => html("td", { style: `--share: ${(100 * share).toFixed(1)}%` }, text)),
      );
    return html(
      "table",
      { class: "table explorer-table" },
      html("caption", {}, html("span", {}, caption)),
      html("thead", {}, html("tr", {}, ...headers)),
      html("tbody", {}, ...rows.map(row)),
      html("tfoot", {}, row(sums)),
    );
  }

  function shapeTable(stages, sum, caption) {
    const row = (stage, share) => [
      stage.stage,
      { text: `(${stage.output_shape.join(", ")})` },
      { text: grouped(stage.parameters), share: share("parameters") },
      { text: grouped(stage.multiply_adds), share: share("multiply_adds") },
      { text: inMegabytes(stage.activation_bytes), share: share("activation_bytes") },
      { text: inMegabytes(stage.bytes_moved), share: share("bytes_moved") },
    ];
    const head = ["stage", "output shape", "parameters", "multiply-adds", "activations, MB", "bytes moved, MB"];
    const rows = stages.map((stage) => row(stage, (count) => stage[count] / sum[count]));
    return table(
      caption,
      head,
      rows,
      row({ ...sum, stage: "total" }, () => 0),
    );
  }

  function memoryTable(plain, efficient, caption) {
    const most = Math.max(...plain.map((stage) => stage.activation_bytes));
    const cell = ({ activation_bytes }) => ({ text: inMegabytes(activation_bytes), share: activation_bytes / most });
    const rows = plain.map((stage, place) => [stage.stage, cell(stage), cell(efficient[place])]);
    const sums = [plain, efficient].map((stages) => ({ text: inMegabytes(total(stages).activation_bytes) }));
    return table(caption, ["stage", "plain, MB", "memory-efficient, MB"], rows, ["total", ...sums]);
  }

  /* Element */

  function control(name) {
    if (name in CHOICES) {
      return html("select", {}, ...CHOICES[name].map((choice) => html("option", {}, asText(choice))));
    }
    if (name === "blocks") return html("input", { type: "text", autocomplete: "off", spellcheck: false });
    const isShare = name === "compression" || name === "drop_rate";
    const limits = isShare ? { min: 0, max: 1, step: 0.05, inputmode: "decimal" } : { min: 1, inputmode: "numeric" };
    const placeholder = name === "bottleneck_width" ? { placeholder: "None" } : {};
    return html("input", { type: "number", autocomplete: "off", ...limits, ...placeholder });
  }

  class DensenetExplorer extends HTMLElement {
    connectedCallback() {
      this.network = "121";
      this.build();
      this.fill(settingsOf(this.network));
      this.open();
      if (this.hasAttribute("linked")) addEventListener("hashchange", this.follow);
    }

    disconnectedCallback() {
      removeEventListener("hashchange", this.follow);
    }

    build() {
      const options = Object.keys(presets).map((network) => html("option", { value: network }, `DenseNet-${network}`));
      const own = html("option", { value: "", disabled: true, hidden: true }, "your own");
      this.controls = { network: html("select", {}, ...options, own) };
      for (const name of [...SETTINGS, ...MORE_SETTINGS]) this.controls[name] = control(name);
      const labelled = (name) => html("label", {}, name.replaceAll("_", " "), this.controls[name]);
      const more = MORE_SETTINGS.map(labelled);
      const form = html(
        "form",
        { class: "explorer-controls", "aria-label": "Settings of the network" },
        ...["network", ...SETTINGS].map(labelled),
        html("details", {}, html("summary", {}, "more settings"), html("div", { class: "explorer-controls" }, ...more)),
      );
      form.addEventListener("input", (event) => this.change(event.target));
      form.addEventListener("submit", (event) => event.preventDefault());
      this.problem = html("p", { class: "explorer-problem", role: "alert" });
      this.status = html("p", { class: "explorer-status", "aria-live": "polite" });
      this.parts = {
        drawing: scrolling("Drawing of the network"),
        table: scrolling("Shapes and costs by stage"),
        memory: scrolling("Activation memory by stage"),
      };
      const toScale =
        "A box is as wide as the channels that it makes, and as high as their side in pixels. Point at one, or walk " +
        "with the arrow keys, to see whose channels it reads.";
      const whatIsKept =
        "These are the activations that the backward pass needs. In the memory-efficient network each block keeps " +
        "its output alone, and computes the rest again (chapter 10). Parameters, gradients, and each layer while " +
        "it is computed come on top.";
      const sections = {
        drawing: [html("p", {}, toScale), this.parts.drawing, this.status],
        table: [this.parts.table],
        memory: [this.parts.memory, html("p", {}, whatIsKept)],
      };
      const shown = this.getAttribute("show")?.split(/\s+/) ?? PARTS;
      this.results = html("div", {}, ...PARTS.filter((part) => shown.includes(part)).flatMap((part) => sections[part]));
      this.replaceChildren(form, this.problem, this.results);
    }

    fill(settings) {
      for (const [name, value] of Object.entries(settings)) {
        if (name in this.controls) this.controls[name].value = value === null ? "" : asText(value);
      }
    }

    read() {
      const names = [...SETTINGS, ...MORE_SETTINGS];
      const text = ({ value, placeholder }) => value || placeholder || "";
      return Object.fromEntries(names.map((name) => [name, asValue(text(this.controls[name]), name)]));
    }

    follow = () => leadsToSection() || this.open();

    open = () => {
      const given = {};
      for (const name of ["network", "side", "batch"]) {
        if (this.hasAttribute(name)) given[name] = this.getAttribute(name);
      }
      // A fragment without "=" names a section of the page.
      if (this.hasAttribute("linked") && location.hash.includes("=")) {
        delete given.side;
        delete given.batch;
        Object.assign(given, Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
      }
      const { network = "121", ...changes } = given;
      this.attempt(() => {
        const settings = settingsOf(network);
        for (const [name, text] of Object.entries(changes)) settings[name] = asValue(text, name);
        this.network = network;
        this.fill(settings);
        this.show(settings);
      });
    };

    change(changed) {
      this.attempt(() => {
        if (changed === this.controls.network) {
          this.network = changed.value;
          this.fill({ ...settingsOf(this.network), batch: this.controls.batch.value });
        }
        const settings = this.read();
        this.show(settings);
        if (this.hasAttribute("linked")) this.link(settings);
      });
    }

    attempt(action) {
      let problem = "";
      try {
        action();
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        problem = error.message;
      }
      if (this.problem.textContent !== problem) this.problem.textContent = problem;
      this.results.classList.toggle("explorer-stale", problem !== "");
    }

    show({ side, batch, channels, num_classes, ...spec }) {
      checkSpec(spec);
      const numLayers = spec.blocks.reduce((sum, number) => sum + number, 0);
      // An address can ask for millions.
      if (numLayers > MOST_LAYERS) {
        const most = `at most ${grouped(MOST_LAYERS)} layers together`;
        throw new RangeError(`blocks must have ${most}, and have ${grouped(numLayers)}.`);
      }
      const isSame = (network) =>
        Object.entries(spec).every(([name, value]) => asText(presets[network][name]) === asText(value));
      const rows = layers(spec, { side, batch, channels, num_classes });
      const [stages, sum, network] = [byStage(rows), total(rows), Object.keys(presets).find(isSame)];
      this.controls.network.value = network ?? "";
      const title = network ? `DenseNet-${network}` : "Your DenseNet";
      const input = `${title}, input (${[batch, channels, side, side].join(", ")})`;
      const point = (box) => {
        this.pointedAt = box.name;
        this.status.textContent = sentence(describe(box, spec));
      };
      const { drawing, table, memory } = this.parts;
      drawing.replaceChildren(draw(stages, spec, channels, title, this.pointedAt, point));
      const whole = "Multiply-adds, activations and bytes moved are for the whole batch.";
      table.replaceChildren(shapeTable(stages, sum, `${input}. ${whole}`));
      const memoryCaption = `${input}: activation memory, plain and memory-efficient.`;
      memory.replaceChildren(memoryTable(stages, byStage(memoryEfficient(rows)), memoryCaption));
    }

    link(settings) {
      const usual = settingsOf(this.network);
      const changes = Object.entries(settings).filter(([name, value]) => asText(value) !== asText(usual[name]));
      const texts = changes.map(([name, value]) => [name, asText(value)]);
      const fragment = new URLSearchParams([["network", this.network], ...texts]).toString().replaceAll("%2C", ",");
      try {
        history.replaceState(history.state, "", `#${fragment}`);
      } catch {
        // Browsers forbid it to some pages without a server, and when it comes too often; the page works without.
      }
    }
  }

  define("densenet-explorer", DensenetExplorer);
})();
