// The threads of a block as fibers: coroutines on the calling thread of the system, which switch where they wait.
//
// A fiber runs one CUDA thread after another as a plain loop until one has to wait; then the next fiber takes over.
// So a kernel that never waits needs a single one. The fibers and their stacks are kept from launch to launch, for
// every library of the process: an inline variable of default visibility is one and the same in all of them.
// The blocks of a cooperative launch are there at once, and take turns where a thread waits for another block, that is
// in __nanosleep. Such a kernel may have shared memory of the launch's size only, which each block has its own.
#pragma once

#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <vector>

#define __shared__ static  // of one block at a time

#pragma GCC visibility push(default)
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace cuda_on_cpu {

constexpr int MOST_THREADS = 1024;
constexpr size_t STACK_BYTES = 128 * 1024;  // the system gives memory only for what is used of it

struct Fiber {
    jmp_buf place;       // where it stopped
    ucontext_t context;  // where it begins
    bool begun = false;
};

struct Thread {
    enum { RUNNING, AT_BARRIER, AT_WARP, DONE } state;
    unsigned mask;  // of the lanes that it waits for
    Fiber* fiber;
};

struct Block {
    void (*body)(void*);
    void *data, *dynamic_shared;
    int count, begun, live, at_barrier, current;
    bool paused;  // one of its threads waits for another block
    const char* wrong;
    Thread threads[MOST_THREADS];
    int ready[MOST_THREADS], first_ready, ready_count;  // a ring: who may go on, in order
    Fiber home, *running;
    uint64_t posts[MOST_THREADS];
    uint3 place;
};
inline Block alone, *block = &alone;
inline pthread_mutex_t launch = PTHREAD_MUTEX_INITIALIZER;
inline std::vector<Fiber*> idle;
inline bool together, moved;  // the launch is cooperative; something has happened but waiting


inline int lane() { return block->current % warpSize; }
inline int first_of_warp() { return block->current - lane(); }
inline int lanes() {
    int rest = block->count - first_of_warp();
    return rest < warpSize ? rest : warpSize;
}
inline uint64_t* post() { return block->posts + first_of_warp(); }

inline void* dynamic_shared() { return block->dynamic_shared; }
inline void before_atomic(void*) {}

inline void set_current(int thread) {
    unsigned rest = unsigned(thread) / blockDim.x;
    block->current = thread;
    threadIdx = {unsigned(thread) % blockDim.x, rest % blockDim.y, rest / blockDim.y};
}

[[gnu::noinline]] inline void switch_to(Fiber* to) {
    Fiber* from = block->running;
    block->running = to;
    if (_setjmp(from->place)) return;
    if (to->begun) _longjmp(to->place, 1);
    to->begun = true;
    setcontext(&to->context);
}

inline void work();

inline Fiber* free_fiber() {
    if (!idle.empty()) {
        Fiber* found = idle.back();
        idle.pop_back();
        return found;
    }
    Fiber* made = new Fiber;
    getcontext(&made->context);
    made->context.uc_stack.ss_size = STACK_BYTES;
    made->context.uc_stack.ss_sp =
        mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made->context.uc_stack.ss_sp == MAP_FAILED) abort();
    makecontext(&made->context, work, 0);
    return made;
}

// The running fiber stops here; who is ready goes on, else a thread that has not begun, else the launch itself.
inline void give_way() {
    if (block->ready_count) {
        int thread = block->ready[block->first_ready];
        block->first_ready = (block->first_ready + 1) % MOST_THREADS;
        --block->ready_count;
        set_current(thread);
        return switch_to(block->threads[thread].fiber);
    }
    if (block->begun < block->count) return switch_to(free_fiber());
    if (block->live && !block->paused) block->wrong = "some threads wait for others that never come";
    switch_to(&block->home);
}

inline void make_ready(int thread) {
    block->threads[thread].state = Thread::RUNNING;
    if (thread != block->current) block->ready[(block->first_ready + block->ready_count++) % MOST_THREADS] = thread;
}

// Who is done counts as having arrived, as on the device.
inline void open_barrier_if_all_arrived() {
    if (!block->at_barrier || block->at_barrier < block->live) return;
    block->at_barrier = 0, moved = true;
    for (int i = 0; i < block->count; ++i)
        if (block->threads[i].state == Thread::AT_BARRIER) make_ready(i);
}

inline void open_warp_if_all_arrived(unsigned mask) {
    int first = first_of_warp(), last = first + lanes();
    for (int i = first; i < last; ++i) {
        const Thread& thread = block->threads[i];
        bool there = thread.state == Thread::DONE || (thread.state == Thread::AT_WARP && thread.mask == mask);
        if ((mask >> (i - first) & 1) && (i >= block->begun || !there)) return;
    }
    for (int i = first; i < last; ++i)
        if ((mask >> (i - first) & 1) && block->threads[i].state == Thread::AT_WARP) make_ready(i);
}

inline void finish() {
    block->threads[block->current].state = Thread::DONE;
    --block->live, moved = true;
    open_barrier_if_all_arrived();
    int first = first_of_warp(), last = first + lanes();
    for (int i = first; i < last && i < block->begun; ++i)
        if (block->threads[i].state == Thread::AT_WARP) open_warp_if_all_arrived(block->threads[i].mask);
}

inline void work() {
    for (;;) {
        while (!block->ready_count && block->begun < block->count) {
            set_current(block->begun++);
            block->threads[block->current] = {Thread::RUNNING, 0, block->running};
            block->body(block->data);
            finish();
        }
        idle.push_back(block->running);
        give_way();
    }
}

struct Launching {  // one at a time, also of several Python threads
    Launching() { pthread_mutex_lock(&launch); }
    ~Launching() { pthread_mutex_unlock(&launch); }
};

inline void begin_block(uint3 place, dim3 shape, void (*body)(void*), void* data, size_t dynamic) {
    block->body = body, block->data = data, block->wrong = nullptr, block->place = place;
    block->dynamic_shared = dynamic ? malloc(dynamic) : nullptr;
    block->count = int(shape.x * shape.y * shape.z);
    block->begun = block->at_barrier = block->ready_count = block->first_ready = 0;
    block->live = block->count;
    block->home.begun = true, block->paused = false;
}

// Until the block is done, or waits for another.
inline void run_block() {
    blockIdx = block->place;
    block->running = &block->home, block->paused = false;
    give_way();
    if (!block->live) free(block->dynamic_shared);
}

inline const char* run_together(std::vector<Block*>& blocks) {
    for (int still = 0; still < 1000;) {
        bool live = false;
        moved = false;
        for (Block* each : blocks)
            if (each->live) {
                live = true, block = each;
                run_block();
                if (block->wrong) return block->wrong;
            }
        if (!live) return nullptr;
        still = moved ? 0 : still + 1;
    }
    return "some blocks wait for others that never come";
}

inline const char* run_grid(dim3 grid, dim3 shape, size_t dynamic, void (*body)(void*), void* data, bool at_once) {
    gridDim = grid, blockDim = shape;
    together = at_once;
    std::vector<Block*> blocks;
    const char* wrong = nullptr;
    uint3 place;
    for (place.z = 0; place.z < grid.z; ++place.z)
        for (place.y = 0; place.y < grid.y; ++place.y)
            for (place.x = 0; place.x < grid.x && !wrong; ++place.x) {
                if (together) blocks.push_back(block = new Block);
                begin_block(place, shape, body, data, dynamic);
                if (!together) run_block(), wrong = block->wrong;
            }
    if (together) wrong = run_together(blocks);
    block = &alone;
    for (Block* each : blocks) delete each;
    return wrong;  // then the fibers that wait are lost
}

}  // namespace cuda_on_cpu

inline void __syncthreads() {
    using namespace cuda_on_cpu;
    block->threads[block->current].state = Thread::AT_BARRIER;
    ++block->at_barrier;
    open_barrier_if_all_arrived();
    if (block->threads[block->current].state != Thread::RUNNING) give_way();
}

inline void __syncwarp(unsigned mask = 0xffffffffu) {
    using namespace cuda_on_cpu;
    block->threads[block->current].state = Thread::AT_WARP;
    block->threads[block->current].mask = mask;
    open_warp_if_all_arrived(mask);
    if (block->threads[block->current].state != Thread::RUNNING) give_way();
}
// Others go on meanwhile: those of the block, then the other blocks.
inline void __nanosleep(unsigned) {
    using namespace cuda_on_cpu;
    if (!together) return;
    block->ready[(block->first_ready + block->ready_count++) % MOST_THREADS] = block->current;
    if (block->ready_count > 1 || block->begun < block->count) return give_way();
    block->paused = true;
    switch_to(&block->home);
}
inline void __threadfence() {}
#pragma GCC visibility pop
