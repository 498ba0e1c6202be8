// Finds two accesses of one word that nothing orders, one of them a write.
//
// The kernel is compiled with -fsanitize=thread, whose calls land here instead of in a library. For
// each word the last writer and two readers are kept, with the block, the barrier and the warp
// exchange that they came after. Threads of one block are ordered by barriers, lanes of one warp
// also by warp exchanges, blocks of one launch by nothing.
#include <cstdint>
#include <cstdio>
#include <string>
#include <unordered_map>

extern "C" {
int sim_race_thread();
unsigned sim_race_barrier();
unsigned sim_race_warp();
int sim_race_block();
bool sim_race_is_shared(uintptr_t);
bool sim_race_is_watched(uintptr_t);
void sim_fail(const char*);
}

namespace {

struct Access {
    int block = -1, thread = 0, bytes = 0;  // one bit for each byte of the word
    unsigned barrier = 0, warp = 0;
};
struct Word {
    Access write, read, other_read;
};
std::unordered_map<uintptr_t, Word> words;

bool unordered(const Access& a, const Access& b, bool shared) {
    if (a.block < 0 || !(a.bytes & b.bytes)) return false;
    if (a.block != b.block) return !shared;
    if (a.thread == b.thread || a.barrier != b.barrier) return false;
    return a.thread / 32 != b.thread / 32 || a.warp == b.warp;
}

void access_word(uintptr_t at, const Access& now, bool writes, bool shared) {
    Word& word = words[at];
    const char* what = nullptr;
    if (unordered(word.write, now, shared)) what = writes ? "two writes" : "a read of a write";
    if (writes && (unordered(word.read, now, shared) || unordered(word.other_read, now, shared)))
        what = "a write of what is read";
    if (what)
        sim_fail((std::string("race: ") + what + " in " + (shared ? "shared" : "global") +
                  " memory, thread " + std::to_string(now.thread)).c_str());
    if (writes)
        word.write = now;
    else if (word.read.block != now.block || word.read.barrier != now.barrier ||
             word.read.thread == now.thread)
        word.read = now;
    else
        word.other_read = now;
}

void access_watched(uintptr_t at, int bytes, bool writes) {
    const bool shared = sim_race_is_shared(at);
    Access now{sim_race_block(), sim_race_thread(), 0, sim_race_barrier(), sim_race_warp()};
    for (uintptr_t word = at / 4; word <= (at + bytes - 1) / 4; word++) {
        now.bytes = 0;
        for (uintptr_t byte = word * 4; byte < word * 4 + 4; byte++)
            now.bytes |= (byte >= at && byte < at + bytes) << byte % 4;
        access_word(word, now, writes, shared);
    }
}

inline void access(uintptr_t at, int bytes, bool writes) {
    if (sim_race_is_watched(at)) access_watched(at, bytes, writes);
}

}  // namespace

extern "C" {

void sim_race_access(const void* p, int bytes, bool writes) {
    access(reinterpret_cast<uintptr_t>(p), bytes, writes);
}
void sim_race_launch() { words.clear(); }

#define ACCESSES(n)                                                                       \
    void __tsan_read##n(void* p) { access(uintptr_t(p), n, false); }                      \
    void __tsan_write##n(void* p) { access(uintptr_t(p), n, true); }                      \
    void __tsan_unaligned_read##n(void* p) { access(uintptr_t(p), n, false); }            \
    void __tsan_unaligned_write##n(void* p) { access(uintptr_t(p), n, true); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
void __tsan_read_range(void* p, size_t n) { access(uintptr_t(p), int(n), false); }
void __tsan_write_range(void* p, size_t n) { access(uintptr_t(p), int(n), true); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}

}  // extern "C"
