// Every thread of every block as a thread of the system, all at once: for the sanitizers, not for speed.
//
// The thread sanitizer sees as ordered only what CUDA orders: the threads of a block by its barriers, and two blocks
// by nothing but `__threadfence(); atomic…` in one and `atomic…; __threadfence()` on the same place in the other.
// building.py turns `__shared__ T x[n];` into `auto& x = cuda_on_cpu::shared<T [n], 0>();`, new memory in each block.
#pragma once

#include <stdio.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define CUDA_ON_CPU_ANNOTATE(name) extern "C" void Annotate##name(const char* file, int line);
#else
inline void __tsan_acquire(void*) {}
inline void __tsan_release(void*) {}
#define CUDA_ON_CPU_ANNOTATE(name) inline void Annotate##name(const char*, int) {}
#endif
CUDA_ON_CPU_ANNOTATE(IgnoreSyncBegin)
CUDA_ON_CPU_ANNOTATE(IgnoreSyncEnd)
CUDA_ON_CPU_ANNOTATE(IgnoreReadsBegin)
CUDA_ON_CPU_ANNOTATE(IgnoreReadsEnd)
CUDA_ON_CPU_ANNOTATE(IgnoreWritesBegin)
CUDA_ON_CPU_ANNOTATE(IgnoreWritesEnd)

inline thread_local uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace cuda_on_cpu {

constexpr size_t MOST_AT_ONCE = 4096;  // threads

inline std::vector<size_t> shared_sizes;  // of the __shared__ variables; filled before main

// While one of these lives, the thread sanitizer neither checks nor learns.
struct Unseen {
    Unseen() {
        AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
        AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
        AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    }
    ~Unseen() {
        AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
        AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
    }
};

// A barrier. The sanitizer is told just what it orders: what is before it in every thread with what is after it in
// any. From locks, or from std::barrier, it would learn more by chance: that who wakes late comes after what others,
// awake before it, did since.
class Meeting {
    std::mutex lock;
    std::condition_variable opened;
    int expected, arrived = 0;
    unsigned round = 0;
    uint64_t places[2];  // one for each round and its next

    bool opens() {
        if (arrived < expected) return false;
        arrived = 0, ++round;
        opened.notify_all();
        return true;
    }

   public:
    explicit Meeting(int expected) : expected(expected) {}
    void arrive_and_wait(unsigned& passed) {  // passed: by the calling thread
        void* place = &places[passed++ % 2];
        __tsan_release(place);
        {
            Unseen unseen;
            std::unique_lock<std::mutex> held(lock);
            ++arrived;
            if (unsigned mine = round; !opens()) opened.wait(held, [&] { return round != mine; });
        }
        __tsan_acquire(place);
    }
    void leave() {  // who is done counts as having arrived, as on the device
        Unseen unseen;
        std::lock_guard<std::mutex> held(lock);
        --expected;
        opens();
    }
};

struct Warp {
    Meeting meeting;
    uint64_t posts[warpSize] = {};
    int lanes;
    explicit Warp(int lanes) : meeting(lanes), lanes(lanes) {}
};

struct Block {
    Meeting meeting;
    std::deque<Warp> warps;
    std::vector<std::unique_ptr<char[]>> shared;
    std::unique_ptr<char[]> dynamic_shared;
    Block(int count, size_t dynamic) : meeting(count), dynamic_shared(new char[dynamic]) {
        for (int i = 0; i < count; i += warpSize) warps.emplace_back(count - i < warpSize ? count - i : warpSize);
        for (size_t size : shared_sizes) shared.emplace_back(new char[size]);
    }
};

inline thread_local Block* block;
inline thread_local int current;
inline thread_local unsigned passed_by_block, passed_by_warp;  // how often it has met with them
inline thread_local bool fenced;  // since the last atomic
inline thread_local void* last_atomic;

inline int lane() { return current % warpSize; }
inline Warp& warp() { return block->warps[size_t(current / warpSize)]; }
inline int lanes() { return warp().lanes; }
inline uint64_t* post() { return warp().posts; }

template <typename T, int number> struct Shared {
    static inline const size_t index = (shared_sizes.push_back(sizeof(T)), shared_sizes.size() - 1);
};
template <typename T, int number> T& shared() {
    return *reinterpret_cast<T*>(block->shared[Shared<T, number>::index].get());
}
inline void* dynamic_shared() { return block->dynamic_shared.get(); }

inline std::mutex launch;
struct Launching {
    std::lock_guard<std::mutex> held{launch};
};

inline const char* run_grid(dim3 grid, dim3 shape, size_t dynamic, void (*body)(void*), void* data, bool at_once) {
    gridDim = grid, blockDim = shape;
    int count = int(shape.x * shape.y * shape.z);
    if (at_once && size_t(count) * grid.x * grid.y * grid.z > MOST_AT_ONCE) return "not so many threads at once here";
    std::deque<Block> blocks;
    std::vector<std::jthread> threads;
    uint3 at;
    for (at.z = 0; at.z < grid.z; ++at.z)
        for (at.y = 0; at.y < grid.y; ++at.y)
            for (at.x = 0; at.x < grid.x; ++at.x) {
                if (threads.size() + size_t(count) > MOST_AT_ONCE) threads.clear(), blocks.clear();
                Block* its_block = &blocks.emplace_back(count, dynamic);
                for (int i = 0; i < count; ++i)
                    threads.emplace_back([=] {
                        unsigned rest = unsigned(i) / shape.x;
                        block = its_block, blockIdx = at, current = i;
                        threadIdx = {unsigned(i) % shape.x, rest % shape.y, rest / shape.y};
                        body(data);
                        block->meeting.leave();
                        warp().meeting.leave();
                    });
            }
    return nullptr;
}

inline void before_atomic(void* at) {
    if (fenced) __tsan_release(at);
    fenced = false, last_atomic = at;
}

}  // namespace cuda_on_cpu

inline void __syncthreads() { cuda_on_cpu::block->meeting.arrive_and_wait(cuda_on_cpu::passed_by_block); }

inline void __syncwarp(unsigned mask = 0xffffffffu) {
    unsigned all = 0xffffffffu >> (warpSize - cuda_on_cpu::lanes());
    if ((mask & all) != all) {
        fputs("a warp operation of some of the lanes: not under real threads\n", stderr);
        abort();
    }
    cuda_on_cpu::warp().meeting.arrive_and_wait(cuda_on_cpu::passed_by_warp);
}

inline void __nanosleep(unsigned) { std::this_thread::yield(); }

inline void __threadfence() {
    if (cuda_on_cpu::last_atomic) __tsan_acquire(cuda_on_cpu::last_atomic);
    cuda_on_cpu::fenced = true;
}

// building.py numbers the barriers and fences of a source, so that one build can be run without any one of them.
namespace cuda_on_cpu {
inline const int left_out = getenv("CUDA_ON_CPU_LEAVE_OUT") ? atoi(getenv("CUDA_ON_CPU_LEAVE_OUT")) : -1;
inline void numbered_syncthreads(int number) {
    if (number != left_out) __syncthreads();
}
inline void numbered_threadfence(int number) {
    if (number != left_out) __threadfence();
}
}  // namespace cuda_on_cpu
