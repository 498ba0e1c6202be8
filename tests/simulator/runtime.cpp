// Runs a kernel's blocks one after the other on one core; each CUDA thread is a fiber.
//
// Barriers, warp exchanges and nothing else switch fibers, so a kernel that needs a barrier and has
// none works for some orders of the threads only: run it in several. Shared memory is NaN before
// each block. cp.async is done at once or only when it is waited for, as asked: a kernel must be
// right for both. A barrier that not all threads of a block reach at one line is an error.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "cuda_host.hpp"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

namespace {

enum class State { ready, barrier, warp, done };
enum class Order { ascending, descending, random };

constexpr size_t STACK = 256 * 1024;
constexpr int WARP = 32, SLOT = 64;

struct Copy {
    void* to;
    const void* from;
    int bytes;
    size_t group;
};

struct Fiber {
    void* stack_pointer = nullptr;
    char* stack = nullptr;
    State state = State::done;
    dim3 index{};
    int line = 0;
    std::vector<Copy> copies;  // by group, those that are still to be made
    size_t group = 0;          // the one that is open
    void* fake_stack = nullptr;
};

struct Warp {
    unsigned generation = 0;
    char slots[2][WARP][SLOT];
    void* given[WARP] = {};
    void (*work)(void* const*) = nullptr;  // what all of its threads wait for
    int waiting = 0;
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
Fiber* current = nullptr;
void* scheduler = nullptr;
const void* scheduler_stack = nullptr;
size_t scheduler_stack_size = 0;
void (*body)(const void*);
const void* parameters;
std::vector<char> shared_memory;
char* shared_start = nullptr;
size_t shared_bytes = 0;
std::string failure;
unsigned barrier_generation, launches;
int block_number;
Order order = Order::random;
bool eager_copies = false;
std::mt19937_64 generator;

int position() { return int(current - fibers.data()); }

}  // namespace

extern "C" {

SimThread sim_now;

void sim_swap(void** from, void* to);
#ifndef __x86_64__
#error "the fiber switch is written for x86-64"
#endif
asm(R"(.text
.globl sim_swap
.type sim_swap, @function
sim_swap:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

// The race checker is told of each launch, and of what the runtime reads and writes for a kernel.
#ifdef SIM_RACE
void sim_race_access(const void*, int, bool);
void sim_race_launch();
#else
void sim_race_access(const void*, int, bool) {}
void sim_race_launch() {}
#endif

}  // extern "C"

namespace {

void switch_to_scheduler() {
    Fiber* fiber = current;
#ifdef __SANITIZE_ADDRESS__
    void** keep = fiber->state == State::done ? nullptr : &fiber->fake_stack;
    __sanitizer_start_switch_fiber(keep, scheduler_stack, scheduler_stack_size);
#endif
    sim_swap(&fiber->stack_pointer, scheduler);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fiber->fake_stack, &scheduler_stack, &scheduler_stack_size);
#endif
}

void fiber_main() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
    body(parameters);
    current->state = State::done;
    switch_to_scheduler();
    std::abort();
}

void run(Fiber& fiber) {
    current = &fiber;
    sim_now.thread = fiber.index;
#ifdef __SANITIZE_ADDRESS__
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, fiber.stack, STACK);
#endif
    sim_swap(&scheduler, fiber.stack_pointer);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
    current = nullptr;
}

void prepare(Fiber& fiber) {
    if (!fiber.stack) fiber.stack = static_cast<char*>(std::aligned_alloc(4096, STACK));
    auto** top = reinterpret_cast<void**>(fiber.stack + STACK - 64);
    top[0] = reinterpret_cast<void*>(fiber_main);
    top[1] = nullptr;
    fiber.stack_pointer = reinterpret_cast<char*>(top) - 6 * sizeof(void*);
    fiber.state = State::ready;
    fiber.copies.clear();
    fiber.group = 0;
}

void begin(Warp& warp) {
    warp.waiting = 0;
    warp.work = nullptr;
    std::fill(warp.given, warp.given + WARP, nullptr);
}

template <class T>
void arrange(std::vector<T>& items) {
    if (order == Order::random) std::shuffle(items.begin(), items.end(), generator);
}

void fail(const std::string& what) {
    if (failure.empty()) failure = what + ", block " + std::to_string(block_number);
}

// A thread of a warp has come to where all of them meet: the last one lets them go on.
void meet(int number, int threads) {
    Warp& warp = warps[number];
    const int first = number * WARP, last = std::min(threads, first + WARP);
    if (++warp.waiting < last - first) return;
    if (warp.work && std::count(warp.given, warp.given + WARP, nullptr))
        fail("threads of a warp that wait for different things");
    else if (warp.work)
        warp.work(warp.given);
    begin(warp);
    warp.generation++;
    for (int i = first; i < last; i++) fibers[i].state = State::ready;
}

bool release_barrier(int threads) {
    int line = -1;
    for (int i = 0; i < threads; i++) {
        const Fiber& fiber = fibers[i];
        if (fiber.state != State::barrier || (line >= 0 && line != fiber.line)) return false;
        line = fiber.line;
    }
    barrier_generation++;
    for (int i = 0; i < threads; i++) fibers[i].state = State::ready;
    return true;
}

void make(const Copy& copy) {
    sim_race_access(copy.to, copy.bytes, true);
    if (copy.from) {
        sim_race_access(copy.from, copy.bytes, false);
        std::memcpy(copy.to, copy.from, copy.bytes);
    } else {
        std::memset(copy.to, 0, copy.bytes);
    }
}

// Makes all copies but those of the open group and of the last `pending` before it.
void finish_copies(Fiber& fiber, size_t pending) {
    auto copy = fiber.copies.begin();
    for (; copy != fiber.copies.end() && copy->group + pending < fiber.group; ++copy) make(*copy);
    fiber.copies.erase(fiber.copies.begin(), copy);
}

void run_block(int threads, dim3 block) {
    std::vector<int> turn(threads);
    for (int i = 0; i < threads; i++) {
        prepare(fibers[i]);
        fibers[i].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
        turn[i] = order == Order::descending ? threads - 1 - i : i;
    }
    for (Warp& warp : warps) begin(warp);
    std::memset(shared_start, 0xff, shared_bytes);
    barrier_generation++;
    int left = threads;
    while (left && failure.empty()) {
        bool progress = false;
        arrange(turn);
        for (int i : turn) {
            if (fibers[i].state != State::ready) continue;
            progress = true;
            run(fibers[i]);
            if (fibers[i].state == State::done) left--;
            if (fibers[i].state == State::warp) meet(i / WARP, threads);
        }
        if (left && !progress && !release_barrier(threads))
            fail("a barrier or warp exchange that not all threads reach");
    }
    for (int i = 0; i < threads; i++)
        if (!fibers[i].copies.empty()) fail("an asynchronous copy was never waited for");
}

}  // namespace

extern "C" {

bool sim_race_is_shared(uintptr_t p);

int sim_lane() { return position() % WARP; }
void* sim_shared() { return shared_start; }

void sim_barrier(int line) {
    current->state = State::barrier;
    current->line = line;
    switch_to_scheduler();
}

void sim_warp_barrier() {
    current->state = State::warp;
    switch_to_scheduler();
}

// Two sets of slots in turn: a lane can only come back to the first after all have left it.
void sim_exchange(const void* mine, int bytes, void* all) {
    if (bytes > SLOT) std::abort();
    Warp& warp = warps[position() / WARP];
    auto& slots = warp.slots[warp.generation % 2];
    std::memcpy(slots[sim_lane()], mine, bytes);
    sim_warp_barrier();
    for (int lane = 0; lane < WARP; lane++)
        std::memcpy(static_cast<char*>(all) + lane * bytes, slots[lane], bytes);
}

void sim_together(void* mine, void (*work)(void* const*)) {
    Warp& warp = warps[position() / WARP];
    if (warp.work && warp.work != work) fail("threads of a warp that do different things together");
    warp.work = work;
    warp.given[sim_lane()] = mine;
    sim_warp_barrier();
}

// The kernel goes no further: an ordinary CPU might end the process at such an access.
void sim_misaligned(int bytes) {
    fail("an access of " + std::to_string(bytes) + " bytes that is not aligned");
    current->state = State::done;
    switch_to_scheduler();
    std::abort();
}

// `any` is named where nothing is read: its alignment counts as well.
void sim_copy_async(void* to, const void* from, const void* any, int bytes) {
    if (bytes != 4 && bytes != 8 && bytes != 16)
        fail("an asynchronous copy of " + std::to_string(bytes) + " bytes");
    if (!sim_race_is_shared(reinterpret_cast<uintptr_t>(to)))
        fail("an asynchronous copy to what is not shared memory");
    for (const void* p : {static_cast<const void*>(to), from ? from : any}) sim_aligned(p, bytes);
    const Copy copy{to, from, bytes, current->group};
    if (eager_copies)
        make(copy);
    else
        current->copies.push_back(copy);
}
void sim_commit_copies() { current->group++; }
void sim_wait_copies(int pending) { finish_copies(*current, size_t(pending)); }

// For the race checker, which is asked at every access: who runs, and between which barriers.
inline int sim_race_thread() { return position(); }
inline unsigned sim_race_barrier() { return barrier_generation; }
inline unsigned sim_race_warp() { return warps[position() / WARP].generation; }
inline int sim_race_block() { return block_number; }
bool sim_race_is_shared(uintptr_t p) {
    const auto start = reinterpret_cast<uintptr_t>(shared_start);
    return p >= start && p < start + shared_bytes;
}
// Whether a thread runs, and the byte is none of its own stack, where most accesses are.
inline bool sim_race_is_watched(uintptr_t p) {
    return current && p - reinterpret_cast<uintptr_t>(current->stack) >= STACK;
}
void sim_fail(const char* what) { fail(what); }

void sim_setting(int which_order, unsigned long long seed, int eager) {
    order = Order(which_order);
    generator.seed(seed);
    eager_copies = eager;
}

// Runs every block of a launch; what went wrong, or null.
const char* sim_launch(void (*kernel)(const void*), const unsigned* grid, int threads,
                       size_t shared, const void* params) {
    body = kernel;
    parameters = params;
    failure.clear();
    launches++;
    sim_race_launch();
    if (int(fibers.size()) < threads) fibers.resize(threads);
    warps.resize((threads + WARP - 1) / WARP);
    // of its own size, so that what lies behind it is watched by the address sanitizer
    void* memory = std::aligned_alloc(128, (shared + 127) / 128 * 128 + 128);
    shared_start = static_cast<char*>(memory);
    shared_bytes = shared;
#ifdef __SANITIZE_ADDRESS__
    __asan_poison_memory_region(shared_start + shared, (shared + 127) / 128 * 128 + 128 - shared);
#endif
    const dim3 block{unsigned(threads), 1, 1};
    sim_now.block_dim = block;
    sim_now.grid_dim = {grid[0], grid[1], grid[2]};
    std::vector<unsigned> blocks(size_t(grid[0]) * grid[1] * grid[2]);
    for (size_t i = 0; i < blocks.size(); i++)
        blocks[i] = unsigned(order == Order::descending ? blocks.size() - 1 - i : i);
    arrange(blocks);
    for (unsigned i : blocks) {
        block_number = int(i);
        sim_now.block = {i % grid[0], i / grid[0] % grid[1], i / grid[0] / grid[1]};
        run_block(threads, block);
        if (!failure.empty()) break;
    }
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(shared_start, (shared + 127) / 128 * 128 + 128);
#endif
    std::free(memory);
    return failure.empty() ? nullptr : failure.c_str();
}

}  // extern "C"
