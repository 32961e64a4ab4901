// Spectral norm: a critic whose weights are W / sigma(W) (arXiv:1802.05957), and the gradients of its
// own weights W.
#pragma once

#include <memory>

#include "network.h"
#include "singular.h"

constexpr float LEAST_NORM = 1e-30f;  // no weight is divided by less

// The normalised weights of one run, and what their gradients need. Members divide the layers.
class Spectral {
 public:
  Spectral(const Network &net, int members) : weights_(net.gradient_size), layers_(net.layers) {
    int widest = 0;
    for (int l = 0; l < net.layers; l++) {
      layers_[l].left.resize(net.sizes[l + 1]);
      layers_[l].right.resize(net.sizes[l]);
      widest = net.sizes[l] > widest ? net.sizes[l] : widest;
      widest = net.sizes[l + 1] > widest ? net.sizes[l + 1] : widest;
    }
    for (int i = 0; i < members; i++) divisors_.push_back(std::make_unique<Singular>(widest, widest));
    dots_.resize(net.pieces.size());
  }

  // The weights, in the layout of a gradient; nothing stands in the places of biases.
  const float *weights() const { return weights_.data(); }

  void find(const Network &net, int run, int member, int members) {
    for (int l = member; l < net.layers; l += members) {
      const float *from = net.of_run(2 * l, run);
      float *to = weights_.data() + net.gradients[2 * l];
      Layer &layer = layers_[l];
      const float norm = float(divisors_[member]->of(from, net.sizes[l + 1], net.sizes[l],
                                                     layer.left.data(), layer.right.data()));
      layer.clamped = norm < LEAST_NORM;
      layer.norm = layer.clamped ? LEAST_NORM : norm;
      for (size_t i = 0; i < net.numbers[2 * l]; i++) to[i] = from[i] / layer.norm;
    }
  }

  // Notes the product of a piece of a gradient with the normalised weights.
  void note(int number, const Piece &piece, const float *gradient) {
    if (piece.tensor % 2 == 0)
      dots_[number] = dot(gradient, weights_.data() + piece.gradient, piece.count);
  }

  // Turns a piece of the gradient G of W / sigma into that of W: (G - <G, W / sigma> u v') / sigma.
  // All pieces must have been noted.
  void unwrap(const Network &net, const Piece &piece, float *gradient) const {
    if (piece.tensor % 2) return;
    const Layer &layer = layers_[piece.layer];
    const int depth = net.sizes[piece.layer];
    double product = 0;
    for (size_t i = 0; i < net.pieces.size(); i++)
      if (net.pieces[i].tensor == piece.tensor) product += dots_[i];
    if (layer.clamped) product = 0;
    for (int done = 0; done < piece.count;) {
      const int row = int((piece.start + done) / depth), column = int((piece.start + done) % depth);
      const int left = piece.count - done, here = depth - column < left ? depth - column : left;
      const float share = float(product * layer.left[row]), *right = layer.right.data() + column;
      float *__restrict g = gradient + done;
      for (int k = 0; k < here; k++) g[k] = (g[k] - share * right[k]) / layer.norm;
      done += here;
    }
  }

 private:
  struct Layer {
    float norm = 1.0f;
    bool clamped = false;
    std::vector<float> left, right;
  };
  std::vector<float> weights_;
  std::vector<Layer> layers_;
  std::vector<std::unique_ptr<Singular>> divisors_;
  std::vector<double> dots_;
};
