// Network simplex of the assignment problem: n sources x_i, n sinks y_j, one unit each.
//
// A basis is a spanning tree over the 2 n nodes and a root. A basis arc lies between a node and
// its parent and carries 0 or 1 unit. Potentials u_i, v_j make the reduced cost c_ij - u_i - v_j
// of every basis arc 0. The start is any matching with any v. x_i hangs under its partner. Every
// y_j hangs under the root by an arc towards the root, which never carries a unit, because no arc
// leaves the root; its cost is the potential of y_j minus that of the root. The method therefore
// keeps the advantage of good initial potentials.
//
// Every basis arc without a unit points to the root (strongly feasible), and the choice of the
// leaving arc keeps this. The method therefore ends even if most pivots move no unit.
// Sources: Barr, Glover, Klingman 1977 (alternating paths); Cunningham 1976.
#pragma once

#include <cstdint>
#include <vector>

class Simplex {
 public:
  // Sets u from the matching: u_i = cost(i, partner[i]) - v[partner[i]].
  template <class Cost>
  Simplex(int n, const int* partner, const double* v, const Cost& cost)
      : n_(n), root_(2 * n), nodes_(2 * n + 1), potential_(2 * n + 1, 0.0) {
    nodes_[root_].size = 2 * n + 1;
    for (int j = 0; j < n; j++) {
      potential_[n + j] = v[j];
      nodes_[n + j].cost = v[j];
      nodes_[n + j].size = 2;
      nodes_[n + j].away = true;
      link(n + j, root_);
    }
    for (int i = 0; i < n; i++) {
      Node& node = nodes_[i];
      node.cost = cost(i, partner[i]);
      node.flow = 1;
      node.away = true;
      link(i, n + partner[i]);
      potential_[i] = node.cost - v[partner[i]];
    }
  }

  const double* u() const { return potential_.data(); }
  const double* v() const { return potential_.data() + n_; }
  double reduced(int i, int j, double cost) const {
    return cost - potential_[i] - potential_[n_ + j];
  }

  // Brings the arc from source i to sink j into the basis; its reduced cost is below 0.
  // Returns the number of nodes touched.
  int64_t pivot(int i, int j, double cost) {
    const int from = i, to = n_ + j;
    const double change = reduced(i, j, cost);
    int64_t touched = 0;
    int a = from, b = to;
    while (a != b) {
      if (nodes_[a].size < nodes_[b].size) a = nodes_[a].parent;
      else b = nodes_[b].parent;
      touched++;
    }
    const int join = a;
    // The cycle runs from join down to the source, over the new arc, and up from the sink. The
    // arc that leaves is the last one on the cycle among those whose flow falls to 0 first.
    int delta = 2, leaving = -1;
    bool by_source = true;
    for (int w = from; w != join; w = nodes_[w].parent)
      if (nodes_[w].away && nodes_[w].flow < delta) delta = nodes_[w].flow, leaving = w;
    for (int w = to; w != join; w = nodes_[w].parent)
      if (!nodes_[w].away && nodes_[w].flow <= delta)
        delta = nodes_[w].flow, leaving = w, by_source = false;
    if (leaving < 0) return touched;  // does not happen for costs >= 0
    if (delta) {
      for (int w = from; w != join; w = nodes_[w].parent)
        nodes_[w].flow += nodes_[w].away ? -delta : delta;
      for (int w = to; w != join; w = nodes_[w].parent)
        nodes_[w].flow += nodes_[w].away ? delta : -delta;
    }
    const int top = by_source ? from : to, above = by_source ? to : from;
    const int moved = nodes_[leaving].size;
    for (int w = nodes_[leaving].parent; w != join; w = nodes_[w].parent) nodes_[w].size -= moved;
    for (int w = above; w != join; w = nodes_[w].parent) nodes_[w].size += moved;
    rehang(top, above, leaving, cost, delta, top == from);
    // Potentials of sources and sinks change in opposite directions. Only differences matter, so
    // the smaller side of the leaving arc is shifted.
    const double shift = by_source ? change : -change;
    return touched + (2 * moved <= nodes_[root_].size ? shift_below(top, shift, -1)
                                                      : shift_below(root_, -shift, top));
  }

  // Computes the potentials again from the costs of the basis, without accumulated rounding.
  void refresh() {
    stack_.assign(1, root_);
    while (!stack_.empty()) {
      const int p = stack_.back();
      stack_.pop_back();
      for (int c = nodes_[p].child; c >= 0; c = nodes_[c].next) {
        const double cost = nodes_[c].cost;
        potential_[c] = p == root_ ? cost + potential_[p] : cost - potential_[p];
        stack_.push_back(c);
      }
    }
  }

  // Writes the partner of every source.
  void matching(int* partner) const {
    for (int w = 0; w < 2 * n_; w++) {
      if (nodes_[w].flow != 1) continue;
      const int p = nodes_[w].parent;
      if (w < n_) partner[w] = p - n_;
      else partner[p] = w - n_;
    }
  }

 private:
  struct Node {
    int parent = -1, child = -1, next = -1, before = -1;
    int size = 1;       // number of nodes in its subtree, itself included
    int flow = 0;       // of the arc to the parent
    bool away = false;  // whether that arc points to the parent
    double cost = 0.0;
  };

  void link(int w, int parent) {
    Node& node = nodes_[w];
    node.parent = parent;
    node.before = -1;
    node.next = nodes_[parent].child;
    if (node.next >= 0) nodes_[node.next].before = w;
    nodes_[parent].child = w;
  }

  void unlink(int w) {
    const Node& node = nodes_[w];
    if (node.before >= 0) nodes_[node.before].next = node.next;
    else nodes_[node.parent].child = node.next;
    if (node.next >= 0) nodes_[node.next].before = node.before;
  }

  // Reverses the path from top up to leaving and hangs it under a node by the new arc.
  void rehang(int top, int under, int leaving, double cost, int flow, bool away) {
    const int moved = nodes_[leaving].size;
    int w = top, parent = under, size_before = 0;
    while (true) {
      Node& node = nodes_[w];
      const Node old = node;
      unlink(w);
      link(w, parent);
      node.cost = cost, node.flow = flow, node.away = away;
      node.size = moved - size_before;
      if (w == leaving) return;
      size_before = old.size;
      cost = old.cost, flow = old.flow, away = !old.away;
      parent = w;
      w = old.parent;
    }
  }

  // Adds to the potentials of a node's subtree, except for the subtree of another node.
  int64_t shift_below(int top, double shift, int without) {
    int64_t count = 0;
    stack_.assign(1, top);
    while (!stack_.empty()) {
      const int w = stack_.back();
      stack_.pop_back();
      if (w == without) continue;
      count++;
      potential_[w] += w < n_ ? shift : -shift;
      for (int c = nodes_[w].child; c >= 0; c = nodes_[c].next) stack_.push_back(c);
    }
    return count;
  }

  int n_, root_;
  std::vector<Node> nodes_;
  std::vector<double> potential_;
  std::vector<int> stack_;
};
