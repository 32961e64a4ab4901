// The numbers of one thread of a GPU, in the words of ../native/vectors.h.
#pragma once

#ifdef __CUDACC_RTC__
typedef int int32_t;
typedef unsigned uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#else
#include <cmath>
#include <cstdint>
#endif

typedef float V;

inline V splat(float x) { return x; }
inline V maximum(V a, V b) { return a > b ? a : b; }
inline V root(V x) { return sqrtf(x); }
inline V power(V x, float p) { return powf(x, p); }

// log(1 + exp(x)); x itself above 20, as in torch.
inline V softplus(V x) { return x > 20.0f ? x : maximum(x, 0.0f * x) + log1pf(expf(-fabsf(x))); }

inline V sigmoid(V x) {
  const float small = expf(-fabsf(x)), down = small / (1.0f + small);
  return x > 0.0f ? 1.0f - down : down;
}
