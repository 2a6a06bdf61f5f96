// A trained DenseNet at work: what MXNet computes with the weights in numbers.js, in plain JavaScript.
//
// The network is a list of nodes: the image, the stem, each layer of a block, each transition, the head. A node reads
// the channels of the nodes in `reads`, one after the other, as the concatenation joins them. Maps are arrays
// (channel, side, side) in one piece.
"use strict";

// biome-ignore lint/correctness/noUnusedVariables: other scripts use it.
const LivingNetwork = (() => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);

  function weightsOf({ shape, integers, scales, biases }) {
    const factors = floats(scales);
    const perOutput = shape.slice(1).reduce((a, b) => a * b, 1);
    const weights = Float32Array.from(new Int8Array(bytes(integers).buffer), (integer, place) => {
      return integer * factors[Math.floor(place / perOutput)];
    });
    return { weights, biases: floats(biases), window: shape[2] ?? 1 };
  }

  const normOf = ({ scales, shifts }) => ({ scales: floats(scales), shifts: floats(shifts) });

  // The network of `numbers`, as numbers.js has them.
  function build({ spec, layers, mean, deviation, classes }) {
    const parts = layers.values();
    const next = () => parts.next().value;
    let side = 28;
    const nodes = [{ name: "picture", kind: "image", reads: [], channels: 1, side }];
    const add = (node, ...made) => nodes.push(Object.assign(node, ...made)) - 1;
    let reads = [
      add({ name: "stem", kind: "stem", reads: [0], channels: spec.initial_channels, side }, weightsOf(next())),
    ];
    spec.blocks.forEach((numLayers, block) => {
      for (let layer = 1; layer <= numLayers; layer++) {
        const node = { name: `layer ${layer} of block ${block + 1}`, kind: "layer", reads, block, side };
        node.channels = spec.growth_rate;
        reads = [...reads, add(node, { norm: normOf(next()) }, weightsOf(next()))];
      }
      const channels = reads.reduce((sum, source) => sum + nodes[source].channels, 0);
      const norm = normOf(next());
      if (block + 1 < spec.blocks.length) {
        side = Math.floor(side / 2);
        const node = { name: `transition ${block + 1}`, kind: "transition", reads, norm, side };
        node.channels = Math.trunc(channels * spec.compression);
        reads = [add(node, weightsOf(next()))];
      } else {
        add({ name: "head", kind: "head", reads, norm, channels: classes.length, side: 1 }, weightsOf(next()));
      }
    });
    return { nodes, mean, deviation, classes };
  }

  // For each node, which of its channels are switched on: at first all.
  const allOn = ({ nodes }) => nodes.map(({ channels }) => Array(channels).fill(true));

  // The channels that a node reads, joined: `visit(source, channel, place)` for each.
  function eachRead({ nodes }, node, visit) {
    let place = 0;
    for (const source of node.reads) {
      for (let channel = 0; channel < nodes[source].channels; channel++) visit(source, channel, place++);
    }
    return place;
  }

  // What a node's convolution reads: its sources joined, normalised and activated. A channel that is off is zero here,
  // which is as if all weights with which it is read were.
  function joined(network, node, maps, on) {
    const { side } = network.nodes[node.reads[0]];
    const area = side * side;
    const total = node.reads.reduce((sum, source) => sum + network.nodes[source].channels, 0);
    const features = new Float32Array(total * area);
    eachRead(network, node, (source, channel, place) => {
      if (!on[source][channel]) return;
      const from = maps[source].subarray(channel * area, (channel + 1) * area);
      const to = features.subarray(place * area, (place + 1) * area);
      if (!node.norm) return to.set(from);
      const [scale, shift] = [node.norm.scales[place], node.norm.shifts[place]];
      for (let i = 0; i < area; i++) to[i] = Math.max(0, from[i] * scale + shift);
    });
    return { features, side, total };
  }

  // A convolution with a window of 3 x 3 and a frame of zeros.
  function convolved3(features, total, side, weights, channels) {
    const wide = side + 2;
    const framed = new Float32Array(total * wide * wide);
    for (let row = 0; row < total * side; row++) {
      const [channel, inside] = [Math.floor(row / side), row % side];
      framed.set(features.subarray(row * side, (row + 1) * side), (channel * wide + inside + 1) * wide + 1);
    }
    const result = new Float32Array(channels * side * side);
    for (let made = 0; made < channels; made++) {
      for (let read = 0; read < total; read++) {
        const at = (made * total + read) * 9;
        const [a, b, c, d, e, f, g, h, i] = weights.subarray(at, at + 9);
        for (let row = 0; row < side; row++) {
          let above = (read * wide + row) * wide;
          let to = (made * side + row) * side;
          for (const end = to + side; to < end; to++, above++) {
            const [here, below] = [above + wide, above + 2 * wide];
            result[to] +=
              a * framed[above] +
              b * framed[above + 1] +
              c * framed[above + 2] +
              d * framed[here] +
              e * framed[here + 1] +
              f * framed[here + 2] +
              g * framed[below] +
              h * framed[below + 1] +
              i * framed[below + 2];
          }
        }
      }
    }
    return result;
  }

  // Means over squares of `size` x `size`.
  function pooled(features, total, side, size) {
    const small = Math.floor(side / size);
    const result = new Float32Array(total * small * small);
    for (let channel = 0; channel < total; channel++) {
      for (let row = 0; row < small * size; row++) {
        for (let column = 0; column < small * size; column++) {
          const to = (channel * small + Math.floor(row / size)) * small + Math.floor(column / size);
          result[to] += features[(channel * side + row) * side + column] / (size * size);
        }
      }
    }
    return result;
  }

  // Each pixel's channels times the weights (made, read): a convolution with a window of 1 x 1, or the linear layer.
  function mixed(features, total, area, { weights, biases, channels }) {
    const result = new Float32Array(channels * area);
    for (let made = 0; made < channels; made++) {
      const to = result.subarray(made * area, (made + 1) * area).fill(biases[made]);
      for (let read = 0; read < total; read++) {
        const weight = weights[made * total + read];
        for (let i = 0; i < area; i++) to[i] += weight * features[read * area + i];
      }
    }
    return result;
  }

  // The maps of every node for a picture of 28 x 28 bytes; those of the head are the ten logits.
  function forward(network, picture, on = allOn(network)) {
    const maps = [Float32Array.from(picture, (byte) => (byte / 255 - network.mean) / network.deviation)];
    for (const node of network.nodes.slice(1)) {
      const { features, side, total } = joined(network, node, maps, on);
      if (node.window === 3) {
        maps.push(convolved3(features, total, side, node.weights, node.channels));
      } else {
        // MXNet pools after a transition's 1 x 1 convolution: the order changes nothing, since both are sums.
        const small = pooled(features, total, side, side / node.side);
        maps.push(mixed(small, total, node.side ** 2, node));
      }
    }
    return maps;
  }

  function probabilities(logits) {
    const most = Math.max(...logits);
    const powers = Array.from(logits, (logit) => Math.exp(logit - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  }

  // One pixel of one channel of a stem, layer or transition, taken apart. For each channel that is read: its source,
  // the window of values that the convolution reads there, the weights, and the sum of their products. A value outside
  // the map is null, and counts as zero. A transition's mean over 2 x 2 is a convolution, too: each weight is a fourth.
  function terms(network, maps, on, index, channel, row, column) {
    const node = network.nodes[index];
    const { features, side, total } = joined(network, node, maps, on);
    const isLayer = node.window === 3;
    const size = isLayer ? 3 : 2;
    const [top, left] = isLayer ? [row - 1, column - 1] : [2 * row, 2 * column];
    const result = [];
    eachRead(network, node, (source, sourceChannel, place) => {
      const values = [];
      const weights = [];
      for (let i = 0; i < size * size; i++) {
        const [y, x] = [top + Math.floor(i / size), left + (i % size)];
        const isInside = y >= 0 && x >= 0 && y < side && x < side;
        values.push(isInside ? features[(place * side + y) * side + x] : null);
        const weight = node.weights[(channel * total + place) * node.window ** 2 + (isLayer ? i : 0)];
        weights.push(isLayer ? weight : weight / 4);
      }
      const sum = values.reduce((before, value, i) => before + (value ?? 0) * weights[i], 0);
      result.push({ source, channel: sourceChannel, values, weights, sum });
    });
    return result;
  }

  // The pixels of the picture on which one pixel of a node depends, as { top, bottom, left, right }, ends included;
  // null if all that leads there is off.
  function receptiveField(network, on, index, row, column) {
    const reach = (place, top, bottom, left, right) => {
      const node = network.nodes[place];
      const inside = (pixel) => Math.min(Math.max(pixel, 0), node.side - 1);
      const box = { top: inside(top), bottom: inside(bottom), left: inside(left), right: inside(right) };
      if (node.kind === "image") return box;
      let wider = [box.top - 1, box.bottom + 1, box.left - 1, box.right + 1];
      if (node.kind === "transition") wider = [2 * box.top, 2 * box.bottom + 1, 2 * box.left, 2 * box.right + 1];
      const boxes = node.reads
        .filter((source) => on[source].includes(true))
        .map((source) => reach(source, ...wider))
        .filter((found) => found !== null);
      if (!boxes.length) return null;
      const all = (choose, name) => choose(...boxes.map((found) => found[name]));
      return {
        top: all(Math.min, "top"),
        bottom: all(Math.max, "bottom"),
        left: all(Math.min, "left"),
        right: all(Math.max, "right"),
      };
    };
    return reach(index, row, row, column, column);
  }

  // The garments that come with the numbers, each a picture of 28 x 28 bytes with its class.
  function garments({ images, labels }) {
    const pixels = bytes(images);
    return labels.map((label, place) => ({ label, picture: pixels.slice(784 * place, 784 * (place + 1)) }));
  }

  return { build, allOn, forward, probabilities, terms, receptiveField, garments };
})();
