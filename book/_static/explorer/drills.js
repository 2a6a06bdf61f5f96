// Drills on the sizes of a DenseNet: what is asked, what is right, and what a wrong answer betrays.
//
// A drill follows from its kind, its level and a seed. What is right comes from cost.js; the derivation that a reader
// is shown, and the slips by which wrong numbers are known, are expressions such as "64 + 6 × 32".
"use strict";

// biome-ignore lint/correctness/noUnusedVariables: other scripts use it.
const DenseNetDrills = (() => {
  const { presets, Walk, layers, byStage, memoryEfficient } = DenseNetCost;
  const { grouped, inWords } = Elements;

  const LEVELS_OF_A_SET = [1, 1, 1, 2, 2, 2, 2, 3, 3, 3];
  const MOST_SEED = 999999;

  // Numbers that a seed determines: Lehmer's generator with the constants of Park and Miller.
  class Draw {
    constructor(seed) {
      this.state = seed + 1;
      for (let step = 0; step < 8; step++) this.next(); // neighbouring seeds part
    }

    next() {
      this.state = (this.state * 48271) % 2147483647;
      return this.state / 2147483647;
    }

    between(least, most) {
      return least + Math.floor(this.next() * (most - least + 1));
    }

    of(list) {
      return list[this.between(0, list.length - 1)];
    }

    some(list, number) {
      const rest = [...list];
      return Array.from(
        { length: Math.min(number, rest.length) },
        () => rest.splice(this.between(0, rest.length - 1), 1)[0],
      );
    }
  }

  /* What a reader types */

  // The value of a number, or of an expression such as 4*16*(64 + 32). Throws a RangeError where it is neither.
  function evaluate(text) {
    const tokens = text.replace(/(\d)[,\s](?=\d{3}(?!\d))/g, "$1").match(/\d+(\.\d+)?|\*\*|\S/g) ?? [];
    const unreadable = new RangeError(
      `'${text}' is no answer yet: type a number, or an expression such as 4*16*(64 + 32), without letters.`,
    );
    const isNext = (...signs) => signs.includes(tokens[0]);
    const atom = () => {
      const token = tokens.shift() ?? "";
      if (token === "(") {
        const value = sum();
        if (tokens.shift() === ")") return value;
      }
      if (/^\d/.test(token)) return Number(token);
      throw unreadable;
    };
    const power = () => {
      const base = atom();
      if (!isNext("^", "**")) return base;
      tokens.shift();
      return base ** atom();
    };
    const product = () => {
      let value = power();
      while (isNext("*", "×", "·", "x", "/")) value = tokens.shift() === "/" ? value / power() : value * power();
      return value;
    };
    const sum = () => {
      let value = product();
      while (isNext("+", "-", "−")) value = tokens.shift() === "+" ? value + product() : value - product();
      return value;
    };
    const value = sum();
    if (tokens.length) throw unreadable;
    return value;
  }

  // The four numbers of a shape such as (16, 64, 8, 8). Throws a RangeError where there are not four.
  function shapeOf(text) {
    const shape = text
      .replace(/[()[\]]/g, " ")
      .split(/[\s,;×x*]+/)
      .filter(Boolean)
      .map(Number);
    if (shape.length !== 4 || !shape.every(Number.isInteger)) {
      throw new RangeError(`'${text}' is no shape yet: type batch, channel, height and width, such as 16, 64, 8, 8.`);
    }
    return shape;
  }

  /* The networks that are asked about */

  const plainNetwork = (changes) => ({ ...presets["40-12"], ...changes });
  const bottleneckNetwork = (changes) => ({ ...presets["BC-100-12"], ...changes });
  const stageOf = (rows, name) => byStage(rows).find(({ stage }) => stage === name);
  const outputOf = (rows, name) => stageOf(rows, name).output_shape;
  const channelsOf = (spec, stage) => outputOf(layers(spec, { side: 32 }), stage)[1];
  const inBlock = (number, rows) => rows.filter(({ stage }) => stage === `block ${number}`);
  const sumOf = (rows, count) => rows.reduce((sum, row) => sum + row[count], 0);
  const shown = (shape) => `(${shape.join(", ")})`;

  // A block as questions ask about it: how many layers, at which growth rate, reading how many channels.
  const block = (draw, most = 12) => ({
    numLayers: draw.between(2, most),
    growthRate: draw.of([8, 12, 16, 24, 32]),
    read: draw.of([16, 24, 32, 48, 64, 80, 96, 128]),
  });
  const blockText = ({ numLayers, growthRate }) =>
    `A dense block of ${numLayers} layers with growth rate ${growthRate}`;

  // The numbers of channels that the layers of a block read, as far as layer `last`.
  const reads = ({ read, growthRate }, last) => Array.from({ length: last }, (_, before) => read + before * growthRate);

  /* Channels */

  const blockSlips = ({ numLayers, growthRate, read }) => [
    [`${numLayers} × ${growthRate}`, "the channels that the block adds, but it returns those that it read as well"],
    [`${read} + ${growthRate}`, `what its first layer leaves, but each of the ${numLayers} layers adds ${growthRate}`],
    [`${read} + ${numLayers - 1} × ${growthRate}`, "what its last layer reads, but that layer adds its own channels"],
    [`${read} + ${numLayers}`, `a channel for each layer, but each adds ${growthRate}`],
    [`${read}`, "what it reads, as if its layers added instead of concatenating"],
    [`${growthRate}`, "what its last layer makes, but a block returns everything before that, too"],
    [`${read} × ${numLayers}`, "the input for each layer, but it is there only once"],
    [`${read} + ${numLayers} × 4 × ${growthRate}`, "a count of the bottlenecks, which stay inside the layers"],
    [
      `${read} + ${growthRate} × (2 ** ${numLayers} - 1)`,
      "a growth rate that doubles, but it is the same in each layer",
    ],
  ];

  function channelsOfBlock(draw) {
    const it = block(draw);
    const { numLayers, growthRate, read } = it;
    return {
      question: `${blockText(it)} reads ${read} channels. How many channels does it return?`,
      answer: channelsOf(
        plainNetwork({ initial_channels: read, blocks: [numLayers], growth_rate: growthRate }),
        "block 1",
      ),
      worked: `${read} + ${numLayers} × ${growthRate}`,
      slips: blockSlips(it),
    };
  }

  function channelsOfLayer(draw) {
    const it = block(draw);
    const { numLayers, growthRate, read } = it;
    const layer = draw.between(2, numLayers);
    const spec = plainNetwork({ initial_channels: read, blocks: [layer - 1], growth_rate: growthRate });
    return {
      question: `${blockText(it)} reads ${read} channels. How many channels does its layer ${layer} read?`,
      answer: channelsOf(spec, "block 1"), // what the layers before it leave
      worked: `${read} + ${layer - 1} × ${growthRate}`,
      slips: [
        [
          `${read} + ${layer} × ${growthRate}`,
          "what is there after the layer; it reads what the layers before it left",
        ],
        [`${read} + ${numLayers} × ${growthRate}`, "what the whole block returns"],
        [`${layer - 1} × ${growthRate}`, "what the layers before it made, but it reads the block's input as well"],
        [`${read}`, "what the block reads, but after layer 1 a layer reads more than that"],
        [`${growthRate}`, "what the layer before it makes, as if the block were a chain"],
        [`${read} + ${growthRate}`, "what layer 2 reads"],
      ],
    };
  }

  function channelsOfTransition(draw) {
    const it = block(draw);
    const { numLayers, growthRate, read } = it;
    const compression = draw.of([0.25, 0.5, 0.5, 0.75]);
    const changes = { initial_channels: read, blocks: [numLayers, 1], growth_rate: growthRate, compression };
    const after = `${read} + ${numLayers} × ${growthRate}`;
    return {
      question:
        `${blockText(it)} and bottlenecks of ${4 * growthRate} channels reads ${read} channels. ` +
        `A transition with compression ${compression} follows. How many channels does the transition return?`,
      answer: channelsOf(bottleneckNetwork(changes), "transition 1"),
      worked: `(${after}) × ${compression}`,
      slips: [
        [after, `what the block returns, but the transition keeps a share of ${compression}`],
        [`(${after}) × ${1 - compression}`, "what the transition drops"],
        [`${read} × ${compression} + ${numLayers} × ${growthRate}`, "a compression of the input alone"],
        [`${read} + ${numLayers} × ${growthRate} × ${compression}`, "a compression of the new channels alone"],
        [
          `(${read} + ${numLayers} × ${4 * growthRate}) × ${compression}`,
          "a count of the bottlenecks, which stay inside the layers",
        ],
        [`${read} × ${compression}`, "a transition behind the block's input, but the block has added channels"],
        [`(${read} + ${growthRate}) × ${compression}`, "a block of one layer"],
        [`(${after}) × ${compression} / 2`, "one factor too many: it is the side that the pooling halves"],
      ],
    };
  }

  function channelsBeforeBlock(draw) {
    const it = block(draw);
    const { numLayers, growthRate, read } = it;
    const spec = plainNetwork({ initial_channels: read, blocks: [numLayers], growth_rate: growthRate });
    const returned = channelsOf(spec, "block 1");
    return {
      question: `${blockText(it)} returns ${returned} channels. How many channels does it read?`,
      answer: spec.initial_channels,
      worked: `${returned} - ${numLayers} × ${growthRate}`,
      slips: [
        [`${numLayers} × ${growthRate}`, "what the block adds, and the rest is what it reads"],
        [`${returned} - ${growthRate}`, "what its last layer reads, but the layers before that added channels, too"],
        [`${returned} - ${numLayers - 1} × ${growthRate}`, "what its second layer reads"],
        [`${returned} + ${numLayers} × ${growthRate}`, "what a second such block would return"],
        [`${returned} - ${numLayers}`, `a channel for each layer, but each adds ${growthRate}`],
        [`${returned}`, "what it returns, as if its layers added instead of concatenating"],
      ],
    };
  }

  const network = (draw, numBlocks) => ({
    first: draw.of([16, 24, 32, 48, 64]),
    blocks: Array.from({ length: numBlocks }, () => draw.between(2, 10)),
    growthRate: draw.of([8, 12, 16, 24, 32]),
  });
  const networkText = ({ first, blocks, growthRate }) =>
    `A DenseNet has a stem of ${first} channels, blocks of ${inWords(blocks)} layers, growth rate ${growthRate} and compression 0.5.`;
  const networkSpec = ({ first, blocks, growthRate }) =>
    bottleneckNetwork({ initial_channels: first, blocks, growth_rate: growthRate });

  function channelsOfSecondBlock(draw) {
    const it = network(draw, 2);
    const {
      first,
      blocks: [one, two],
      growthRate,
    } = it;
    const before = `(${first} + ${one} × ${growthRate}) × 0.5`;
    return {
      question: `${networkText(it)} How many channels does block 2 return?`,
      answer: channelsOf(networkSpec(it), "block 2"),
      worked: `${before} + ${two} × ${growthRate}`,
      slips: [
        [
          `${first} + ${one} × ${growthRate} + ${two} × ${growthRate}`,
          "a network without a transition between its blocks",
        ],
        [
          `(${first} + ${one} × ${growthRate} + ${two} × ${growthRate}) × 0.5`,
          "a transition at the end, but it stands between the blocks",
        ],
        [before, "what block 2 reads"],
        [`${first} + ${two} × ${growthRate}`, "a network without its first block"],
        [`${first} + ${one} × ${growthRate}`, "what block 1 returns"],
        [`${first} × 0.5 + ${two} × ${growthRate}`, "a network whose first block adds nothing"],
      ],
    };
  }

  function channelsOfHead(draw) {
    const it = network(draw, 3);
    const {
      first,
      blocks: [one, two, three],
      growthRate,
    } = it;
    const second = `(${first} + ${one} × ${growthRate}) × 0.5 + ${two} × ${growthRate}`;
    const all = `${first} + (${one} + ${two} + ${three}) × ${growthRate}`;
    return {
      question: `${networkText(it)} How many channels reach the head?`,
      answer: channelsOf(networkSpec(it), "block 3"),
      worked: `(${second}) × 0.5 + ${three} × ${growthRate}`,
      slips: [
        [all, "a network without transitions"],
        [
          `(${first} + (${one} + ${two}) × ${growthRate}) × 0.5 + ${three} × ${growthRate}`,
          "a count that the first transition did not halve",
        ],
        [
          `((${second}) × 0.5 + ${three} × ${growthRate}) × 0.5`,
          "one transition too many: none follows the last block",
        ],
        [`(${second}) × 0.5`, "what the last block reads"],
        [second, "what block 2 returns"],
        [`${second} + ${three} × ${growthRate}`, "a network without its second transition"],
      ],
    };
  }

  function channelsOfDeepLayer(draw) {
    const it = network(draw, 3);
    const {
      first,
      blocks: [one, two, three],
      growthRate,
    } = it;
    const layer = draw.between(2, three);
    const transition = `((${first} + ${one} × ${growthRate}) × 0.5 + ${two} × ${growthRate}) × 0.5`;
    return {
      question: `${networkText(it)} How many channels does layer ${layer} of block 3 read?`,
      answer: channelsOf({ ...networkSpec(it), blocks: [one, two, layer - 1] }, "block 3"),
      worked: `${transition} + ${layer - 1} × ${growthRate}`,
      slips: [
        [
          `${transition} + ${layer} × ${growthRate}`,
          "what is there after the layer; it reads what the layers before it left",
        ],
        [`${transition} + ${three} × ${growthRate}`, "what the whole block returns"],
        [transition, "what the block reads, but after layer 1 a layer reads more than that"],
        [`${layer - 1} × ${growthRate}`, "what the layers before it made, but it reads the block's input as well"],
        [`${first} + (${one} + ${two} + ${layer - 1}) × ${growthRate}`, "a network without transitions"],
        [
          `(${first} + (${one} + ${two}) × ${growthRate}) × 0.5 + ${layer - 1} × ${growthRate}`,
          "a count that the first transition did not halve",
        ],
        [`${growthRate}`, "what the layer before it makes, as if the block were a chain"],
      ],
    };
  }

  /* Shapes */

  const batchOf = (draw) => draw.of([2, 4, 8, 16, 32]);

  function shapeOfBlock(draw) {
    const it = block(draw);
    const { numLayers, growthRate, read } = it;
    const [batch, side] = [batchOf(draw), draw.of([7, 8, 14, 16, 28, 32, 56])];
    const spec = plainNetwork({ initial_channels: read, blocks: [numLayers], growth_rate: growthRate });
    return {
      question: `${blockText(it)} reads the shape ${shown([batch, read, side, side])}. What shape does it return?`,
      answer: outputOf(layers(spec, { batch, side }), "block 1"),
      worked: `The channels become ${read} + ${numLayers} × ${growthRate}, and the rest stays as it is`,
      slips: blockSlips(it),
    };
  }

  function shapeOfTransition(draw) {
    const compression = draw.of([0.25, 0.5, 0.5, 0.75]);
    const [batch, side] = [batchOf(draw), draw.of([7, 8, 14, 15, 28, 31, 32, 56])];
    const { numLayers, growthRate, read } = block(draw);
    const changes = { initial_channels: read, blocks: [numLayers, 1], growth_rate: growthRate, compression };
    const rows = layers(bottleneckNetwork(changes), { batch, side });
    const given = outputOf(rows, "block 1");
    const rounded = side % 2 ? ", rounded down" : "";
    return {
      question: `A transition with compression ${compression} reads the shape ${shown(given)}. What shape does it return?`,
      answer: outputOf(rows, "transition 1"),
      worked: `The channels become ${given[1]} × ${compression}, height and width ${side} / 2${rounded}`,
      slips: [
        [`${given[1]}`, "what it reads: the compression says which share of them it keeps"],
        [`${given[1]} × ${1 - compression}`, "what the transition drops"],
        [`${given[1]} × ${compression} / 2`, "one factor too many: it is the side that the pooling halves"],
      ],
    };
  }

  function shapeOfBlockAndTransition(draw) {
    const it = block(draw);
    const { numLayers, growthRate, read } = it;
    const [batch, side] = [batchOf(draw), draw.of([7, 8, 14, 15, 28, 31, 32, 56])];
    const changes = { initial_channels: read, blocks: [numLayers, 1], growth_rate: growthRate };
    const after = `${read} + ${numLayers} × ${growthRate}`;
    const rounded = side % 2 ? ", rounded down" : "";
    return {
      question:
        `${blockText(it)} reads the shape ${shown([batch, read, side, side])}. ` +
        "A transition with compression 0.5 follows. What shape does the transition return?",
      answer: outputOf(layers(bottleneckNetwork(changes), { batch, side }), "transition 1"),
      worked: `The channels become (${after}) × 0.5, height and width ${side} / 2${rounded}`,
      slips: [
        [after, "what the block returns, but the transition halves them"],
        [`${read} × 0.5`, "a transition behind the block's input, but the block has added channels"],
        [`${read} × 0.5 + ${numLayers} × ${growthRate}`, "a compression of the input alone"],
        [`(${after}) × 0.25`, "one factor too many: it is the side that the pooling halves"],
      ],
    };
  }

  function shapeInNetwork(draw) {
    const name = draw.of(["121", "161", "169", "201", "264", "BC-100-12", "BC-250-24", "BC-190-40"]);
    const spec = presets[name];
    const isImagenet = spec.stem === "imagenet";
    const sides = isImagenet ? [100, 112, 128, 160, 192, 224, 256] : [28, 32, 48, 64];
    const [batch, side] = [batchOf(draw), draw.of(sides)];
    const stages = byStage(layers(spec, { batch, side })).slice(0, -1);
    const asked = draw.between(0, stages.length - 1);
    const stem = isImagenet ? "the stem of ImageNet's networks" : "a stem of one 3×3 convolution";
    return {
      question:
        `DenseNet-${name} has ${stem} with ${spec.initial_channels} channels, blocks of ${inWords(spec.blocks)} ` +
        `layers, growth rate ${spec.growth_rate} and compression ${spec.compression}. It reads ${batch} colour images ` +
        `of ${side} by ${side} pixels. What shape does ${withArticle(stages[asked].stage)} return?`,
      answer: stages[asked].output_shape,
      worked: `From stage to stage: ${stages
        .slice(0, asked + 1)
        .map(({ stage, output_shape }) => `${stage} ${shown(output_shape)}`)
        .join(", ")}`,
      slips: stages.map(({ stage, output_shape }) => [`${output_shape[1]}`, `what ${withArticle(stage)} returns`]),
    };
  }

  /* Parameters */

  const NO_GRADIENT = "a count of the running means and variances, too, but no gradient trains those";

  function parametersOfConvolution(draw) {
    const [read, makes, window] = [draw.of([3, 16, 24, 32, 64]), draw.of([8, 12, 16, 32, 48]), draw.of([1, 3, 3])];
    const spec =
      window === 3
        ? plainNetwork({ initial_channels: read, blocks: [1], growth_rate: makes })
        : bottleneckNetwork({ initial_channels: read, blocks: [1], growth_rate: makes, bottleneck_width: 1 });
    const worked = `${read} × ${makes} × ${window} × ${window}`;
    return {
      question: `A ${window}×${window} convolution without bias reads ${read} channels and makes ${makes}. How many parameters does it have?`,
      answer: layers(spec, { side: 32 }).find(({ layer }) => layer === `1 Conv2D ${window}x${window}`).parameters,
      worked,
      slips: [
        [`${worked} + ${makes}`, "a count with a bias for each channel, but this convolution has none"],
        [`${makes} × ${window} × ${window}`, "a count of kernels that read one channel, but each reads all"],
        [`${read} × ${window} × ${window}`, "the weights of one output channel"],
        [
          `${read} × ${makes}`,
          `a 1×1 convolution, but each kernel has ${window} × ${window} weights for every channel`,
        ],
        [`${read} × ${makes} × ${window}`, "a window one pixel high"],
        [`${read} × ${makes} × 3 × 3`, "a 3×3 convolution"],
        [`(${read} + ${makes}) × ${window} × ${window}`, "a sum of the channels, but every output reads every input"],
      ],
    };
  }

  function parametersOfNormalisation(draw) {
    const read = draw.of([16, 24, 32, 48, 64, 80, 96, 128, 192, 256]);
    return {
      question: `A batch normalisation reads ${read} channels. How many parameters of it does a gradient train?`,
      answer: layers(plainNetwork({ initial_channels: read, blocks: [1] }), { side: 32 }).find(
        ({ layer }) => layer === "1 BatchNorm",
      ).parameters,
      worked: `2 × ${read}`,
      slips: [
        [`4 × ${read}`, NO_GRADIENT],
        [`${read}`, "one for each channel, but each has a scale and a shift"],
        [`${read} × ${read}`, "a weight for each pair of channels, but a normalisation mixes none"],
      ],
    };
  }

  function parametersOfDense(draw) {
    const [read, classes] = [draw.of([64, 96, 132, 256, 342, 512, 1024]), draw.of([2, 7, 10, 20, 100])];
    const spec = plainNetwork({ initial_channels: read - 12, blocks: [1], growth_rate: 12 });
    return {
      question: `A linear layer with bias makes ${classes} scores from ${read} channels. How many parameters does it have?`,
      answer: layers(spec, { side: 32, num_classes: classes }).at(-1).parameters,
      worked: `${read} × ${classes} + ${classes}`,
      slips: [
        [`${read} × ${classes}`, "the weights alone, but each score has a bias"],
        [`${read} × ${classes} + ${read}`, "a bias for each channel, but it is each score that has one"],
        [`${read} × ${classes} + 1`, "one bias for all, but each score has its own"],
        [`${read} + ${classes}`, "a sum, but every score reads every channel"],
      ],
    };
  }

  function parametersOfPlainLayer(draw) {
    const { growthRate, read } = block(draw);
    const spec = plainNetwork({ initial_channels: read, blocks: [1], growth_rate: growthRate });
    const weights = `${read} × ${growthRate} × 3 × 3`;
    return {
      question:
        `A plain layer of a dense block (normalisation, ReLU, 3×3 convolution without bias) reads ${read} channels ` +
        `with growth rate ${growthRate}. How many parameters does a gradient train?`,
      answer: sumOf(inBlock(1, layers(spec, { side: 32 })), "parameters"),
      worked: `2 × ${read} + ${weights}`,
      slips: [
        [weights, "the convolution alone, but the normalisation has a scale and a shift for each channel"],
        [`4 × ${read} + ${weights}`, NO_GRADIENT],
        [`${read} + ${weights}`, "a normalisation with a scale alone, but it has a shift as well"],
        [`2 × ${growthRate} + ${weights}`, "a normalisation after the convolution, but it stands before"],
        [`2 × ${read} + ${read} × ${growthRate}`, "a layer with a 1×1 convolution"],
        [`2 × ${read} + ${weights} + ${growthRate}`, "a count with a bias for each new channel, but there is none"],
        [
          `2 × ${read} + ${read} × (${read} + ${growthRate}) × 3 × 3`,
          "a convolution that makes what it reads again, but it makes the new channels alone",
        ],
      ],
    };
  }

  function parametersOfTransition(draw) {
    const read = draw.of([64, 80, 88, 112, 128, 152, 256]);
    const compression = draw.of([0.25, 0.5, 0.5, 1]);
    const spec = plainNetwork({ initial_channels: read - 12, blocks: [1, 1], growth_rate: 12, compression });
    const rows = layers(spec, { side: 32 });
    const makes = outputOf(rows, "transition 1")[1];
    return {
      question:
        "A transition (normalisation, ReLU, 1×1 convolution without bias, average pooling) with compression " +
        `${compression} reads ${read} channels. How many parameters does a gradient train?`,
      answer: stageOf(rows, "transition 1").parameters,
      worked: `2 × ${read} + ${read} × ${makes}`,
      slips: [
        [`${read} × ${makes}`, "the convolution alone, but the normalisation has a scale and a shift for each channel"],
        [`4 × ${read} + ${read} × ${makes}`, NO_GRADIENT],
        [`2 × ${makes} + ${read} × ${makes}`, "a normalisation after the convolution, but it stands before"],
        [`2 × ${read} + ${read} × ${read}`, "a transition without compression"],
        [`2 × ${read} + ${read} × ${makes} × 3 × 3`, "a 3×3 convolution, but this one is 1×1"],
        [`2 × ${read} + ${read} × ${makes} + ${makes}`, "a count with a bias for each channel, but there is none"],
        [`2 × ${read} + ${read} × ${makes} × 2 × 2`, "a count of weights for the pooling, but it has none"],
      ],
    };
  }

  function parametersOfHead(draw) {
    const [read, classes] = [draw.of([64, 96, 132, 256, 342, 512, 1024]), draw.of([10, 20, 100])];
    const spec = plainNetwork({ initial_channels: read - 12, blocks: [1], growth_rate: 12 });
    return {
      question:
        `A head (normalisation, ReLU, global average pooling, linear layer with bias) reads ${read} channels and makes ` +
        `${classes} scores. How many parameters does a gradient train?`,
      answer: stageOf(layers(spec, { side: 32, num_classes: classes }), "head").parameters,
      worked: `2 × ${read} + ${read} × ${classes} + ${classes}`,
      slips: [
        [
          `${read} × ${classes} + ${classes}`,
          "the linear layer alone, but the normalisation has a scale and a shift for each channel",
        ],
        [`4 × ${read} + ${read} × ${classes} + ${classes}`, NO_GRADIENT],
        [`2 × ${read} + ${read} × ${classes}`, "a head without biases"],
        [`${read} × ${classes}`, "the weights of the linear layer alone"],
        [
          `2 × ${classes} + ${read} × ${classes} + ${classes}`,
          "a normalisation of the scores, but it is the channels that are normalised",
        ],
      ],
    };
  }

  function parametersOfBottleneckLayer(draw) {
    const { growthRate, read } = block(draw);
    const spec = bottleneckNetwork({ initial_channels: read, blocks: [1], growth_rate: growthRate });
    const width = 4 * growthRate;
    const [narrow, wide] = [`${read} × ${width}`, `${width} × ${growthRate} × 3 × 3`];
    return {
      question:
        `A layer with a bottleneck of 4 times the growth rate reads ${read} channels with growth rate ${growthRate}. ` +
        "Its convolutions have no bias. How many parameters does a gradient train?",
      answer: sumOf(inBlock(1, layers(spec, { side: 32 })), "parameters"),
      worked: `2 × ${read} + ${narrow} + 2 × ${width} + ${wide}`,
      slips: [
        [`${narrow} + ${wide}`, "the convolutions alone, but a normalisation stands before each"],
        [`2 × ${read} + ${narrow} + ${wide}`, "a layer without its second normalisation"],
        [`4 × ${read} + ${narrow} + 4 × ${width} + ${wide}`, NO_GRADIENT],
        [`2 × ${read} + ${read} × ${growthRate} × 3 × 3`, "a plain layer without a bottleneck"],
        [
          `2 × ${read} + ${narrow} + 2 × ${width} + ${width} × ${width} × 3 × 3`,
          "a bottleneck that stays wide: the 3×3 convolution makes as many channels as the growth rate says",
        ],
        [
          `2 × ${width} + ${narrow} + 2 × ${growthRate} + ${wide}`,
          "normalisations after the convolutions, but they stand before",
        ],
        [
          `2 × ${read} + ${narrow} + 2 × ${width} + ${width} × ${growthRate}`,
          "a second convolution of 1×1, but it is 3×3",
        ],
        [`2 × ${read} + ${narrow} × 3 × 3 + 2 × ${width} + ${wide}`, "a first convolution of 3×3, but it is 1×1"],
        [
          `2 × ${read} + ${narrow} + 2 × ${read} + ${wide}`,
          "a second normalisation that reads the layer's input, but it reads the bottleneck",
        ],
        [
          `2 × ${read} + ${narrow} + 2 × ${width} + ${wide} + ${width} + ${growthRate}`,
          "a count with biases, but there are none",
        ],
      ],
    };
  }

  function parametersOfPlainBlock(draw) {
    const it = block(draw, 4);
    const { numLayers, growthRate, read } = it;
    const spec = plainNetwork({ initial_channels: read, blocks: [numLayers], growth_rate: growthRate });
    const each = reads(it, numLayers);
    const perChannel = `(2 + 9 × ${growthRate})`;
    return {
      question:
        `A block of ${numLayers} plain layers (normalisation, ReLU, 3×3 convolution without bias) with growth rate ` +
        `${growthRate} reads ${read} channels. How many parameters does a gradient train?`,
      answer: stageOf(layers(spec, { side: 32 }), "block 1").parameters,
      worked: `${perChannel} × (${each.join(" + ")})`,
      slips: [
        [
          `${numLayers} × ${perChannel} × ${read}`,
          "the first layer for each, but each layer reads more than the one before it",
        ],
        [`9 × ${growthRate} × (${each.join(" + ")})`, "the convolutions alone, but a normalisation stands before each"],
        [`(4 + 9 × ${growthRate}) × (${each.join(" + ")})`, NO_GRADIENT],
        [`${perChannel} × ${each.at(-1)}`, "the last layer alone"],
        [`${perChannel} × ${read}`, "the first layer alone"],
        [
          `${perChannel} × (${reads(it, numLayers + 1)
            .slice(1)
            .join(" + ")})`,
          "what would be there if each layer read its own output, too",
        ],
        [
          `${perChannel} × (${[read, ...Array(numLayers - 1).fill(growthRate)].join(" + ")})`,
          "a chain, in which a layer reads only the one before it",
        ],
      ],
    };
  }

  function parametersOfBottleneckBlock(draw) {
    const it = block(draw, 3);
    const { numLayers, growthRate, read } = it;
    const spec = bottleneckNetwork({ initial_channels: read, blocks: [numLayers], growth_rate: growthRate });
    const each = reads(it, numLayers);
    const width = 4 * growthRate;
    const second = `${numLayers} × (2 + 9 × ${growthRate}) × ${width}`;
    return {
      question:
        `A block of ${numLayers} layers with bottlenecks of ${width} channels and growth rate ${growthRate} reads ` +
        `${read} channels. Its convolutions have no bias. How many parameters does a gradient train?`,
      answer: stageOf(layers(spec, { side: 32 }), "block 1").parameters,
      worked: `(2 + ${width}) × (${each.join(" + ")}) + ${second}`,
      slips: [
        [
          `${numLayers} × ((2 + ${width}) × ${read} + (2 + 9 × ${growthRate}) × ${width})`,
          "the first layer for each, but each layer reads more than the one before it",
        ],
        [
          `${width} × (${each.join(" + ")}) + ${numLayers} × 9 × ${growthRate} × ${width}`,
          "the convolutions alone, but a normalisation stands before each",
        ],
        [`(4 + ${width}) × (${each.join(" + ")}) + ${numLayers} × (4 + 9 × ${growthRate}) × ${width}`, NO_GRADIENT],
        [`(2 + 9 × ${growthRate}) × (${each.join(" + ")})`, "a block of plain layers without bottlenecks"],
        [`(2 + ${width}) × (${each.join(" + ")})`, "the first half of each layer alone"],
        [
          `(2 + ${width}) × (${each.join(" + ")}) + (2 + 9 × ${growthRate}) × ${width}`,
          "the 3×3 convolution of one layer, but each has its own",
        ],
      ],
    };
  }

  /* Memory */

  const maps = (draw) => ({ batch: draw.of([2, 4, 8, 16]), side: draw.of([4, 7, 8, 14, 16]) });
  const NO_BYTES = "a count of numbers, but each takes 4 bytes";
  const KEPT = "How many bytes, in 32-bit numbers, does it keep for the backward pass?";

  function memoryOfArray(draw) {
    const [{ batch, side }, channels] = [maps(draw), draw.of([3, 12, 16, 24, 32, 64, 128])];
    const spec = plainNetwork({ initial_channels: channels, blocks: [1] });
    const worked = `4 × ${batch} × ${channels} × ${side} × ${side}`;
    return {
      question: `An array of 32-bit numbers has the shape ${shown([batch, channels, side, side])}. How many bytes does it take?`,
      answer: stageOf(layers(spec, { batch, side }), "stem").activation_bytes,
      worked,
      slips: [
        [`${batch} × ${channels} × ${side} × ${side}`, NO_BYTES],
        [`4 × ${channels} × ${side} × ${side}`, `the bytes of one image, but the batch has ${batch}`],
        [`32 × ${batch} × ${channels} × ${side} × ${side}`, "a count of bits"],
        [`8 × ${batch} × ${channels} × ${side} × ${side}`, "the bytes of 64-bit numbers"],
        [`4 × ${batch} × ${channels} × ${side}`, "a map of one row"],
      ],
    };
  }

  function memoryOfConcatenation(draw) {
    const [{ batch, side }, { growthRate, read }] = [maps(draw), block(draw)];
    const spec = plainNetwork({ initial_channels: read, blocks: [1], growth_rate: growthRate });
    return {
      question:
        `A dense block concatenates ${shown([batch, read, side, side])} and ${shown([batch, growthRate, side, side])}, ` +
        "both of 32-bit numbers. How many bytes does the new array take?",
      answer: layers(spec, { batch, side }).find(({ layer }) => layer === "1 concatenation").activation_bytes,
      worked: `4 × ${batch} × (${read} + ${growthRate}) × ${side} × ${side}`,
      slips: [
        [
          `4 × ${batch} × ${growthRate} × ${side} × ${side}`,
          "the new channels alone, but a concatenation copies the old ones, too",
        ],
        [`4 × ${batch} × ${read} × ${side} × ${side}`, "the old channels alone"],
        [`${batch} × (${read} + ${growthRate}) × ${side} × ${side}`, NO_BYTES],
        [`4 × (${read} + ${growthRate}) × ${side} × ${side}`, `the bytes of one image, but the batch has ${batch}`],
        [
          `4 × ${batch} × 2 × ${read} × ${side} × ${side}`,
          "what would be there if the layer made as many channels as it reads",
        ],
      ],
    };
  }

  function memoryOfPlainLayer(draw) {
    const [{ batch, side }, { growthRate, read }] = [maps(draw), block(draw)];
    const spec = plainNetwork({ initial_channels: read, blocks: [1], growth_rate: growthRate });
    const bytes = (channels) => `4 × ${batch} × ${side} × ${side} × (${channels})`;
    return {
      question:
        "A plain layer of a dense block (normalisation, ReLU, 3×3 convolution, concatenation) reads the shape " +
        `${shown([batch, read, side, side])} with growth rate ${growthRate}. What it reads was counted before. ${KEPT}`,
      answer: sumOf(inBlock(1, layers(spec, { batch, side })), "activation_bytes"),
      worked: bytes(`${read} + ${read} + ${growthRate}`),
      because: "The ReLU's output and the concatenation are kept; the ReLU writes over what the normalisation wrote.",
      slips: [
        [bytes(`${read}`), "the ReLU's output alone, but the concatenation is a copy of all channels"],
        [
          bytes(`${read} + ${growthRate}`),
          "the concatenation alone, but the convolution needs what it read, the ReLU's output",
        ],
        [bytes(`${growthRate}`), "the new channels alone, but most of what is kept are copies of the old ones"],
        [
          bytes(`${read} + ${growthRate} + ${read} + ${growthRate}`),
          "a count of the convolution's output, too, but the concatenation has copied it",
        ],
        [
          bytes(`${read} + ${read} + ${read} + ${growthRate}`),
          "a count of the normalisation's output, too, but the ReLU writes over it",
        ],
        [
          bytes(`${read} + ${read} + ${read} + ${growthRate} + ${growthRate}`),
          "a count of everything that is made, but not all of it is needed again",
        ],
        [`${batch} × ${side} × ${side} × (${read} + ${read} + ${growthRate})`, NO_BYTES],
      ],
    };
  }

  function memoryOfBottleneckLayer(draw) {
    const [{ batch, side }, { growthRate, read }] = [maps(draw), block(draw)];
    const spec = bottleneckNetwork({ initial_channels: read, blocks: [1], growth_rate: growthRate });
    const width = 4 * growthRate;
    const bytes = (channels) => `4 × ${batch} × ${side} × ${side} × (${channels})`;
    const kept = `${read} + ${width} + ${width} + ${read} + ${growthRate}`;
    return {
      question:
        `A layer with a bottleneck of ${width} channels reads the shape ${shown([batch, read, side, side])} with growth ` +
        `rate ${growthRate}, and its output is concatenated with what it read. What it reads was counted before. ${KEPT}`,
      answer: sumOf(inBlock(1, layers(spec, { batch, side })), "activation_bytes"),
      worked: bytes(kept),
      because:
        "Kept are the first ReLU's output, the bottleneck, the second ReLU's output and the concatenation; " +
        "a ReLU writes over what the normalisation before it wrote.",
      slips: [
        [
          bytes(`${read} + ${read} + ${growthRate}`),
          "what a plain layer keeps; a bottleneck is kept twice, as the convolution wrote it and after its ReLU",
        ],
        [
          bytes(`${read} + ${width} + ${read} + ${growthRate}`),
          "a count with one of the bottleneck's two arrays: the normalisation needs what it read, the convolution what the ReLU wrote",
        ],
        [bytes(`${read} + ${width} + ${width}`), "a layer without its concatenation, which is a copy of all channels"],
        [
          bytes(`${kept} + ${growthRate}`),
          "a count of the last convolution's output, too, but the concatenation has copied it",
        ],
        [
          bytes(`${kept} + ${read} + ${width}`),
          "a count of the normalisations' outputs, too, but the ReLUs write over them",
        ],
        [bytes(`${read} + ${growthRate}`), "the concatenation alone"],
        [bytes(`${width} + ${read} + ${growthRate}`), "what a memory-efficient layer keeps"],
        [`${batch} × ${side} × ${side} × (${kept})`, NO_BYTES],
      ],
    };
  }

  function memoryOfPlainBlock(draw) {
    const [{ batch, side }, it] = [maps(draw), block(draw, 5)];
    const { numLayers, growthRate, read } = it;
    const spec = plainNetwork({ initial_channels: read, blocks: [numLayers], growth_rate: growthRate });
    const bytes = (channels) => `4 × ${batch} × ${side} × ${side} × (${channels})`;
    const each = reads(it, numLayers).join(" + ");
    const kept = `2 × (${each}) + ${numLayers} × ${growthRate}`;
    return {
      question:
        `A block of ${numLayers} plain layers (normalisation, ReLU, 3×3 convolution, concatenation) with growth rate ` +
        `${growthRate} reads the shape ${shown([batch, read, side, side])}, which was counted before. ${KEPT}`,
      answer: stageOf(layers(spec, { batch, side }), "block 1").activation_bytes,
      worked: bytes(kept),
      because:
        "Each layer keeps its ReLU's output, as wide as what it reads, and its concatenation, wider by the growth rate.",
      slips: [
        [
          bytes(`${numLayers} × (2 × ${read} + ${growthRate})`),
          "the first layer for each, but each layer reads more than the one before it",
        ],
        [bytes(each), "the ReLUs' outputs alone, but each concatenation is a copy of all channels"],
        [
          bytes(`${each} + ${numLayers} × ${growthRate}`),
          "the concatenations alone, but the convolutions need what they read, the ReLUs' outputs",
        ],
        [bytes(`2 × (${each})`), "a count without the new channels"],
        [bytes(`${read} + ${numLayers} × ${growthRate}`), "the block's output alone"],
        [
          bytes(`2 × (${each}) + 2 × ${numLayers} × ${growthRate}`),
          "a count of the convolutions' outputs, too, but the concatenations have copied them",
        ],
        [`${batch} × ${side} × ${side} × (${kept})`, NO_BYTES],
      ],
    };
  }

  function memoryOfEfficientBlock(draw) {
    const [{ batch, side }, it] = [maps(draw), block(draw, 6)];
    const { numLayers, growthRate, read } = it;
    const spec = bottleneckNetwork({ initial_channels: read, blocks: [numLayers], growth_rate: growthRate });
    const rows = layers(spec, { batch, side });
    const width = 4 * growthRate;
    const bytes = (channels) => `4 × ${batch} × ${side} × ${side} × (${channels})`;
    const kept = `${numLayers} × ${width} + ${read} + ${numLayers} × ${growthRate}`;
    const each = reads(it, numLayers).join(" + ");
    return {
      question:
        `A memory-efficient block of ${numLayers} layers with bottlenecks of ${width} channels and growth rate ` +
        `${growthRate} reads the shape ${shown([batch, read, side, side])}, which was counted before. It computes ` +
        `normalisations, ReLUs and concatenations again. ${KEPT}`,
      answer: sumOf(inBlock(1, memoryEfficient(rows)), "activation_bytes"),
      worked: bytes(kept),
      because: "Kept are the bottlenecks, which the 1×1 convolutions wrote, and the block's output.",
      slips: [
        [
          bytes(`2 × (${each}) + ${numLayers} × ${growthRate} + 2 × ${numLayers} × ${width}`),
          "what the block keeps when nothing is computed again",
        ],
        [
          bytes(`${read} + ${numLayers} × ${growthRate}`),
          "the block's output alone, but the bottlenecks would cost a convolution each",
        ],
        [bytes(`${numLayers} × ${width}`), "the bottlenecks alone, but the block's output is kept as well"],
        [bytes(`${numLayers} × ${width} + ${numLayers} × ${growthRate}`), "an output without what the block read"],
        [
          bytes(`${width} + ${read} + ${numLayers} × ${growthRate}`),
          "the bottleneck of one layer, but each has its own",
        ],
        [
          bytes(`2 × ${numLayers} × ${width} + ${read} + ${numLayers} × ${growthRate}`),
          "a count of the second ReLUs' outputs, too, but these are computed again",
        ],
        [`${batch} × ${side} × ${side} × (${kept})`, NO_BYTES],
      ],
    };
  }

  /* Mistakes: those of chapter 15 that a table of shapes and parameters can show, and no other count is right for all */

  class Addition extends Walk {
    denseLayer() {
      super.denseLayer(this.channels); // or there would be nothing to add it to
    }

    join(numRead) {
      this.channels = numRead;
      this.row("addition", 1);
    }
  }

  class SideBySide extends Walk {
    constructor(...sizes) {
      super(...sizes);
      this.stretch = 1; // how many times wider than high the maps are
    }

    join(numRead) {
      this.channels = numRead;
      this.stretch *= 2;
      this.row("concatenation", 1);
    }

    row(name, ...counts) {
      if (name === "GlobalAvgPool2D") this.stretch = 1;
      super.row(name, ...counts);
      this.layers.at(-1).output_shape[3] *= this.stretch;
    }
  }

  class Doubling extends Walk {
    denseLayer(growthRate, layer) {
      super.denseLayer(growthRate * 2 ** (layer - 1));
    }
  }

  class OnlyLast extends Walk {
    denseBlock(number, numLayers) {
      super.denseBlock(number, numLayers);
      this.channels = this.spec.growth_rate;
      this.layers.at(-1).output_shape[1] = this.channels;
    }
  }

  class LateNormalisation extends Walk {
    denseLayer(growthRate) {
      this.convolution(this.spec.bottleneck_width * growthRate, 1);
      this.normaliseAndActivate();
      this.convolution(growthRate, 3);
      this.normaliseAndActivate();
    }
  }

  class NotHalved extends Walk {
    transitionWidth(number) {
      const { initial_channels, blocks, growth_rate, compression } = this.spec;
      const numLayers = blocks.slice(0, number).reduce((sum, count) => sum + count, 0);
      return Math.trunc((initial_channels + numLayers * growth_rate) * compression);
    }
  }

  class FixedWidth extends Walk {
    transitionWidth() {
      return this.spec.growth_rate;
    }
  }

  class FixedPooling extends Walk {
    head(numClasses) {
      const numMeans = this.channels * Math.floor(this.side / 7) ** 2;
      super.head(numClasses);
      this.layers.at(-1).parameters = (numMeans + 1) * numClasses;
    }
  }

  // What a reader chooses, what gives it away, how to count a network that has it, and from which level it is asked.
  const MISTAKES = {
    none: { text: "None, for this is the network described", tell: "Every row is as it should be.", level: 2 },
    addition: {
      text: "The blocks add where they should concatenate",
      tell: "Each block returns as many channels as it reads.",
      level: 1,
      Network: Addition,
    },
    sideBySide: {
      text: "The blocks concatenate along the width",
      tell: "Inside a block the width doubles with each layer, but the channels stay as they are.",
      level: 1,
      Network: SideBySide,
      suits: ({ initial_channels, growth_rate, compression }) => initial_channels === growth_rate && compression === 1,
    },
    onlyLast: {
      text: "The blocks return only what their last layer makes",
      tell: "Each block returns as many channels as the growth rate says.",
      level: 1,
      Network: OnlyLast,
    },
    wide: {
      text: "The 3×3 convolutions make as many channels as the bottlenecks have",
      tell: "Each layer adds 4 times the growth rate.",
      level: 1,
      changes: ({ growth_rate }) => ({ growth_rate: 4 * growth_rate, bottleneck_width: 1 }),
    },
    doubling: {
      text: "The growth rate doubles from layer to layer inside a block",
      tell: "A block of L layers adds the growth rate times 2 to the power L, less one.",
      level: 1,
      Network: Doubling,
    },
    fixedWidth: {
      text: "The transitions return as many channels as the growth rate says",
      tell: "Each transition returns as many channels as the growth rate says, whatever it reads.",
      level: 1,
      Network: FixedWidth,
    },
    compressed: {
      text: "The transitions halve the channels, but they should keep them all",
      tell: "The transitions return half of what they read, and here the compression is 1.",
      level: 1,
      changes: () => ({ compression: 0.5 }),
    },
    uncompressed: {
      text: "The transitions keep all channels, but they should halve them",
      tell: "Each transition returns as many channels as it reads, and here the compression is 0.5.",
      level: 1,
      changes: () => ({ compression: 1 }),
    },
    notHalved: {
      text: "The program forgets to halve its own count of the channels",
      tell: "The first transition is right; the second returns too many, because its count went on from before the first.",
      level: 2,
      Network: NotHalved,
    },
    late: {
      text: "The layers normalise after their convolutions, not before",
      tell: "All shapes are right, and the blocks lack parameters: a normalisation after a convolution has fewer channels.",
      level: 3,
      Network: LateNormalisation,
    },
    fixedPooling: {
      text: "The head pools with a window of 7, not over the whole map",
      tell: "The linear layer reads four means of each channel, so the head has more than three times its parameters.",
      level: 3,
      Network: FixedPooling,
      suits: ({ blocks }, { side }) => side / 2 ** (blocks.length - 1) >= 14,
    },
  };

  const tableOf = (mistake, spec, sizes) => {
    const { changes = () => ({}), Network } = MISTAKES[mistake];
    return byStage(layers({ ...spec, ...changes(spec) }, sizes, Network)).map(
      ({ stage, output_shape, parameters }) => ({
        stage,
        output_shape,
        parameters,
      }),
    );
  };
  const isSame = (table, other) => JSON.stringify(table) === JSON.stringify(other);

  const withArticle = (stage) => (/\d/.test(stage) ? stage : `the ${stage}`);

  // The first row in which a table differs from the one that was shown, in a sentence.
  function difference(expected, found) {
    const place = expected.findIndex((row, place) => !isSame(row, found[place]));
    const [{ stage, output_shape: shape, parameters }, other] = [expected[place], found[place]];
    return isSame(shape, other.output_shape)
      ? `${withArticle(stage)} would have ${grouped(parameters)} parameters, but here it has ${grouped(other.parameters)}`
      : `${withArticle(stage)} would return ${shown(shape)}, but here it returns ${shown(other.output_shape)}`;
  }

  function mistakeAt(level) {
    return (draw) => {
      const growthRate = draw.of([8, 12, 16]);
      const isCompressed = draw.of([true, true, false]);
      const numBlocks = draw.of(level === 1 ? [2] : [2, 3, 3]);
      const spec = bottleneckNetwork({
        initial_channels: isCompressed ? 2 * growthRate : growthRate,
        blocks: Array.from({ length: numBlocks }, () => draw.between(2, 4)),
        growth_rate: growthRate,
        compression: isCompressed ? 0.5 : 1,
      });
      const side = 7 * 2 ** numBlocks; // the last maps are 14 by 14
      const sizes = { batch: draw.of([1, 8, 16]), side, channels: 1, num_classes: 10 };
      const tables = {};
      for (const [name, mistake] of Object.entries(MISTAKES)) {
        if (mistake.level <= level && (mistake.suits?.(spec, sizes) ?? true)) tables[name] = tableOf(name, spec, sizes);
      }
      const right = tableOf("none", spec, sizes);
      const visible = Object.keys(tables).filter((name) => name === "none" || !isSame(tables[name], right));
      const answer = draw.of(visible);
      const found = tables[answer];
      const others = visible.filter((name) => name !== "none" && !isSame(tables[name], found));
      const offered = draw.some(others, 3);
      if (answer !== "none") offered.splice(draw.between(0, offered.length), 0, answer);
      if (level > 1) offered.push("none");
      return {
        question:
          `A program should build a DenseNet with a stem of ${spec.initial_channels} channels, blocks of ` +
          `${inWords(spec.blocks)} layers, growth rate ${growthRate}, bottlenecks of ${4 * growthRate} channels and ` +
          `compression ${spec.compression}. Its input is ${shown([sizes.batch, 1, side, side])}, and its stem is one ` +
          "3×3 convolution. Which mistake does its table show?",
        answer,
        found,
        expected: level === 1 ? right : null,
        choices: offered.map((name) => ({
          name,
          text: MISTAKES[name].text,
          reason: name === answer ? "" : difference(tables[name], found),
        })),
        worked: MISTAKES[answer].tell,
      };
    };
  }

  /* Drills */

  const DRILLS = {
    channels: [
      [channelsOfBlock, channelsOfLayer],
      [channelsOfTransition, channelsBeforeBlock, channelsOfSecondBlock],
      [channelsOfHead, channelsOfDeepLayer],
    ],
    shapes: [[shapeOfBlock], [shapeOfTransition, shapeOfBlockAndTransition], [shapeInNetwork]],
    parameters: [
      [parametersOfConvolution, parametersOfNormalisation, parametersOfDense],
      [parametersOfPlainLayer, parametersOfTransition, parametersOfHead],
      [parametersOfBottleneckLayer, parametersOfPlainBlock, parametersOfBottleneckBlock],
    ],
    memory: [
      [memoryOfArray, memoryOfConcatenation],
      [memoryOfPlainLayer, memoryOfBottleneckLayer],
      [memoryOfPlainBlock, memoryOfEfficientBlock],
    ],
    mistakes: [[mistakeAt(1)], [mistakeAt(2)], [mistakeAt(3)]],
  };
  const KINDS = Object.keys(DRILLS);
  const LEVELS = 3;

  // The drill of a kind, a level from 1 to 3, and a seed, a whole number from 0 to 2,147,483,645.
  function drill(kind, level, seed) {
    const draw = new Draw(seed);
    return { kind, level, ...draw.of(DRILLS[kind][level - 1])(draw) };
  }

  // Ten different drills of a kind, or of "all" in turn, the same for everybody. Throws a RangeError for another kind
  // or a seed that is no whole number from 0 to 999,999.
  function drillsOfSet(kind, seed) {
    const kinds = kind === "all" ? KINDS : [kind];
    if (kind !== "all" && !KINDS.includes(kind)) {
      throw new RangeError(`There is no set '${kind}': take one of ${["all", ...KINDS].join(", ")}.`);
    }
    if (!/^\d+$/.test(seed) || seed > MOST_SEED) {
      throw new RangeError(
        `The seed of a set must be a whole number from 0 to ${grouped(MOST_SEED)}, but is '${seed}'.`,
      );
    }
    const drills = [];
    for (let next = 1000 * seed; drills.length < LEVELS_OF_A_SET.length; next++) {
      const number = drills.length;
      const candidate = drill(kinds[number % kinds.length], LEVELS_OF_A_SET[number], next);
      if (drills.every(({ question }) => question !== candidate.question)) drills.push(candidate);
    }
    return drills;
  }

  /* Judgement */

  const expression = (text) => (/\D/.test(text) ? `${text}, ` : "");
  const slipOf = (slips, value) => slips.find(([text]) => Math.trunc(evaluate(text)) === value);

  function judgeNumber({ answer, worked, because, slips }, text) {
    const value = evaluate(text);
    const exact = evaluate(worked);
    const rounded = exact === answer ? "" : ", and the fraction is dropped";
    const derivation = `${worked} = ${exact.toLocaleString("en-US")}${rounded}.${because ? ` ${because}` : ""}`;
    if (value === answer) return { isRight: true, says: `Right: ${derivation}` };
    const slip = slipOf(slips, value);
    const reason = slip ? `${grouped(value)} is ${expression(slip[0])}${slip[1]}.` : `Not ${grouped(value)}.`;
    return { isRight: false, says: `${reason} The answer: ${derivation}` };
  }

  function heightReason(height, right) {
    const reasons = {
      [Math.floor(height / 4)]: "is two halvings short",
      [Math.floor(height / 2)]: "is one halving short",
      [height - 1]: "is rounded up, but half of an odd side is rounded down",
    };
    const isHalvedAgain = height === Math.floor(right / 2);
    return `a height of ${height} ${reasons[right] ?? (isHalvedAgain ? "is halved once too often" : "is not right")}`;
  }

  function judgeShape({ answer, worked, slips }, text) {
    const shape = shapeOf(text);
    const [batch, channels, height, width] = shape;
    if (isSame(shape, answer)) return { isRight: true, says: `Right. ${worked}.` };
    const reasons = [];
    if (isSame([batch, width, channels, height], answer)) {
      reasons.push("the channels come before height and width");
    } else {
      if (batch !== answer[0]) reasons.push(`the batch stays ${answer[0]}, whatever the network does`);
      if (channels !== answer[1]) {
        const slip = slipOf(slips, channels);
        reasons.push(
          slip
            ? `${grouped(channels)} channels are ${expression(slip[0])}${slip[1]}`
            : `the number of channels is not ${grouped(channels)}`,
        );
      }
      if (height !== answer[2]) reasons.push(heightReason(height, answer[2]));
      else if (width !== answer[3]) reasons.push(`a width of ${width} is not right: the maps stay square`);
    }
    return {
      isRight: false,
      says: `Not ${shown(shape)}: ${reasons.join("; ")}. The answer is ${shown(answer)}. ${worked}.`,
    };
  }

  function judgeChoice({ answer, worked, choices }, name) {
    const choice = choices.find((choice) => choice.name === name);
    if (!choice) throw new RangeError("Choose one of the answers first.");
    if (name === answer) return { isRight: true, says: `Right. ${worked}` };
    const right = MISTAKES[answer].text;
    return { isRight: false, says: `No: then ${choice.reason}. The answer is: “${right}.” ${worked}` };
  }

  // Whether an answer as the reader gave it is right, and what there is to say. Throws a RangeError, in a sentence that
  // says what to type, for what is no answer.
  function judge(drill, text) {
    if (drill.kind === "mistakes") return judgeChoice(drill, text);
    return (drill.kind === "shapes" ? judgeShape : judgeNumber)(drill, text);
  }

  return { KINDS, LEVELS, drill, drillsOfSet, judge, evaluate, tableOf };
})();
