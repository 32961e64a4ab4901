// Runs the GPU's kernel on a CPU, for tests: each thread is a context of its own, and all advance
// from one barrier to the next in turn. Blocks of a cluster run together.
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

struct Index {
  unsigned x;
};
static Index threadIdx, blockIdx;
static float *shared_room;
static void next_barrier();

inline void __syncthreads() { next_barrier(); }
inline void cluster_sync() { next_barrier(); }

#define UNROLL
#define KERNEL static
#define OF_RUNS
#define SHARED_ROOM(name) float *name = shared_room

#include "device.h"

inline float fresh(const float *at) { return *at; }
inline Four fresh_four(const float *at) { return *reinterpret_cast<const Four *>(at); }
inline void publish(float *at, float value) { *at = value; }

#include "iteration.cu"

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  Index thread, block;
  float *room;
  bool ended = false;
};

static ucontext_t scheduler;
static Fiber *current;
static std::function<void()> kernel;

static void next_barrier() { swapcontext(&current->context, &scheduler); }

static void begin() {
  kernel();
  current->ended = true;
  swapcontext(&current->context, &scheduler);
}

constexpr int GUARD = 4096;  // numbers beyond the shared memory of a block, which none may write

// Returns whether a cluster wrote nothing beyond its shared memory.
static bool run_cluster(int first_block) {
  std::vector<Fiber> fibers(BLOCKS * THREADS);
  std::vector<std::vector<Four>> rooms(BLOCKS);
  constexpr size_t STACK = 256 << 10;
  // What is read before it is written gives nan.
  for (auto &room : rooms) room.resize((ROOM + GUARD) / 4 + 1, Four{NAN, NAN, NAN, NAN});
  for (int i = 0; i < BLOCKS * THREADS; i++) {
    Fiber &fiber = fibers[i];
    fiber.thread.x = i % THREADS;
    fiber.block.x = first_block + i / THREADS;
    fiber.room = reinterpret_cast<float *>(rooms[i / THREADS].data());
    fiber.stack = std::make_unique<char[]>(STACK);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK;
    makecontext(&fiber.context, begin, 0);
  }
  for (bool going = true; going;) {
    going = false;
    for (Fiber &fiber : fibers) {
      if (fiber.ended) continue;
      current = &fiber, threadIdx = fiber.thread, blockIdx = fiber.block, shared_room = fiber.room;
      swapcontext(&scheduler, &fiber.context);
      going = going || !fiber.ended;
    }
  }
  bool sound = true;
  for (auto &room : rooms)
    for (int i = ROOM; i < ROOM + GUARD; i++)
      sound = sound && std::isnan(reinterpret_cast<float *>(room.data())[i]);
  return sound;
}

// Returns 0 when every block stayed within its shared memory.
extern "C" int emulate(const Arguments *arguments, int64_t trained, int64_t critic_step,
                       int64_t n_critic, int64_t step) {
  int unsound = 0;
  kernel = [=] { iterate(*arguments, critic_step, n_critic, step); };
  for (int64_t run = 0; run < trained; run++) unsound += !run_cluster(int(run) * BLOCKS);
  count(*arguments, n_critic, step >= 0);
  return unsound;
}

extern "C" int64_t numbers_of(int what) { return what ? EXCHANGED : ROOM; }
