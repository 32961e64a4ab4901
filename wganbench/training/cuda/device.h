// What a kernel needs of its device. Tests define these words before, for threads on a CPU.
#pragma once

#include "lane.h"

struct alignas(16) Four {
  float x, y, z, w;
};
struct alignas(8) Two {
  float x, y;
};

#ifdef __CUDACC_RTC__
#define UNROLL _Pragma("unroll")
#define SHARED_ROOM(name)               \
  extern __shared__ float4 shared_[]; \
  float *name = reinterpret_cast<float *>(shared_)
#define KERNEL extern "C" __global__
#if BLOCKS > 1
#define OF_RUNS __launch_bounds__(THREADS, 1) __cluster_dims__(BLOCKS, 1, 1)
#else
#define OF_RUNS __launch_bounds__(THREADS)
#endif

// Numbers that another block may have written.
inline float fresh(const float *at) { return __ldcg(at); }
inline Four fresh_four(const float *at) {
  const float4 found = __ldcg(reinterpret_cast<const float4 *>(at));
  return {found.x, found.y, found.z, found.w};
}
inline void publish(float *at, float value) { __stcg(at, value); }

// Waits for all blocks of a cluster; they then see what each has written.
inline void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
#endif
