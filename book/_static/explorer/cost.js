// What a DenseNet costs, by arithmetic alone: utils/spec.py and utils/cost.py once more, equal to them layer by layer.
// Keys of specs, settings and rows are spelled as in Python, because addresses and error sentences name them.
"use strict";

// biome-ignore lint/correctness/noUnusedVariables: other scripts use it.
const DenseNetCost = (() => {
  const BYTES_PER_NUMBER = 4;

  const CHOICES = {
    stem: ["imagenet", "cifar"],
    activation: ["relu", "leaky_relu"],
    pooling: ["average", "max"],
    use_bias: [false, true],
  };

  const imagenetSpec = (growthRate, ...blocks) => ({
    stem: "imagenet",
    initial_channels: 2 * growthRate,
    blocks,
    growth_rate: growthRate,
    bottleneck_width: 4,
    compression: 0.5,
    use_bias: false,
    activation: "relu",
    pooling: "average",
    drop_rate: 0,
  });

  const bottleneckCifarSpec = (depth, growthRate) => {
    const numLayers = (depth - 4) / 6;
    return { ...imagenetSpec(growthRate, numLayers, numLayers, numLayers), stem: "cifar" };
  };

  const plainCifarSpec = (depth, growthRate) => {
    const blocks = Array(3).fill((depth - 4) / 3);
    const plain = { stem: "cifar", initial_channels: 16, bottleneck_width: null, compression: 1 };
    return { ...imagenetSpec(growthRate, ...blocks), ...plain };
  };

  const presets = {
    121: imagenetSpec(32, 6, 12, 24, 16),
    161: imagenetSpec(48, 6, 12, 36, 24),
    169: imagenetSpec(32, 6, 12, 32, 32),
    201: imagenetSpec(32, 6, 12, 48, 32),
    264: imagenetSpec(32, 6, 12, 64, 48),
    "40-12": plainCifarSpec(40, 12),
    "100-12": plainCifarSpec(100, 12),
    "100-24": plainCifarSpec(100, 24),
    "BC-100-12": bottleneckCifarSpec(100, 12),
    "BC-250-24": bottleneckCifarSpec(250, 24),
    "BC-190-40": bottleneckCifarSpec(190, 40),
  };

  // As Python's repr() writes it, for the sentences are the same.
  function inPython(value) {
    if (Array.isArray(value)) return `(${value.map(inPython).join(", ")}${value.length === 1 ? "," : ""})`;
    if (typeof value === "string") return `'${value}'`;
    return { null: "None", true: "True", false: "False" }[value] ?? String(value);
  }

  // Throw a RangeError, in a sentence that says what to change, if no network can be built from the spec.
  function checkSpec(spec) {
    const expected = Object.keys(presets[121]);
    const lacking = expected.filter((name) => !(name in spec));
    const unknown = Object.keys(spec).filter((name) => !expected.includes(name));
    const [wrong] = [...lacking, ...unknown].sort();
    if (wrong !== undefined) {
      throw new RangeError(`The spec ${lacking.includes(wrong) ? "lacks" : "has an unknown key,"} ${inPython(wrong)}.`);
    }
    for (const name of ["growth_rate", "initial_channels"]) checkSize(name, spec[name]);
    const { blocks, bottleneck_width: width, compression, drop_rate: dropRate } = spec;
    if (!Array.isArray(blocks) || !blocks.length) {
      throw new RangeError(`blocks must be a tuple of one or more numbers of layers, and is ${inPython(blocks)}.`);
    }
    for (const numLayers of blocks) checkSize("each of blocks", numLayers);
    if (width !== null) checkSize("bottleneck_width, unless it is None,", width);
    if (!(typeof compression === "number" && compression > 0 && compression <= 1)) {
      throw new RangeError(`compression must be above 0 and at most 1, and is ${inPython(compression)}.`);
    }
    if (!(typeof dropRate === "number" && dropRate >= 0 && dropRate < 1)) {
      throw new RangeError(`drop_rate must be at least 0 and below 1, and is ${inPython(dropRate)}.`);
    }
    for (const [name, choices] of Object.entries(CHOICES)) {
      if (!choices.includes(spec[name])) {
        throw new RangeError(`${name} must be ${choices.map(inPython).join(" or ")}, and is ${inPython(spec[name])}.`);
      }
    }
    let numChannels = spec.initial_channels;
    blocks.slice(0, -1).forEach((numLayers, place) => {
      const read = numChannels + numLayers * spec.growth_rate;
      numChannels = Math.trunc(read * compression);
      if (numChannels === 0) {
        const none = `compression ${compression} leaves none of the ${read} channels of block ${place + 1}`;
        throw new RangeError(`${none}: take a larger share.`);
      }
    });
  }

  function checkSize(name, value) {
    if (!(Number.isInteger(value) && value > 0)) {
      throw new RangeError(`${name} must be a whole number above 0, and is ${inPython(value)}.`);
    }
  }

  const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

  // Every layer of the network, in the order of the forward pass, for an input (batch, channels, side, side).
  // Throws a RangeError for a bad spec, a bad size, or a side that cannot be halved often enough.
  // A network built otherwise is counted by a `Network` that walks otherwise.
  function layers(spec, { side, channels = 3, num_classes = 1000, batch = 1 }, Network = Walk) {
    checkSpec(spec);
    for (const [name, size] of Object.entries({ side, channels, num_classes, batch })) checkSize(name, size);
    const numHalvings = spec.blocks.length - 1;
    const smallest = spec.stem === "imagenet" ? 4 * (2 ** numHalvings - 1) + 1 : 2 ** numHalvings;
    if (side < smallest) {
      throw new RangeError(`A side of ${side} pixels cannot be halved often enough: take at least ${smallest}.`);
    }
    const walk = new Network(spec, batch, channels, side);
    walk.stem();
    spec.blocks.forEach((numLayers, place) => {
      if (place > 0) walk.transition(place);
      walk.denseBlock(place + 1, numLayers);
    });
    walk.head(num_classes);
    return walk.layers;
  }

  // Goes through a network from input to output, and knows the shape that the next layer reads.
  // `numKept` is how many numbers the backward pass keeps for each number of a layer's output.
  class Walk {
    constructor(spec, batch, channels, side) {
      Object.assign(this, { spec, batch, channels, side, stage: "", number: "", layers: [] });
      this.size = batch * channels * side ** 2; // numbers that the layer before has written
    }

    stem() {
      this.stage = "stem";
      if (this.spec.stem === "cifar") {
        this.convolution(this.spec.initial_channels, 3);
        return;
      }
      this.convolution(this.spec.initial_channels, 7, { stride: 2 });
      this.normaliseAndActivate();
      this.side = Math.floor((this.side + 1) / 2);
      // MXNet notes for each maximum where it was found.
      this.row("MaxPool2D 3x3", 2);
    }

    denseBlock(number, numLayers) {
      this.stage = `block ${number}`;
      for (let layer = 1; layer <= numLayers; layer++) {
        this.number = `${layer} `;
        const numRead = this.channels;
        this.denseLayer(this.spec.growth_rate, layer);
        this.join(numRead);
      }
      this.number = "";
    }

    denseLayer(growthRate) {
      const { bottleneck_width: width, drop_rate: dropRate } = this.spec;
      if (width) {
        this.normaliseAndActivate();
        this.convolution(width * growthRate, 1);
      }
      this.normaliseAndActivate();
      this.convolution(growthRate, 3, { numKept: 0 });
      if (dropRate) this.row("Dropout", 1);
    }

    join(numRead) {
      this.channels += numRead;
      this.row("concatenation", 1);
    }

    transition(number) {
      this.stage = `transition ${number}`;
      this.normaliseAndActivate();
      this.convolution(this.transitionWidth(number), 1);
      this.side = Math.floor(this.side / 2);
      if (this.spec.pooling === "max") this.row("MaxPool2D 2x2", 2);
      else this.row("AvgPool2D 2x2", 1);
    }

    transitionWidth() {
      return Math.trunc(this.channels * this.spec.compression);
    }

    head(numClasses) {
      this.stage = "head";
      this.normaliseAndActivate();
      this.side = 1;
      this.row("GlobalAvgPool2D", 1);
      const weights = this.channels * numClasses;
      const parameters = weights + numClasses;
      this.layers.push({
        stage: "head",
        layer: "Dense",
        output_shape: [this.batch, numClasses],
        parameters,
        running_statistics: 0,
        multiply_adds: weights * this.batch,
        activation_bytes: 0,
        bytes_moved: BYTES_PER_NUMBER * (this.size + parameters + this.batch * numClasses),
      });
    }

    normaliseAndActivate() {
      const isLeaky = this.spec.activation === "leaky_relu";
      const parameters = 2 * this.channels;
      this.row("BatchNorm", Number(isLeaky), { parameters, running_statistics: parameters });
      this.row(isLeaky ? "LeakyReLU" : "Activation", 1);
    }

    convolution(channels, window, { stride = 1, numKept = 1 } = {}) {
      const weights = channels * this.channels * window ** 2;
      this.channels = channels;
      this.side = Math.floor((this.side - 1) / stride) + 1;
      const parameters = weights + channels * Number(this.spec.use_bias);
      const multiply_adds = weights * this.side ** 2 * this.batch;
      this.row(`Conv2D ${window}x${window}`, numKept, { parameters, multiply_adds });
    }

    row(name, numKept, { parameters = 0, running_statistics = 0, multiply_adds = 0 } = {}) {
      const output_shape = [this.batch, this.channels, this.side, this.side];
      const size = product(output_shape);
      // A concatenation reads not only the new channels but all that it writes.
      const numRead = name === "concatenation" ? size : this.size;
      this.size = size;
      const activation_bytes = BYTES_PER_NUMBER * numKept * size;
      const bytes_moved = BYTES_PER_NUMBER * (numRead + parameters + running_statistics + size);
      const counts = { parameters, running_statistics, multiply_adds, activation_bytes, bytes_moved };
      this.layers.push({ stage: this.stage, layer: this.number + name, output_shape, ...counts });
    }
  }

  // The sum of the layers, with the last one's output shape.
  function total(layers, stage = "all") {
    const sum = { stage, layer: "", output_shape: layers.at(-1).output_shape };
    for (const count of ["parameters", "running_statistics", "multiply_adds", "activation_bytes", "bytes_moved"]) {
      sum[count] = layers.reduce((before, layer) => before + layer[count], 0);
    }
    return sum;
  }

  // The sum of each stage: stem, blocks, transitions, head.
  const byStage = (layers) =>
    [...new Set(layers.map((layer) => layer.stage))].map((stage) =>
      total(
        layers.filter((layer) => layer.stage === stage),
        stage,
      ),
    );

  // The layers with the activation_bytes of a memory-efficient network (chapter 10): its blocks and transitions compute
  // these again, but for the last concatenation, which is a block's output.
  const RECOMPUTED = /(BatchNorm|Activation|LeakyReLU|concatenation)$/;
  const memoryEfficient = (layers) =>
    layers.map((layer, place) => {
      const isInside = /^(block|transition)/.test(layer.stage) && layer.stage === layers[place + 1].stage;
      return isInside && RECOMPUTED.test(layer.layer) ? { ...layer, activation_bytes: 0 } : layer;
    });

  return { presets, CHOICES, checkSpec, Walk, layers, byStage, total, memoryEfficient };
})();
