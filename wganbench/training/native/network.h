// A network of linear layers with an activation between them, and its passes over a batch.
#pragma once

#include <vector>

#include "activations.h"
#include "optimizers.h"
#include "products.h"

// Pointers to stacked tensors, weight and bias of each layer in turn; null when there are none.
struct NetworkSpec {
  int64_t layers;
  const int64_t *sizes;  // layers + 1 numbers
  float *const *parameters, *const *first, *const *second, *const *average;
};

// A piece of a parameter that is updated in one call.
struct Piece {
  int tensor, layer;
  size_t start, gradient;  // first index in the tensor, and in the gradient of all parameters
  int count;
};

constexpr int PIECE = 4096;

struct Network {
  int layers = 0;
  std::vector<int> sizes;
  std::vector<size_t> numbers, gradients;  // each tensor's size, and first index in the gradient
  std::vector<Piece> pieces;
  std::vector<float *> parameters, first, second, average;
  size_t gradient_size = 0;

  explicit Network(const NetworkSpec &spec) : layers(int(spec.layers)) {
    for (int l = 0; l <= layers; l++) sizes.push_back(int(spec.sizes[l]));
    for (int t = 0; t < 2 * layers; t++) {
      int rows = sizes[t / 2 + 1];
      numbers.push_back(t % 2 ? rows : size_t(rows) * sizes[t / 2]);
      gradients.push_back(gradient_size);
      for (size_t start = 0; start < numbers[t]; start += PIECE) {
        size_t left = numbers[t] - start;
        pieces.push_back({t, t / 2, start, gradient_size + start, int(left < PIECE ? left : PIECE)});
      }
      gradient_size += (numbers[t] + LANES - 1) / LANES * LANES;
      parameters.push_back(spec.parameters[t]);
      first.push_back(spec.first ? spec.first[t] : nullptr);
      second.push_back(spec.second ? spec.second[t] : nullptr);
      average.push_back(spec.average ? spec.average[t] : nullptr);
    }
  }

  int widest() const {
    int most = 0;
    for (int size : sizes) most = size > most ? size : most;
    return most;
  }
  int hidden() const {
    int total = 0;
    for (int l = 1; l < layers; l++) total += sizes[l];
    return total;
  }
  const float *of_run(int tensor, int run) const {
    return parameters[tensor] + numbers[tensor] * run;
  }
};

// The weights of one run, packed for products with the weights and with their transposes.
struct PackedNetwork {
  std::vector<Packed> forward, backward;

  static size_t numbers(const Network &net) {
    size_t total = 0;
    for (int l = 0; l < net.layers; l++) {
      int in = net.sizes[l], out = net.sizes[l + 1];
      total += vectors_of(Packed::numbers(out, in)) + vectors_of(Packed::numbers(in, out));
    }
    return total;
  }

  void place(const Network &net, float *at) {
    for (int l = 0; l < net.layers; l++) {
      forward.push_back(placed(net.sizes[l + 1], net.sizes[l], at));
      backward.push_back(placed(net.sizes[l], net.sizes[l + 1], at));
      backward.back().bias = nullptr;
    }
  }

  // Does part `member` of the work, which `members` threads share. `instead` holds other weights, in
  // the layout of a gradient.
  void fill(const Network &net, int run, int member, int members, const float *instead = nullptr) {
    for (int unit = member; unit < 2 * net.layers; unit += members) {
      int l = unit / 2, in = net.sizes[l];
      const float *weight = instead ? instead + net.gradients[2 * l] : net.of_run(2 * l, run);
      if (unit % 2)
        pack(backward[l], weight, nullptr, 1, in);
      else
        pack(forward[l], weight, net.of_run(2 * l + 1, run), in, 1);
    }
  }

 private:
  static size_t vectors_of(size_t numbers) { return (numbers + LANES - 1) / LANES * LANES; }
  static Packed placed(int rows, int depth, float *&at) {
    Packed packed{rows, depth, at, at + size_t(rounded_up(rows, BLOCK)) * depth};
    at += vectors_of(Packed::numbers(rows, depth));
    return packed;
  }
};

// Operations on the vectors of a product. Each is one type, so that the products that use it are
// compiled once.
struct Put {
  static constexpr bool FEW_ROWS = true;
  float *to;
  size_t ld;
  void operator()(int j, int c, V value) const { store(to + j * ld + c, value); }
};

struct Activate {
  static constexpr bool FEW_ROWS = false;
  float *to;
  size_t ld;
  void operator()(int j, int c, V value) const { store(to + j * ld + c, activate(value)); }
};

// Multiplies by the derivative at the activation `value`, then adds to the target or overwrites it.
template <bool ADDS> struct Through {
  static constexpr bool FEW_ROWS = false;
  float *to;
  const float *value;
  size_t ld;
  void operator()(int j, int c, V moved) const {
    V found = moved * slope_at(load(value + j * ld + c));
    store(to + j * ld + c, ADDS ? load(to + j * ld + c) + found : found);
  }
};

// Computes the hidden layers' activations of columns first ... first + columns - 1; the output
// goes to `put`.
inline void forward(const PackedNetwork &net, const float *in, float *const *hidden, size_t ld,
                    int first, int columns, Put put) {
  size_t last = net.forward.size() - 1;
  for (size_t l = 0; l < last; l++) {
    product(net.forward[l], in + first, ld, columns, Activate{hidden[l] + first, ld});
    in = hidden[l];
  }
  product(net.forward[last], in + first, ld, columns, put);
}

// Backpropagation: the derivatives by each hidden layer's sums (`deltas`) from those by the output
// (`out`). They are computed for the columns of `hidden` from `first` on, and are written `shift`
// columns further.
inline void backward(const PackedNetwork &net, const float *out, float *const *hidden,
                     float *const *deltas, size_t ld, int first, int shift, int columns) {
  for (size_t l = net.backward.size() - 1; l > 0; l--) {
    product(net.backward[l], out + first + shift, ld, columns,
            Through<false>{deltas[l - 1] + first + shift, hidden[l - 1] + first, ld});
    out = deltas[l - 1];
  }
}

// Computes the gradients of all weights from the layers' deltas; those of biases use the first
// columns only.
inline void gradients(const Network &net, const float *in, float *const *hidden,
                      float *const *deltas, const float *out, size_t ld, int columns,
                      int of_biases, float *to, bool adds, float *scratch) {
  for (int l = 0; l < net.layers; l++) {
    const float *delta = l + 1 < net.layers ? deltas[l] : out;
    const float *seen = l ? hidden[l - 1] : in;
    int rows = net.sizes[l + 1], depth = net.sizes[l];
    Gradient weight{to + net.gradients[2 * l], depth, adds};
    weight_gradient(delta, rows, seen, depth, ld, columns, weight, scratch);
    Gradient bias{to + net.gradients[2 * l + 1], rows, adds};
    bias_gradient(delta, rows, ld, of_biases, bias);
  }
}
